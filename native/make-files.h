/*
 * Makes files, directories and symbolic links of which there are records, for archives that are unpacked (sandbox/archive/unpack). It knows
 * nothing of archives: TypeScript has read the headers, and says what is to be made with numbers and names in memory that is its
 * own. What is not as ordinary as that is left to TypeScript; what fails is reported, and nothing is tried twice.
 *
 * Two threads may work on one job. Names are made and directories closed one after the other, in the order of the records; what is
 * then done to a file that is open, by its fd, is done side by side.
 */
#ifndef SILT_MAKE_FILES_H
#define SILT_MAKE_FILES_H

#include <pthread.h>
#include <stdint.h>

enum silt_make_kind {
	SILT_MAKE_FILE,
	SILT_MAKE_DIRECTORY, /* and opens it: its fd goes to `opened` */
	SILT_MAKE_SYMLINK,
	SILT_MAKE_CLOSED, /* gives the directory what it is to have, and closes it */
};

/* What is to be set. */
enum { SILT_MAKE_OWNER = 1, SILT_MAKE_MODE = 2, SILT_MAKE_TIME = 4 };
/* A file's contents are in the archive, not in `data`. */
#define SILT_MAKE_MOVED 8

struct silt_make_record {
	uint32_t kind, set;
	uint32_t directory; /* the index of the directory that it is in, or that is to be closed */
	uint32_t name; /* a place in `names`: one component, a NUL behind it */
	uint32_t other; /* in `names`, where a symbolic link leads; the index that a new directory gets */
	uint32_t mode, uid, gid;
	int64_t seconds;
	uint32_t nanoseconds, zero;
	uint64_t size; /* of the contents */
	int64_t contents; /* where they begin, in `data` or the archive */
};
_Static_assert(sizeof(struct silt_make_record) == 64, "as TypeScript writes it");

/* What was being done when a record failed; TypeScript has the phrases (sandbox/archive/unpack/maker.ts). */
enum silt_make_step {
	SILT_MAKE_CREATING,
	SILT_MAKE_WRITING,
	SILT_MAKE_OWNING,
	SILT_MAKE_SETTING_MODE,
	SILT_MAKE_SETTING_TIME,
	SILT_MAKE_RECORD, /* the record says what cannot be: a mistake of the caller's */
};

struct silt_make_job {
	const struct silt_make_record *records;
	const uint8_t *names;
	uint64_t names_size;
	const uint8_t *data;
	uint64_t data_size;
	int32_t *directories; /* fds of the directories, -1 where there is none */
	uint32_t directory_count;
	int archive;
	pthread_mutex_t lock;
	/* Under the lock: the next record, and behind the last one that is to be made. */
	uint32_t next, end;
	/* Of the first record that failed, when `error` is not 0. */
	uint32_t failed;
	enum silt_make_step step;
	int error;
};

/* Works on the job until there is no record left, or one has failed. Fds other than those of `directories` are closed then. */
void silt_make_files(struct silt_make_job *job);

#endif
