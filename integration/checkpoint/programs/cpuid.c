/*
 * Asks CPUID for AVX2 all the time, in two threads, in children by fork and in programs by vfork and exec, and counts in /report.
 * Whoever finds AVX2 writes `wrong` there instead, and all ends.
 */
#include <cpuid.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int has_avx2(void)
{
	unsigned a, b, c, d;
	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2);
}

static void report(const char *text)
{
	FILE *file = fopen("/report.new", "w");
	fprintf(file, "%s\n", text);
	fclose(file);
	rename("/report.new", "/report");
}

static void check(int right, const char *who)
{
	char text[64];

	if (right)
		return;
	snprintf(text, sizeof text, "wrong: %s", who);
	report(text);
	exit(1);
}

static void *ask(void *unused)
{
	for (;;)
		check(!has_avx2(), "a thread");
	return unused;
}

static int ended_well(pid_t pid)
{
	int status;
	return waitpid(pid, &status, 0) == pid && status == 0;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	if (argc > 1)
		return has_avx2();
	pthread_create(&thread, 0, ask, 0);
	for (int i = 1;; i++) {
		char text[16];
		pid_t pid = fork();

		if (pid == 0)
			_exit(has_avx2());
		check(ended_well(pid), "a child");
		pid = vfork();
		if (pid == 0) {
			execl("/proc/self/exe", argv[0], "once", (char *)0);
			_exit(9);
		}
		check(ended_well(pid), "a program");
		check(!has_avx2(), "the first thread");
		snprintf(text, sizeof text, "%d", i);
		report(text);
	}
}
