#define _GNU_SOURCE
#include "make-files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NAME_LENGTH 255u
#define TARGET_LENGTH 4095u
/* Bits that a file loses when it is given away or written to: they are set last. */
#define PERMISSIONS 0777u

/* What came of a record, or of a part of it. `error` is 0 when it was made. */
struct outcome {
	enum silt_make_step step;
	int error;
};

static struct outcome outcome_of(enum silt_make_step step, int result)
{
	return (struct outcome){ step, result < 0 ? errno : 0 };
}

static struct outcome bad_record(void)
{
	return (struct outcome){ SILT_MAKE_RECORD, EINVAL };
}

/* The text at a place in `names`; NULL unless it ends there, and not later than it may. */
static const char *text_at(const struct silt_make_job *job, uint32_t place, uint32_t longest)
{
	uint64_t room = place < job->names_size ? job->names_size - place : 0;
	const char *text = (const char *)job->names + place;

	return room > 0 && memchr(text, 0, room > longest ? longest + 1 : room) != NULL ? text : NULL;
}

/* Whatever TypeScript has made of an archive's names: here, too, nothing but one component of its directory is a name. */
static const char *name_of(const struct silt_make_job *job, const struct silt_make_record *record)
{
	const char *name = text_at(job, record->name, NAME_LENGTH);

	return name == NULL || name[0] == 0 || strchr(name, '/') != NULL || strcmp(name, ".") == 0 ||
			       strcmp(name, "..") == 0 ?
		       NULL :
		       name;
}

/* -1, which every call refuses, when there is no such directory. */
static int directory_at(const struct silt_make_job *job, uint32_t index)
{
	return index < job->directory_count ? job->directories[index] : -1;
}

static int open_inside(int directory, const char *name, uint64_t flags, uint32_t mode)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC,
		.mode = mode,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int fd;

	do
		fd = (int)syscall(SYS_openat2, directory, name, &how, sizeof how);
	while (fd < 0 && errno == EINTR);
	return fd;
}

/* Owner, mode and time of what is open. The owner first: a new one costs a file its set-uid bit (chown(2)). */
static struct outcome set_all(int fd, const struct silt_make_record *record)
{
	struct timespec time = { .tv_sec = record->seconds, .tv_nsec = record->nanoseconds };
	struct timespec times[2] = { time, time };

	if ((record->set & SILT_MAKE_OWNER) && fchown(fd, record->uid, record->gid) < 0)
		return outcome_of(SILT_MAKE_OWNING, -1);
	if ((record->set & SILT_MAKE_MODE) && fchmod(fd, record->mode & 07777) < 0)
		return outcome_of(SILT_MAKE_SETTING_MODE, -1);
	if ((record->set & SILT_MAKE_TIME) && futimens(fd, times) < 0)
		return outcome_of(SILT_MAKE_SETTING_TIME, -1);
	return outcome_of(SILT_MAKE_CREATING, 0);
}

static struct outcome write_contents(const struct silt_make_job *job, int fd, const struct silt_make_record *record)
{
	int moved = (record->set & SILT_MAKE_MOVED) != 0;
	uint64_t from = (uint64_t)record->contents;
	off_t offset = record->contents;

	if (!moved && (from > job->data_size || record->size > job->data_size - from))
		return bad_record();
	for (uint64_t left = record->size; left > 0;) {
		ssize_t count = moved ? sendfile(fd, job->archive, &offset, left) : write(fd, job->data + from, left);
		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return outcome_of(SILT_MAKE_WRITING, -1);
		/* The archive has become shorter. */
		if (count == 0)
			return (struct outcome){ SILT_MAKE_WRITING, ENODATA };
		from += (uint64_t)count;
		left -= (uint64_t)count;
	}
	return outcome_of(SILT_MAKE_CREATING, 0);
}

static struct outcome make_directory(struct silt_make_job *job, const struct silt_make_record *record, const char *name)
{
	int parent = directory_at(job, record->directory), fd;

	if (record->other >= job->directory_count || job->directories[record->other] >= 0)
		return bad_record();
	if (mkdirat(parent, name, 0700) < 0)
		return outcome_of(SILT_MAKE_CREATING, -1);
	fd = open_inside(parent, name, O_RDONLY | O_DIRECTORY, 0);
	if (fd >= 0)
		job->directories[record->other] = fd;
	return outcome_of(SILT_MAKE_CREATING, fd);
}

/* A link cannot be opened: what it is to have is set by its name, which nothing else changes meanwhile. */
static struct outcome make_symlink(struct silt_make_job *job, const struct silt_make_record *record, const char *name)
{
	int parent = directory_at(job, record->directory);
	const char *target = text_at(job, record->other, TARGET_LENGTH);
	struct timespec time = { .tv_sec = record->seconds, .tv_nsec = record->nanoseconds };
	struct timespec times[2] = { time, time };

	if (target == NULL)
		return bad_record();
	if (symlinkat(target, parent, name) < 0)
		return outcome_of(SILT_MAKE_CREATING, -1);
	if ((record->set & SILT_MAKE_OWNER) &&
	    fchownat(parent, name, record->uid, record->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return outcome_of(SILT_MAKE_OWNING, -1);
	return outcome_of(SILT_MAKE_SETTING_TIME, utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW));
}

static struct outcome close_directory(struct silt_make_job *job, const struct silt_make_record *record)
{
	int fd = directory_at(job, record->directory);
	struct outcome outcome;

	if (fd < 0)
		return bad_record();
	outcome = set_all(fd, record);
	if (outcome.error != 0)
		return outcome;
	close(fd);
	job->directories[record->directory] = -1;
	return outcome;
}

/* The part of a record that has its turn: `*fd` is a file that is still to be filled, or -1. */
static struct outcome make_name(struct silt_make_job *job, const struct silt_make_record *record, int *fd)
{
	const char *name = record->kind == SILT_MAKE_CLOSED ? "" : name_of(job, record);
	uint32_t mode = record->set & SILT_MAKE_MODE ? 0600 : record->mode & PERMISSIONS;

	if (name == NULL)
		return bad_record();
	switch (record->kind) {
	case SILT_MAKE_FILE:
		*fd = open_inside(directory_at(job, record->directory), name, O_WRONLY | O_CREAT | O_EXCL, mode);
		return outcome_of(SILT_MAKE_CREATING, *fd);
	case SILT_MAKE_DIRECTORY:
		return make_directory(job, record, name);
	case SILT_MAKE_SYMLINK:
		return make_symlink(job, record, name);
	case SILT_MAKE_CLOSED:
		return close_directory(job, record);
	default:
		return bad_record();
	}
}

/* The rest of a file's. */
static struct outcome fill_file(const struct silt_make_job *job, const struct silt_make_record *record, int fd)
{
	struct outcome outcome = write_contents(job, fd, record);

	if (outcome.error == 0)
		outcome = set_all(fd, record);
	close(fd);
	return outcome;
}

/* Under the lock. Of several failures the first record's is kept, whichever thread was faster. */
static void note(struct silt_make_job *job, uint32_t index, struct outcome outcome)
{
	if (outcome.error == 0 || (job->error != 0 && job->failed < index))
		return;
	job->failed = job->end = index;
	job->step = outcome.step;
	job->error = outcome.error;
}

/* Files of one turn that are open at once, and about how much they hold: a turn takes longer than waiting for the other thread. */
#define FILES_AT_ONCE 32
#define BYTES_AT_ONCE (256u << 10)

struct turn {
	uint32_t count;
	struct {
		uint32_t index;
		int fd;
	} files[FILES_AT_ONCE];
};

/* Under the lock: makes the next names, and opens the files among them. */
static void take_turn(struct silt_make_job *job, struct turn *turn)
{
	uint64_t bytes = 0;

	for (turn->count = 0; job->next < job->end && turn->count < FILES_AT_ONCE && bytes < BYTES_AT_ONCE;) {
		uint32_t index = job->next++;
		int fd = -1;
		note(job, index, make_name(job, &job->records[index], &fd));
		if (fd < 0)
			continue;
		turn->files[turn->count].index = index;
		turn->files[turn->count++].fd = fd;
		bytes += job->records[index].size;
	}
}

void silt_make_files(struct silt_make_job *job)
{
	struct turn turn;

	pthread_mutex_lock(&job->lock);
	for (take_turn(job, &turn); turn.count > 0; take_turn(job, &turn)) {
		struct outcome outcomes[FILES_AT_ONCE];
		pthread_mutex_unlock(&job->lock);
		for (uint32_t i = 0; i < turn.count; i++)
			outcomes[i] = fill_file(job, &job->records[turn.files[i].index], turn.files[i].fd);
		pthread_mutex_lock(&job->lock);
		for (uint32_t i = 0; i < turn.count; i++)
			note(job, turn.files[i].index, outcomes[i]);
	}
	pthread_mutex_unlock(&job->lock);
}
