/*
 * Headers of tar entries that are like most: with an ASCII name that a ustar header has room for, ids and times that its fields hold, and
 * no extended attributes. What is different in any way is left to TypeScript (sandbox/archive/pack/headers.ts), which can write every header. It knows
 * nothing of archives but what such an entry's bytes are, and parses nothing.
 */
#ifndef SILT_PLAIN_HEADERS_H
#define SILT_PLAIN_HEADERS_H

#include <stdint.h>

#define SILT_PLAIN_BLOCK 512u
/* Bytes of a name, of which there are fewer in front of a pax header's. */
#define SILT_PLAIN_NAME_MAX 100u

/* What the headers of an entry say besides its name. */
struct silt_plain_fields {
	char type;
	uint32_t mode, uid, gid;
	uint64_t size;
	int64_t seconds;
	uint32_t nanoseconds;
	/* Where a symbolic link leads; no bytes for anything else. */
	const uint8_t *target;
	uint32_t target_length;
};
/* Those that are numbers. */
#define SILT_PLAIN_FIELDS 7

/* The most that silt_plain_headers writes: a pax header, its record of the time, the entry's own header. */
#define SILT_PLAIN_HEADERS_MAX (3 * 512)

/*
 * Writes the headers of the entry `name`, which begins with `./` (a directory's ends in a slash). Returns how many bytes they are;
 * 0, and nothing of use is written, when a header of this kind cannot say it.
 */
uint32_t silt_plain_headers(uint8_t *out, const uint8_t *name, uint32_t length, const struct silt_plain_fields *fields);

#endif
