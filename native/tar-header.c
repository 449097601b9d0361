#include "tar-header.h"

#include <string.h>

#define COMPONENT_MAX 255u
/* Digits of a time before and behind its point. */
#define SECONDS_DIGITS 12u
#define NANOSECONDS_DIGITS 9u
/* A pax header larger than this is no usual one. */
#define PAX_MAX (SILT_TAR_HEADERS_MAX - 2 * SILT_TAR_BLOCK)

/* Where the fields of a block are: pax(1), "ustar Interchange Format". */
enum {
	NAME = 0,
	NAME_LENGTH = 100,
	MODE = 100,
	UID = 108,
	GID = 116,
	ID_LENGTH = 8,
	SIZE = 124,
	MTIME = 136,
	NUMBER_LENGTH = 12,
	CHECKSUM = 148,
	CHECKSUM_LENGTH = 8,
	TYPE = 156,
	LINK = 157,
	LINK_LENGTH = 100,
	MAGIC = 257,
	MAGIC_LENGTH = 8,
	PREFIX = 345,
	PREFIX_LENGTH = 155,
	STAR_MARK = 508,
};

/* What a pax header says. A text that has no bytes was not there. */
struct pax {
	struct silt_tar_text path, target;
	bool has_time;
	int64_t seconds;
	uint32_t nanoseconds;
};

static bool is_digit(uint8_t byte)
{
	return byte >= '0' && byte <= '9';
}

/* The bytes of a field up to the first NUL. */
static struct silt_tar_text field(const uint8_t *block, uint32_t at, uint32_t length)
{
	const uint8_t *end = memchr(block + at, 0, length);

	return (struct silt_tar_text){ block + at, end == NULL ? length : (uint32_t)(end - (block + at)) };
}

/* A field that begins with an octal number, with a NUL or a blank behind it. At most 11 digits, so it does not overflow. */
static bool octal(const uint8_t *block, uint32_t at, uint32_t length, uint64_t *value)
{
	uint32_t i = 0;

	*value = 0;
	for (; i < length && block[at + i] >= '0' && block[at + i] <= '7'; i++)
		*value = *value * 8 + (block[at + i] - '0');
	return i > 0 && i < length && (block[at + i] == 0 || block[at + i] == ' ');
}

/* The sum of a block's bytes, eight at a time: each of the four sums is at most 64 * 510. */
static uint32_t sum_of(const uint8_t *block)
{
	const uint64_t half = 0x00ff00ff00ff00ff;
	uint64_t sum = 0, word;

	for (uint32_t i = 0; i < SILT_TAR_BLOCK; i += sizeof word) {
		memcpy(&word, block + i, sizeof word);
		sum += (word & half) + (word >> 8 & half);
	}
	return (uint32_t)((sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32 & 0xffff) + (sum >> 48));
}

/* Is it a block of a known kind with the right checksum, in which the checksum itself counts as blanks? */
static bool is_sound(const uint8_t *block)
{
	uint32_t sum = sum_of(block) + CHECKSUM_LENGTH * ' ';
	uint64_t said;

	for (uint32_t i = 0; i < CHECKSUM_LENGTH; i++)
		sum -= block[CHECKSUM + i];
	return octal(block, CHECKSUM, CHECKSUM_LENGTH, &said) && said == sum &&
	       (memcmp(block + MAGIC, "ustar\00000", MAGIC_LENGTH) == 0 || memcmp(block + MAGIC, "ustar  ", MAGIC_LENGTH) == 0);
}

/* Takes a path apart: with or without `./` before it, and nothing else that could be spelled in two ways. */
static bool read_path(struct silt_tar_text text, struct silt_tar_path *path)
{
	const uint8_t *at = text.bytes, *end = text.bytes + text.length;

	if (text.length == 0)
		return false;
	path->dotted = text.length > 2 && at[0] == '.' && at[1] == '/';
	if (path->dotted)
		at += 2;
	if (end - at > SILT_TAR_PATH_MAX)
		return false;
	path->directory = (struct silt_tar_text){ at, 0 };
	for (path->depth = 1;; path->depth++) {
		const uint8_t *slash = memchr(at, '/', (size_t)(end - at));
		uint32_t length = (uint32_t)((slash == NULL ? end : slash) - at);
		if (length == 0 || length > COMPONENT_MAX || (length == 1 && at[0] == '.') ||
		    (length == 2 && at[0] == '.' && at[1] == '.'))
			return false;
		if (slash == NULL) {
			path->base = (struct silt_tar_text){ at, length };
			return true;
		}
		path->directory.length = (uint32_t)(slash - path->directory.bytes);
		at = slash + 1;
	}
}

/* `1700000000.123456789` */
static bool read_time(struct silt_tar_text text, struct pax *pax)
{
	uint32_t i = 0, digits = 0;

	pax->seconds = 0;
	pax->nanoseconds = 0;
	for (; i < text.length && is_digit(text.bytes[i]); i++)
		if (i < SECONDS_DIGITS)
			pax->seconds = pax->seconds * 10 + (text.bytes[i] - '0');
	if (i == 0 || i > SECONDS_DIGITS)
		return false;
	if (i < text.length && text.bytes[i++] != '.')
		return false;
	for (; i < text.length && digits < NANOSECONDS_DIGITS && is_digit(text.bytes[i]); i++, digits++)
		pax->nanoseconds = pax->nanoseconds * 10 + (text.bytes[i] - '0');
	for (; digits < NANOSECONDS_DIGITS; digits++)
		pax->nanoseconds *= 10;
	pax->has_time = true;
	return i == text.length;
}

static bool is_key(struct silt_tar_text key, const char *name)
{
	return key.length == strlen(name) && memcmp(key.bytes, name, key.length) == 0;
}

static bool read_value(struct silt_tar_text key, struct silt_tar_text value, struct pax *pax)
{
	if (value.length == 0 || memchr(value.bytes, 0, value.length) != NULL)
		return false;
	if (is_key(key, "mtime"))
		return read_time(value, pax);
	if (is_key(key, "path")) {
		pax->path = value;
		return true;
	}
	if (is_key(key, "linkpath")) {
		pax->target = value;
		return true;
	}
	/* Nothing has these. */
	return is_key(key, "atime") || is_key(key, "ctime");
}

/* Records `LENGTH KEY=VALUE\n`, of which LENGTH is of the whole record. */
static bool read_pax(const uint8_t *at, uint32_t left, struct pax *pax)
{
	while (left > 0) {
		uint32_t length = 0, digits = 0;
		const uint8_t *equals;
		for (; digits < left && digits < 5 && is_digit(at[digits]); digits++)
			length = length * 10 + (at[digits] - '0');
		if (digits == 0 || length > left || length < digits + 4 || at[digits] != ' ' || at[length - 1] != '\n')
			return false;
		equals = memchr(at + digits + 1, '=', length - digits - 2);
		if (equals == NULL)
			return false;
		struct silt_tar_text key = { at + digits + 1, (uint32_t)(equals - (at + digits + 1)) };
		struct silt_tar_text value = { equals + 1, (uint32_t)(at + length - 1 - (equals + 1)) };
		if (!read_value(key, value, pax))
			return false;
		at += length;
		left -= length;
	}
	return true;
}

/* The numbers of a block. */
struct numbers {
	uint64_t mode, uid, gid, size, mtime;
};

static bool read_numbers(const uint8_t *block, struct numbers *numbers)
{
	return octal(block, MODE, ID_LENGTH, &numbers->mode) && octal(block, UID, ID_LENGTH, &numbers->uid) &&
	       octal(block, GID, ID_LENGTH, &numbers->gid) && octal(block, SIZE, NUMBER_LENGTH, &numbers->size) &&
	       octal(block, MTIME, NUMBER_LENGTH, &numbers->mtime);
}

/* The pax header at the beginning. Returns the bytes that it has; 0 when it is no usual one. */
static uint32_t read_pax_header(const uint8_t *bytes, size_t length, struct pax *pax)
{
	struct numbers numbers;

	if (!is_sound(bytes) || !read_numbers(bytes, &numbers) || numbers.size > PAX_MAX)
		return 0;
	uint32_t size = (uint32_t)numbers.size;
	uint32_t whole = SILT_TAR_BLOCK + (size + SILT_TAR_BLOCK - 1) / SILT_TAR_BLOCK * SILT_TAR_BLOCK;
	return whole <= length && read_pax(bytes + SILT_TAR_BLOCK, size, pax) ? whole : 0;
}

/* The name that a block has, of which a ustar one can have two pieces. An empty text when it is none of the usual. */
static struct silt_tar_text name_in(const uint8_t *block, uint8_t joined[256])
{
	struct silt_tar_text name = field(block, NAME, NAME_LENGTH), prefix = field(block, PREFIX, PREFIX_LENGTH);
	bool is_gnu = block[MAGIC + 5] == ' ';

	/* GNU has something else there, and star something behind a shorter prefix. */
	if (is_gnu || prefix.length == 0)
		return name;
	if (name.length == 0 || memcmp(block + STAR_MARK, "tar", 4) == 0)
		return (struct silt_tar_text){ joined, 0 };
	memcpy(joined, prefix.bytes, prefix.length);
	joined[prefix.length] = '/';
	memcpy(joined + prefix.length + 1, name.bytes, name.length);
	return (struct silt_tar_text){ joined, prefix.length + 1 + name.length };
}

static bool read_type(const uint8_t *block, struct silt_tar_text target, struct silt_tar_entry *entry)
{
	switch (block[TYPE]) {
	case SILT_TAR_FILE:
	case 0:
		entry->type = SILT_TAR_FILE;
		return !entry->slashed;
	case SILT_TAR_DIRECTORY:
		entry->type = SILT_TAR_DIRECTORY;
		entry->size = 0;
		return true;
	case SILT_TAR_SYMLINK:
		entry->type = SILT_TAR_SYMLINK;
		entry->size = 0;
		entry->leads_to = target;
		return !entry->slashed && target.length > 0 && target.length <= SILT_TAR_TARGET_MAX;
	case SILT_TAR_HARDLINK:
		entry->type = SILT_TAR_HARDLINK;
		entry->size = 0;
		return !entry->slashed && read_path(target, &entry->target);
	default:
		return false;
	}
}

bool silt_tar_read(const uint8_t *bytes, size_t length, struct silt_tar_entry *entry)
{
	struct pax pax = { 0 };
	struct numbers numbers;
	uint32_t at = 0;

	if (length >= SILT_TAR_BLOCK && bytes[TYPE] == 'x') {
		at = read_pax_header(bytes, length, &pax);
		if (at == 0)
			return false;
	}
	const uint8_t *block = bytes + at;
	if (length - at < SILT_TAR_BLOCK || !is_sound(block) || !read_numbers(block, &numbers))
		return false;
	entry->mode = (uint32_t)numbers.mode & 07777;
	entry->uid = (uint32_t)numbers.uid;
	entry->gid = (uint32_t)numbers.gid;
	entry->size = numbers.size;
	entry->seconds = pax.has_time ? pax.seconds : (int64_t)numbers.mtime;
	entry->nanoseconds = pax.has_time ? pax.nanoseconds : 0;
	struct silt_tar_text name = pax.path.length > 0 ? pax.path : name_in(block, entry->joined);
	entry->slashed = name.length > 0 && name.bytes[name.length - 1] == '/';
	if (entry->slashed)
		name.length--;
	entry->headers = at + SILT_TAR_BLOCK;
	return read_path(name, &entry->path) &&
	       read_type(block, pax.target.length > 0 ? pax.target : field(block, LINK, LINK_LENGTH), entry);
}
