/*
 * silt-cpuid: the event loop. Every thread that descends from those of the table is traced (PTRACE_SEIZE), so that CPUID faults
 * in every program that they execute: the kernel lets execve(2) take that back. Ends with the last thread; if it is killed,
 * they are.
 *
 * Whoever has to trace them instead connects to the control socket (SOCK_SEQPACKET) and is answered with what it sent:
 *   i  all threads have been told to stand still: those that somebody has frozen will, before they run on
 *   h  all threads stand still, and stay so
 *   d  they are let go, and CPUID goes on faulting in them: they must be kept from running
 *   s  they are traced again and go on
 * The end of the connection is as good as `s`.
 */
#include "cpuid.h"
#include "cpuid-tasks.h"
#include "raw.h"

#include <asm/ptrace-abi.h>
#include <asm/signal.h>
#include <asm/stat.h>
#include <asm/unistd.h>
#include <linux/mman.h>
#include <linux/poll.h>
#include <linux/ptrace.h>
#include <linux/wait.h>

#define EPERM 1
#define ECHILD 10
#define MSG_NOSIGNAL 0x4000
#define SFD_CLOEXEC 02000000
#define SOCK_CLOEXEC 02000000
#define SYSCALL_STOP (SIGTRAP | 0x80)
/* When a connection has ended, whoever traces the threads has so many rounds to let go of them. */
#define ROUND_MILLISECONDS 10
#define ROUNDS 500

enum mode {
	FOLLOWING,
	/* All are to stand still: for whoever is connected, or to be armed. */
	HOLDING,
	/* Somebody else traces them. */
	AWAY,
};

static const struct cpuid_table *table;
static enum mode mode;
static int arming;
/* The client waits to hear that all stand still. */
static int awaited;
static int32_t client = -1;

static void leave(uint64_t status)
{
	for (;;)
		silt_syscall(__NR_exit_group, status, 0, 0, 0, 0, 0);
}

static int64_t ptrace(uint64_t request, int32_t tid, uint64_t address, uint64_t data)
{
	return silt_syscall(__NR_ptrace, request, (uint64_t)tid, address, data, 0, 0);
}

static void kill_task(int32_t tid)
{
	silt_syscall(__NR_tkill, (uint64_t)tid, SIGKILL, 0, 0, 0, 0);
}

static void answer(char word)
{
	if (client >= 0)
		silt_syscall(__NR_sendto, (uint64_t)client, (uintptr_t)&word, 1, MSG_NOSIGNAL, 0, 0);
}

/* --- one thread --- */

static void go_on(int32_t tid, int in_group_stop)
{
	ptrace(in_group_stop ? PTRACE_LISTEN : PTRACE_CONT, tid, 0, 0);
}

/* Armed or dead: a thread in which CPUID does not fault never goes on. */
static int arm_task(struct task *task)
{
	int32_t tid = task->tid;
	uint32_t status;

	task->arm = 0;
	switch (arm(tid, &status)) {
	case ARMED:
		/* At the next stop a system call that was interrupted is begun again, as it would have been. */
		ptrace(PTRACE_INTERRUPT, tid, 0, 0);
		return 1;
	case GONE:
		if ((status & 0xff) != 0x7f && status != 0)
			remove_task(tid);
		return 0;
	default:
		kill_task(tid);
		return 1;
	}
}

static int all_held(void)
{
	for (uint32_t i = 0; i < task_count; i++)
		if (tasks[i].state == RUNNING)
			return 0;
	return 1;
}

static void release(void)
{
	mode = FOLLOWING;
	arming = 0;
	for (uint32_t i = 0; i < task_count; i++) {
		if (tasks[i].state == RUNNING)
			continue;
		int in_group_stop = tasks[i].state == HELD_IN_GROUP_STOP;
		tasks[i].state = RUNNING;
		go_on(tasks[i].tid, in_group_stop);
	}
}

static void when_all_held(void)
{
	if (mode != HOLDING || !all_held())
		return;
	if (!arming) {
		if (awaited)
			answer('h');
		awaited = 0;
		return;
	}
	for (uint32_t i = 0; i < task_count;) {
		int32_t tid = tasks[i].tid;
		if (arm_task(&tasks[i]))
			tasks[i].state = HELD;
		if (i < task_count && tasks[i].tid == tid)
			i++;
	}
	release();
}

static void hold(void)
{
	mode = HOLDING;
	for (uint32_t i = 0; i < task_count;) {
		/* Those that ended before they were heard of. */
		if (!tasks[i].vforked && silt_is_error(ptrace(PTRACE_INTERRUPT, tasks[i].tid, 0, 0)))
			remove_task(tasks[i].tid);
		else
			i++;
	}
}

/* A thread that stands for another reason: the kernel has forgotten by it that the thread was to stop for us. */
static void hold_later(int32_t tid)
{
	struct task *task = find_task(tid);

	if (mode == HOLDING && !(task && task->vforked))
		ptrace(PTRACE_INTERRUPT, tid, 0, 0);
}

static void let_go(void)
{
	if (mode != HOLDING || arming || !all_held())
		return;
	for (uint32_t i = 0; i < task_count; i++)
		ptrace(PTRACE_DETACH, tasks[i].tid, 0, 0);
	mode = AWAY;
	answer('d');
}

/*
 * Traces those again that were let go. Who cannot be had is dead or about to be: a zombie is refused (EPERM) like a thread that
 * somebody else traces, who is given `rounds` to end.
 */
static void seize_again(int rounds)
{
	for (uint32_t refused = task_count; refused != 0 && rounds > 0; rounds--) {
		refused = 0;
		for (uint32_t i = 0; i < task_count;) {
			int64_t result = tasks[i].state == RUNNING ? 0 : ptrace(PTRACE_SEIZE, tasks[i].tid, 0, TRACE_OPTIONS);
			if (silt_is_error(result) && result != -EPERM) {
				remove_task(tasks[i].tid);
				continue;
			}
			if (!silt_is_error(result))
				tasks[i].state = RUNNING;
			else
				refused++;
			i++;
		}
		if (refused != 0 && rounds > 1)
			silt_syscall(__NR_poll, 0, 0, ROUND_MILLISECONDS, 0, 0, 0);
	}
	for (uint32_t i = 0; i < task_count;) {
		if (tasks[i].state == RUNNING) {
			i++;
			continue;
		}
		kill_task(tasks[i].tid);
		remove_task(tasks[i].tid);
	}
	mode = FOLLOWING;
}

/* --- events --- */

static void on_exec(int32_t tid)
{
	uint64_t former = 0;

	/* A thread that is not its process's first takes the place and the id of that one. */
	if (!silt_is_error(ptrace(PTRACE_GETEVENTMSG, tid, 0, (uintptr_t)&former)) && (int32_t)former != tid)
		remove_task((int32_t)former);
	struct task *task = add_task(tid);
	task->arm = 1;
	task->vforked = 0;
	task->executed = 1;
	mask_auxv(table, tid);
	ptrace(PTRACE_INTERRUPT, tid, 0, 0);
	go_on(tid, 0);
}

static void on_stop(int32_t tid, uint32_t signal)
{
	struct task *task = add_task(tid);
	int in_group_stop = signal != SIGTRAP;

	if (task->arm && !arming) {
		/* It has just executed a program: its memory is its own. */
		if (arm_task(task))
			go_on(tid, 0);
	} else if (mode == HOLDING && !task->vforked && (in_group_stop || !cpuid_pending(tid))) {
		task->state = in_group_stop ? HELD_IN_GROUP_STOP : HELD;
		when_all_held();
	} else {
		go_on(tid, in_group_stop);
	}
}

/* The child may have been heard of before: when it stopped, or even when it had ended and could not be interrupted any more. */
static void on_fork(int32_t tid, int vfork)
{
	uint64_t child;

	if (!silt_is_error(ptrace(PTRACE_GETEVENTMSG, tid, 0, (uintptr_t)&child)) &&
	    (find_task((int32_t)child) || !silt_is_error(ptrace(PTRACE_INTERRUPT, (int32_t)child, 0, 0)))) {
		struct task *task = add_task((int32_t)child);
		task->vforked = (uint8_t)(vfork && !task->executed);
		if (task->vforked && task->state != RUNNING) {
			int in_group_stop = task->state == HELD_IN_GROUP_STOP;
			task->state = RUNNING;
			go_on((int32_t)child, in_group_stop);
		}
	}
	hold_later(tid);
	go_on(tid, 0);
	when_all_held();
}

static void on_event(int32_t tid, uint32_t status)
{
	uint32_t signal = status >> 8 & 0xff;

	if ((status & 0xff) != 0x7f) {
		remove_task(tid);
		when_all_held();
		return;
	}
	switch (status >> 16) {
	case PTRACE_EVENT_EXEC:
		on_exec(tid);
		break;
	case PTRACE_EVENT_STOP:
		on_stop(tid, signal);
		break;
	case PTRACE_EVENT_FORK:
	case PTRACE_EVENT_CLONE:
		on_fork(tid, 0);
		break;
	case PTRACE_EVENT_VFORK:
		on_fork(tid, 1);
		break;
	default:
		hold_later(tid);
		if (signal == SYSCALL_STOP || (signal == SIGSEGV && answer_cpuid(table, tid)))
			signal = 0;
		ptrace(PTRACE_CONT, tid, 0, signal);
	}
}

static void take_events(void)
{
	for (;;) {
		uint32_t status;
		int64_t tid = silt_syscall(__NR_wait4, ~0ull, (uintptr_t)&status, __WALL | WNOHANG, 0, 0, 0);
		if (tid == -ECHILD && mode != AWAY)
			leave(0);
		if (tid <= 0)
			return;
		on_event((int32_t)tid, status);
	}
}

/* --- whoever wants the threads --- */

static void on_client(void)
{
	char word = 0;
	int64_t got = silt_syscall(__NR_recvfrom, (uint64_t)client, (uintptr_t)&word, 1, 0, 0, 0);

	if (got == 1 && word == 'i' && mode == FOLLOWING) {
		hold();
		answer('i');
	} else if (got == 1 && word == 'h') {
		awaited = 1;
		when_all_held();
	} else if (got == 1 && word == 'd') {
		let_go();
	}
	if (got == 1 && word != 's')
		return;
	awaited = 0;
	if (got != 1) {
		silt_syscall(__NR_close, (uint64_t)client, 0, 0, 0, 0, 0);
		client = -1;
	}
	if (mode == HOLDING && !arming)
		release();
	else if (mode == AWAY)
		seize_again(got == 1 ? 1 : ROUNDS);
	answer('s');
}

static void serve(int32_t signals)
{
	for (;;) {
		take_events();
		struct pollfd fds[2] = { { signals, POLLIN, 0 }, { client, POLLIN, 0 } };
		if (client < 0)
			fds[1].fd = table->flags & HAS_CONTROL ? CONTROL_FD : -1;
		silt_syscall(__NR_poll, (uintptr_t)fds, 2, ~0ull, 0, 0, 0);
		if (fds[0].revents) {
			uint8_t info[128];
			silt_syscall(__NR_read, (uint64_t)signals, (uintptr_t)info, sizeof info, 0, 0, 0);
		}
		if (!fds[1].revents)
			continue;
		if (client >= 0)
			on_client();
		else
			client = (int32_t)silt_syscall(__NR_accept4, CONTROL_FD, 0, 0, SOCK_CLOEXEC, 0, 0);
	}
}

static const struct cpuid_table *read_table(void)
{
	struct stat file;

	if (silt_is_error(silt_syscall(__NR_fstat, TABLE_FD, (uintptr_t)&file, 0, 0, 0, 0)))
		leave(2);
	uint64_t size = (uint64_t)file.st_size;
	int64_t at = silt_syscall(__NR_mmap, 0, size, PROT_READ, MAP_PRIVATE, TABLE_FD, 0);
	const struct cpuid_table *found = (const struct cpuid_table *)at;
	if (silt_is_error(at) || size < sizeof *found || found->magic != CPUID_MAGIC || found->size != size ||
	    size != sizeof *found + (uint64_t)found->leaves * sizeof(struct cpuid_mask) + (uint64_t)found->tasks * 4)
		leave(2);
	silt_syscall(__NR_close, TABLE_FD, 0, 0, 0, 0, 0);
	return found;
}

/* One message: `ready`, or `failed` with the errno of the first thread that cannot be traced. */
static void say(int64_t result)
{
	char words[] = "failed 000";
	uint32_t size = sizeof words - 1;

	for (uint32_t i = 0, rest = (uint32_t)-result; i < 3; i++, rest /= 10)
		words[size - 1 - i] = (char)('0' + rest % 10);
	const char *message = result == 0 ? "ready" : words;
	if (result == 0)
		size = sizeof "ready" - 1;
	silt_syscall(__NR_sendto, STATUS_FD, (uintptr_t)message, size, MSG_NOSIGNAL, 0, 0);
	silt_syscall(__NR_close, STATUS_FD, 0, 0, 0, 0, 0);
}

void silt_main(void)
{
	uint64_t children = 1ull << (SIGCHLD - 1);

	table = read_table();
	silt_syscall(__NR_rt_sigprocmask, SIG_BLOCK, (uintptr_t)&children, 0, sizeof children, 0, 0);
	int64_t signals = silt_syscall(__NR_signalfd4, ~0ull, (uintptr_t)&children, sizeof children, SFD_CLOEXEC, 0, 0);
	const int32_t *tids =
		(const int32_t *)((const uint8_t *)(table + 1) + table->leaves * sizeof(struct cpuid_mask));
	for (uint32_t i = 0; i < table->tasks; i++) {
		int64_t result = ptrace(PTRACE_SEIZE, tids[i], 0, TRACE_OPTIONS);
		if (silt_is_error(result)) {
			/* It ends, and those that it has got with it. */
			say(result);
			leave(1);
		}
		add_task(tids[i]);
	}
	/* Whoever hears that it is ready may let go of threads that it kept from running. */
	if (table->flags & ARM_NOW) {
		arming = 1;
		hold();
	}
	say(0);
	serve((int32_t)signals);
}

__asm__(".text\n.globl _start\n_start:\n\txor %ebp, %ebp\n\tcall silt_main\n\thlt\n");
