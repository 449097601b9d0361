/* What containerd writes to `start`, and closes. A pipe can be read only once: what Node must see goes into a memfd. */
#include "front.h"

#include <asm/stat.h>
#include <linux/memfd.h>
#include <linux/poll.h>
#include <linux/stat.h>

#define TAKEN_MAX (64u << 10) /* of options, which have a few dozen bytes */
#define PASSED_MAX (10u << 20) /* as much as containerd's own shims read */
#define SEEK_SET 0
#define EINTR 4
#define EAGAIN 11
#define EFBIG 27

static uint8_t taken[TAKEN_MAX];

/* Reads until `taken` is full or the input ends. Waits as long as its writer lives, as every shim does. */
static size_t fill(void)
{
	size_t size = 0;

	while (size < sizeof taken) {
		struct pollfd readable = { .fd = 0, .events = POLLIN };
		int64_t result = CALL(read, 0, taken + size, sizeof taken - size);

		if (result == 0)
			break;
		if (result == -EAGAIN)
			CALL(ppoll, &readable, 1, 0, 0, 8);
		else if (silt_is_error(result) && result != -EINTR)
			front_fail("reading", "stdin", result);
		else if (result > 0)
			size += (size_t)result;
	}
	return size;
}

/* Makes fd 0 a file of what was taken and what is still to come. */
static void refill(size_t size)
{
	int64_t fd = CALL(memfd_create, "stdin", MFD_CLOEXEC), result = fd;
	size_t total = 0;

	for (; !silt_is_error(result) && size > 0; size = size == sizeof taken ? fill() : 0) {
		total += size;
		result = total > PASSED_MAX ? -EFBIG : front_write((int)fd, taken, size);
	}
	if (!silt_is_error(result))
		result = CALL(lseek, fd, 0, SEEK_SET);
	if (!silt_is_error(result))
		result = CALL(dup3, fd, 0, 0);
	if (silt_is_error(result))
		front_fail("handing stdin to", "node", result);
	CALL(close, fd);
}

bool front_take_stdin(void)
{
	struct stat file;
	size_t size;

	/* Closed, a terminal, or /dev/null, which containerd gives when the runtime has no options. */
	if (silt_is_error(CALL(fstat, 0, &file)) || S_ISCHR(file.st_mode))
		return true;
	size = fill();
	if (size == 0 || (size < sizeof taken && front_is_runtime_options(taken, size)))
		return true;
	refill(size);
	return false;
}
