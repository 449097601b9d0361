/*
 * Tar entries of files that are like most: regular, with one name, no extended attributes and no holes, an ASCII name that a ustar
 * header has room for, ids and times that its fields hold; of such symbolic links, and of such directories. What is different in any way is left to TypeScript (sandbox/archive/pack),
 * which can write every entry; so nothing here needs to report an error. It knows nothing of archives but what such an entry's
 * bytes are, and parses nothing.
 */
#ifndef SILT_PLAIN_FILES_H
#define SILT_PLAIN_FILES_H

#include <stdint.h>

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

/* `size` ids from `host` on are the container's from `container` on. */
struct silt_id_range {
	uint32_t container, host, size;
};

struct silt_plain_files {
	int directory; /* its fd */
	/* Its name as the archive has it, `./a/`. */
	const uint8_t *prefix;
	uint32_t prefix_length;
	/* Names in it: at each place in `names` the DT_* of a file or symbolic link, a byte for the length, so many bytes, and a NUL. */
	const uint8_t *names;
	uint64_t names_size;
	const uint32_t *places;
	uint32_t count;
	/* A file of an id that is in none of the ranges is not plain. */
	const struct silt_id_range *uids, *gids;
	uint32_t uid_ranges, gid_ranges;
	/* Contents larger than this are left to the caller. */
	uint32_t largest;
	/* Where the entries go. */
	uint8_t *out;
	uint32_t room;
	/* Results: of the names, how many were dealt with, and the bytes that were written. */
	uint32_t done, used;
};

enum silt_plain_end {
	SILT_PLAIN_ALL, /* all of them */
	SILT_PLAIN_ROOM, /* the next one has no room */
	SILT_PLAIN_OTHER, /* the next one is different, or cannot be read */
};

enum silt_plain_end silt_plain_files(struct silt_plain_files *job);

/*
 * Opens the first of the names, a directory without extended attributes, and writes its entry. Returns its fd, which is the caller's; -1 and
 * nothing is written when it is different, cannot be read, or has no room.
 */
int silt_plain_directory(struct silt_plain_files *job);

#endif
