/* Making CPUID fault in another process: arch_prctl(ARCH_SET_CPUID, 0), which a thread can only do for itself. */
#include "cpuid.h"
#include "raw.h"

#include <asm/prctl.h>
#include <asm/ptrace-abi.h>
#include <asm/signal.h>
#include <asm/unistd.h>
#include <linux/ptrace.h>
#include <linux/wait.h>

#define EINTR 4
#define COMPAT_ARCH_PRCTL 384 /* <asm/unistd_32.h> */
#define SYSCALL_STOP (SIGTRAP | 0x80)

static int64_t ptrace(uint64_t request, int32_t tid, uint64_t address, uint64_t data)
{
	return silt_syscall(__NR_ptrace, request, (uint64_t)tid, address, data, 0, 0);
}

/*
 * Lets the thread go to the next entry or exit of a system call. Its signals are blocked, but for SIGSTOP, which is put off.
 * False when it has died.
 */
static int to_syscall_stop(int32_t tid, uint32_t *status, int *stopped)
{
	for (;;) {
		if (silt_is_error(ptrace(PTRACE_SYSCALL, tid, 0, 0))) {
			*status = 0;
			return 0;
		}
		int64_t got;
		do
			got = silt_syscall(__NR_wait4, (uint64_t)tid, (uintptr_t)status, __WALL, 0, 0, 0);
		while (got == -EINTR);
		if (got != tid || (*status & 0xff) != 0x7f)
			return 0;
		if ((*status >> 8) == SYSCALL_STOP)
			return 1;
		if ((*status >> 8) == SIGSTOP)
			*stopped = 1;
	}
}

enum armed arm(int32_t tid, uint32_t *status)
{
	struct registers saved, regs;
	uint64_t mask, all = ~0ull, word;
	int stopped = 0;

	*status = 0;
	if (silt_is_error(ptrace(PTRACE_GETREGS, tid, 0, (uintptr_t)&saved)) ||
	    silt_is_error(ptrace(PTRACE_GETSIGMASK, tid, 8, (uintptr_t)&mask)) ||
	    silt_is_error(ptrace(PTRACE_SETSIGMASK, tid, 8, (uintptr_t)&all)))
		return GONE;
	/* The instruction is put where the thread stands, in whole words: what is mapped there can be executed. */
	int compat = IS_COMPAT(&saved);
	uint64_t place = saved.rip & ~7ull;
	if (silt_is_error(ptrace(PTRACE_PEEKTEXT, tid, place, (uintptr_t)&word)))
		return REFUSED;
	if (silt_is_error(ptrace(PTRACE_POKETEXT, tid, place, (word & ~0xffffull) | (compat ? 0x80cd : 0x050f))))
		return REFUSED;
	/* The container's seccomp filter is not asked; where that cannot be had, it has to allow arch_prctl. */
	ptrace(PTRACE_SETOPTIONS, tid, 0, TRACE_OPTIONS | PTRACE_O_SUSPEND_SECCOMP);
	regs = saved;
	regs.rip = place;
	regs.orig_rax = ~0ull;
	if (compat) {
		regs.rax = COMPAT_ARCH_PRCTL;
		regs.rbx = ARCH_SET_CPUID;
		regs.rcx = 0;
	} else {
		regs.rax = __NR_arch_prctl;
		regs.rdi = ARCH_SET_CPUID;
		regs.rsi = 0;
	}
	ptrace(PTRACE_SETREGS, tid, 0, (uintptr_t)&regs);
	/* Once into the call and once out of it. */
	if (!to_syscall_stop(tid, status, &stopped) || !to_syscall_stop(tid, status, &stopped))
		return GONE;
	ptrace(PTRACE_GETREGS, tid, 0, (uintptr_t)&regs);
	ptrace(PTRACE_POKETEXT, tid, place, word);
	ptrace(PTRACE_SETREGS, tid, 0, (uintptr_t)&saved);
	ptrace(PTRACE_SETSIGMASK, tid, 8, (uintptr_t)&mask);
	ptrace(PTRACE_SETOPTIONS, tid, 0, TRACE_OPTIONS);
	if (stopped)
		silt_syscall(__NR_tkill, (uint64_t)tid, SIGSTOP, 0, 0, 0, 0);
	return (uint32_t)regs.rax == 0 ? ARMED : REFUSED;
}
