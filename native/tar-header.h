/*
 * Headers of tar entries like most: files, directories, symbolic and hard links in ustar and GNU's blocks, perhaps with one pax header
 * in front that says nothing but times and names. An archive is a stranger's. So this accepts what is exactly as usual, in which it agrees with the
 * reader of all archives (sandbox/archive/reader), and takes anything else for another kind of entry, which is that one's to read or to refuse.
 */
#ifndef SILT_TAR_HEADER_H
#define SILT_TAR_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SILT_TAR_BLOCK 512u
/* All headers of one entry are at most so many bytes. */
#define SILT_TAR_HEADERS_MAX (10u * SILT_TAR_BLOCK)
/* Bytes of a path below the root, and of where a symbolic link leads. */
#define SILT_TAR_PATH_MAX 1023u
#define SILT_TAR_TARGET_MAX 4095u

enum silt_tar_type { SILT_TAR_FILE = '0', SILT_TAR_HARDLINK = '1', SILT_TAR_SYMLINK = '2', SILT_TAR_DIRECTORY = '5' };

/* Bytes without a NUL among or behind them. */
struct silt_tar_text {
	const uint8_t *bytes;
	uint32_t length;
};

/* A path below the root: components of 1 to 255 bytes that are neither `.` nor `..`, and a slash between two of them. */
struct silt_tar_path {
	struct silt_tar_text directory; /* all but the last component; nothing for what is in the root */
	struct silt_tar_text base;
	uint32_t depth; /* components */
	bool dotted; /* the archive has `./` before it */
};

struct silt_tar_entry {
	enum silt_tar_type type;
	struct silt_tar_path path;
	struct silt_tar_path target; /* of a hard link */
	struct silt_tar_text leads_to; /* of a symbolic link; not empty */
	bool slashed; /* the archive has a slash behind the path */
	uint32_t mode; /* without bits beyond 07777 */
	uint32_t uid, gid;
	int64_t seconds;
	uint32_t nanoseconds;
	uint64_t size; /* of a file's contents, which follow the headers, as everything else has none */
	uint32_t headers; /* bytes of all headers */
	/* The path that a ustar block has in two pieces. */
	uint8_t joined[256];
};

/*
 * Reads the headers at the beginning of so many bytes. False when they are others, wrong, or not all there; then nothing in `entry` means
 * anything. Its texts are in the bytes or in itself: it cannot be copied, and the bytes must stay.
 */
bool silt_tar_read(const uint8_t *bytes, size_t length, struct silt_tar_entry *entry);

#endif
