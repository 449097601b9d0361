/*
 * `start` of a new pod: bind the pod's socket, give it to a server, print the address. Clients may connect from then on
 * and wait in the socket's queue while Node is loading. `start` of a container in a pod that runs: print its address.
 *
 * Killed at any point this leaves one of two things: a socket that refuses, which the next start replaces, or a server
 * that answers, which the next start finds.
 */
#include "front.h"

#include <linux/fcntl.h>

#define EADDRINUSE 98
#define ENOENT 2
#define ENAMETOOLONG 36
#define ETIMEDOUT 110
#define ECONNREFUSED 111

#define ADDRESS_FILE "address"

/* The socket of this pod, listening; or -1 if a server listens there already. */
static int listen_at(const char *root, const char *path)
{
	int64_t lock, fd;

	lock = front_lock_sockets(root);
	if (silt_is_error(lock))
		front_fail("locking the directory s of", root, lock);
	fd = front_listen(path, FRONT_STREAM);
	if (fd == -EADDRINUSE) {
		int64_t answer = front_ask_socket(path);
		if (answer == 0) {
			CALL(close, lock);
			return -1;
		}
		if (answer != -ECONNREFUSED && answer != -ENOENT)
			front_fail("connecting to", path, answer);
		CALL(unlinkat, AT_FDCWD, path, 0);
		fd = front_listen(path, FRONT_STREAM);
	}
	if (silt_is_error(fd))
		front_fail("listening on", path, fd);
	CALL(close, lock);
	return (int)fd;
}

/*
 * Writes the file from which containerd 1.6 and 1.7 (loadShim in runtime/v2/shim.go) take the address again after a
 * restart of theirs; later ones keep a bootstrap.json of their own. Whole or not at all, also when several starts write
 * it. One that is killed over it leaves its new file to whoever removes the bundle.
 */
static struct front_failure write_address(const char *address)
{
	char new[32], digits[FRONT_DIGITS_SIZE];
	int64_t fd, result;

	JOIN(new, ".", ADDRESS_FILE, ".", front_decimal(digits, (uint32_t)CALL(getpid, 0)));
	fd = CALL(openat, AT_FDCWD, new, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (silt_is_error(fd))
		return FRONT_FAILURE("writing", ADDRESS_FILE, fd);
	CALL(fchmod, fd, 0644);
	result = front_write((int)fd, address, front_length(address));
	CALL(close, fd);
	if (result == 0)
		result = CALL(renameat, AT_FDCWD, new, AT_FDCWD, ADDRESS_FILE);
	if (result != 0)
		CALL(unlinkat, AT_FDCWD, new, 0);
	return FRONT_FAILURE("writing", ADDRESS_FILE, result);
}

/*
 * Prints the address as text. containerd 1.6 knows nothing else (binary.Start in runtime/v2/binary.go); 1.7 to 2.4 try
 * JSON, from 2.3 on protobuf before that, and take what is neither for the address of a shim of version 2 that speaks
 * ttrpc (parseStartResponse in core/runtime/v2/shim.go). No protobuf begins with "unix:/": the slash would be a field of
 * wire type 7. All of them set MAX_SHIM_VERSION to 2 or not at all, so that version 3 of the Task service, which 2.x has
 * and the server too, is only announced where the operator says so, and with it the protocol. For gRPC containerd wants
 * the bare path (grpcDialContext there), and version 2: only 1.7 gets on with gRPC, and takes no higher one.
 */
static struct front_failure print_address(char *const *environment, const char *address, const char *path)
{
	const char *protocol = front_variable(environment, "SILT_SHIM_PROTOCOL=");
	char answer[2 * FRONT_SOCKET_PATH_SIZE + 64];

	if (protocol && front_equal(protocol, "ttrpc"))
		JOIN(answer, "{\"version\":3,\"address\":\"", address, "\",\"protocol\":\"ttrpc\"}");
	else if (protocol && front_equal(protocol, "grpc"))
		JOIN(answer, "{\"version\":2,\"address\":\"", path, "\",\"protocol\":\"grpc\"}");
	else
		JOIN(answer, address);
	return FRONT_FAILURE("printing the address to", "stdout", front_write(1, answer, front_length(answer)));
}

void front_start(const struct front *front, const struct front_flags *flags)
{
	char path[FRONT_SOCKET_PATH_SIZE], address[FRONT_SOCKET_PATH_SIZE + 8], pod[FRONT_NAME_SIZE];
	struct front_failure failure;
	enum front_grouping grouping = flags->pod[0] ? FRONT_OWN_POD : front_read_config("", flags->id, pod);
	struct front_flags place = *flags;
	int listener = -1;
	bool served = false;

	if (flags->pod[0])
		place.id = flags->pod;
	if (grouping == FRONT_IN_POD)
		place.id = pod;
	if (grouping == FRONT_UNCLEAR)
		return;
	/* With room for the server's, which is a little longer (front-server.c). */
	if (!front_socket_path(path, front->root, &place) || front_length(path) + 2 >= sizeof path)
		front_fail("finding room for the address of a socket below", front->root, -ENAMETOOLONG);
	/* A container only ever joins a pod that runs; Node says so if it does not. */
	if (grouping == FRONT_IN_POD && front_ask_socket(path) != 0)
		return;
	if (!front_take_stdin())
		return;
	JOIN(address, "unix://", path);

	if (grouping == FRONT_OWN_POD)
		listener = listen_at(front->root, path);
	failure = write_address(address);
	if (!failure.result && listener >= 0) {
		failure = front_serve(front, flags, path, listener);
		served = !failure.result;
	}
	if (!failure.result)
		failure = print_address(front->environment, address, path);
	if (!failure.result)
		front_exit(0);

	/*
	 * Nobody has the address. A server that has the socket ends the pod when nobody comes, and removes the name then: a
	 * start that comes before finds the pod by it. One that has not answered may still take it, and until then the name
	 * keeps a later start from making another pod of this id beside it.
	 */
	if (listener >= 0 && !served && failure.result != -ETIMEDOUT) {
		CALL(unlinkat, AT_FDCWD, path, 0);
		CALL(unlinkat, AT_FDCWD, ADDRESS_FILE, 0);
	}
	front_fail(failure.what, failure.object, failure.result);
}
