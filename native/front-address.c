/* Where the shim of a pod listens: the same as shim/socket-address.ts. */
#include "front.h"

#define OFFSET ((unsigned __int128)0x6c62272e07bb0142 << 64 | 0x62b821756295c58d)
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

/* 128-bit FNV-1a over the string and its NUL. */
static unsigned __int128 hash_string(unsigned __int128 hash, const char *string)
{
	do
		hash = (hash ^ (unsigned char)*string) * PRIME;
	while (*string++ != '\0');
	return hash;
}

bool front_socket_path(char path[FRONT_SOCKET_PATH_SIZE], const char *root, const struct front_flags *flags)
{
	unsigned __int128 hash = hash_string(OFFSET, flags->address);
	char digits[33];

	hash = hash_string(hash_string(hash, flags->namespace), flags->id);
	for (uint32_t i = 0; i < 32; i++)
		digits[i] = "0123456789abcdef"[(uint32_t)(hash >> (124 - 4 * i)) & 15];
	digits[32] = '\0';
	return front_join(path, FRONT_SOCKET_PATH_SIZE, (const char *const[]){ root, "/s/", digits, NULL });
}
