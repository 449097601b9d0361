/* How the front ends: a message on stderr, which containerd shows to its caller, and an exit status. */
#include "front.h"

const char *front_program = "silt";

void front_exit(int status)
{
	for (;;)
		CALL(exit_group, status);
}

int64_t front_write(int fd, const void *bytes, size_t size)
{
	const char *from = bytes;

	while (size > 0) {
		int64_t result = CALL(write, fd, from, size);
		if (silt_is_error(result))
			return result;
		from += result;
		size -= (size_t)result;
	}
	return 0;
}

/* asm-generic/errno-base.h and errno.h: what the calls made here can answer. */
static const char *name_of(uint32_t error)
{
	static const struct {
		uint32_t error;
		const char *name;
	} names[] = {
		{ 1, "EPERM" }, { 2, "ENOENT" }, { 4, "EINTR" }, { 5, "EIO" },
		{ 7, "E2BIG" }, { 8, "ENOEXEC" }, { 9, "EBADF" }, { 10, "ECHILD" },
		{ 11, "EAGAIN" }, { 12, "ENOMEM" }, { 13, "EACCES" }, { 14, "EFAULT" },
		{ 17, "EEXIST" }, { 20, "ENOTDIR" }, { 21, "EISDIR" }, { 22, "EINVAL" },
		{ 23, "ENFILE" }, { 24, "EMFILE" }, { 26, "ETXTBSY" }, { 27, "EFBIG" },
		{ 28, "ENOSPC" }, { 30, "EROFS" }, { 32, "EPIPE" }, { 36, "ENAMETOOLONG" },
		{ 38, "ENOSYS" }, { 40, "ELOOP" }, { 80, "ELIBBAD" }, { 91, "EPROTOTYPE" },
		{ 62, "ETIME" }, { 98, "EADDRINUSE" }, { 105, "ENOBUFS" }, { 110, "ETIMEDOUT" },
		{ 111, "ECONNREFUSED" }, { 122, "EDQUOT" },
	};

	for (uint32_t i = 0; i < sizeof names / sizeof *names; i++)
		if (names[i].error == error)
			return names[i].name;
	return "see errno(3)";
}

void front_fail(const char *what, const char *object, int64_t result)
{
	char message[FRONT_PATH_SIZE + 256], digits[FRONT_DIGITS_SIZE];
	const char *number = front_decimal(digits, (uint32_t)-result), *name = name_of((uint32_t)-result);

	JOIN(message, front_program, ": ", what, ": ", object, ": errno ", number, " (", name, ")\n");
	front_write(2, message, front_length(message));
	front_exit(1);
}
