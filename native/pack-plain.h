/*
 * Walks a tree and writes the tar entries of what is like most: directories, symbolic links, and regular files with one name and without holes, none with
 * extended attributes that an archive has, all with headers as in plain-headers.h. It stops at the first name that is different in any way, which
 * is for TypeScript (sandbox/archive/pack), as that can write every entry; so nothing here needs to report an error.
 *
 * The tree belongs to a container that may be running. Nothing is looked at by a path: each name is opened in its directory's fd, and what becomes a
 * link, a mount or a fifo meanwhile leads nowhere.
 */
#ifndef SILT_PACK_PLAIN_H
#define SILT_PACK_PLAIN_H

#include "archive-part.h"
#include "names.h"
#include "plain-headers.h"

/* `size` ids from `host` on are the container's from `container` on. */
struct silt_id_range {
	uint32_t container, host, size;
};

/* A directory that is being read. In an array of numbers that JavaScript has, too. */
struct silt_pack_level {
	int32_t fd;
	/* How much of the names was in use before its own. */
	uint32_t bytes, places;
	/* Indexes of places: of the name that is next, and behind the last one. */
	uint32_t next, end;
	/* How much of the path is its name, with the slash behind it. */
	uint32_t prefix;
};
#define SILT_PACK_LEVEL_NUMBERS (sizeof(struct silt_pack_level) / sizeof(uint32_t))

struct silt_pack_walk {
	/* Names of all directories that are being read, of the deepest last. */
	struct silt_names names;
	/*
	 * The first one is the caller's, who has opened it and read its names. Those behind it are opened, and closed, here; those up to `depth` are the
	 * caller's, too, when he does not go on.
	 */
	struct silt_pack_level *levels;
	uint32_t level_count;
	uint32_t depth; /* index of the deepest */
	/* The deepest one's name as the archive has it, `./a/`. */
	uint8_t path[SILT_PLAIN_NAME_MAX];
	/* What has an id that is in none of the ranges is not like most. */
	const struct silt_id_range *uids, *gids;
	uint32_t uid_ranges, gid_ranges;
	/* Contents up to the first size are read, up to the second one left to be sent. */
	uint32_t largest_read, largest_sent;
	/* Where the entries go, and how much of it is in use. */
	uint8_t *out;
	uint32_t out_size, out_used;
	/* Files that are to be sent in between, each open: how many there is room for, and of how much there may be more if it is not the first one. */
	struct silt_archive_send *sends;
	uint32_t send_room, send_count;
	uint32_t send_bytes_left;
	/* So many are written before others have their turn; counted down. */
	uint32_t entries_left;
};

enum silt_pack_end {
	SILT_PACK_ALL, /* the first directory has no more names */
	SILT_PACK_ROOM, /* the next one has no room */
	SILT_PACK_OTHER, /* the next one is different, or cannot be read */
	SILT_PACK_ENOUGH, /* so many were written */
};

/* Goes on where the walk is. */
enum silt_pack_end silt_pack_plain(struct silt_pack_walk *walk);

#endif
