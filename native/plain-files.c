#define _GNU_SOURCE
#include "plain-files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define BLOCK 512u
#define NAME_LENGTH 100u
#define LARGEST_ID 07777777u
#define LARGEST_NUMBER 077777777777u
/* What the name of a pax header has more than its entry's. */
static const char pax_directory[] = "PaxHeaders.0/";
#define PAX_DIRECTORY_LENGTH (sizeof pax_directory - 1)

/* pax(1), "ustar Interchange Format". */
struct header {
	char name[NAME_LENGTH], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, linkname[100], magic[8],
		uname[32], gname[32], devmajor[8], devminor[8], prefix[155], padding[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a header is one block");

/* Octal digits, with a NUL behind them: the block was all zeros. */
static void write_octal(char *field, uint32_t size, uint64_t value)
{
	for (uint32_t i = size - 1; i-- > 0; value >>= 3)
		field[i] = (char)('0' + (value & 7));
}

static void seal(struct header *header)
{
	const uint8_t *bytes = (const uint8_t *)header;
	uint32_t sum = 0;

	memcpy(header->magic, "ustar\00000", sizeof header->magic);
	memset(header->checksum, ' ', sizeof header->checksum);
	for (uint32_t i = 0; i < BLOCK; i++)
		sum += bytes[i];
	write_octal(header->checksum, sizeof header->checksum - 1, sum);
	header->checksum[sizeof header->checksum - 2] = 0;
}

/* Decimal digits of at least `width`. Returns where they end. */
static char *write_decimal(char *at, uint64_t value, uint32_t width)
{
	char digits[20];
	uint32_t count = 0;

	do
		digits[count++] = (char)('0' + value % 10);
	while ((value /= 10) != 0);
	while (width-- > count)
		*at++ = '0';
	while (count > 0)
		*at++ = digits[--count];
	return at;
}

/* `30 mtime=1700000000.123456789\n`. Returns its length, which is a number of two digits. */
static uint32_t write_time(char *record, int64_t seconds, uint32_t nanoseconds)
{
	static const char key[] = " mtime=";
	uint32_t width = 9;
	char *at = record + 2;

	for (; nanoseconds % 10 == 0; nanoseconds /= 10)
		width--;
	memcpy(at, key, sizeof key - 1);
	at = write_decimal(at + sizeof key - 1, (uint64_t)seconds, 1);
	*at++ = '.';
	at = write_decimal(at, nanoseconds, width);
	*at++ = '\n';
	write_decimal(record, (uint64_t)(at - record), 2);
	return (uint32_t)(at - record);
}

/* Two blocks: the pax header of the entry, `a/PaxHeaders.0/b` for `./a/b`, and its record. */
static void write_pax(uint8_t *out, const uint8_t *name, uint32_t length, const struct silt_plain_fields *fields)
{
	struct header *header = (struct header *)out;
	uint32_t base = length;

	while (name[base - 1] != '/')
		base--;
	memset(out, 0, 2 * BLOCK);
	memcpy(header->name, name + 2, base - 2);
	/* A directory's has nothing behind the slash, and not the slash either. */
	memcpy(header->name + base - 2, pax_directory, PAX_DIRECTORY_LENGTH - (base == length));
	memcpy(header->name + base - 2 + PAX_DIRECTORY_LENGTH, name + base, length - base);
	/* As in Go's archive/tar, it has no device numbers. */
	write_octal(header->mode, sizeof header->mode, 0);
	write_octal(header->uid, sizeof header->uid, 0);
	write_octal(header->gid, sizeof header->gid, 0);
	write_octal(header->mtime, sizeof header->mtime, 0);
	write_octal(header->size, sizeof header->size,
		    write_time((char *)out + BLOCK, fields->seconds, fields->nanoseconds));
	header->type = 'x';
	seal(header);
}

static int is_ascii(const uint8_t *text, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++)
		if (text[i] == 0 || text[i] > 0x7f)
			return 0;
	return 1;
}

uint32_t silt_plain_headers(uint8_t *out, const uint8_t *name, uint32_t length, const struct silt_plain_fields *fields)
{
	struct header *header;
	uint32_t before = 0;

	if (length < 2 || length > NAME_LENGTH - PAX_DIRECTORY_LENGTH || name[0] != '.' || name[1] != '/')
		return 0;
	if (!is_ascii(name, length) || fields->target_length > NAME_LENGTH || !is_ascii(fields->target, fields->target_length))
		return 0;
	if (fields->uid > LARGEST_ID || fields->gid > LARGEST_ID || fields->size > LARGEST_NUMBER || fields->seconds < 0 ||
	    fields->seconds > (int64_t)LARGEST_NUMBER)
		return 0;
	if (fields->nanoseconds != 0) {
		write_pax(out, name, length, fields);
		before = 2 * BLOCK;
	}
	header = (struct header *)(out + before);
	memset(header, 0, BLOCK);
	memcpy(header->name, name, length);
	write_octal(header->mode, sizeof header->mode, fields->mode & 07777);
	write_octal(header->uid, sizeof header->uid, fields->uid);
	write_octal(header->gid, sizeof header->gid, fields->gid);
	write_octal(header->size, sizeof header->size, fields->size);
	write_octal(header->mtime, sizeof header->mtime, (uint64_t)fields->seconds);
	write_octal(header->devmajor, sizeof header->devmajor, 0);
	write_octal(header->devminor, sizeof header->devminor, 0);
	header->type = fields->type;
	if (fields->target_length > 0)
		memcpy(header->linkname, fields->target, fields->target_length);
	seal(header);
	return before + BLOCK;
}

/* The container's id for one of the host; false when it has none. */
static int to_container(const struct silt_id_range *ranges, uint32_t count, uint32_t *id)
{
	for (uint32_t i = 0; i < count; i++)
		if (*id - ranges[i].host < ranges[i].size) {
			*id = ranges[i].container + (*id - ranges[i].host);
			return 1;
		}
	return 0;
}

/* Reads a whole file to a place. False when it has become shorter, or cannot be read. */
static int read_contents(int fd, uint8_t *into, uint64_t size)
{
	for (uint64_t done = 0; done < size;) {
		ssize_t count = pread(fd, into + done, size - done, (off_t)done);
		if (count <= 0)
			return 0;
		done += (uint64_t)count;
	}
	return 1;
}

/* Metadata with the container's ids; false when the container does not have them. */
static int describe(const struct silt_plain_files *job, const struct stat *stat, struct silt_plain_fields *fields)
{
	fields->mode = stat->st_mode;
	fields->uid = stat->st_uid;
	fields->gid = stat->st_gid;
	fields->seconds = stat->st_mtim.tv_sec;
	fields->nanoseconds = (uint32_t)stat->st_mtim.tv_nsec;
	return to_container(job->uids, job->uid_ranges, &fields->uid) &&
	       to_container(job->gids, job->gid_ranges, &fields->gid);
}

/* Also when it cannot be told. A filesystem that has no attributes fails with EOPNOTSUPP. */
static int has_attributes(int fd)
{
	ssize_t length = flistxattr(fd, NULL, 0);

	return length > 0 || (length < 0 && errno != EOPNOTSUPP);
}

/* The entry of the file that is open. */
static enum silt_plain_end add_file(struct silt_plain_files *job, int fd, const uint8_t *name, uint32_t length)
{
	struct silt_plain_fields fields = { .type = '0' };
	uint8_t *out = job->out + job->used;
	struct stat stat;
	uint64_t whole;
	uint32_t headers;

	if (fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode) || stat.st_nlink != 1 || stat.st_size > job->largest ||
	    stat.st_blocks * 512 < stat.st_size || has_attributes(fd) || !describe(job, &stat, &fields))
		return SILT_PLAIN_OTHER;
	fields.size = (uint64_t)stat.st_size;
	whole = (fields.size + BLOCK - 1) & ~(uint64_t)(BLOCK - 1);
	if (SILT_PLAIN_HEADERS_MAX + whole > job->room - job->used)
		return SILT_PLAIN_ROOM;
	headers = silt_plain_headers(out, name, length, &fields);
	if (headers == 0 || !read_contents(fd, out + headers, fields.size))
		return SILT_PLAIN_OTHER;
	memset(out + headers + fields.size, 0, whole - fields.size);
	job->used += headers + (uint32_t)whole;
	return SILT_PLAIN_ALL;
}

/* As has_attributes, of what cannot be opened: the calls that take a directory's fd are newer than Linux 6.12. */
static int link_has_attributes(int directory, const uint8_t *name)
{
	char path[sizeof "/proc/self/fd//" + 10 + 255];
	ssize_t length;

	snprintf(path, sizeof path, "/proc/self/fd/%d/%s", directory, (const char *)name);
	length = llistxattr(path, NULL, 0);
	return length > 0 || (length < 0 && errno != EOPNOTSUPP);
}

/* The entry of a symbolic link. */
static enum silt_plain_end add_link(struct silt_plain_files *job, const uint8_t *name, const uint8_t *whole, uint32_t length)
{
	struct silt_plain_fields fields = { .type = '2' };
	uint8_t target[NAME_LENGTH + 1];
	struct stat stat;
	uint32_t headers;

	if (fstatat(job->directory, (const char *)name, &stat, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISLNK(stat.st_mode) ||
	    stat.st_nlink != 1 || link_has_attributes(job->directory, name) || !describe(job, &stat, &fields))
		return SILT_PLAIN_OTHER;
	if (SILT_PLAIN_HEADERS_MAX > job->room - job->used)
		return SILT_PLAIN_ROOM;
	ssize_t count = readlinkat(job->directory, (const char *)name, (char *)target, sizeof target);
	if (count <= 0)
		return SILT_PLAIN_OTHER;
	fields.target = target;
	fields.target_length = (uint32_t)count;
	headers = silt_plain_headers(job->out + job->used, whole, length, &fields);
	job->used += headers;
	return headers == 0 ? SILT_PLAIN_OTHER : SILT_PLAIN_ALL;
}

/* What the container runs meanwhile, or a mount in its upper, must not lead out of the directory. */
static int open_inside(int directory, const uint8_t *name, uint64_t flags)
{
	struct open_how how = {
		/* O_NONBLOCK: a file that became a fifo meanwhile would hang the opening. */
		.flags = flags | O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};

	return (int)syscall(SYS_openat2, directory, name, &how, sizeof how);
}

/* The name at a place, with the directory's in front; `*length` is that of both. NULL when it is longer than a plain name. */
static const uint8_t *name_at(const struct silt_plain_files *job, uint32_t index, uint8_t whole[NAME_LENGTH],
			      uint32_t *length)
{
	uint64_t place = job->places[index];
	uint32_t own = place + 2 < job->names_size ? job->names[place + 1] : 0;

	if (own == 0 || place + 2 + own >= job->names_size || job->prefix_length + own > NAME_LENGTH)
		return NULL;
	memcpy(whole, job->prefix, job->prefix_length);
	memcpy(whole + job->prefix_length, job->names + place + 2, own);
	*length = job->prefix_length + own;
	return job->names + place + 2;
}

/* The entry of the file of this name. */
static enum silt_plain_end open_file(struct silt_plain_files *job, const uint8_t *name, const uint8_t *whole, uint32_t length)
{
	int fd = open_inside(job->directory, name, 0);
	enum silt_plain_end end = fd < 0 ? SILT_PLAIN_OTHER : add_file(job, fd, whole, length);

	if (fd >= 0)
		close(fd);
	return end;
}

enum silt_plain_end silt_plain_files(struct silt_plain_files *job)
{
	enum silt_plain_end end = SILT_PLAIN_ALL;
	uint8_t whole[NAME_LENGTH];
	uint32_t length;

	for (job->done = job->used = 0; job->done < job->count && end == SILT_PLAIN_ALL;) {
		const uint8_t *name = name_at(job, job->done, whole, &length);

		if (name == NULL)
			return SILT_PLAIN_OTHER;
		end = job->names[job->places[job->done]] == DT_LNK ? add_link(job, name, whole, length) :
								     open_file(job, name, whole, length);
		job->done += end == SILT_PLAIN_ALL;
	}
	return end;
}

int silt_plain_directory(struct silt_plain_files *job)
{
	struct silt_plain_fields fields = { .type = '5' };
	uint8_t whole[NAME_LENGTH + 1];
	uint32_t length;
	struct stat stat;
	const uint8_t *name = name_at(job, 0, whole, &length);
	int fd = name == NULL || job->room < SILT_PLAIN_HEADERS_MAX ? -1 : open_inside(job->directory, name, O_DIRECTORY);

	job->done = job->used = 0;
	if (fd < 0)
		return -1;
	whole[length++] = '/';
	if (fstat(fd, &stat) == 0 && !has_attributes(fd) && describe(job, &stat, &fields))
		job->used = silt_plain_headers(job->out, whole, length, &fields);
	if (job->used == 0) {
		close(fd);
		return -1;
	}
	job->done = 1;
	return fd;
}
