#define _GNU_SOURCE
#include "unpack-plain.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_LENGTH 255u
/* Bits that a file loses when it is given away or written to: they are set last. */
#define PERMISSIONS 0777u
/* Contents larger than this are others' to move, in pieces. */
#define LARGEST (64ull << 20)
#define READ_MOST (8 * SILT_UNPACK_READ_LEAST)
/* Files of one turn, which are open at once, and about how much they may hold: a turn takes longer than waiting for the other thread. */
#define FILES_AT_ONCE 64
#define BYTES_AT_ONCE (256u << 10)

/* A file that is open and is to be filled. */
struct file {
	int fd;
	uint64_t offset; /* of its entry */
	struct silt_tar_path path; /* in what was read of the archive */
	struct silt_unpack_attributes attributes;
	uint64_t size;
	const uint8_t *contents; /* NULL when they are to be moved from the archive */
	off_t moved_from;
};

struct turn {
	uint8_t *buffer; /* READ_MOST bytes of its own, when the archive is a file */
	uint32_t count;
	struct file files[FILES_AT_ONCE];
	/* The path that a header had in two pieces is in the entry. */
	struct silt_tar_entry entries[FILES_AT_ONCE];
};

/* What comes of an entry: its name is made, and its file is open if it has one; or it is one for others; or not all of it has been read. */
enum outcome { APPLIED, OTHER, CUT };

/* One component: what tar-header.h has taken apart. */
struct name {
	char text[NAME_LENGTH + 1];
};

static struct name name_of(struct silt_tar_text base)
{
	struct name name = { { 0 } };

	memcpy(name.text, base.bytes, base.length < NAME_LENGTH ? base.length : NAME_LENGTH);
	return name;
}

static struct silt_unpack_attributes attributes_of(const struct silt_unpack_job *job, const struct silt_tar_entry *entry)
{
	return (struct silt_unpack_attributes){
		/* What is made belongs to whoever makes it, as no directory that things are made in has the set-gid bit. */
		.has_owner = entry->uid != job->uid || entry->gid != job->gid,
		.has_mode = (entry->mode & ~PERMISSIONS) != 0,
		.mode = entry->mode,
		.uid = entry->uid,
		.gid = entry->gid,
		.seconds = entry->seconds,
		.nanoseconds = entry->nanoseconds,
	};
}

/* --- Names. All under the lock. --- */

static enum outcome make_directory(struct silt_unpack_job *job, const struct silt_tar_entry *entry, int parent, uint64_t offset)
{
	struct name name = name_of(entry->path.base);
	struct silt_unpack_attributes attributes = attributes_of(job, entry);
	struct silt_tar_text path = entry->path.directory;
	int fd;

	if (mkdirat(parent, name.text, 0700) < 0)
		return OTHER;
	fd = silt_unpack_open_inside(parent, name.text, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return OTHER;
	/* The whole path is in one piece. */
	path.length = (uint32_t)(entry->path.base.bytes - path.bytes) + entry->path.base.length;
	attributes.has_mode = true;
	silt_unpack_keep_directory(&job->tree, fd, path, offset, attributes, &entry->path);
	return APPLIED;
}

/* A link cannot be opened: what it is to have is set by its name, which nothing else changes meanwhile. */
static enum outcome make_symlink(struct silt_unpack_job *job, const struct silt_tar_entry *entry, int parent)
{
	struct name name = name_of(entry->path.base);
	char target[SILT_TAR_TARGET_MAX + 1];
	struct timespec time = { .tv_sec = entry->seconds, .tv_nsec = entry->nanoseconds };
	struct timespec times[2] = { time, time };

	memcpy(target, entry->leads_to.bytes, entry->leads_to.length);
	target[entry->leads_to.length] = 0;
	if (symlinkat(target, parent, name.text) < 0)
		return OTHER;
	if (attributes_of(job, entry).has_owner &&
	    fchownat(parent, name.text, entry->uid, entry->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return OTHER;
	return utimensat(parent, name.text, times, AT_SYMLINK_NOFOLLOW) < 0 ? OTHER : APPLIED;
}

static enum outcome make_hardlink(struct silt_unpack_job *job, const struct silt_tar_entry *entry, uint64_t offset)
{
	struct name name = name_of(entry->path.base), target = name_of(entry->target.base);
	int from = silt_unpack_directory_of(&job->tree, &entry->target, offset);
	int parent = from < 0 ? -1 : silt_unpack_directory_of(&job->tree, &entry->path, offset);
	struct stat stat;

	/* A directory with a link to a whiteout gets a mark, as one with a whiteout does: see unpacker.ts. */
	if (parent < 0 || fstatat(from, target.text, &stat, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(stat.st_mode))
		return OTHER;
	return linkat(from, target.text, parent, name.text, 0) == 0 ? APPLIED : OTHER;
}

/* Makes the file and opens it. */
static enum outcome make_file(struct silt_unpack_job *job, const struct silt_tar_entry *entry, int parent, struct file *file)
{
	struct name name = name_of(entry->path.base);

	file->attributes = attributes_of(job, entry);
	file->size = entry->size;
	file->path = entry->path;
	file->fd = silt_unpack_open_inside(parent, name.text, O_WRONLY | O_CREAT | O_EXCL, file->attributes.has_mode ? 0600 : entry->mode);
	return file->fd < 0 ? OTHER : APPLIED;
}

/* --- Turns --- */

/* The archive from the job's offset on. */
static struct silt_tar_text read_archive(const struct silt_unpack_job *job, const struct turn *turn)
{
	ssize_t count;

	if (job->archive < 0)
		return (struct silt_tar_text){ job->memory + (job->offset - job->memory_from), (uint32_t)(job->size - job->offset) };
	do
		count = pread(job->archive, turn->buffer, job->read_size, (off_t)job->offset);
	while (count < 0 && errno == EINTR);
	/* Who reads on will fail, too, and tell. */
	return (struct silt_tar_text){ turn->buffer, count < 0 ? 0 : (uint32_t)count };
}

static uint64_t padded(uint64_t size)
{
	return (size + SILT_TAR_BLOCK - 1) / SILT_TAR_BLOCK * SILT_TAR_BLOCK;
}

/* Makes the name of the entry at `bytes`, of which so many are there. */
static enum outcome apply(struct silt_unpack_job *job, struct turn *turn, const uint8_t *bytes, uint32_t length)
{
	struct silt_tar_entry *entry = &turn->entries[turn->count];
	struct file *file = &turn->files[turn->count];
	enum outcome outcome;
	int parent;

	if (job->entries == job->entries_left)
		return OTHER;
	if (!silt_tar_read(bytes, length, entry))
		return length < SILT_TAR_HEADERS_MAX ? CUT : OTHER;
	if (entry->path.depth > job->depth || entry->size > LARGEST || entry->size > job->bytes_left - job->bytes)
		return OTHER;
	bool is_small = job->archive < 0 || entry->size <= SILT_UNPACK_SMALL;
	uint64_t contents = job->offset + entry->headers;
	uint64_t room = is_small ? length - entry->headers : job->size > contents ? job->size - contents : 0;
	/* Of an archive in memory the padding, too: where that is missing the entry is to be named. */
	if ((job->archive < 0 ? padded(entry->size) : entry->size) > room)
		return is_small ? CUT : OTHER;
	if (entry->type == SILT_TAR_HARDLINK)
		return make_hardlink(job, entry, job->offset);
	parent = silt_unpack_directory_of(&job->tree, &entry->path, job->offset);
	if (parent < 0)
		return OTHER;
	if (entry->type == SILT_TAR_DIRECTORY)
		return make_directory(job, entry, parent, job->offset);
	if (entry->type == SILT_TAR_SYMLINK)
		return make_symlink(job, entry, parent);
	outcome = make_file(job, entry, parent, file);
	if (outcome == APPLIED) {
		file->offset = job->offset;
		file->contents = is_small ? bytes + entry->headers : NULL;
		file->moved_from = (off_t)contents;
		turn->count++;
	}
	return outcome;
}

static bool is_stopped(const struct silt_unpack_job *job)
{
	return job->stopped || job->tree.failure.error != 0;
}

/* Under the lock: makes the next names, and opens the files among them. */
static void take_turn(struct silt_unpack_job *job, struct turn *turn)
{
	struct silt_tar_text piece = read_archive(job, turn);
	uint64_t start = job->offset, held = 0;

	turn->count = 0;
	while (job->offset < job->end && !is_stopped(job) && turn->count < FILES_AT_ONCE && held < BYTES_AT_ONCE) {
		uint64_t at = job->offset - start;
		uint32_t left = at < piece.length ? piece.length - (uint32_t)at : 0;
		const struct silt_tar_entry *entry = &turn->entries[turn->count];
		enum outcome outcome = apply(job, turn, piece.bytes + at, left);
		if (outcome != APPLIED) {
			bool has_more = at > 0 || (piece.length == job->read_size && job->read_size < READ_MOST);
			if (outcome == OTHER || job->archive < 0 || !has_more)
				job->stopped = true;
			else if (at == 0)
				job->read_size = READ_MOST;
			return;
		}
		job->entries++;
		job->bytes += entry->size;
		held += entry->size;
		job->offset += entry->headers + padded(entry->size);
		if (entry->size > SILT_UNPACK_SMALL)
			job->read_size = SILT_UNPACK_READ_LEAST;
		else if (job->read_size < READ_MOST)
			job->read_size *= 2;
	}
}

/* Returns 0, or the step that failed. */
static enum silt_unpack_step write_contents(const struct silt_unpack_job *job, const struct file *file)
{
	off_t offset = file->moved_from;

	for (uint64_t done = 0; done < file->size;) {
		ssize_t count = file->contents == NULL ? sendfile(file->fd, job->archive, &offset, file->size - done) :
							 write(file->fd, file->contents + done, file->size - done);
		if (count < 0 && errno == EINTR)
			continue;
		/* Nothing: the archive has become shorter. */
		if (count == 0)
			errno = ENODATA;
		if (count <= 0)
			return SILT_UNPACK_WRITING;
		done += (uint64_t)count;
	}
	return 0;
}

static void fill_files(struct silt_unpack_job *job, const struct turn *turn)
{
	for (uint32_t i = 0; i < turn->count; i++) {
		const struct file *file = &turn->files[i];
		enum silt_unpack_step step = write_contents(job, file);
		if (step == 0)
			step = silt_unpack_set_all(file->fd, &file->attributes);
		if (step != 0) {
			int error = errno;
			pthread_mutex_lock(&job->lock);
			silt_unpack_note_failure(&job->tree, file->offset, step, error, &file->path);
			pthread_mutex_unlock(&job->lock);
		}
		close(file->fd);
	}
}

void silt_unpack_work(struct silt_unpack_job *job)
{
	struct turn *turn = malloc(sizeof *turn);
	uint8_t *buffer = job->archive < 0 ? NULL : malloc(READ_MOST);
	bool is_over = turn == NULL || (job->archive >= 0 && buffer == NULL);

	while (!is_over) {
		turn->buffer = buffer;
		pthread_mutex_lock(&job->lock);
		is_over = is_stopped(job) || job->offset >= job->end;
		if (!is_over)
			take_turn(job, turn);
		pthread_mutex_unlock(&job->lock);
		if (!is_over)
			fill_files(job, turn);
	}
	free(buffer);
	free(turn);
}

void silt_unpack_end(struct silt_unpack_job *job)
{
	silt_unpack_close_directories(&job->tree);
}
