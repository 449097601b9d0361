/*
 * Makes archives, changes them, and has their plain entries applied by two threads, under AddressSanitizer or, built with
 * SANITIZE=-fsanitize=thread, ThreadSanitizer. What it looks for: a read or write outside of what was given, undefined behaviour, a job
 * that does not end, an offset that is none, a path that is not what tar-header.h promises, an fd that stays open, and anything made
 * outside of the directory. Usage: test-fuzz-unpack SECONDS [SEED]. Prints TAP.
 */
#define _GNU_SOURCE
#include "unpack-plain.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES 40
#define SPACE (1u << 20)

static uint64_t state;

/* xorshift64*; the run is repeated by its seed. */
static uint64_t next(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1du;
}

static uint64_t below(uint64_t limit)
{
	return next() % limit;
}

static const char *const NAMES[] = { "a",	"b",	   "d",	   "d/a",   "./d/b", "./d/e/f", "./d/e", "d/e/f/g",
				     "./outside", "../outside", "d/../../outside", "/tmp/outside", ".", "./", "", "d//a", "link/x" };

static const char *random_name(void)
{
	static char text[300];
	uint64_t kind = below(20);

	if (kind > 1)
		return NAMES[below(sizeof NAMES / sizeof *NAMES)];
	memset(text, 'n', sizeof text);
	text[200 + below(99)] = 0;
	return kind == 0 ? text : text + 195;
}

static void set_checksum(uint8_t *block)
{
	uint32_t sum = 0;

	memset(block + 148, ' ', 8);
	for (int i = 0; i < 512; i++)
		sum += block[i];
	snprintf((char *)block + 148, 8, "%06o", sum);
}

static void put_block(uint8_t *block, const char *name, char type, uint64_t size)
{
	memset(block, 0, 512);
	memcpy(block, name, strnlen(name, 100));
	memcpy(block + 100, "0000644", 8);
	memcpy(block + 108, "0000000", 8);
	memcpy(block + 116, "0000000", 8);
	snprintf((char *)block + 124, 12, "%011llo", (unsigned long long)size);
	memcpy(block + 136, "00000001000", 12);
	block[156] = (uint8_t)type;
	memcpy(block + 257, below(4) ? "ustar\00000" : "ustar  ", 8);
	if (below(8) == 0)
		snprintf((char *)block + 345, 150, "%s", random_name());
	if (below(16) == 0)
		memcpy(block + 508, "tar", 4);
	if (type == '1' || type == '2')
		snprintf((char *)block + 157, 100, "%s", random_name());
	set_checksum(block);
}

static uint32_t put_pax(uint8_t *out)
{
	static const char *const KEYS[] = { "mtime", "atime", "path", "linkpath", "size", "ctime" };
	static const char *const TIMES[] = { "1", "1700000000.123456789", "-1", "1.", ".5", "99999999999999" };
	char records[1024], record[400];
	uint32_t used = 0;

	for (uint64_t i = below(3) + 1; i > 0; i--) {
		const char *key = KEYS[below(6)];
		const char *value = key[0] == 'p' || key[0] == 'l' ? random_name() : TIMES[below(6)];
		int length = (int)(strlen(key) + strlen(value) + 5);
		length += length > 99;
		int made = snprintf(record, sizeof record, "%d %s=%s\n", length, key, value);
		if (used + (uint32_t)made > sizeof records)
			break;
		memcpy(records + used, record, (size_t)made);
		used += (uint32_t)made;
	}
	put_block(out, "pax", 'x', used);
	memset(out + 512, 0, 1024);
	memcpy(out + 512, records, used);
	return 512 + (used + 511) / 512 * 512;
}

static uint32_t generate(uint8_t *out)
{
	static const uint32_t SIZES[] = { 0, 1, 511, 512, 513, 5000, 65536, 65537, 100000 };
	uint32_t used = 0;

	for (uint64_t i = below(ENTRIES); i > 0 && used + 120000 < SPACE; i--) {
		char type = "0000055551237x"[below(14)];
		uint32_t size = type == '0' ? SIZES[below(below(8) ? 6 : 9)] : 0;
		if (below(3) == 0)
			used += put_pax(out + used);
		put_block(out + used, random_name(), type, size);
		memset(out + used + 512, 'c', (size + 511) / 512 * 512);
		used += 512 + (size + 511) / 512 * 512;
	}
	memset(out + used, 0, 1024);
	return used + 1024;
}

/* Changes bits and bytes; of some blocks the checksum is made right again. */
static void mutate(uint8_t *bytes, uint32_t length)
{
	for (uint64_t i = below(6); i > 0; i--) {
		uint32_t block = (uint32_t)below(length / 512) * 512;
		uint32_t at = block + (uint32_t)below(512);
		bytes[at] = below(2) ? (uint8_t)next() : bytes[at] ^ (uint8_t)(1u << below(8));
		if (below(4))
			set_checksum(bytes + block);
	}
}

static bool is_inside(struct silt_tar_text text, const uint8_t *bytes, uint32_t length, const struct silt_tar_entry *entry)
{
	return (text.bytes >= bytes && text.bytes + text.length <= bytes + length) ||
	       (text.bytes >= entry->joined && text.bytes + text.length <= entry->joined + sizeof entry->joined);
}

static bool is_path(const struct silt_tar_path *path, const uint8_t *bytes, uint32_t length, const struct silt_tar_entry *entry)
{
	const struct silt_tar_text *base = &path->base, *directory = &path->directory;

	return is_inside(*base, bytes, length, entry) && is_inside(*directory, bytes, length, entry) && base->length > 0 &&
	       base->length <= 255 && memchr(base->bytes, 0, base->length) == NULL && memchr(base->bytes, '/', base->length) == NULL &&
	       !(base->length <= 2 && memcmp(base->bytes, "..", base->length) == 0) &&
	       directory->length + 1 + base->length <= SILT_TAR_PATH_MAX + 1 &&
	       (directory->length == 0 || (directory->bytes[0] != '/' && directory->bytes + directory->length + 1 == base->bytes));
}

/* Reads headers at each block, with nothing behind the bytes that are there. */
static bool reads_well(const uint8_t *bytes, uint32_t length)
{
	struct silt_tar_entry entry;

	for (uint32_t at = 0; at < length; at += 512) {
		uint32_t left = below(8) ? length - at : (uint32_t)below(length - at);
		uint8_t *copy = malloc(left + 1);
		memcpy(copy, bytes + at, left);
		bool good = !silt_tar_read(copy, left, &entry) ||
			    (is_path(&entry.path, copy, left, &entry) && entry.headers <= left &&
			     (entry.type != SILT_TAR_HARDLINK || is_path(&entry.target, copy, left, &entry)) &&
			     (entry.type != SILT_TAR_SYMLINK || is_inside(entry.leads_to, copy, left, &entry)));
		free(copy);
		if (!good)
			return false;
	}
	return true;
}

static void *work(void *job)
{
	silt_unpack_work(job);
	return NULL;
}

static bool applies_well(const uint8_t *bytes, uint32_t length, int root)
{
	struct silt_unpack_job *job = calloc(1, sizeof *job);
	uint8_t *memory = NULL;
	int archive = -1;
	pthread_t thread;

	if (below(2)) {
		archive = memfd_create("archive", MFD_CLOEXEC);
		if (write(archive, bytes, length) != (ssize_t)length)
			abort();
	} else {
		memory = malloc(length);
		memcpy(memory, bytes, length);
	}
	job->tree.root = root;
	job->archive = archive;
	job->memory = memory;
	/* Of a file it may be too large: it can become shorter. */
	job->size = length + (archive >= 0 ? below(2) * 100000 : 0);
	job->end = archive >= 0 ? below(2 * length) : length;
	job->entries_left = below(4) ? UINT64_MAX : below(8);
	job->bytes_left = below(4) ? UINT64_MAX : below(20000);
	job->depth = 1 + (uint32_t)below(8);
	job->uid = geteuid();
	job->gid = getegid();
	job->read_size = SILT_UNPACK_READ_LEAST;
	pthread_mutex_init(&job->lock, NULL);
	if (pthread_create(&thread, NULL, work, job) != 0)
		abort();
	silt_unpack_work(job);
	pthread_join(thread, NULL);
	silt_unpack_end(job);
	bool good = job->offset % 512 == 0 && job->offset <= (uint64_t)length + 200000 && job->entries <= job->entries_left &&
		    job->bytes <= job->bytes_left && job->tree.failure.length < sizeof job->tree.failure.name;
	pthread_mutex_destroy(&job->lock);
	free(job);
	free(memory);
	if (archive >= 0)
		close(archive);
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

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *where)
{
	(void)stat, (void)type;
	return where->level > 0 ? remove(path) : 0;
}

int main(int argc, char **argv)
{
	time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 60);
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL) << 16 ^ (uint64_t)getpid();
	uint8_t *bytes = malloc(SPACE + 8192);
	char top[] = "/tmp/silt-fuzz-unpack.XXXXXX", root[64];
	uint64_t tried = 0;
	bool good = true;

	printf("1..1\n# seed %#llx\n", (unsigned long long)seed);
	fflush(stdout);
	state = seed | 1;
	if (mkdtemp(top) == NULL)
		return 1;
	snprintf(root, sizeof root, "%s/root", top);
	mkdir(root, 0700);
	int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint32_t open_before = count_in("/proc/self/fd");
	for (; good && time(NULL) < end; tried++) {
		uint32_t length = generate(bytes);
		mutate(bytes, length);
		good = reads_well(bytes, length) && applies_well(bytes, length, fd) && count_in(top) == 3 &&
		       count_in("/proc/self/fd") == open_before;
		nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	}
	close(fd);
	rmdir(root);
	rmdir(top);
	free(bytes);
	printf("%s 1 - %llu changed archives are applied within bounds\n", good ? "ok" : "not ok", (unsigned long long)tried);
	return good ? 0 : 1;
}
