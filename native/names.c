#define _GNU_SOURCE
#include "names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* getdents64(2) */
struct entry {
	uint64_t inode;
	int64_t offset;
	uint16_t size;
	uint8_t type;
	char name[];
};

static int add(struct silt_names *names, const struct entry *entry)
{
	/* A filesystem may say that it has longer ones than Linux allows in a path. */
	size_t length = strnlen(entry->name, 256);
	uint8_t *at = names->bytes + names->bytes_used;

	if (entry->name[0] == '.' && (length == 1 || (length == 2 && entry->name[1] == '.')))
		return 0;
	if (length == 0 || length > 255)
		return EIO;
	if (length + 3 > names->bytes_size - names->bytes_used || names->places_used == names->places_size)
		return EOVERFLOW;
	at[0] = entry->type;
	at[1] = (uint8_t)length;
	memcpy(at + 2, entry->name, length + 1);
	names->places[names->places_used++] = names->bytes_used;
	names->bytes_used += (uint32_t)length + 3;
	return 0;
}

static int compare(const void *a, const void *b, void *bytes)
{
	const uint8_t *left = (const uint8_t *)bytes + *(const uint32_t *)a + 1;
	const uint8_t *right = (const uint8_t *)bytes + *(const uint32_t *)b + 1;
	int order = memcmp(left + 1, right + 1, *left < *right ? *left : *right);

	return order != 0 ? order : *left - *right;
}

int silt_read_names(int directory, struct silt_names *names)
{
	_Alignas(struct entry) char buffer[32768];
	uint32_t first = names->places_used;

	if (lseek(directory, 0, SEEK_SET) < 0)
		return errno;
	for (;;) {
		long count = syscall(SYS_getdents64, directory, buffer, sizeof buffer);
		if (count < 0)
			return errno;
		if (count == 0)
			break;
		for (long at = 0; at < count;) {
			const struct entry *entry = (const struct entry *)(buffer + at);
			int problem = add(names, entry);
			if (problem != 0)
				return problem;
			at += entry->size;
		}
	}
	qsort_r(names->places + first, names->places_used - first, sizeof *names->places, compare, names->bytes);
	return 0;
}
