/*
 * The tree that an archive's entries are applied to: the directories of it that are kept open, what they and the files in it are to have, and which of
 * the entries failed first. Under the lock of whoever makes it, all of it.
 */
#ifndef SILT_UNPACK_DIRECTORIES_H
#define SILT_UNPACK_DIRECTORIES_H

#include "tar-header.h"

/* Directories that are kept open: each has its mode and its time set when it is closed. */
#define SILT_UNPACK_DIRECTORIES 64

/* What was being done when an entry failed; TypeScript has the phrases (sandbox/archive/unpack/plain.ts). */
enum silt_unpack_step {
	SILT_UNPACK_WRITING = 1,
	SILT_UNPACK_OWNING,
	SILT_UNPACK_SETTING_MODE,
	SILT_UNPACK_SETTING_TIME,
};

/* What is to be set of a file or directory, besides what it was made with. */
struct silt_unpack_attributes {
	bool has_owner, has_mode;
	uint32_t mode, uid, gid;
	int64_t seconds;
	uint32_t nanoseconds;
};

struct silt_unpack_directory {
	int fd;
	uint64_t used; /* when; 0 for a place that is free */
	uint64_t offset; /* of the entry that it was opened for */
	struct silt_unpack_attributes attributes;
	uint32_t length;
	bool dotted; /* as in struct silt_tar_path */
	uint8_t path[SILT_TAR_PATH_MAX + 1];
};

struct silt_unpack_failure {
	enum silt_unpack_step step;
	int error; /* 0 for none */
	uint64_t offset; /* of the entry's first header */
	uint32_t length;
	/* As the archive has it, a directory's always with a slash. */
	uint8_t name[SILT_TAR_PATH_MAX + 4];
};

struct silt_unpack_tree {
	int root; /* fd of the directory that paths are below of */
	uint64_t uses; /* of directories, so far */
	struct silt_unpack_directory directories[SILT_UNPACK_DIRECTORIES];
	struct silt_unpack_failure failure; /* of the first entry that failed */
};

/* Opens a path below a directory, through no link: an fd that is closed on exec, or -1 and errno. */
int silt_unpack_open_inside(int directory, const char *path, uint64_t flags, uint32_t mode);

/* Sets owner, mode and time of what is open. Returns 0, or the step that failed, and errno. */
enum silt_unpack_step silt_unpack_set_all(int fd, const struct silt_unpack_attributes *attributes);

/* Notes that an entry, which begins at this offset, has failed. Of several the first entry's is kept. */
void silt_unpack_note_failure(struct silt_unpack_tree *tree, uint64_t offset, enum silt_unpack_step step, int error,
			      const struct silt_tar_path *path);

/* Keeps a directory, which gets its attributes when it is closed. `spelled` is how the archive has its path. */
void silt_unpack_keep_directory(struct silt_unpack_tree *tree, int fd, struct silt_tar_text path, uint64_t offset,
				struct silt_unpack_attributes attributes, const struct silt_tar_path *spelled);

/*
 * The directory that a path is in: its fd, which stays open until more than one other was asked for; -1 when it is to be left alone, as it is not there,
 * leads through a link, or would hand something on to what is made in it.
 */
int silt_unpack_directory_of(struct silt_unpack_tree *tree, const struct silt_tar_path *path, uint64_t offset);

/* Gives all directories what they are to have, and closes them. */
void silt_unpack_close_directories(struct silt_unpack_tree *tree);

#endif
