/* Builds programs in an exact-size heap block, so that AddressSanitizer sees a byte too far in either direction. */
#ifndef SILT_TEST_BUILD_H
#define SILT_TEST_BUILD_H

#include "interp.h"

#include <stdlib.h>
#include <string.h>

struct program {
	uint8_t *bytes;
	uint32_t size;
	struct silt_header *header;
	struct silt_instruction *code;
	struct silt_relocation *relocations;
	uint8_t *image;
};

/* A valid program of getpid-like calls (all zero, no slot); the caller fills in what it wants to be different. */
static inline struct program build(uint32_t instructions, uint32_t relocations, uint32_t image_size, uint16_t slots)
{
	struct program p;

	p.size = (uint32_t)(sizeof *p.header + instructions * sizeof *p.code + relocations * sizeof *p.relocations +
			    image_size);
	p.bytes = calloc(1, p.size);
	if (p.bytes == NULL)
		abort();
	p.header = (struct silt_header *)p.bytes;
	p.code = (struct silt_instruction *)(p.header + 1);
	p.relocations = (struct silt_relocation *)(p.code + instructions);
	p.image = (uint8_t *)(p.relocations + relocations);
	*p.header = (struct silt_header){ SILT_MAGIC, SILT_VERSION, SILT_MACHINE, instructions, relocations,
					  image_size, slots, 0, p.size, 0 };
	for (uint32_t i = 0; i < instructions; i++)
		p.code[i].slot = SILT_NO_SLOT;
	return p;
}

#endif
