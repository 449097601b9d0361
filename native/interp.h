/*
 * The interpreter of syscall programs. docs/syscall-programs.md is the contract: the layout of these structures, and
 * what each field means. Nothing here knows what a program is for.
 */
#ifndef SILT_INTERP_H
#define SILT_INTERP_H

#include <stddef.h>
#include <stdint.h>

#define SILT_MAGIC 0x544c4953u
#define SILT_VERSION 1
#if defined(__x86_64__)
#define SILT_MACHINE 62
#elif defined(__aarch64__)
#define SILT_MACHINE 183
#endif

#define SILT_INSTRUCTIONS_MAX 65535u
#define SILT_RELOCATIONS_MAX 1048576u
#define SILT_IMAGE_MAX (64u << 20)
#define SILT_SLOTS_MAX 256u
#define SILT_NO_SLOT 0xffffu

/* Programs lie in byte buffers, at any alignment, and the kernel writes into them. */
#define SILT_IN_BUFFER __attribute__((packed, may_alias))

struct SILT_IN_BUFFER silt_header {
	uint32_t magic;
	uint16_t version;
	uint16_t machine;
	uint32_t instructions;
	uint32_t relocations;
	uint32_t image_size;
	uint16_t slots;
	uint16_t zero;
	uint32_t size;
	uint32_t zero2;
};

enum { SILT_CALL = 0, SILT_JUMP_IF_ZERO = 1, SILT_JUMP_IF_NOT_ZERO = 2 };
enum { SILT_REPEAT = 1, SILT_TOLERATE_ALL = 2, SILT_RETRY = 4, SILT_RACED = 8 };
enum { SILT_IMMEDIATE = 0, SILT_ADDRESS = 1, SILT_SLOT = 2, SILT_WORD32 = 3, SILT_WORD64 = 4 };

struct SILT_IN_BUFFER silt_instruction {
	uint16_t op;
	uint16_t number;
	uint16_t slot;
	uint8_t flags;
	uint8_t tolerated_count;
	uint16_t tolerated[4];
	uint8_t kinds[6];
	uint16_t target; /* of a jump; with SILT_REPEAT which arguments advance */
	uint64_t arguments[6];
};

enum { SILT_RELOC_ADDRESS = 1, SILT_RELOC_SLOT32 = 2, SILT_RELOC_SLOT64 = 3, SILT_RELOC_DECIMAL = 4 };

struct SILT_IN_BUFFER silt_relocation {
	uint32_t offset;
	uint16_t kind;
	uint16_t slot;
	uint32_t value;
	uint32_t zero;
};

_Static_assert(sizeof(struct silt_header) == 32, "header");
_Static_assert(sizeof(struct silt_instruction) == 72, "instruction");
_Static_assert(sizeof(struct silt_relocation) == 16, "relocation");

/*
 * Why a program is refused. The numbers are stable: they leave the executable in its failure record. A new reason goes
 * to the end.
 */
#define SILT_REASONS(X)                                                                                                \
	X(1, SHORT, "shorter than a header")                                                                           \
	X(2, MAGIC, "not a syscall program")                                                                           \
	X(3, VERSION, "format version is not 1")                                                                       \
	X(4, MACHINE, "built for another machine")                                                                     \
	X(5, INSTRUCTIONS, "number of instructions out of range")                                                      \
	X(6, RELOCATIONS, "number of relocations out of range")                                                        \
	X(7, IMAGE, "image too large")                                                                                 \
	X(8, SLOTS, "too many slots")                                                                                  \
	X(9, SIZE, "sizes of the sections, of the program and of the buffer do not agree")                             \
	X(10, HEADER_RESERVED, "reserved field of the header is not 0")                                                \
	X(11, OP, "unknown op")                                                                                        \
	X(12, SLOT, "slot out of range")                                                                               \
	X(13, FLAGS, "unknown flag")                                                                                   \
	X(14, TOLERATED, "tolerated errnos are malformed")                                                             \
	X(15, ARGUMENT_KIND, "unknown kind of argument")                                                               \
	X(16, ARGUMENT, "argument out of range")                                                                       \
	X(17, REPEAT, "arguments to repeat with are malformed")                                                        \
	X(18, TARGET, "jump does not go forward, or beyond the end")                                                   \
	X(19, INSTRUCTION_RESERVED, "reserved field of the instruction is not 0")                                      \
	X(20, RELOCATION_KIND, "unknown kind of relocation")                                                           \
	X(21, RELOCATION_OFFSET, "relocation writes outside of the image")                                             \
	X(22, RELOCATION_SLOT, "slot of the relocation out of range")                                                  \
	X(23, RELOCATION_VALUE, "value of the relocation out of range")                                                \
	X(24, RELOCATION_RESERVED, "reserved field of the relocation is not 0")                                        \
	X(25, RELOCATION_ORDER, "relocations are not sorted")                                                          \
	X(26, UNREADABLE, "fd 3 is not a file that can be mapped") /* only the executable says this */

enum silt_reason {
	SILT_OK = 0,
#define SILT_REASON_NAME(number, name, text) SILT_BAD_##name = number,
	SILT_REASONS(SILT_REASON_NAME)
#undef SILT_REASON_NAME
};

/*
 * Checks a whole program before any of it runs. Linear in the size of instructions and relocations; the image is not
 * looked at. `where` receives the index of the instruction (reasons 11–19) or relocation (20–25) that is at fault.
 */
enum silt_reason silt_check(const void *program, uint64_t size, uint32_t *where);

/*
 * Runs a program that silt_check accepted, in place: relocations and the kernel write to its image. `slots` has room
 * for the header's number of slots; they are set to 0 first. Returns -1 after the last instruction, else the index of
 * the instruction that failed, with its errno in `error`.
 *
 * After a program's fork or clone without CLONE_VM, both processes return from here: all state is in `program`, `slots`
 * and this stack. With CLONE_VM two processes would share that state, so programs do not use it.
 */
int32_t silt_run(void *program, int64_t *slots, uint32_t *error);

#endif
