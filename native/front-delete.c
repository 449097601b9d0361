/*
 * `delete`: containerd runs it whenever the connection to a shim ends, so also after every task that ended well. Then
 * nothing is left to clean and nobody wants the answer, which must be well-formed all the same.
 */
#include "front.h"

#include <linux/fcntl.h>
#include <linux/time.h>

#define EXITED_BY_KILL 137 /* 128 + SIGKILL: what a shim answers for a task whose end it has not seen */
#define ENOENT 2
#define ENOTDIR 20
#define ECONNREFUSED 111

/* Is there no state of this pod, or of this container of the pod? sandbox/state.ts has the layout. */
static bool is_gone(const char *root, const char *namespace, const char *pod, const char *container)
{
	char path[FRONT_PATH_SIZE];
	int64_t result;

	if (!JOIN(path, root, "/", namespace, "/", pod, container ? "/" : "", container ? container : ""))
		return false;
	result = CALL(faccessat, AT_FDCWD, path, 0);
	return result == -ENOENT || result == -ENOTDIR;
}

/* Takes away the socket of a shim that was killed. False: there is one that answers, or one that cannot be removed. */
static bool remove_socket(const char *root, const char *path)
{
	int64_t result = front_ask_socket(path), lock;

	if (result != -ECONNREFUSED)
		return result == -ENOENT;
	lock = front_lock_sockets(root);
	if (silt_is_error(lock))
		return false;
	result = front_ask_socket(path);
	if (result == -ECONNREFUSED)
		result = CALL(unlinkat, AT_FDCWD, path, 0);
	CALL(close, lock);
	return result == 0 || result == -ENOENT;
}

void front_delete(const struct front *front, const struct front_flags *flags)
{
	char path[FRONT_SOCKET_PATH_SIZE], pod[FRONT_NAME_SIZE];
	uint8_t response[FRONT_DELETE_RESPONSE_SIZE];
	enum front_grouping grouping = front_read_config(flags->bundle, flags->id, pod);
	struct timespec now;
	int64_t result;
	size_t size;

	if (grouping == FRONT_UNCLEAR || !front_socket_path(path, front->root, flags))
		return;
	if (!is_gone(front->root, flags->namespace, flags->id, NULL))
		return;
	if (grouping == FRONT_IN_POD && !is_gone(front->root, flags->namespace, pod, flags->id))
		return;
	if (!remove_socket(front->root, path))
		return;
	CALL(clock_gettime, 0 /* CLOCK_REALTIME */, &now);
	size = front_delete_response(response, EXITED_BY_KILL, (uint64_t)now.tv_sec, (uint32_t)now.tv_nsec);
	result = front_write(1, response, size);
	if (silt_is_error(result))
		front_fail("answering", "stdout", result);
	front_exit(0);
}
