/* Protobuf, as much as `start` and `delete` need of it (protobuf.dev, "Encoding"). */
#include "front.h"

#define TAG(field, type) ((field) << 3 | (type))
#define VARINT 0
#define BYTES 2

/* A length of at most four bytes (28 bits, more than is ever read here). False: the input ends, or it is longer. */
static bool read_length(const uint8_t *bytes, size_t size, size_t *at, size_t *length)
{
	*length = 0;
	for (uint32_t shift = 0; shift < 28 && *at < size; shift += 7) {
		uint8_t byte = bytes[(*at)++];
		*length |= (size_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return *length <= size - *at;
	}
	return false;
}

/*
 * What containerd 1.6 to 2.2 write to `start` when the runtime has options. They come again with Create, where they
 * count. containerd 2.3 writes a BootstrapParams, whose first two fields are strings too (id and namespace), but it
 * always has more of them: containerd's version and its path.
 */
static bool is_options_type(const uint8_t *bytes, size_t size)
{
	static const char *const types[] = { "runtimeoptions.v1.Options", "containerd.runc.v1.Options" };

	for (uint32_t i = 0; i < sizeof types / sizeof *types; i++) {
		size_t k = 0;
		while (k < size && types[i][k] != '\0' && bytes[k] == (uint8_t)types[i][k])
			k++;
		if (types[i][k] == '\0')
			return true;
	}
	return false;
}

bool front_is_runtime_options(const uint8_t *bytes, size_t size)
{
	bool found = false;

	for (size_t at = 0, length; at < size; at += length) {
		uint8_t tag = bytes[at++];
		if ((tag != TAG(1, BYTES) && tag != TAG(2, BYTES)) || !read_length(bytes, size, &at, &length))
			return false;
		if (tag == TAG(1, BYTES)) {
			if (!is_options_type(bytes + at, length))
				return false;
			found = true;
		}
	}
	return found;
}

static size_t put_varint(uint8_t *to, uint64_t value)
{
	size_t size = 0;

	for (; value > 0x7f; value >>= 7)
		to[size++] = (uint8_t)(value | 0x80);
	to[size++] = (uint8_t)value;
	return size;
}

/* { uint32 pid = 1; uint32 exit_status = 2; Timestamp exited_at = 3 }, with { int64 seconds = 1; int32 nanos = 2 }. */
size_t front_delete_response(uint8_t to[FRONT_DELETE_RESPONSE_SIZE], uint32_t status, uint64_t seconds, uint32_t nanos)
{
	size_t size = 0, length_at;

	to[size++] = TAG(2, VARINT);
	size += put_varint(to + size, status); /* at most 5 bytes */
	to[size++] = TAG(3, BYTES);
	length_at = size++;
	to[size++] = TAG(1, VARINT);
	size += put_varint(to + size, seconds); /* at most 10 */
	to[size++] = TAG(2, VARINT);
	size += put_varint(to + size, nanos); /* at most 5 */
	to[length_at] = (uint8_t)(size - length_at - 1);
	return size;
}
