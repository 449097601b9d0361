/*
 * silt-cpuid: traces the processes of a container, and answers for CPUID, which faults in them (arch_prctl(2),
 * ARCH_SET_CPUID). It knows nothing of containers: which bits are shown is a table of masks, given as data.
 *
 * Its fds: 3 the table, 4 a socket for one message when it has begun, 5 a listening socket for whoever has to trace the
 * processes instead for a while (CRIU). x86_64 only.
 */
#ifndef SILT_CPUID_H
#define SILT_CPUID_H

#include <stdint.h>

#define CPUID_MAGIC 0x44495043u
#define ANY_SUBLEAF 0xffffffffu

enum { TABLE_FD = 3, STATUS_FD = 4, CONTROL_FD = 5 };
/* Flags of the table. */
enum {
	/* The processes run programs already: CPUID is to fault in each before it goes on. */
	ARM_NOW = 1,
	/* There is a listening socket. */
	HAS_CONTROL = 2,
};

/* The table: this, then `leaves` masks, then `tasks` thread ids. Little-endian, without gaps. */
struct cpuid_table {
	uint32_t magic, size, flags, leaves, tasks;
	/* What AT_HWCAP and AT_HWCAP2 may show. */
	uint32_t hwcap, hwcap2;
	uint32_t zero;
};
/* Ands the registers that CPUID leaves; other leaves are shown as they are. */
struct cpuid_mask {
	uint32_t leaf, subleaf, eax, ebx, ecx, edx;
};

/* user_regs_struct of <sys/user.h>, which is libc's. */
struct registers {
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax, rip, cs, eflags, rsp, ss;
	uint64_t fs_base, gs_base, ds, es, fs, gs;
};

/* cpuid-answer.c */

/* If the thread stands at a CPUID that has faulted: sets its registers and steps over it. False for any other SIGSEGV. */
int answer_cpuid(const struct cpuid_table *table, int32_t tid);
/* Whether it has faulted and stopped for another reason before it could be told (PTRACE_EVENT_STOP): it is about to be. */
int cpuid_pending(int32_t tid);
/* Takes what is not to be shown out of AT_HWCAP and AT_HWCAP2 of a program that is about to begin. */
void mask_auxv(const struct cpuid_table *table, int32_t tid);

/* cpuid-arm.c */

enum armed { ARMED, GONE, REFUSED };
/*
 * Makes CPUID fault in a thread that stands still (PTRACE_EVENT_STOP), by a system call in its name. No other thread of its
 * memory may run meanwhile. GONE when it has died of something else; `status` is its wait status then.
 */
enum armed arm(int32_t tid, uint32_t *status);

/* Options of every traced thread. */
#define TRACE_OPTIONS                                                                                                  \
	(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | \
	 PTRACE_O_EXITKILL)
#define IS_COMPAT(regs) ((regs)->cs == 0x23)

#endif
