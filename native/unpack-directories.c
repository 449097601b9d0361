#define _GNU_SOURCE
#include "unpack-directories.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

int silt_unpack_open_inside(int directory, const char *path, uint64_t flags, uint32_t mode)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC,
		.mode = mode,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int fd;

	do
		fd = (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
	while (fd < 0 && errno == EINTR);
	return fd;
}

void silt_unpack_note_failure(struct silt_unpack_tree *tree, uint64_t offset, enum silt_unpack_step step, int error,
			      const struct silt_tar_path *path)
{
	struct silt_unpack_failure *failure = &tree->failure;
	uint32_t dotted = path->dotted ? 2 : 0, length = path->directory.length;

	if (failure->error != 0 && failure->offset <= offset)
		return;
	failure->step = step;
	failure->error = error;
	failure->offset = offset;
	memcpy(failure->name, "./", dotted);
	memcpy(failure->name + dotted, path->directory.bytes, length);
	if (length > 0)
		failure->name[dotted + length++] = '/';
	memcpy(failure->name + dotted + length, path->base.bytes, path->base.length);
	failure->length = dotted + length + path->base.length;
}

/* Owner, mode and time of what is open. The owner first: a new one costs a file its set-uid bit (chown(2)). */
enum silt_unpack_step silt_unpack_set_all(int fd, const struct silt_unpack_attributes *attributes)
{
	struct timespec time = { .tv_sec = attributes->seconds, .tv_nsec = attributes->nanoseconds };
	struct timespec times[2] = { time, time };

	if (attributes->has_owner && fchown(fd, attributes->uid, attributes->gid) < 0)
		return SILT_UNPACK_OWNING;
	if (attributes->has_mode && fchmod(fd, attributes->mode) < 0)
		return SILT_UNPACK_SETTING_MODE;
	return futimens(fd, times) < 0 ? SILT_UNPACK_SETTING_TIME : 0;
}

static void close_directory(struct silt_unpack_tree *tree, struct silt_unpack_directory *directory)
{
	enum silt_unpack_step step = silt_unpack_set_all(directory->fd, &directory->attributes);

	if (step != 0) {
		struct silt_tar_text whole = { directory->path, directory->length }, nothing = { directory->path, 0 };
		struct silt_tar_path path = { .directory = whole, .base = nothing, .dotted = directory->dotted };
		silt_unpack_note_failure(tree, directory->offset, step, errno, &path);
	}
	close(directory->fd);
	directory->used = 0;
}

/* A place for another directory, if need be that of the one which was not needed for longest. */
static struct silt_unpack_directory *make_room(struct silt_unpack_tree *tree)
{
	struct silt_unpack_directory *oldest = &tree->directories[0];

	for (uint32_t i = 1; i < SILT_UNPACK_DIRECTORIES; i++)
		if (tree->directories[i].used < oldest->used)
			oldest = &tree->directories[i];
	if (oldest->used != 0)
		close_directory(tree, oldest);
	return oldest;
}

void silt_unpack_keep_directory(struct silt_unpack_tree *tree, int fd, struct silt_tar_text path, uint64_t offset,
				struct silt_unpack_attributes attributes, const struct silt_tar_path *spelled)
{
	struct silt_unpack_directory *directory = make_room(tree);

	directory->fd = fd;
	directory->used = ++tree->uses;
	directory->offset = offset;
	directory->attributes = attributes;
	directory->dotted = spelled->dotted;
	directory->length = path.length;
	memcpy(directory->path, path.bytes, path.length);
	directory->path[path.length] = 0;
}

/*
 * Opens a directory that was there before, which gets its time back when it is closed. -1 when it is not there, leads through a link,
 * or would hand something on to what is made in it.
 */
static int adopt_directory(struct silt_unpack_tree *tree, const struct silt_tar_path *path, uint64_t offset)
{
	char text[SILT_TAR_PATH_MAX + 1];
	struct stat stat;
	int fd;

	memcpy(text, path->directory.bytes, path->directory.length);
	text[path->directory.length] = 0;
	fd = silt_unpack_open_inside(tree->root, text, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return -1;
	if (fstat(fd, &stat) < 0 || (stat.st_mode & S_ISGID) != 0 ||
	    fgetxattr(fd, "system.posix_acl_default", NULL, 0) >= 0 || (errno != ENODATA && errno != EOPNOTSUPP)) {
		close(fd);
		return -1;
	}
	struct silt_unpack_attributes attributes = { .seconds = stat.st_mtim.tv_sec, .nanoseconds = (uint32_t)stat.st_mtim.tv_nsec };
	silt_unpack_keep_directory(tree, fd, path->directory, offset, attributes, path);
	return fd;
}

int silt_unpack_directory_of(struct silt_unpack_tree *tree, const struct silt_tar_path *path, uint64_t offset)
{
	const struct silt_tar_text *text = &path->directory;

	if (text->length == 0)
		return tree->root;
	for (uint32_t i = 0; i < SILT_UNPACK_DIRECTORIES; i++) {
		struct silt_unpack_directory *directory = &tree->directories[i];
		if (directory->used == 0 || directory->length != text->length ||
		    memcmp(directory->path, text->bytes, text->length) != 0)
			continue;
		directory->used = ++tree->uses;
		return directory->fd;
	}
	return adopt_directory(tree, path, offset);
}

void silt_unpack_close_directories(struct silt_unpack_tree *tree)
{
	for (uint32_t i = 0; i < SILT_UNPACK_DIRECTORIES; i++)
		if (tree->directories[i].used != 0)
			close_directory(tree, &tree->directories[i]);
}
