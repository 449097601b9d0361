/* What a program is shown: CPUID's registers, and the auxiliary vector. */
#include "cpuid.h"
#include "raw.h"

#include <asm/signal.h>
#include <asm/unistd.h>
#include <linux/auxvec.h>
#include <linux/ptrace.h>
#include <linux/uio.h>
#include <asm/ptrace-abi.h>

#define SI_KERNEL 0x80

/* Beyond this a stack holds no argument (execve(2), "Limits on size of arguments": a quarter of the stack, 6 MiB at most). */
#define ARGUMENTS_MAX (8u << 20)

static int64_t ptrace(uint64_t request, int32_t tid, uint64_t address, void *data)
{
	return silt_syscall(__NR_ptrace, request, (uint64_t)tid, address, (uintptr_t)data, 0, 0);
}

/* Also of pages that can only be executed, which process_vm_readv(2) does not read. */
static int at_cpuid(int32_t tid, uint64_t rip)
{
	uint64_t words[2] = { 0, 0 };
	uint64_t start = rip & ~7ull, shift = rip - start;

	if (silt_is_error(ptrace(PTRACE_PEEKTEXT, tid, start, &words[0])))
		return 0;
	if (shift == 7 && silt_is_error(ptrace(PTRACE_PEEKTEXT, tid, start + 8, &words[1])))
		return 0;
	const uint8_t *code = (const uint8_t *)words + shift;
	return code[0] == 0x0f && code[1] == 0xa2;
}

static void ask_cpu(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	__asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(subleaf));
}

int cpuid_pending(int32_t tid)
{
	struct ptrace_peeksiginfo_args next = { 0, 0, 1 };
	int32_t info[32];

	for (; (int32_t)ptrace(PTRACE_PEEKSIGINFO, tid, (uintptr_t)&next, info) == 1; next.off++)
		if (info[0] == SIGSEGV && info[2] == SI_KERNEL)
			return 1;
	return 0;
}

int answer_cpuid(const struct cpuid_table *table, int32_t tid)
{
	int32_t info[32];
	struct registers regs;
	uint32_t out[4];

	if (silt_is_error(ptrace(PTRACE_GETSIGINFO, tid, 0, info)) || info[2] != SI_KERNEL)
		return 0;
	if (silt_is_error(ptrace(PTRACE_GETREGS, tid, 0, &regs)) || !at_cpuid(tid, regs.rip))
		return 0;
	uint32_t leaf = (uint32_t)regs.rax, subleaf = (uint32_t)regs.rcx;
	ask_cpu(leaf, subleaf, out);
	const struct cpuid_mask *masks = (const struct cpuid_mask *)(table + 1);
	for (uint32_t i = 0; i < table->leaves; i++) {
		if (masks[i].leaf != leaf || (masks[i].subleaf != subleaf && masks[i].subleaf != ANY_SUBLEAF))
			continue;
		out[0] &= masks[i].eax;
		out[1] &= masks[i].ebx;
		out[2] &= masks[i].ecx;
		out[3] &= masks[i].edx;
	}
	regs.rax = out[0];
	regs.rbx = out[1];
	regs.rcx = out[2];
	regs.rdx = out[3];
	regs.rip += 2;
	return !silt_is_error(ptrace(PTRACE_SETREGS, tid, 0, &regs));
}

struct stack {
	int32_t tid;
	uint32_t width;
	uint64_t at, end;
	/* What has been read and lies at `at`. */
	uint8_t buffer[4096];
	uint32_t used, filled;
};

static int64_t copy(uint64_t call, int32_t tid, uint64_t address, void *bytes, uint64_t size)
{
	struct iovec mine = { bytes, size }, theirs = { (void *)(uintptr_t)address, size };

	return silt_syscall(call, (uint64_t)tid, (uintptr_t)&mine, 1, (uintptr_t)&theirs, 1, 0);
}

/* The next word; false at the end of what can be read. */
static int next_word(struct stack *s, uint64_t *word)
{
	if (s->used == s->filled) {
		/* Up to the end of the page: the next one may not be there. */
		uint64_t size = 4096 - (s->at & 4095);
		int64_t got = s->at < s->end ? copy(__NR_process_vm_readv, s->tid, s->at, s->buffer, size) : 0;
		if (got < (int64_t)s->width)
			return 0;
		s->used = 0;
		s->filled = (uint32_t)got & ~(s->width - 1);
	}
	*word = s->width == 8 ? *(uint64_t *)(s->buffer + s->used) : *(uint32_t *)(s->buffer + s->used);
	s->used += s->width;
	s->at += s->width;
	return 1;
}

/* argc, argv …, 0, environment …, 0, pairs of type and value up to AT_NULL (System V ABI, "Process Initialization"). */
void mask_auxv(const struct cpuid_table *table, int32_t tid)
{
	struct registers regs;
	struct stack s;
	uint64_t word, type, value;

	if (silt_is_error(ptrace(PTRACE_GETREGS, tid, 0, &regs)))
		return;
	s.tid = tid;
	s.width = IS_COMPAT(&regs) ? 4 : 8;
	s.at = regs.rsp;
	s.end = regs.rsp + ARGUMENTS_MAX;
	s.used = s.filled = 0;
	if (!next_word(&s, &word))
		return;
	for (int list = 0; list < 2; list++)
		do
			if (!next_word(&s, &word))
				return;
		while (word != 0);
	while (next_word(&s, &type) && type != AT_NULL && next_word(&s, &value)) {
		if (type != AT_HWCAP && type != AT_HWCAP2)
			continue;
		value &= type == AT_HWCAP ? table->hwcap : table->hwcap2;
		copy(__NR_process_vm_writev, tid, s.at - s.width, &value, s.width);
	}
}
