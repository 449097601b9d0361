/* Where the shim of a pod listens: the same as shim/socket-address.ts. */
#include "front.h"

#define PRIME ((unsigned __int128)1 << 88 | 0x13b)

bool front_is_plain_path(const char *path)
{
	char component[FRONT_NAME_SIZE];
	size_t length = 0;

	if (*path != '/')
		return false;
	for (path++;; path++) {
		if (*path != '/' && *path != '\0') {
			if (length == sizeof component - 1)
				return false;
			component[length++] = *path;
			continue;
		}
		component[length] = '\0';
		if (!front_is_name(component))
			return false;
		if (*path == '\0')
			return true;
		length = 0;
	}
}

struct front_hash front_hash(struct front_hash hash, const char *string)
{
	do
		hash.value = (hash.value ^ (unsigned char)*string) * PRIME;
	while (*string++ != '\0');
	return hash;
}

void front_hash_digits(char digits[FRONT_HASH_SIZE], struct front_hash hash)
{
	for (uint32_t i = 0; i < FRONT_HASH_SIZE - 1; i++)
		digits[i] = "0123456789abcdef"[(uint32_t)(hash.value >> (124 - 4 * i)) & 15];
	digits[FRONT_HASH_SIZE - 1] = '\0';
}

bool front_socket_path(char path[FRONT_SOCKET_PATH_SIZE], const char *root, const struct front_flags *flags)
{
	struct front_hash hash = front_hash(FRONT_HASH_START, flags->address);
	char digits[FRONT_HASH_SIZE];

	front_hash_digits(digits, front_hash(front_hash(hash, flags->namespace), flags->id));
	return front_join(path, FRONT_SOCKET_PATH_SIZE, (const char *const[]){ root, "/s/", digits, NULL });
}
