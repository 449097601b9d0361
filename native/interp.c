#include "interp.h"
#include "raw.h"

/* asm-generic/errno*.h; the same on both machines. There is no <errno.h> here. */
#define EINTR 4
#define EAGAIN 11
/* How often a call that lost a race is made again: whoever races on purpose is not to keep a program for ever. */
#define SILT_MOST_RACES 1024
#define ENODATA 61
#define EOVERFLOW 75

typedef uint32_t unaligned_u32 __attribute__((aligned(1), may_alias));
typedef int32_t unaligned_i32 __attribute__((aligned(1), may_alias));
typedef uint64_t unaligned_u64 __attribute__((aligned(1), may_alias));

struct sections {
	const struct silt_instruction *code;
	const struct silt_relocation *relocations;
	uint8_t *image;
};

static struct sections find_sections(const struct silt_header *header)
{
	struct sections found;

	found.code = (const struct silt_instruction *)(header + 1);
	found.relocations = (const struct silt_relocation *)(found.code + header->instructions);
	found.image = (uint8_t *)(found.relocations + header->relocations);
	return found;
}

/* --- check --- */

static enum silt_reason check_header(const struct silt_header *header, uint64_t size)
{
	if (size < sizeof *header)
		return SILT_BAD_SHORT;
	if (header->magic != SILT_MAGIC)
		return SILT_BAD_MAGIC;
	if (header->version != SILT_VERSION)
		return SILT_BAD_VERSION;
	if (header->machine != SILT_MACHINE)
		return SILT_BAD_MACHINE;
	if (header->instructions < 1 || header->instructions > SILT_INSTRUCTIONS_MAX)
		return SILT_BAD_INSTRUCTIONS;
	if (header->relocations > SILT_RELOCATIONS_MAX)
		return SILT_BAD_RELOCATIONS;
	if (header->image_size > SILT_IMAGE_MAX)
		return SILT_BAD_IMAGE;
	if (header->slots > SILT_SLOTS_MAX)
		return SILT_BAD_SLOTS;
	if (header->zero != 0 || header->zero2 != 0)
		return SILT_BAD_HEADER_RESERVED;
	/* The limits above keep this sum far below 2^32. */
	uint64_t sum = sizeof *header + sizeof(struct silt_instruction) * (uint64_t)header->instructions +
		       sizeof(struct silt_relocation) * (uint64_t)header->relocations + header->image_size;
	if (header->size != sum || size != sum)
		return SILT_BAD_SIZE;
	return SILT_OK;
}

/* Is there room for `width` bytes at `offset` of the image? */
static int in_image(const struct silt_header *header, uint64_t offset, uint32_t width)
{
	return offset <= header->image_size && header->image_size - offset >= width;
}

static enum silt_reason check_tolerated(const struct silt_instruction *in)
{
	if (in->tolerated_count > 4)
		return SILT_BAD_TOLERATED;
	for (uint32_t i = 0; i < 4; i++) {
		uint16_t number = in->tolerated[i];
		if (i < in->tolerated_count ? number < 1 || number > 4095 : number != 0)
			return SILT_BAD_TOLERATED;
	}
	return SILT_OK;
}

static enum silt_reason check_repeat(uint32_t which)
{
	uint32_t count = (which & 7) + 1, buffer = which >> 3 & 7, offset = which >> 6;

	if (count > 6 || buffer > 6 || offset > 6)
		return SILT_BAD_REPEAT;
	/* An argument that both shrinks and grows would never reach 0. */
	if (count == buffer || count == offset || (buffer != 0 && buffer == offset))
		return SILT_BAD_REPEAT;
	return SILT_OK;
}

static enum silt_reason check_argument(const struct silt_header *header, uint8_t kind, uint64_t argument)
{
	switch (kind) {
	case SILT_IMMEDIATE:
		return SILT_OK;
	case SILT_ADDRESS:
		return in_image(header, argument, 0) ? SILT_OK : SILT_BAD_ARGUMENT;
	case SILT_SLOT:
		return argument < header->slots ? SILT_OK : SILT_BAD_ARGUMENT;
	case SILT_WORD32:
		return in_image(header, argument, 4) ? SILT_OK : SILT_BAD_ARGUMENT;
	case SILT_WORD64:
		return in_image(header, argument, 8) ? SILT_OK : SILT_BAD_ARGUMENT;
	default:
		return SILT_BAD_ARGUMENT_KIND;
	}
}

static enum silt_reason check_call(const struct silt_header *header, const struct silt_instruction *in)
{
	enum silt_reason reason = check_tolerated(in);

	if (reason != SILT_OK)
		return reason;
	if (in->flags & ~(SILT_REPEAT | SILT_TOLERATE_ALL | SILT_RETRY | SILT_RACED))
		return SILT_BAD_FLAGS;
	if (in->slot != SILT_NO_SLOT && in->slot >= header->slots)
		return SILT_BAD_SLOT;
	for (uint32_t i = 0; i < 6; i++) {
		reason = check_argument(header, in->kinds[i], in->arguments[i]);
		if (reason != SILT_OK)
			return reason;
	}
	if (in->flags & SILT_REPEAT)
		return check_repeat(in->target);
	return in->target == 0 ? SILT_OK : SILT_BAD_INSTRUCTION_RESERVED;
}

static enum silt_reason check_jump(const struct silt_header *header, const struct silt_instruction *in, uint32_t index)
{
	if (in->slot >= header->slots)
		return SILT_BAD_SLOT;
	if (in->target <= index || in->target > header->instructions)
		return SILT_BAD_TARGET;
	if (in->number != 0 || in->flags != 0 || in->tolerated_count != 0)
		return SILT_BAD_INSTRUCTION_RESERVED;
	for (uint32_t i = 0; i < 4; i++)
		if (in->tolerated[i] != 0)
			return SILT_BAD_INSTRUCTION_RESERVED;
	for (uint32_t i = 0; i < 6; i++)
		if (in->kinds[i] != 0 || in->arguments[i] != 0)
			return SILT_BAD_INSTRUCTION_RESERVED;
	return SILT_OK;
}

/* `order` is 0 while only kind 1 was seen, then the slot + 1 of the relocation before. */
static enum silt_reason check_relocation(const struct silt_header *header, const struct silt_relocation *at,
					 uint32_t *order)
{
	uint32_t width = at->kind == SILT_RELOC_SLOT32 ? 4 : at->kind == SILT_RELOC_DECIMAL ? at->value : 8;

	if (at->kind < SILT_RELOC_ADDRESS || at->kind > SILT_RELOC_DECIMAL)
		return SILT_BAD_RELOCATION_KIND;
	if (!in_image(header, at->offset, width))
		return SILT_BAD_RELOCATION_OFFSET;
	if (at->zero != 0)
		return SILT_BAD_RELOCATION_RESERVED;
	if (at->kind == SILT_RELOC_ADDRESS) {
		if (at->slot != 0)
			return SILT_BAD_RELOCATION_SLOT;
		if (!in_image(header, at->value, 0))
			return SILT_BAD_RELOCATION_VALUE;
		return *order == 0 ? SILT_OK : SILT_BAD_RELOCATION_ORDER;
	}
	if (at->slot >= header->slots)
		return SILT_BAD_RELOCATION_SLOT;
	if (at->kind == SILT_RELOC_DECIMAL ? at->value < 1 || at->value > 20 : at->value != 0)
		return SILT_BAD_RELOCATION_VALUE;
	if (at->slot + 1u < *order)
		return SILT_BAD_RELOCATION_ORDER;
	*order = at->slot + 1u;
	return SILT_OK;
}

enum silt_reason silt_check(const void *program, uint64_t size, uint32_t *where)
{
	const struct silt_header *header = program;
	enum silt_reason reason = check_header(header, size);

	*where = 0;
	if (reason != SILT_OK)
		return reason;

	struct sections at = find_sections(header);
	for (uint32_t i = 0; i < header->instructions; i++) {
		*where = i;
		switch (at.code[i].op) {
		case SILT_CALL:
			reason = check_call(header, &at.code[i]);
			break;
		case SILT_JUMP_IF_ZERO:
		case SILT_JUMP_IF_NOT_ZERO:
			reason = check_jump(header, &at.code[i], i);
			break;
		default:
			reason = SILT_BAD_OP;
		}
		if (reason != SILT_OK)
			return reason;
	}
	uint32_t order = 0;
	for (uint32_t i = 0; i < header->relocations; i++) {
		*where = i;
		reason = check_relocation(header, &at.relocations[i], &order);
		if (reason != SILT_OK)
			return reason;
	}
	return SILT_OK;
}

/* --- run --- */

struct running {
	struct sections at;
	int64_t *slots;
	/* The relocations of slot s are first[s] … first[s + 1] - 1. */
	uint32_t first[SILT_SLOTS_MAX + 1];
};

static void load(struct running *r, const struct silt_header *header, int64_t *slots)
{
	uint32_t slot_count = header->slots, relocation_count = header->relocations, i = 0;

	r->at = find_sections(header);
	r->slots = slots;
	for (; i < relocation_count && r->at.relocations[i].kind == SILT_RELOC_ADDRESS; i++) {
		const struct silt_relocation *reloc = &r->at.relocations[i];
		*(unaligned_u64 *)(r->at.image + reloc->offset) = (uintptr_t)(r->at.image + reloc->value);
	}
	for (uint32_t slot = 0; slot < slot_count; slot++) {
		slots[slot] = 0;
		r->first[slot] = i;
		while (i < relocation_count && r->at.relocations[i].slot == slot)
			i++;
	}
	r->first[slot_count] = i;
}

/* Writes `value` right-justified, padded with '/'. False when it does not fit: a cut number names something else. */
static int write_decimal(uint8_t *field, uint32_t width, int64_t value)
{
	uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

	do {
		if (width == 0)
			return 0;
		field[--width] = (uint8_t)('0' + rest % 10);
		rest /= 10;
	} while (rest != 0);
	if (value < 0) {
		if (width == 0)
			return 0;
		field[--width] = '-';
	}
	while (width > 0)
		field[--width] = '/';
	return 1;
}

static int set_slot(struct running *r, uint32_t slot, int64_t value)
{
	int fits = 1;

	r->slots[slot] = value;
	for (uint32_t i = r->first[slot]; i < r->first[slot + 1]; i++) {
		const struct silt_relocation *reloc = &r->at.relocations[i];
		uint8_t *field = r->at.image + reloc->offset;
		if (reloc->kind == SILT_RELOC_SLOT32)
			*(unaligned_u32 *)field = (uint32_t)value;
		else if (reloc->kind == SILT_RELOC_SLOT64)
			*(unaligned_u64 *)field = (uint64_t)value;
		else
			fits &= write_decimal(field, reloc->value, value);
	}
	return fits;
}

static uint64_t evaluate(const struct running *r, uint8_t kind, uint64_t argument)
{
	switch (kind) {
	case SILT_ADDRESS:
		return (uintptr_t)(r->at.image + argument);
	case SILT_SLOT:
		return (uint64_t)r->slots[argument];
	case SILT_WORD32:
		return (uint64_t)(int64_t) * (const unaligned_i32 *)(r->at.image + argument);
	case SILT_WORD64:
		return *(const unaligned_u64 *)(r->at.image + argument);
	default:
		return argument;
	}
}

static int64_t call_once(const struct silt_instruction *in, const uint64_t a[6])
{
	int raced = in->flags & SILT_RACED ? SILT_MOST_RACES : 0;
	int64_t result;

	do
		result = silt_syscall(in->number, a[0], a[1], a[2], a[3], a[4], a[5]);
	while ((result == -EINTR && (in->flags & (SILT_RETRY | SILT_REPEAT))) || (result == -EAGAIN && raced-- > 0));
	return result;
}

static int64_t call_repeatedly(const struct silt_instruction *in, uint64_t a[6])
{
	uint32_t buffer = in->target >> 3 & 7, offset = in->target >> 6;
	uint64_t *count = &a[in->target & 7];
	uint64_t total = 0;

	while (*count != 0) {
		int64_t result = call_once(in, a);
		uint64_t done = (uint64_t)result;
		if (silt_is_error(result))
			return result;
		if (done == 0)
			return -ENODATA;
		total += done;
		if (done >= *count)
			break;
		*count -= done;
		if (buffer != 0)
			a[buffer - 1] += done;
		if (offset != 0)
			a[offset - 1] += done;
	}
	return (int64_t)total;
}

static int tolerates(const struct silt_instruction *in, int64_t error)
{
	if (in->flags & SILT_TOLERATE_ALL)
		return 1;
	for (uint32_t i = 0; i < in->tolerated_count; i++)
		if (in->tolerated[i] == error)
			return 1;
	return 0;
}

int32_t silt_run(void *program, int64_t *slots, uint32_t *error)
{
	const struct silt_header *header = program;
	uint32_t count = header->instructions;
	struct running r;

	load(&r, header, slots);
	for (uint32_t i = 0; i < count;) {
		const struct silt_instruction *in = &r.at.code[i];
		if (in->op != SILT_CALL) {
			int taken = (slots[in->slot] == 0) == (in->op == SILT_JUMP_IF_ZERO);
			i = taken ? in->target : i + 1;
			continue;
		}
		uint64_t a[6];
		for (uint32_t k = 0; k < 6; k++)
			a[k] = evaluate(&r, in->kinds[k], in->arguments[k]);
		int64_t result = in->flags & SILT_REPEAT ? call_repeatedly(in, a) : call_once(in, a);
		if (silt_is_error(result) && !tolerates(in, -result)) {
			*error = (uint32_t)-result;
			return (int32_t)i;
		}
		if (in->slot != SILT_NO_SLOT && !set_slot(&r, in->slot, result)) {
			*error = EOVERFLOW;
			return (int32_t)i;
		}
		i++;
	}
	return -1;
}
