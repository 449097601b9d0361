/*
 * silt-interp: runs the program at fd 3 and reports a failure on fd 4 (docs/syscall-programs.md).
 *
 * Static and without libc: a start is one exec, one mapping and a handful of page faults. It gives up nothing that it
 * inherited and takes nothing from arguments or environment.
 */
#include "interp.h"
#include "raw.h"

#include <asm/stat.h>
#include <asm/unistd.h>
#include <linux/mman.h>

#define PROGRAM_FD 3
#define REPORT_FD 4
#define MSG_NOSIGNAL 0x4000 /* <linux/socket.h> keeps it to itself */
#define EXIT_FAILED 127
#define REFUSED 0xffffffffu

static void leave(uint64_t status)
{
	for (;;)
		silt_syscall(__NR_exit_group, status, 0, 0, 0, 0, 0);
}

static void fail(uint32_t index, uint32_t error)
{
	const uint32_t record[4] = { 0x4c494146u, index, error, 0 };

	silt_syscall(__NR_sendto, REPORT_FD, (uintptr_t)record, sizeof record, MSG_NOSIGNAL, 0, 0);
	leave(EXIT_FAILED);
}

void silt_main(void)
{
	struct stat file;
	int64_t slots[SILT_SLOTS_MAX], address;
	uint32_t error = 0, where;
	enum silt_reason reason;
	int32_t failed;

	if (silt_is_error(silt_syscall(__NR_fstat, PROGRAM_FD, (uintptr_t)&file, 0, 0, 0, 0)))
		fail(REFUSED, SILT_BAD_UNREADABLE);
	/* Private: the program writes to its image, the memfd is sealed against writing and may serve other starts. */
	address = silt_syscall(__NR_mmap, 0, (uint64_t)file.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, PROGRAM_FD, 0);
	if (silt_is_error(address))
		fail(REFUSED, SILT_BAD_UNREADABLE);
	silt_syscall(__NR_close, PROGRAM_FD, 0, 0, 0, 0, 0);

	reason = silt_check((void *)address, (uint64_t)file.st_size, &where);
	if (reason != SILT_OK)
		fail(REFUSED, reason);
	failed = silt_run((void *)address, slots, &error);
	if (failed >= 0)
		fail((uint32_t)failed, error);
	leave(0);
}

/* The kernel starts a program with an aligned stack and no return address (System V ABI; AAPCS64). */
#if defined(__x86_64__)
__asm__(".text\n.globl _start\n_start:\n\txor %ebp, %ebp\n\tcall silt_main\n\thlt\n");
#else
__asm__(".text\n.globl _start\n_start:\n\tmov x29, #0\n\tmov x30, #0\n\tbl silt_main\n\tbrk #0\n");
#endif
