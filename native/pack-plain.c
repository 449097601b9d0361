#define _GNU_SOURCE
#include "pack-plain.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define NAMES_OF_ATTRIBUTES 256

/* What comes of a name besides the ends that the caller is told of. */
#define WRITTEN SILT_PACK_ALL

/* A name in the deepest directory. */
struct item {
	const char *name;
	uint8_t type; /* DT_* */
	/* As the archive has it; a directory's slash has room. */
	uint8_t whole[SILT_PLAIN_NAME_MAX + 1];
	uint32_t length;
};

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

/* Metadata with the container's ids; false when the container does not have them. */
static int describe(const struct silt_pack_walk *walk, const struct stat *stat, struct silt_plain_fields *fields)
{
	fields->mode = stat->st_mode;
	fields->uid = stat->st_uid;
	fields->gid = stat->st_gid;
	fields->seconds = stat->st_mtim.tv_sec;
	fields->nanoseconds = (uint32_t)stat->st_mtim.tv_nsec;
	return to_container(walk->uids, walk->uid_ranges, &fields->uid) &&
	       to_container(walk->gids, walk->gid_ranges, &fields->gid);
}

/*
 * Attributes that no archive has, and that nobody is told of: sandbox/archive/pack/translate.ts leaves them out in silence. They are what nearly every file has
 * on a host with SELinux, and what overlayfs gives to what it copies from the image.
 */
static int is_left_out(const char *name)
{
	return strcmp(name, "security.selinux") == 0 || strcmp(name, "trusted.overlay.origin") == 0 ||
	       strcmp(name, "trusted.overlay.impure") == 0;
}

/* Has it attributes that are to be looked at, in what was listed? Also when they cannot be listed: a filesystem that has none fails with EOPNOTSUPP. */
static int has_attributes(const char *names, ssize_t length)
{
	if (length < 0)
		return errno != EOPNOTSUPP;
	if (length > 0 && names[length - 1] != 0)
		return 1;
	for (ssize_t at = 0; at < length; at += (ssize_t)strlen(names + at) + 1)
		if (!is_left_out(names + at))
			return 1;
	return 0;
}

static int file_has_attributes(int fd)
{
	char names[NAMES_OF_ATTRIBUTES];

	return has_attributes(names, flistxattr(fd, names, sizeof names));
}

/* As file_has_attributes, of what cannot be opened: the calls that take a directory's fd are newer than Linux 6.12. */
static int link_has_attributes(int directory, const char *name)
{
	char path[sizeof "/proc/self/fd//" + 10 + 255], names[NAMES_OF_ATTRIBUTES];

	snprintf(path, sizeof path, "/proc/self/fd/%d/%s", directory, name);
	return has_attributes(names, llistxattr(path, names, sizeof names));
}

static int open_inside(int directory, const char *name, uint64_t flags)
{
	struct open_how how = {
		/* O_NONBLOCK: a file that became a fifo meanwhile would hang the opening. */
		.flags = flags | O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};

	return (int)syscall(SYS_openat2, directory, name, &how, sizeof how);
}

static int has_room(const struct silt_pack_walk *walk, uint64_t contents)
{
	return SILT_PLAIN_HEADERS_MAX + contents <= walk->out_size - walk->out_used;
}

/* Writes the headers of an entry, for which there is room. Returns how many bytes they are: 0 when they are no plain ones. */
static uint32_t add_headers(struct silt_pack_walk *walk, const struct item *item, const struct silt_plain_fields *fields)
{
	return silt_plain_headers(walk->out + walk->out_used, item->whole, item->length, fields);
}

/* Reads a whole file to a place. False when it has become shorter, or cannot be read. */
static int read_contents(int fd, uint8_t *into, uint64_t size)
{
	for (uint64_t done = 0; done < size;) {
		ssize_t count = pread(fd, into + done, size - done, (off_t)done);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return 0;
		done += (uint64_t)count;
	}
	return 1;
}

/* The entry of the file that is open. Sets `*fd` to -1 when it is to be sent, and is closed then. */
static enum silt_pack_end add_open_file(struct silt_pack_walk *walk, const struct item *item, int *fd)
{
	struct silt_plain_fields fields = { .type = '0' };
	struct stat stat;

	if (fstat(*fd, &stat) != 0 || !S_ISREG(stat.st_mode) || stat.st_nlink != 1 || stat.st_size > walk->largest_sent ||
	    stat.st_blocks * 512 < stat.st_size || file_has_attributes(*fd) || !describe(walk, &stat, &fields))
		return SILT_PACK_OTHER;
	fields.size = (uint64_t)stat.st_size;
	int sent = fields.size > walk->largest_read;
	uint32_t padding = -(uint32_t)fields.size & (SILT_PLAIN_BLOCK - 1);
	uint64_t read = sent ? 0 : fields.size;
	if (!has_room(walk, read + padding))
		return SILT_PACK_ROOM;
	/* A single one may be larger than several together. */
	if (sent && (walk->send_count == walk->send_room || (walk->send_count > 0 && fields.size > walk->send_bytes_left)))
		return SILT_PACK_ROOM;
	uint32_t headers = add_headers(walk, item, &fields);
	uint8_t *contents = walk->out + walk->out_used + headers;
	if (headers == 0 || !read_contents(*fd, contents, read))
		return SILT_PACK_OTHER;
	memset(contents + read, 0, padding);
	if (sent) {
		walk->sends[walk->send_count++] = (struct silt_archive_send){
			.fd = *fd, .at = walk->out_used + headers, .size = (uint32_t)fields.size
		};
		walk->send_bytes_left -= fields.size < walk->send_bytes_left ? (uint32_t)fields.size : walk->send_bytes_left;
		*fd = -1;
	}
	walk->out_used += headers + (uint32_t)read + padding;
	return WRITTEN;
}

static enum silt_pack_end add_file(struct silt_pack_walk *walk, const struct item *item)
{
	int fd = open_inside(walk->levels[walk->depth].fd, item->name, 0);
	enum silt_pack_end end = fd < 0 ? SILT_PACK_OTHER : add_open_file(walk, item, &fd);

	if (fd >= 0)
		close(fd);
	return end;
}

/* A link that is another one when it is read is that one: its name is read in its directory each time. */
static enum silt_pack_end add_link(struct silt_pack_walk *walk, const struct item *item)
{
	struct silt_plain_fields fields = { .type = '2' };
	uint8_t target[SILT_PLAIN_NAME_MAX + 1];
	int directory = walk->levels[walk->depth].fd;
	struct stat stat;

	if (fstatat(directory, item->name, &stat, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISLNK(stat.st_mode) || stat.st_nlink != 1 ||
	    link_has_attributes(directory, item->name) || !describe(walk, &stat, &fields))
		return SILT_PACK_OTHER;
	if (!has_room(walk, 0))
		return SILT_PACK_ROOM;
	ssize_t count = readlinkat(directory, item->name, (char *)target, sizeof target);
	if (count <= 0)
		return SILT_PACK_OTHER;
	fields.target = target;
	fields.target_length = (uint32_t)count;
	uint32_t headers = add_headers(walk, item, &fields);
	walk->out_used += headers;
	return headers == 0 ? SILT_PACK_OTHER : WRITTEN;
}

/* The entry of the directory that is open, which becomes the deepest one. Its names are read first: nothing is written of one that cannot be read. */
static enum silt_pack_end enter(struct silt_pack_walk *walk, const struct item *item, int fd)
{
	struct silt_plain_fields fields = { .type = '5' };
	struct silt_pack_level level = {
		.fd = fd,
		.bytes = walk->names.bytes_used,
		.places = walk->names.places_used,
		.next = walk->names.places_used,
		.prefix = item->length,
	};
	struct stat stat;
	uint32_t headers;

	if (fstat(fd, &stat) != 0 || file_has_attributes(fd) || !describe(walk, &stat, &fields))
		return SILT_PACK_OTHER;
	headers = add_headers(walk, item, &fields);
	if (headers == 0)
		return SILT_PACK_OTHER;
	if (silt_read_names(fd, &walk->names) != 0) {
		walk->names.bytes_used = level.bytes;
		walk->names.places_used = level.places;
		return SILT_PACK_OTHER;
	}
	level.end = walk->names.places_used;
	walk->out_used += headers;
	memcpy(walk->path, item->whole, item->length);
	walk->levels[++walk->depth] = level;
	return WRITTEN;
}

static enum silt_pack_end add_directory(struct silt_pack_walk *walk, struct item *item)
{
	enum silt_pack_end end;
	int fd;

	if (walk->depth + 1 == walk->level_count || item->length == SILT_PLAIN_NAME_MAX)
		return SILT_PACK_OTHER;
	if (!has_room(walk, 0))
		return SILT_PACK_ROOM;
	fd = open_inside(walk->levels[walk->depth].fd, item->name, O_DIRECTORY);
	if (fd < 0)
		return SILT_PACK_OTHER;
	item->whole[item->length++] = '/';
	end = enter(walk, item, fd);
	if (end != WRITTEN)
		close(fd);
	return end;
}

/* The next name of the deepest directory. False when it is longer than a plain name. */
static int next_item(const struct silt_pack_walk *walk, struct item *item)
{
	const struct silt_pack_level *level = &walk->levels[walk->depth];
	const struct silt_names *names = &walk->names;
	uint64_t place = names->places[level->next];
	uint32_t own = place + 2 < names->bytes_used ? names->bytes[place + 1] : 0;

	if (own == 0 || place + 2 + own >= names->bytes_used || names->bytes[place + 2 + own] != 0 ||
	    level->prefix + own > SILT_PLAIN_NAME_MAX)
		return 0;
	item->type = names->bytes[place];
	item->name = (const char *)names->bytes + place + 2;
	memcpy(item->whole, walk->path, level->prefix);
	memcpy(item->whole + level->prefix, item->name, own);
	item->length = level->prefix + own;
	return 1;
}

static enum silt_pack_end add(struct silt_pack_walk *walk)
{
	struct item item;

	if (!next_item(walk, &item))
		return SILT_PACK_OTHER;
	switch (item.type) {
	case DT_REG:
		return add_file(walk, &item);
	case DT_LNK:
		return add_link(walk, &item);
	case DT_DIR:
		return add_directory(walk, &item);
	default:
		return SILT_PACK_OTHER;
	}
}

/* Leaves the deepest directory. */
static void leave(struct silt_pack_walk *walk)
{
	const struct silt_pack_level *level = &walk->levels[walk->depth--];

	close(level->fd);
	walk->names.bytes_used = level->bytes;
	walk->names.places_used = level->places;
}

enum silt_pack_end silt_pack_plain(struct silt_pack_walk *walk)
{
	for (;;) {
		struct silt_pack_level *level = &walk->levels[walk->depth];
		enum silt_pack_end end;

		if (level->next == level->end) {
			if (walk->depth == 0)
				return SILT_PACK_ALL;
			leave(walk);
			continue;
		}
		if (walk->entries_left == 0)
			return SILT_PACK_ENOUGH;
		end = add(walk);
		if (end != WRITTEN)
			return end;
		walk->entries_left--;
		/* Also when the deepest is another one now. */
		level->next++;
	}
}
