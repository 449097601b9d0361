/* The names in a directory, sorted by their bytes. */
#ifndef SILT_NAMES_H
#define SILT_NAMES_H

#include <stdint.h>

struct silt_names {
	/* Where names go, and where each of them is: one byte for its type (DT_*), one for its length, its bytes, and a NUL. */
	uint8_t *bytes;
	uint32_t *places;
	uint32_t bytes_size, places_size;
	/* How much of both is in use; advanced. */
	uint32_t bytes_used, places_used;
};

/*
 * Reads a directory from its beginning, without `.` and `..`. Returns 0, or a positive errno: EOVERFLOW when there is not enough room, and
 * then it can be read again into more.
 */
int silt_read_names(int directory, struct silt_names *names);

#endif
