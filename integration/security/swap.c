/* Swaps two names of the directory argv[1], argv[2] and argv[3], some ten thousand times in a second, until stdin ends. Prints how often it did. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct pollfd input = {0, POLLIN, 0};
	unsigned long count = 0;
	if (argc != 4 || chdir(argv[1]) != 0)
		return 2;
	do {
		for (int i = 0; i < 64; i++) {
			count += renameat2(AT_FDCWD, argv[2], AT_FDCWD, argv[3], RENAME_EXCHANGE) == 0;
			// Without a rest every lookup of a path on this machine would wait for the lock of renames.
			usleep(20);
		}
	} while (poll(&input, 1, 0) == 0);
	printf("%lu\n", count);
	return 0;
}
