/*
 * Sockets of shims in <root>/s. A socket that is bound and does not listen yet refuses connections as a dead one does,
 * so binding, listening and removing happen under a lock: who holds it and is refused has found a dead one.
 */
#include "front.h"

#include <linux/fcntl.h>
#include <linux/un.h>

#define AF_UNIX 1 /* <linux/socket.h> and <linux/net.h> leave these to libc */
#define SOCK_STREAM 1
#define SOCK_NONBLOCK O_NONBLOCK
#define SOCK_CLOEXEC O_CLOEXEC
#define ENOENT 2
#define EINTR 4
#define EAGAIN 11
#define EEXIST 17

/* <root>/s with what is above it. */
static int64_t make_directories(char *path, size_t root_length)
{
	for (size_t i = 1;; i++) {
		char end = path[i];
		if (end != '/' && end != '\0')
			continue;
		path[i] = '\0';
		int64_t result = CALL(mkdirat, AT_FDCWD, path, end == '\0' ? 0700 : i == root_length ? 0711 : 0755);
		path[i] = end;
		if (end == '\0' || (silt_is_error(result) && result != -EEXIST))
			return result;
	}
}

int64_t front_lock_sockets(const char *root)
{
	char path[FRONT_PATH_SIZE];
	int64_t fd, result;

	JOIN(path, root, "/s");
	fd = CALL(openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -ENOENT) {
		result = make_directories(path, front_length(root));
		if (silt_is_error(result) && result != -EEXIST)
			return result;
		fd = CALL(openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (silt_is_error(fd))
		return fd;
	do
		result = CALL(flock, fd, LOCK_EX);
	while (result == -EINTR);
	return silt_is_error(result) ? result : fd;
}

int64_t front_ask_socket(const char *path)
{
	struct sockaddr_un address;
	int64_t fd = CALL(socket, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), result;

	if (silt_is_error(fd))
		return fd;
	address.sun_family = AF_UNIX;
	JOIN(address.sun_path, path);
	result = CALL(connect, fd, &address, sizeof address);
	CALL(close, fd);
	/* A full queue: it listens, and has much to do. */
	return result == -EAGAIN ? 0 : result;
}
