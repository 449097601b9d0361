/*
 * Applies entries like most (tar-header.h) of an archive to a directory, one after the other, until one is different in any way: its
 * headers are unusual, its name is taken, a directory that it is in is not there or needs care. That one is left to TypeScript
 * (sandbox/archive/unpack), which can apply every entry; what stands before it has been applied whole, and nothing is remembered of it.
 *
 * Two threads may work on one job. They take turns at reading headers and making names, in the archive's order; the files of a turn
 * are filled by who has had it while the other has the next.
 */
#ifndef SILT_UNPACK_PLAIN_H
#define SILT_UNPACK_PLAIN_H

#include "unpack-directories.h"

#include <pthread.h>

/* Of contents up to this size many are written together; larger ones are moved from the archive. */
#define SILT_UNPACK_SMALL (64u << 10)
/* How much of the archive is read at first, and behind something large, whose neighbour may be large, too. */
#define SILT_UNPACK_READ_LEAST (32u << 10)

struct silt_unpack_job {
	/* The archive: a file of this size, or, if `archive` is -1, bytes from `offset` up to `size` that are in memory. */
	int archive;
	const uint8_t *memory;
	uint64_t size;
	/* Entries that begin here or later are not begun. */
	uint64_t end;
	/* Most entries, and bytes of all their contents, and components of a path. */
	uint64_t entries_left, bytes_left;
	uint32_t depth;
	/* The ids of whoever makes things, which they have without being given away. */
	uint32_t uid, gid;

	pthread_mutex_t lock;
	/* Under the lock. At the end: where the first entry begins that was not applied. */
	uint64_t offset;
	uint64_t memory_from; /* the archive's offset of `memory` */
	uint64_t entries, bytes; /* that were applied */
	bool stopped;
	uint32_t read_size; /* SILT_UNPACK_READ_LEAST at first */
	struct silt_unpack_tree tree; /* its root and nothing else at first */
};

/* Works on the job until there is nothing left to do in it. Any number of threads. */
void silt_unpack_work(struct silt_unpack_job *job);
/* Gives all directories what they are to have, and closes them: once, when all threads are done. */
void silt_unpack_end(struct silt_unpack_job *job);

#endif
