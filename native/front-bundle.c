/* Reading the config.json of a bundle, as much as matters here. */
#include "front.h"

#include <asm/stat.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/stat.h>

#define CONFIG_SIZE_MAX (16u << 20)
#define ENOENT 2

/* Reads `size` bytes; what the file has lost since is missing at the end. Null if it cannot be read. */
static const char *read_all(int fd, size_t size, size_t *got)
{
	int64_t memory = CALL(mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*got = 0;
	if (silt_is_error(memory))
		return NULL;
	while (*got < size) {
		int64_t result = CALL(read, fd, memory + (int64_t)*got, size - *got);
		if (silt_is_error(result))
			return NULL;
		if (result == 0)
			break;
		*got += (size_t)result;
	}
	return (const char *)memory;
}

enum front_grouping front_read_config(const char *bundle, const char *id, char pod[FRONT_NAME_SIZE])
{
	char path[FRONT_PATH_SIZE];
	enum front_grouping grouping = FRONT_UNCLEAR;
	struct stat file;
	int64_t fd;

	if (!JOIN(path, bundle, *bundle ? "/" : "", "config.json"))
		return FRONT_UNCLEAR;
	fd = CALL(openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (silt_is_error(fd))
		return fd == -ENOENT ? FRONT_OWN_POD : FRONT_UNCLEAR;
	if (!silt_is_error(CALL(fstat, fd, &file)) && S_ISREG(file.st_mode) && file.st_size <= CONFIG_SIZE_MAX) {
		size_t size = 0;
		const char *text = file.st_size > 0 ? read_all((int)fd, (size_t)file.st_size, &size) : "";
		if (text)
			grouping = front_scan_config(text, size, id, pod);
	}
	CALL(close, fd);
	return grouping;
}
