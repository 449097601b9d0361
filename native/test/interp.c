/* Unit tests of the interpreter's core, with system calls that a test answers itself. Prints TAP. */
#include "build.h"

#include "raw.h"

#include <stdbool.h>
#include <stdio.h>

/* --- the system calls of a test: a script of results, and a record of what was asked --- */

struct call {
	uint64_t number, a[6];
};
static struct call calls[64];
static uint32_t call_count;
static int64_t results[64];
static uint32_t result_count;

int64_t silt_syscall(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	if (call_count >= 64 || call_count >= result_count)
		abort();
	calls[call_count] = (struct call){ number, { a, b, c, d, e, f } };
	return results[call_count++];
}

#define RESULTS(...)                                                                                                   \
	do {                                                                                                           \
		static const int64_t list[] = { __VA_ARGS__ };                                                         \
		memcpy(results, list, sizeof list);                                                                    \
		result_count = sizeof list / sizeof *list;                                                             \
		call_count = 0;                                                                                        \
	} while (0)

/* --- assertions --- */

static uint32_t failures;

static void expect_equal(int64_t got, int64_t want, const char *what, int line)
{
	if (got == want)
		return;
	printf("# line %d: %s is %lld, not %lld\n", line, what, (long long)got, (long long)want);
	failures++;
}
#define EXPECT(got, want) expect_equal((int64_t)(got), (int64_t)(want), #got, __LINE__)

/* --- check --- */

typedef void mutate(struct program *p);

/* A program that uses every feature once; each refusal below is one change to it. */
static struct program build_rich(void)
{
	struct program p = build(4, 4, 64, 2);

	p.code[0].number = 1;
	p.code[0].slot = 0;
	p.code[0].flags = SILT_REPEAT;
	p.code[0].target = 2 | 2 << 3 | 4 << 6;
	p.code[0].tolerated_count = 1;
	p.code[0].tolerated[0] = 4095;
	memcpy(p.code[0].kinds, (uint8_t[]){ 2, 1, 0, 4, 3, 1 }, 6);
	p.code[0].arguments[0] = 1;
	p.code[0].arguments[1] = 64;
	p.code[0].arguments[2] = ~0ULL;
	p.code[0].arguments[3] = 56;
	p.code[0].arguments[4] = 60;
	p.code[1].op = SILT_JUMP_IF_ZERO;
	p.code[1].slot = 1;
	p.code[1].target = 4;
	p.relocations[0] = (struct silt_relocation){ 56, SILT_RELOC_ADDRESS, 0, 64, 0 };
	p.relocations[1] = (struct silt_relocation){ 60, SILT_RELOC_SLOT32, 0, 0, 0 };
	p.relocations[2] = (struct silt_relocation){ 56, SILT_RELOC_SLOT64, 1, 0, 0 };
	p.relocations[3] = (struct silt_relocation){ 44, SILT_RELOC_DECIMAL, 1, 20, 0 };
	return p;
}

#define MUTATION(name, change)                                                                                         \
	static void name(struct program *p)                                                                            \
	{                                                                                                              \
		change;                                                                                                \
	}

MUTATION(nothing, (void)p)
MUTATION(magic, p->header->magic++)
MUTATION(version, p->header->version = 2)
MUTATION(machine, p->header->machine = 3)
MUTATION(no_instructions, p->header->instructions = 0)
MUTATION(many_instructions, p->header->instructions = 65536)
MUTATION(many_relocations, p->header->relocations = 1048577)
MUTATION(large_image, p->header->image_size = (64u << 20) + 1)
MUTATION(many_slots, p->header->slots = 257)
MUTATION(header_zero, p->header->zero = 1)
MUTATION(header_zero2, p->header->zero2 = 1)
MUTATION(size_field, p->header->size--)
MUTATION(longer_image, p->header->image_size++)
MUTATION(more_relocations, p->header->relocations++)
MUTATION(overflowing_sizes, p->header->relocations = 1048576; p->header->instructions = 65535)
MUTATION(op, p->code[2].op = 3)
MUTATION(slot, p->code[0].slot = 2)
MUTATION(jump_slot, p->code[1].slot = SILT_NO_SLOT)
MUTATION(flags, p->code[0].flags |= 16)
MUTATION(tolerated_count, p->code[0].tolerated_count = 5)
MUTATION(tolerated_zero, p->code[0].tolerated_count = 2)
MUTATION(tolerated_large, p->code[0].tolerated[0] = 4096)
MUTATION(tolerated_unused, p->code[0].tolerated[3] = 1)
MUTATION(kind, p->code[0].kinds[5] = 5)
MUTATION(address_far, p->code[0].arguments[1] = 65)
MUTATION(address_huge, p->code[0].arguments[1] = ~0ULL)
MUTATION(argument_slot, p->code[0].arguments[0] = 2)
MUTATION(word64_far, p->code[0].arguments[3] = 57)
MUTATION(word32_far, p->code[0].arguments[4] = 61)
MUTATION(repeat_count, p->code[0].target = 6)
MUTATION(repeat_buffer, p->code[0].target = 2 | 7 << 3)
MUTATION(repeat_offset, p->code[0].target = 2 | 7 << 6)
MUTATION(repeat_bits, p->code[0].target |= 1 << 9)
MUTATION(repeat_count_is_buffer, p->code[0].target = 2 | 3 << 3)
MUTATION(repeat_count_is_offset, p->code[0].target = 2 | 3 << 6)
MUTATION(repeat_buffer_is_offset, p->code[0].target = 2 | 4 << 3 | 4 << 6)
MUTATION(target_back, p->code[1].target = 0)
MUTATION(target_self, p->code[1].target = 1)
MUTATION(target_far, p->code[1].target = 5)
MUTATION(call_target, p->code[0].flags = 0)
MUTATION(jump_number, p->code[1].number = 1)
MUTATION(jump_flags, p->code[1].flags = SILT_RETRY)
MUTATION(jump_tolerated_count, p->code[1].tolerated_count = 1)
MUTATION(jump_tolerated, p->code[1].tolerated[2] = 1)
MUTATION(jump_kind, p->code[1].kinds[3] = 1)
MUTATION(jump_argument, p->code[1].arguments[5] = 1)
MUTATION(reloc_kind_zero, p->relocations[0].kind = 0)
MUTATION(reloc_kind_five, p->relocations[3].kind = 5)
MUTATION(reloc_address_offset, p->relocations[0].offset = 57)
MUTATION(reloc_slot32_offset, p->relocations[1].offset = 61)
MUTATION(reloc_slot64_offset, p->relocations[2].offset = 57)
MUTATION(reloc_decimal_offset, p->relocations[3].offset = 45)
MUTATION(reloc_offset_huge, p->relocations[0].offset = ~0u)
MUTATION(reloc_address_slot, p->relocations[0].slot = 1)
MUTATION(reloc_slot_far, p->relocations[2].slot = 2)
MUTATION(reloc_address_value, p->relocations[0].value = 65)
MUTATION(reloc_slot_value, p->relocations[1].value = 1)
MUTATION(reloc_width_zero, p->relocations[3].value = 0)
MUTATION(reloc_width_large, p->relocations[3].value = 21; p->relocations[3].offset = 0)
MUTATION(reloc_zero, p->relocations[2].zero = 1)
MUTATION(reloc_unsorted, p->relocations[1].slot = 1; p->relocations[2].slot = 0)
MUTATION(reloc_address_late, p->relocations[3] = p->relocations[0])

static const struct refusal {
	const char *name;
	mutate *change;
	enum silt_reason reason;
	uint32_t where;
} refusals[] = {
	{ "a program with every feature is accepted", nothing, SILT_OK, 3 },
	{ "magic", magic, SILT_BAD_MAGIC, 0 },
	{ "version", version, SILT_BAD_VERSION, 0 },
	{ "machine", machine, SILT_BAD_MACHINE, 0 },
	{ "no instructions", no_instructions, SILT_BAD_INSTRUCTIONS, 0 },
	{ "too many instructions", many_instructions, SILT_BAD_INSTRUCTIONS, 0 },
	{ "too many relocations", many_relocations, SILT_BAD_RELOCATIONS, 0 },
	{ "image too large", large_image, SILT_BAD_IMAGE, 0 },
	{ "too many slots", many_slots, SILT_BAD_SLOTS, 0 },
	{ "reserved u16 of the header", header_zero, SILT_BAD_HEADER_RESERVED, 0 },
	{ "reserved u32 of the header", header_zero2, SILT_BAD_HEADER_RESERVED, 0 },
	{ "size field too small", size_field, SILT_BAD_SIZE, 0 },
	{ "image longer than the file", longer_image, SILT_BAD_SIZE, 0 },
	{ "one relocation too many", more_relocations, SILT_BAD_SIZE, 0 },
	{ "largest counts in a small file", overflowing_sizes, SILT_BAD_SIZE, 0 },
	{ "unknown op", op, SILT_BAD_OP, 2 },
	{ "result slot out of range", slot, SILT_BAD_SLOT, 0 },
	{ "jump without slot", jump_slot, SILT_BAD_SLOT, 1 },
	{ "unknown flag", flags, SILT_BAD_FLAGS, 0 },
	{ "five tolerated errnos", tolerated_count, SILT_BAD_TOLERATED, 0 },
	{ "tolerated errno 0", tolerated_zero, SILT_BAD_TOLERATED, 0 },
	{ "tolerated errno 4096", tolerated_large, SILT_BAD_TOLERATED, 0 },
	{ "unused tolerated errno is not 0", tolerated_unused, SILT_BAD_TOLERATED, 0 },
	{ "unknown kind of argument", kind, SILT_BAD_ARGUMENT_KIND, 0 },
	{ "address beyond the image", address_far, SILT_BAD_ARGUMENT, 0 },
	{ "address of 64 bits", address_huge, SILT_BAD_ARGUMENT, 0 },
	{ "argument slot out of range", argument_slot, SILT_BAD_ARGUMENT, 0 },
	{ "64-bit word across the end", word64_far, SILT_BAD_ARGUMENT, 0 },
	{ "32-bit word across the end", word32_far, SILT_BAD_ARGUMENT, 0 },
	{ "repeat: count argument 6", repeat_count, SILT_BAD_REPEAT, 0 },
	{ "repeat: buffer argument 6", repeat_buffer, SILT_BAD_REPEAT, 0 },
	{ "repeat: offset argument 6", repeat_offset, SILT_BAD_REPEAT, 0 },
	{ "repeat: further bits", repeat_bits, SILT_BAD_REPEAT, 0 },
	{ "repeat: count is the buffer", repeat_count_is_buffer, SILT_BAD_REPEAT, 0 },
	{ "repeat: count is the offset", repeat_count_is_offset, SILT_BAD_REPEAT, 0 },
	{ "repeat: buffer is the offset", repeat_buffer_is_offset, SILT_BAD_REPEAT, 0 },
	{ "jump to the start", target_back, SILT_BAD_TARGET, 1 },
	{ "jump to itself", target_self, SILT_BAD_TARGET, 1 },
	{ "jump beyond the end", target_far, SILT_BAD_TARGET, 1 },
	{ "call with a target", call_target, SILT_BAD_INSTRUCTION_RESERVED, 0 },
	{ "jump with a number", jump_number, SILT_BAD_INSTRUCTION_RESERVED, 1 },
	{ "jump with flags", jump_flags, SILT_BAD_INSTRUCTION_RESERVED, 1 },
	{ "jump with a count of errnos", jump_tolerated_count, SILT_BAD_INSTRUCTION_RESERVED, 1 },
	{ "jump with errnos", jump_tolerated, SILT_BAD_INSTRUCTION_RESERVED, 1 },
	{ "jump with a kind", jump_kind, SILT_BAD_INSTRUCTION_RESERVED, 1 },
	{ "jump with an argument", jump_argument, SILT_BAD_INSTRUCTION_RESERVED, 1 },
	{ "relocation kind 0", reloc_kind_zero, SILT_BAD_RELOCATION_KIND, 0 },
	{ "relocation kind 5", reloc_kind_five, SILT_BAD_RELOCATION_KIND, 3 },
	{ "address written across the end", reloc_address_offset, SILT_BAD_RELOCATION_OFFSET, 0 },
	{ "32-bit slot written across the end", reloc_slot32_offset, SILT_BAD_RELOCATION_OFFSET, 1 },
	{ "64-bit slot written across the end", reloc_slot64_offset, SILT_BAD_RELOCATION_OFFSET, 2 },
	{ "decimal slot written across the end", reloc_decimal_offset, SILT_BAD_RELOCATION_OFFSET, 3 },
	{ "relocation offset of 32 bits", reloc_offset_huge, SILT_BAD_RELOCATION_OFFSET, 0 },
	{ "address relocation with a slot", reloc_address_slot, SILT_BAD_RELOCATION_SLOT, 0 },
	{ "relocation slot out of range", reloc_slot_far, SILT_BAD_RELOCATION_SLOT, 2 },
	{ "address of a byte beyond the image", reloc_address_value, SILT_BAD_RELOCATION_VALUE, 0 },
	{ "slot relocation with a value", reloc_slot_value, SILT_BAD_RELOCATION_VALUE, 1 },
	{ "decimal of no width", reloc_width_zero, SILT_BAD_RELOCATION_VALUE, 3 },
	{ "decimal of 21 characters", reloc_width_large, SILT_BAD_RELOCATION_VALUE, 3 },
	{ "reserved u32 of a relocation", reloc_zero, SILT_BAD_RELOCATION_RESERVED, 2 },
	{ "relocations not sorted by slot", reloc_unsorted, SILT_BAD_RELOCATION_ORDER, 2 },
	{ "address relocation after a slot's", reloc_address_late, SILT_BAD_RELOCATION_ORDER, 3 },
};

static void test_refusal(const struct refusal *refusal)
{
	struct program p = build_rich();
	uint32_t where = 99;

	refusal->change(&p);
	EXPECT(silt_check(p.bytes, p.size, &where), refusal->reason);
	EXPECT(where, refusal->where);
	free(p.bytes);
}

/* Every shorter file is refused, and nothing beyond its end is read. */
static void test_truncated(void)
{
	struct program p = build_rich();
	uint32_t where;

	for (uint32_t size = 0; size < p.size; size++) {
		uint8_t *cut = malloc(size + 1) /* malloc(0) may be NULL */, *end = cut + 1;
		memcpy(end, p.bytes, size);
		EXPECT(silt_check(end, size, &where), size < 32 ? SILT_BAD_SHORT : SILT_BAD_SIZE);
		free(cut);
	}
	free(p.bytes);
}

/* --- run --- */

static int64_t slots[8];
static uint32_t error;

/* Checks and runs; the tests are of programs that are accepted. */
static int32_t run(struct program *p)
{
	uint32_t where;

	memset(slots, 0x55, sizeof slots);
	error = 0;
	EXPECT(silt_check(p->bytes, p->size, &where), SILT_OK);
	return silt_run(p->bytes, slots, &error);
}

static void test_arguments(void)
{
	struct program p = build(2, 1, 32, 2);

	p.code[0].number = 7;
	p.code[0].slot = 1;
	p.code[1].number = 8;
	memcpy(p.code[1].kinds, (uint8_t[]){ 0, 1, 2, 3, 4, 2 }, 6);
	memcpy(p.code[1].arguments, (uint64_t[]){ ~1ULL, 32, 1, 1, 9, 0 }, 48);
	memcpy(p.image + 1, (int32_t[]){ -2 }, 4);
	p.relocations[0] = (struct silt_relocation){ 9, SILT_RELOC_ADDRESS, 0, 5, 0 };
	RESULTS(123, 0);
	EXPECT(run(&p), -1);
	EXPECT(call_count, 2);
	EXPECT(calls[1].number, 8);
	EXPECT(calls[1].a[0], -2);
	EXPECT(calls[1].a[1], (uintptr_t)p.image + 32);
	EXPECT(calls[1].a[2], 123);
	EXPECT(calls[1].a[3], -2);
	EXPECT(calls[1].a[4], (uintptr_t)p.image + 5);
	EXPECT(calls[1].a[5], 0);
	EXPECT(slots[0], 0);
	EXPECT(slots[1], 123);
	free(p.bytes);
}

static void test_failure_ends(void)
{
	struct program p = build(3, 0, 0, 1);

	p.code[1].slot = 0;
	RESULTS(0, -13);
	EXPECT(run(&p), 1);
	EXPECT(error, 13);
	EXPECT(call_count, 2);
	EXPECT(slots[0], 0);
	free(p.bytes);
}

static void test_error_range(void)
{
	struct program p = build(1, 0, 0, 1);

	p.code[0].slot = 0;
	RESULTS(-4096);
	EXPECT(run(&p), -1);
	EXPECT(slots[0], -4096);
	RESULTS(-4095);
	EXPECT(run(&p), 0);
	EXPECT(error, 4095);
	free(p.bytes);
}

static void test_tolerated(void)
{
	struct program p = build(2, 0, 0, 2);

	p.code[0].slot = 0;
	p.code[0].tolerated_count = 2;
	p.code[0].tolerated[0] = 2;
	p.code[0].tolerated[1] = 17;
	p.code[1].slot = 1;
	p.code[1].flags = SILT_TOLERATE_ALL;
	RESULTS(-17, -1);
	EXPECT(run(&p), -1);
	EXPECT(slots[0], -17);
	EXPECT(slots[1], -1);
	RESULTS(-18);
	EXPECT(run(&p), 0);
	EXPECT(error, 18);
	free(p.bytes);
}

static void test_retry(void)
{
	struct program p = build(1, 0, 0, 1);

	p.code[0].slot = 0;
	p.code[0].flags = SILT_RETRY | SILT_TOLERATE_ALL;
	RESULTS(-4, -4, 5);
	EXPECT(run(&p), -1);
	EXPECT(call_count, 3);
	EXPECT(slots[0], 5);
	p.code[0].flags = 0;
	RESULTS(-4);
	EXPECT(run(&p), 0);
	EXPECT(error, 4);
	free(p.bytes);
}

static void test_raced(void)
{
	struct program p = build(1, 0, 0, 1);

	p.code[0].slot = 0;
	p.code[0].flags = SILT_RACED;
	RESULTS(-11, -11, 5);
	EXPECT(run(&p), -1);
	EXPECT(call_count, 3);
	EXPECT(slots[0], 5);
	RESULTS(-4);
	EXPECT(run(&p), 0);
	EXPECT(error, 4);
	p.code[0].flags = SILT_RETRY;
	RESULTS(-11);
	EXPECT(run(&p), 0);
	EXPECT(error, 11);
	free(p.bytes);
}

/* pread-like: (fd, buffer, count, offset) */
static struct program build_repeat(uint64_t count)
{
	struct program p = build(1, 0, 64, 1);

	p.code[0].slot = 0;
	p.code[0].flags = SILT_REPEAT;
	p.code[0].target = 2 | 2 << 3 | 4 << 6;
	p.code[0].kinds[1] = SILT_ADDRESS;
	p.code[0].arguments[1] = 4;
	p.code[0].arguments[2] = count;
	p.code[0].arguments[3] = 1000;
	return p;
}

static void test_repeat(void)
{
	struct program p = build_repeat(60);

	RESULTS(10, -4, 20, 30);
	EXPECT(run(&p), -1);
	EXPECT(slots[0], 60);
	EXPECT(call_count, 4);
	for (uint32_t i = 0; i < 4; i++) {
		static const uint64_t done[] = { 0, 10, 10, 30 };
		EXPECT(calls[i].a[0], 0);
		EXPECT(calls[i].a[1], (uintptr_t)p.image + 4 + done[i]);
		EXPECT(calls[i].a[2], 60 - done[i]);
		EXPECT(calls[i].a[3], 1000 + done[i]);
	}
	/* The instruction itself is as it was. */
	RESULTS(60);
	EXPECT(run(&p), -1);
	EXPECT(slots[0], 60);
	free(p.bytes);
}

static void test_repeat_count_only(void)
{
	struct program p = build_repeat(9);

	p.code[0].target = 2;
	RESULTS(4, 5);
	EXPECT(run(&p), -1);
	EXPECT(calls[1].a[1], (uintptr_t)p.image + 4);
	EXPECT(calls[1].a[2], 5);
	EXPECT(calls[1].a[3], 1000);
	free(p.bytes);
}

static void test_repeat_end(void)
{
	struct program p = build_repeat(60);

	RESULTS(10, 0);
	EXPECT(run(&p), 0);
	EXPECT(error, 61);
	RESULTS(10, -5);
	EXPECT(run(&p), 0);
	EXPECT(error, 5);
	p.code[0].tolerated_count = 1;
	p.code[0].tolerated[0] = 61;
	RESULTS(10, 0);
	EXPECT(run(&p), -1);
	EXPECT(slots[0], -61);
	/* More than was asked for ends it as well. */
	RESULTS(61);
	EXPECT(run(&p), -1);
	EXPECT(slots[0], 61);
	free(p.bytes);
}

static void test_repeat_nothing(void)
{
	struct program p = build_repeat(0);

	RESULTS(99);
	EXPECT(run(&p), -1);
	EXPECT(call_count, 0);
	EXPECT(slots[0], 0);
	free(p.bytes);
}

static void test_jumps(void)
{
	struct program p = build(5, 0, 0, 2);

	p.code[0].slot = 0;
	p.code[1] = (struct silt_instruction){ .op = SILT_JUMP_IF_ZERO, .slot = 0, .target = 3 };
	p.code[2].number = 2;
	p.code[3] = (struct silt_instruction){ .op = SILT_JUMP_IF_NOT_ZERO, .slot = 0, .target = 5 };
	p.code[4].number = 4;
	RESULTS(0, 0);
	EXPECT(run(&p), -1);
	EXPECT(call_count, 2);
	EXPECT(calls[1].number, 4);
	RESULTS(-4096, 0);
	EXPECT(run(&p), -1);
	EXPECT(call_count, 2);
	EXPECT(calls[1].number, 2);
	free(p.bytes);
}

static void test_slot_relocations(void)
{
	struct program p = build(2, 4, 40, 4);

	p.code[0].slot = 1;
	p.code[1].slot = 3;
	p.relocations[0] = (struct silt_relocation){ 1, SILT_RELOC_SLOT32, 1, 0, 0 };
	p.relocations[1] = (struct silt_relocation){ 5, SILT_RELOC_SLOT64, 1, 0, 0 };
	p.relocations[2] = (struct silt_relocation){ 13, SILT_RELOC_DECIMAL, 1, 7, 0 };
	p.relocations[3] = (struct silt_relocation){ 20, SILT_RELOC_DECIMAL, 3, 20, 0 };
	memset(p.image, 'x', 40);
	RESULTS(1234567, INT64_MIN);
	EXPECT(run(&p), -1);
	EXPECT(memcmp(p.image, "x\x87\xd6\x12\0\x87\xd6\x12\0\0\0\0\0" "1234567" "-9223372036854775808", 40), 0);
	RESULTS(0, -4096);
	EXPECT(run(&p), -1);
	EXPECT(memcmp(p.image + 13, "//////0" "///////////////-4096", 27), 0);
	/* Slots that are not set write nothing: 0 at the start is not a setting. */
	memset(p.image, 'x', 40);
	RESULTS(-1);
	EXPECT(run(&p), 0);
	EXPECT(p.image[19], 'x');
	free(p.bytes);
}

static void test_decimal_too_narrow(void)
{
	struct program p = build(2, 1, 3, 1);

	p.code[1].slot = 0;
	p.relocations[0] = (struct silt_relocation){ 0, SILT_RELOC_DECIMAL, 0, 3, 0 };
	RESULTS(0, 1000);
	EXPECT(run(&p), 1);
	EXPECT(error, 75);
	RESULTS(0, 999);
	EXPECT(run(&p), -1);
	EXPECT(memcmp(p.image, "999", 3), 0);
	p.code[1].flags = SILT_TOLERATE_ALL;
	RESULTS(0, -100);
	EXPECT(run(&p), 1);
	EXPECT(error, 75);
	free(p.bytes);
}

/* The kernel's writes are seen by the calls that follow: pipe2 and then write to the new fd. */
static void test_words_are_read_late(void)
{
	struct program p = build(2, 1, 4, 1);

	p.code[0].slot = 0;
	p.code[1].kinds[0] = SILT_WORD32;
	p.relocations[0] = (struct silt_relocation){ 0, SILT_RELOC_SLOT32, 0, 0, 0 };
	RESULTS(-4096, 0);
	EXPECT(run(&p), -1);
	EXPECT(calls[1].a[0], -4096);
	free(p.bytes);
}

static const struct {
	const char *name;
	void (*test)(void);
} tests[] = {
	{ "check: every truncation is refused", test_truncated },
	{ "run: each kind of argument", test_arguments },
	{ "run: a failure ends the program", test_failure_ends },
	{ "run: -4095 is an error, -4096 a result", test_error_range },
	{ "run: tolerated errnos go into the slot", test_tolerated },
	{ "run: EINTR with and without retry", test_retry },
	{ "run: EAGAIN with and without raced", test_raced },
	{ "repeat: advances count, buffer and offset", test_repeat },
	{ "repeat: count alone", test_repeat_count_only },
	{ "repeat: 0 is ENODATA, errors end it", test_repeat_end },
	{ "repeat: a count of 0 makes no call", test_repeat_nothing },
	{ "run: both jumps, taken and not", test_jumps },
	{ "relocations: written each time a slot is set", test_slot_relocations },
	{ "relocations: a number that does not fit is EOVERFLOW", test_decimal_too_narrow },
	{ "run: words are read when the call is made", test_words_are_read_late },
};

static uint32_t number, failed;

static void report(const char *prefix, const char *name)
{
	printf("%sok %u - %s%s\n", failures ? "not " : "", ++number, prefix, name);
	failed += failures != 0;
	failures = 0;
}

int main(void)
{
	const uint32_t refusal_count = sizeof refusals / sizeof *refusals, test_count = sizeof tests / sizeof *tests;

	printf("1..%u\n", refusal_count + test_count);
	for (uint32_t i = 0; i < refusal_count; i++) {
		test_refusal(&refusals[i]);
		report("check: ", refusals[i].name);
	}
	for (uint32_t i = 0; i < test_count; i++) {
		tests[i].test();
		report("", tests[i].name);
	}
	printf("# passed %u failed %u\n", number - failed, failed);
	return failed != 0;
}
