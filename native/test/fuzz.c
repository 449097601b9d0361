/*
 * Mutates programs and runs those that silt_check accepts, under AddressSanitizer, with system calls that do nothing.
 * What it looks for: a read or write outside of the program, undefined behaviour, a program that does not end, a failing
 * index that there is not. Usage: test-fuzz SECONDS [SEED]. Prints TAP.
 */
#include "build.h"

#include "raw.h"

#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static uint64_t state;

/* xorshift64*; the run is repeated by its seed. */
static uint64_t next(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1dULL;
}
static uint64_t below(uint64_t limit)
{
	return limit ? next() % limit : 0;
}
static uint64_t interesting(void)
{
	static const uint64_t values[] = { 0, 1, 2, 3, 4, 7, 8, 20, 21, 0x7f, 0xff, 0x100, 0xffff, 0x7fffffff,
					   0x80000000, 0xffffffff, 0x100000000, ~0ULL, ~0ULL - 7, 1ULL << 63 };

	return values[below(sizeof values / sizeof *values)];
}

static uint32_t calls_made;
static uint64_t calls_total;

/* A program has at most 16 instructions here. Errors that a call repeats on, and short results, must come to an end. */
int64_t silt_syscall(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	(void)number, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f;
	calls_total++;
	if (calls_made++ > 200)
		return -5;
	switch (below(16)) {
	case 0:
		return -4;
	case 1:
		return -(int64_t)below(4097);
	case 2:
		return 0;
	case 3:
		return (int64_t)interesting();
	default:
		return (int64_t)below(40);
	}
}

static void random_call(struct program *p, struct silt_instruction *in)
{
	in->number = (uint16_t)next();
	in->slot = p->header->slots > 0 && below(4) ? (uint16_t)below(p->header->slots) : SILT_NO_SLOT;
	in->flags = (uint8_t)below(8);
	in->tolerated_count = (uint8_t)below(5);
	for (uint32_t i = 0; i < in->tolerated_count; i++)
		in->tolerated[i] = (uint16_t)(1 + below(40));
	if (in->flags & SILT_REPEAT)
		in->target = (uint16_t)(below(2) | (below(2) ? 3 << 3 : 0) | (below(2) ? 4 << 6 : 0));
	for (uint32_t i = 0; i < 6; i++) {
		uint64_t limit = p->header->image_size;
		in->kinds[i] = (uint8_t)below(5);
		if (in->kinds[i] == SILT_SLOT)
			limit = p->header->slots ? p->header->slots - 1u : 0;
		else if (in->kinds[i] >= SILT_WORD32)
			limit -= limit < 8 ? limit : 8;
		in->arguments[i] = in->kinds[i] == SILT_IMMEDIATE ? interesting() : below(2) ? limit : below(limit + 1);
	}
}

/* Valid, or nearly so: then the mutations below decide. */
static struct program generate(void)
{
	uint32_t instructions = 1 + (uint32_t)below(16), relocations = (uint32_t)below(8), slot = 0;
	struct program p = build(instructions, relocations, (uint32_t)below(200), (uint16_t)below(6));

	for (uint32_t i = 0; i < instructions; i++) {
		if (p.header->slots > 0 && below(5) == 0)
			p.code[i] = (struct silt_instruction){
				.op = (uint16_t)(1 + below(2)),
				.slot = (uint16_t)below(p.header->slots),
				.target = (uint16_t)(i + 1 + below(instructions - i)),
			};
		else
			random_call(&p, &p.code[i]);
	}
	for (uint32_t i = 0; i < relocations; i++) {
		struct silt_relocation *at = &p.relocations[i];
		at->kind = (uint16_t)(i < relocations / 2 ? 1 : 2 + below(3));
		if (at->kind != SILT_RELOC_ADDRESS) {
			slot += (uint32_t)below(2);
			at->slot = (uint16_t)slot;
		}
		if (at->kind == SILT_RELOC_ADDRESS)
			at->value = (uint32_t)below(p.header->image_size + 1);
		else if (at->kind == SILT_RELOC_DECIMAL)
			at->value = 1 + (uint32_t)below(20);
		uint32_t width = at->kind == SILT_RELOC_SLOT32 ? 4 : at->kind == SILT_RELOC_DECIMAL ? at->value : 8;
		uint32_t room = p.header->image_size > width ? p.header->image_size - width : 0;
		at->offset = below(2) ? room : (uint32_t)below(room + 1);
	}
	for (uint32_t i = 0; i < p.header->image_size; i++)
		p.image[i] = (uint8_t)next();
	return p;
}

/* Changes a bit, or one aligned field of 1, 2, 4 or 8 bytes. */
static void mutate(struct program *p)
{
	uint32_t width = 1u << below(4);
	uint32_t at = (uint32_t)below(p->size / width) * width;
	uint64_t value = below(2) ? interesting() : below(64);

	if (below(3) == 0)
		p->bytes[at] ^= (uint8_t)(1u << below(8));
	else
		memcpy(p->bytes + at, &value, width);
}

int main(int argc, char **argv)
{
	time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 60);
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL) << 16 ^ (uint64_t)getpid();
	uint64_t tried = 0, accepted = 0, failed = 0;
	uint32_t where, error;
	bool good = true;

	printf("1..2\n# seed %#llx\n", (unsigned long long)seed);
	fflush(stdout);
	state = seed | 1;
	while (good && ((tried & 1023) != 0 || time(NULL) < end)) {
		struct program p = generate();
		uint32_t size = below(50) ? p.size : (uint32_t)below(p.size);
		for (uint64_t n = below(4); n > 0; n--)
			mutate(&p);
		uint8_t *bytes = malloc(size ? size : 1);
		memcpy(bytes, p.bytes, size);
		free(p.bytes);
		calls_made = 0;
		tried++;
		alarm(10); /* a program that does not end kills the fuzzer */
		if (silt_check(bytes, size, &where) == SILT_OK) {
			uint32_t count = ((struct silt_header *)bytes)->instructions;
			int64_t *slots = malloc(sizeof *slots * ((struct silt_header *)bytes)->slots + 1);
			int32_t index = silt_run(bytes, slots, &error);
			free(slots);
			accepted++;
			failed += index >= 0;
			good = index >= -1 && index < (int64_t)count && (index < 0 || (error > 0 && error < 4096));
		}
		free(bytes);
	}
	printf("# programs %llu, accepted %llu, of these failed %llu, calls %llu\n", (unsigned long long)tried,
	       (unsigned long long)accepted, (unsigned long long)failed, (unsigned long long)calls_total);
	printf("%sok 1 - accepted programs end within bounds\n", good ? "" : "not ");
	bool useful = accepted > tried / 50 && accepted < tried && failed > 0 && failed < accepted;
	printf("%sok 2 - programs were accepted and refused, ended and failed\n", useful ? "" : "not ");
	printf("# passed %d failed %d\n", good + useful, 2 - good - useful);
	return !(good && useful);
}
