/* Writes a part of an archive: bytes in memory, and contents of files between them. */
#ifndef SILT_ARCHIVE_PART_H
#define SILT_ARCHIVE_PART_H

#include <stdint.h>

/* A file whose first `size` bytes belong between what is in memory in front of `at` and what is there from it on. In an array of numbers that JavaScript has, too. */
struct silt_archive_send {
	int32_t fd;
	uint32_t at;
	uint32_t size;
};
#define SILT_ARCHIVE_SEND_NUMBERS (sizeof(struct silt_archive_send) / sizeof(uint32_t))

struct silt_archive_part {
	int out; /* at its offset */
	const uint8_t *bytes;
	uint32_t size;
	/* In order of their places. */
	const struct silt_archive_send *sends;
	uint32_t send_count;
	/* Results: how many files were sent, and closed; how much of the next one was; how much of the bytes was written; and 0, or why that is not all. */
	uint32_t sent, moved, written;
	int error; /* ENODATA: the next file is shorter */
};

void silt_archive_write(struct silt_archive_part *part);

#endif
