#include "plain-headers.h"

#include <stddef.h>
#include <string.h>

#define BLOCK SILT_PLAIN_BLOCK
#define NAME_LENGTH SILT_PLAIN_NAME_MAX
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
