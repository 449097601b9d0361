/*
 * Makes trees, changes them while they are packed, and has their plain entries written into little room, under AddressSanitizer. What it looks
 * for: a read or write outside of what was given, undefined behaviour, a walk that does not end, an entry that is none or has another's name, contents from
 * outside of the tree, and an fd that stays open. Usage: test-fuzz-pack SECONDS [SEED]. Prints TAP.
 */
#define _GNU_SOURCE
#include "pack-plain.h"
#include "tar-header.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LEVELS 4
#define SENDS 3
/* Of one tree, while it changes. */
#define WALKS 200
#define SECRET "not in the tree"

/* xorshift64*; the run is repeated by its seed, but for what the threads do to each other. */
static uint64_t next(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1du;
}

static uint64_t below(uint64_t *state, uint64_t limit)
{
	return next(state) % limit;
}

/* A path in the tree, of few names, so that changes meet what is being read. */
static const char *random_path(uint64_t *state, char path[300])
{
	static const char *const NAMES[] = { "a", "b", "c", "d", "\xc3\xa9" };
	size_t used = 0;

	for (uint64_t depth = below(state, 5); depth > 0; depth--)
		used += (size_t)snprintf(path + used, 300 - used, "%s/", NAMES[below(state, 3)]);
	if (below(state, 30) == 0)
		snprintf(path + used, 300 - used, "%0*d", (int)(80 + below(state, 30)), 1);
	else
		snprintf(path + used, 300 - used, "%s", NAMES[below(state, 5)]);
	return path;
}

/* One change of the tree in the directory `root`, which is in `top`. */
static void change(uint64_t *state, int top, int root)
{
	static const char *const STRANGERS[] = { "link", "link-to-directory", "fifo" };
	static const uint32_t SIZES[] = { 0, 1, 511, 512, 513, 4000, 5000, 9000, 30000 };
	static uint8_t contents[30000];
	char path[300], other[300];
	int fd;

	random_path(state, path);
	switch (below(state, 13)) {
	case 0:
	case 1:
	case 2:
		fd = openat(root, path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | (below(state, 2) ? O_TRUNC : 0), 0644);
		if (fd >= 0) {
			if (write(fd, contents, SIZES[below(state, 9)]) < 0 || (below(state, 4) == 0 && ftruncate(fd, (off_t)below(state, 20000)) < 0))
				close(fd);
			else
				close(fd);
		}
		break;
	case 3:
	case 4:
	case 5:
		mkdirat(root, path, 0755);
		break;
	case 6:
		(void)!symlinkat(below(state, 2) ? "../secret" : "../outside", root, path);
		break;
	case 10:
		/* And back, at another time. */
		renameat2(root, path, top, STRANGERS[below(state, 3)], RENAME_EXCHANGE);
		break;
	case 7:
	case 8:
		renameat2(root, path, root, random_path(state, other), below(state, 2) ? RENAME_EXCHANGE : 0);
		break;
	case 9:
		(void)!linkat(root, path, root, random_path(state, other), 0);
		break;
	case 11:
		mkfifoat(root, path, 0600);
		break;
	default:
		unlinkat(root, path, below(state, 2) ? AT_REMOVEDIR : 0);
	}
}

struct changer {
	uint64_t state;
	int top, root;
	atomic_bool ends;
};

static void *change_on(void *data)
{
	struct changer *changer = data;

	while (!atomic_load(&changer->ends))
		change(&changer->state, changer->top, changer->root);
	return NULL;
}

/* Are these entries, each with a name of its directory's in the archive, and none with what is outside? Contents that are sent are not among the bytes. */
static bool are_entries(const uint8_t *bytes, uint32_t length, const struct silt_archive_send *sends, uint32_t send_count)
{
	uint32_t send = 0, at = 0;

	if (memmem(bytes, length, SECRET, strlen(SECRET)) != NULL)
		return false;
	while (at < length) {
		struct silt_tar_entry entry;
		if (!silt_tar_read(bytes + at, length - at, &entry) || !entry.path.dotted)
			return false;
		at += entry.headers;
		if (send < send_count && sends[send].at == at) {
			if (sends[send].size != entry.size)
				return false;
			at += -sends[send++].size & (SILT_TAR_BLOCK - 1);
		} else {
			at += (uint32_t)((entry.size + SILT_TAR_BLOCK - 1) / SILT_TAR_BLOCK * SILT_TAR_BLOCK);
		}
	}
	return at == length && send == send_count;
}

/* What is sent is a file of the tree, and no fifo; then it is closed. */
static bool send_all(const struct silt_archive_send *sends, uint32_t count)
{
	bool good = true;

	for (uint32_t i = 0; i < count; i++) {
		char contents[sizeof SECRET] = "";
		struct stat stat;
		good = good && fstat(sends[i].fd, &stat) == 0 && S_ISREG(stat.st_mode) &&
		       pread(sends[i].fd, contents, sizeof contents - 1, 0) >= 0 && strcmp(contents, SECRET) != 0;
		close(sends[i].fd);
	}
	return good;
}

/* Packs the whole tree; what the walk leaves is left out. Every array is as large as is said, and is on the heap, where AddressSanitizer sees more. */
static bool packs_well(uint64_t *state, int root)
{
	static const struct silt_id_range all = { 0, 0, UINT32_MAX };
	uint32_t name_room = 64 + (uint32_t)below(state, 2000), place_room = 8 + (uint32_t)below(state, 60);
	uint32_t room = SILT_PLAIN_HEADERS_MAX + 8192 + (uint32_t)below(state, 30000);
	struct silt_pack_level *levels = calloc(LEVELS, sizeof *levels);
	struct silt_archive_send *sends = calloc(SENDS, sizeof *sends);
	struct silt_pack_walk walk = {
		.names = { malloc(name_room), malloc(place_room * sizeof(uint32_t)), name_room, place_room, 0, 0 },
		.levels = levels,
		.level_count = LEVELS,
		.path = "./",
		.uids = &all,
		.gids = &all,
		.uid_ranges = 1,
		.gid_ranges = 1,
		.largest_read = 4096,
		.largest_sent = below(state, 2) ? 20000 : 4096,
		.out = malloc(room),
		.out_size = room,
		.sends = sends,
		.send_room = SENDS,
	};
	/* Where there are too many names for the room there is nothing to do. */
	bool good = true, ended = silt_read_names(root, &walk.names) != 0;
	uint32_t own_places = walk.names.places_used, own_bytes = walk.names.bytes_used;

	levels[0] = (struct silt_pack_level){ .fd = root, .end = walk.names.places_used, .prefix = 2 };
	while (good && !ended) {
		walk.out_used = walk.send_count = 0;
		walk.send_bytes_left = 25000;
		walk.entries_left = 1 + (uint32_t)below(state, 40);
		enum silt_pack_end end = silt_pack_plain(&walk);
		good = walk.depth < LEVELS && walk.out_used <= room && walk.send_count <= SENDS &&
		       walk.names.bytes_used <= name_room && walk.names.places_used <= place_room &&
		       are_entries(walk.out, walk.out_used, sends, walk.send_count);
		good = send_all(sends, walk.send_count) && good;
		/* It had all the room that there is. */
		good = good && !(end == SILT_PACK_ROOM && walk.out_used == 0);
		if (end == SILT_PACK_OTHER)
			levels[walk.depth].next++;
		ended = end == SILT_PACK_ALL;
		good = good && (!ended || (walk.depth == 0 && walk.names.places_used == own_places && walk.names.bytes_used == own_bytes));
	}
	for (; walk.depth > 0; walk.depth--)
		close(levels[walk.depth].fd);
	free(walk.names.bytes);
	free(walk.names.places);
	free(walk.out);
	free(levels);
	free(sends);
	return good;
}

static uint32_t count_in(const char *path)
{
	DIR *directory = opendir(path);
	uint32_t count = 0;

	while (readdir(directory) != NULL)
		count++;
	closedir(directory);
	return count;
}

static void put_secret(int top, const char *name)
{
	FILE *file = fdopen(openat(top, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), "w");

	/* More than is read, and less than what is sent. */
	for (int i = 0; i < 500; i++)
		fputs(SECRET, file);
	fclose(file);
}

/* What changes put in places of the tree's files, unless one has put such a file here, which is left. */
static void put_strangers(const char *path, int top)
{
	char target[100];

	snprintf(target, sizeof target, "%s/secret", path);
	(void)!symlinkat(target, top, "link");
	snprintf(target, sizeof target, "%s/outside", path);
	(void)!symlinkat(target, top, "link-to-directory");
	mkfifoat(top, "fifo", 0600);
}

/* By a program that can: renamed into each other, directories become deeper than a path may be long. */
static bool remove_tree(const char *path)
{
	char command[100];

	snprintf(command, sizeof command, "rm -rf %s", path);
	return system(command) == 0;
}

int main(int argc, char **argv)
{
	time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 60);
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL) << 16 ^ (uint64_t)getpid();
	char top[] = "/tmp/silt-fuzz-pack.XXXXXX";
	uint64_t state = seed | 1, tried = 0;
	struct changer changer = { .state = ~seed | 1 };
	bool good = true;

	printf("1..1\n# seed %#llx\n", (unsigned long long)seed);
	fflush(stdout);
	/* The packing closes a fifo that a change has just opened for writing. */
	signal(SIGPIPE, SIG_IGN);
	if (mkdtemp(top) == NULL)
		return 1;
	changer.top = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mkdirat(changer.top, "outside", 0700);
	mkdirat(changer.top, "root", 0700);
	put_secret(changer.top, "secret");
	put_secret(changer.top, "outside/a");
	changer.root = openat(changer.top, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* Every third tree stands still. */
	for (; good && time(NULL) < end; tried++) {
		uint32_t open_before = count_in("/proc/self/fd");
		pthread_t thread;
		bool changes = tried % 3 > 0;
		put_strangers(top, changer.top);
		for (int i = 0; i < 200; i++)
			change(&state, changer.top, changer.root);
		atomic_store(&changer.ends, false);
		if (changes && pthread_create(&thread, NULL, change_on, &changer) != 0)
			return 1;
		for (int i = 0; good && i < WALKS; i++)
			good = packs_well(&state, changer.root);
		atomic_store(&changer.ends, true);
		if (changes)
			pthread_join(thread, NULL);
		good = good && count_in("/proc/self/fd") == open_before;
	}
	close(changer.root);
	close(changer.top);
	good = remove_tree(top) && good;
	printf("%s 1 - %llu changing trees are packed within bounds\n", good ? "ok" : "not ok", (unsigned long long)tried * WALKS);
	return good ? 0 : 1;
}
