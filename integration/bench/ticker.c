// ticker MIB: has so much memory, all of it written to, and looks at the clock each millisecond. /gap has the longest time between
// two looks, in nanoseconds, and /woke when the last gap of more than 20 ms ended, by the time of day in nanoseconds.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int64_t now(clockid_t clock) {
  struct timespec at;
  clock_gettime(clock, &at);
  return at.tv_sec * INT64_C(1000000000) + at.tv_nsec;
}

static void tell(const char *path, int64_t value) {
  char text[32];
  int length = snprintf(text, sizeof text, "%020lld\n", (long long)value);
  int fd = open(path, O_WRONLY | O_CREAT, 0600);
  if (fd < 0 || write(fd, text, length) != length) exit(1);
  close(fd);
}

int main(int argc, char **argv) {
  size_t size = argc > 1 ? strtoul(argv[1], 0, 10) << 20 : 0;
  uint64_t *memory = malloc(size + 8), state = 1;
  for (size_t i = 0; i < size / 8; i++) memory[i] = state = state * 6364136223846793005u + 1442695040888963407u;
  int64_t longest = 0, before = now(CLOCK_MONOTONIC);
  tell("/gap", 0);
  for (;;) {
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, 0);
    int64_t at = now(CLOCK_MONOTONIC), gap = at - before;
    before = at;
    if (gap > 20000000) tell("/woke", now(CLOCK_REALTIME));
    if (gap > longest) tell("/gap", longest = gap);
  }
}
