/*
 * Makes system calls and tells what came of each, a line for an argument: NUMBER,ARG,... (any base of strtoul(3)). Each is made by a
 * thread of a process of its own, so that nothing that a filter does ends more than that.
 *
 *   0            it was made and returned 0; any other result is 'made'
 *   errno N
 *   trap N       SIGSYS was handled; N is what the filter gave (si_errno)
 *   thread       the thread was ended and its process lives
 *   signal N     the process was ended
 *
 * An argument that begins with 't' is made under a tracer: 'traced N', N being what the filter gave.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *words;
static volatile int returned;

static void trapped(int number, siginfo_t *info, void *context)
{
	char line[32];
	ssize_t size = snprintf(line, sizeof(line), "trap %d\n", info->si_errno);
	_exit(write(1, line, size) != size);
}

static void *make(void *unused)
{
	unsigned long v[7] = {0};
	char *at = (char *)words;
	for (int i = 0; i < 7 && *at; i++, at += *at == ',')
		v[i] = strtoul(at, &at, 0);
	long result = syscall(v[0], v[1], v[2], v[3], v[4], v[5], v[6]);
	int code = errno;
	char line[32];
	ssize_t size = result == -1 ? snprintf(line, sizeof(line), "errno %d\n", code)
				    : snprintf(line, sizeof(line), result == 0 ? "0\n" : "made\n");
	returned = write(1, line, size) == size;
	return NULL;
}

static void in_process(void)
{
	struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
	pthread_t thread;
	sigaction(SIGSYS, &action, NULL);
	if (pthread_create(&thread, NULL, make, NULL) != 0)
		_exit(3);
	pthread_join(thread, NULL);
	if (!returned && write(1, "thread\n", 7) != 7)
		_exit(4);
	_exit(0);
}

static void traced(void)
{
	int status;
	unsigned long data = 0;
	pid_t child = fork();
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		make(NULL);
		_exit(0);
	}
	waitpid(child, &status, 0);
	ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL);
	ptrace(PTRACE_CONT, child, 0, 0);
	waitpid(child, &status, 0);
	if (WIFSTOPPED(status) && status >> 8 == (SIGTRAP | PTRACE_EVENT_SECCOMP << 8)) {
		ptrace(PTRACE_GETEVENTMSG, child, 0, &data);
		printf("traced %lu\n", data);
	} else {
		printf("status %x\n", status);
	}
	fflush(stdout);
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		words = argv[i] + (argv[i][0] == 't');
		if (argv[i][0] == 't') {
			traced();
			continue;
		}
		int status;
		pid_t child = fork();
		if (child == 0)
			in_process();
		waitpid(child, &status, 0);
		if (WIFSIGNALED(status))
			printf("signal %d\n", WTERMSIG(status));
		else if (WEXITSTATUS(status) != 0)
			printf("failed %d\n", WEXITSTATUS(status));
		fflush(stdout);
	}
	return 0;
}
