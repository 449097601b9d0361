/*
 * Sockets of shims in <root>/s. A socket that is bound and does not listen yet refuses connections as a dead one does,
 * so binding, listening and removing happen under a lock: who holds it and is refused has found a dead one.
 */
#include "front.h"

#include <linux/fcntl.h>
#include <linux/un.h>

#define AF_UNIX 1 /* <linux/socket.h> and <linux/net.h> leave these to libc */
#define SOCK_CLOEXEC O_CLOEXEC
#define QUEUE 128
#define SOL_SOCKET 1
#define SO_SNDTIMEO 21
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

int64_t front_listen(const char *path, enum front_socket type)
{
	struct sockaddr_un address;
	int64_t fd = CALL(socket, AF_UNIX, type | SOCK_CLOEXEC, 0), result;

	if (silt_is_error(fd))
		return fd;
	/* Before bind, which gives the file the socket's own mode: nobody else can ever connect. */
	CALL(fchmod, fd, 0600);
	address.sun_family = AF_UNIX;
	JOIN(address.sun_path, path);
	result = CALL(bind, fd, &address, sizeof address);
	if (!silt_is_error(result)) {
		result = CALL(listen, fd, QUEUE);
		if (silt_is_error(result))
			CALL(unlinkat, AT_FDCWD, path, 0);
	}
	if (!silt_is_error(result))
		return fd;
	CALL(close, fd);
	return result;
}

int64_t front_connect(const char *path, int type, int64_t seconds)
{
	struct {
		int64_t seconds, microseconds;
	} limit = { seconds, 0 };
	struct sockaddr_un address;
	int64_t fd = CALL(socket, AF_UNIX, type | SOCK_CLOEXEC, 0), result;

	if (silt_is_error(fd))
		return fd;
	/* For room in the queue (unix_stream_connect in net/unix/af_unix.c); 0 is no limit. */
	CALL(setsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	address.sun_family = AF_UNIX;
	JOIN(address.sun_path, path);
	do
		result = CALL(connect, fd, &address, sizeof address);
	while (result == -EINTR);
	if (!silt_is_error(result))
		return fd;
	CALL(close, fd);
	return result;
}

int64_t front_ask_socket(const char *path)
{
	int64_t fd = front_connect(path, FRONT_STREAM | FRONT_NONBLOCK, 0);

	if (!silt_is_error(fd)) {
		CALL(close, fd);
		return 0;
	}
	/* A full queue: it listens, and has much to do. */
	return fd == -EAGAIN ? 0 : fd;
}
