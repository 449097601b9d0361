/*
 * What a program finds out of the CPU, and what goes on around it: `cpu-features` prints the features, `cpu-features life` lives
 * through threads, signals, vfork and exec, printing what was not as it should be.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <elf.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* As the kernel left it on the stack: glibc's getauxval(3) has an AT_HWCAP of its own on x86. */
static unsigned long auxiliary(unsigned long type)
{
	char **end = environ;
	while (*end)
		end++;
	for (unsigned long *pair = (unsigned long *)(end + 1); pair[0] != AT_NULL; pair += 2)
		if (pair[0] == type)
			return pair[1];
	return 0;
}

static int has_avx(void)
{
	unsigned a, b, c, d;
	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2);
}

static void expect(int right, const char *what)
{
	if (!right)
		printf("wrong: %s\n", what);
}

static void *ask_often(void *result)
{
	for (int i = 0; i < 100; i++)
		if (has_avx())
			*(int *)result = 1;
	return 0;
}

static volatile sig_atomic_t received;

static void on_signal(int number)
{
	received = number;
}

static void on_segv(int number)
{
	(void)number;
	_exit(9);
}

static int status_of(pid_t pid, int options)
{
	int status = -1;
	waitpid(pid, &status, options);
	return status;
}

static void live(const char *self)
{
	pthread_t threads[4];
	int seen[4] = { 0 };
	pid_t pid;
	int status;

	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], 0, ask_often, &seen[i]);
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], 0);
		expect(!seen[i], "a thread saw AVX2");
	}
	signal(SIGUSR1, on_signal);
	raise(SIGUSR1);
	expect(received == SIGUSR1, "a signal of its own");
	pid = vfork();
	if (pid == 0) {
		execl(self, self, "quiet", (char *)0);
		_exit(99);
	}
	expect(status_of(pid, 0) == 0, "a program executed after vfork");
	pid = fork();
	if (pid == 0) {
		pthread_create(&threads[0], 0, ask_often, &seen[0]);
		execl(self, self, "quiet", (char *)0);
		_exit(99);
	}
	expect(status_of(pid, 0) == 0, "a program executed beside a thread");
	pid = fork();
	if (pid == 0)
		for (;;)
			pause();
	kill(pid, SIGSTOP);
	status = status_of(pid, WUNTRACED);
	expect(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP, "stopping a child");
	expect(waitpid(pid, &status, WNOHANG) == 0, "a stopped child stays stopped");
	kill(pid, SIGCONT);
	status = status_of(pid, WCONTINUED);
	expect(WIFCONTINUED(status), "continuing a child");
	kill(pid, SIGTERM);
	status = status_of(pid, 0);
	expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM, "ending a child");
	pid = fork();
	if (pid == 0) {
		signal(SIGSEGV, on_segv);
		*(volatile int *)8 = 1;
	}
	status = status_of(pid, 0);
	expect(WIFEXITED(status) && WEXITSTATUS(status) == 9, "a segmentation fault of its own");
	printf("lived\n");
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "life") == 0) {
		live("/proc/self/exe");
		return 0;
	}
	__builtin_cpu_init();
	int avx2 = !!__builtin_cpu_supports("avx2"), sse42 = !!__builtin_cpu_supports("sse4.2");
	if (argc == 1)
		printf("avx2 %d %d sse4.2 %d hwcap sse2 %d fsgsbase %d uid %d\n", avx2, has_avx(), sse42,
		       (int)(auxiliary(AT_HWCAP) >> 26 & 1), (int)(auxiliary(AT_HWCAP2) >> 1 & 1), (int)geteuid());
	return avx2 || has_avx();
}
