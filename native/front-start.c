/*
 * `start` of a new pod: bind the socket, start the server with it, print the address. Clients may connect from then on
 * and wait in the socket's queue while Node is loading. `start` of a container in a pod that runs: print its address.
 *
 * Killed at any point this leaves one of two things: a socket that refuses, which the next start replaces, or a server
 * that answers, which the next start finds.
 */
#include "front.h"

#include <linux/close_range.h>
#include <linux/fcntl.h>
#include <linux/sched.h>
#include <linux/un.h>
#include <linux/wait.h>

#define AF_UNIX 1
#define SOCK_STREAM 1
#define SOCK_CLOEXEC O_CLOEXEC
#define QUEUE 128
#define SIGKILL 9
#define SIGCHLD 17
#define SIGSTOP 19
#define SIGNALS 64
#define SIG_SETMASK 2
#define EINTR 4
#define ECHILD 10
#define EADDRINUSE 98
#define ENOENT 2
#define ECONNREFUSED 111

#define SERVER_FD 3
#define ADDRESS_FILE "address"

/* A step that did not work. `result` is 0 if all did. */
struct failure {
	const char *what, *object;
	int64_t result;
};
#define FAILURE(what, object, result) ((struct failure){ what, object, result })
#define DONE FAILURE("", "", 0)

/* The socket of this pod, listening; or -1 if a shim listens there already. */
static int listen_at(const char *root, const char *path)
{
	struct sockaddr_un address;
	int64_t lock, fd, result;

	lock = front_lock_sockets(root);
	if (silt_is_error(lock))
		front_fail("locking the directory s of", root, lock);
	fd = CALL(socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (silt_is_error(fd))
		front_fail("creating a socket for", path, fd);
	/* Before bind, which gives the file the socket's own mode: nobody else can ever connect. */
	CALL(fchmod, fd, 0600);
	address.sun_family = AF_UNIX;
	JOIN(address.sun_path, path);
	result = CALL(bind, fd, &address, sizeof address);
	if (result == -EADDRINUSE) {
		int64_t answer = front_ask_socket(path);
		if (answer == 0) {
			CALL(close, fd);
			CALL(close, lock);
			return -1;
		}
		if (answer != -ECONNREFUSED && answer != -ENOENT)
			front_fail("connecting to", path, answer);
		CALL(unlinkat, AT_FDCWD, path, 0);
		result = CALL(bind, fd, &address, sizeof address);
	}
	if (silt_is_error(result))
		front_fail("binding", path, result);
	result = CALL(listen, fd, QUEUE);
	if (silt_is_error(result)) {
		CALL(unlinkat, AT_FDCWD, path, 0);
		front_fail("listening on", path, result);
	}
	CALL(close, lock);
	return (int)fd;
}

/* Default handling of all signals: those that containerd ignores or blocks would stay so through exec. */
static void reset_signals(void)
{
	static const uint64_t default_action[4], nothing; /* struct sigaction of the kernel; SIG_DFL is 0 */

	for (uint32_t signal = 1; signal <= SIGNALS; signal++)
		if (signal != SIGKILL && signal != SIGSTOP)
			CALL(rt_sigaction, signal, default_action, 0, sizeof nothing);
	CALL(rt_sigprocmask, SIG_SETMASK, &nothing, 0, sizeof nothing);
}

/* In the child: fds 0 to 3, its own session, exec. Returns what failed. */
static struct failure become_server(char *const *argv, char *const *environment, int64_t listener)
{
	int64_t result = CALL(dup3, listener, SERVER_FD, 0), null;

	if (silt_is_error(result))
		return FAILURE("handing over", "the socket", result);
	null = CALL(openat, AT_FDCWD, "/dev/null", O_RDWR);
	if (silt_is_error(null))
		return FAILURE("opening", "/dev/null", null);
	for (int64_t fd = 0; fd < SERVER_FD; fd++)
		if (null != fd)
			CALL(dup3, null, fd, 0);
	result = CALL(close_range, SERVER_FD + 1, ~0u, CLOSE_RANGE_CLOEXEC);
	if (silt_is_error(result))
		return FAILURE("closing", "inherited files", result);
	CALL(setsid, 0);
	reset_signals();
	return FAILURE("starting", argv[0], CALL(execve, argv[0], argv, environment));
}

/* Starts the server. `report` becomes a pipe that ends at its exec or brings a struct failure. Returns its pid. */
static int64_t spawn(const struct front *front, const struct front_flags *flags, const char *path, int listener,
		     int report[2])
{
	const char *argv[FRONT_FLAGS_MAX + 6];
	uint32_t count = 0;
	int64_t pid = CALL(pipe2, report, O_CLOEXEC);

	if (silt_is_error(pid))
		return pid;
	argv[count++] = front->node;
	argv[count++] = front->bundle;
	for (uint32_t i = 0; i < flags->count; i++)
		argv[count++] = front->args[i];
	argv[count++] = "-socket";
	argv[count++] = path;
	argv[count++] = "serve";
	argv[count] = NULL;
	pid = CALL(clone, SIGCHLD);
	if (pid != 0)
		return pid;

	/* Out of the way of the fds that the server gets. */
	int64_t socket = CALL(fcntl, listener, F_DUPFD_CLOEXEC, SERVER_FD + 1);
	int64_t pipe = CALL(fcntl, report[1], F_DUPFD_CLOEXEC, SERVER_FD + 1);
	struct failure failure = become_server((char *const *)argv, front->environment, socket);
	front_write((int)pipe, &failure, sizeof failure);
	front_exit(1);
}

/* Waits for the server's exec. The child has this program's memory, so its pointers mean here what they mean there. */
static struct failure await_exec(int64_t pid, int report)
{
	struct failure failure;
	int64_t result;

	do
		result = CALL(read, report, &failure, sizeof failure);
	while (result == -EINTR);
	if (result == sizeof failure)
		return failure;
	/* An end without a word is an exec or a death. */
	if (CALL(wait4, pid, 0, WNOHANG, 0) != 0)
		return FAILURE("starting", "the server, which ended at once", -ECHILD);
	return DONE;
}

/*
 * Writes the file from which containerd 1.6 and 1.7 (loadShim in runtime/v2/shim.go) take the address again after a
 * restart of theirs; later ones keep a bootstrap.json of their own. Whole or not at all, also when several starts write
 * it. One that is killed over it leaves its new file to whoever removes the bundle.
 */
static struct failure write_address(const char *address)
{
	char new[32], digits[FRONT_DIGITS_SIZE];
	int64_t fd, result;

	JOIN(new, ".", ADDRESS_FILE, ".", front_decimal(digits, (uint32_t)CALL(getpid, 0)));
	fd = CALL(openat, AT_FDCWD, new, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (silt_is_error(fd))
		return FAILURE("writing", ADDRESS_FILE, fd);
	CALL(fchmod, fd, 0644);
	result = front_write((int)fd, address, front_length(address));
	CALL(close, fd);
	if (result == 0)
		result = CALL(renameat, AT_FDCWD, new, AT_FDCWD, ADDRESS_FILE);
	if (result != 0)
		CALL(unlinkat, AT_FDCWD, new, 0);
	return FAILURE("writing", ADDRESS_FILE, result);
}

/*
 * Prints the address as text. containerd 1.6 knows nothing else (binary.Start in runtime/v2/binary.go); 1.7 to 2.4 try
 * JSON, from 2.3 on protobuf before that, and take what is neither for the address of a shim of version 2 that speaks
 * ttrpc (parseStartResponse in core/runtime/v2/shim.go). No protobuf begins with "unix:/": the slash would be a field of
 * wire type 7. All of them set MAX_SHIM_VERSION to 2 or not at all, so that version 3 of the Task service, which 2.x has
 * and the server too, is only announced where the operator says so, and with it the protocol. For gRPC containerd wants
 * the bare path (grpcDialContext there).
 */
static struct failure print_address(char *const *environment, const char *address, const char *path)
{
	const char *protocol = front_variable(environment, "SILT_SHIM_PROTOCOL=");
	char answer[2 * FRONT_SOCKET_PATH_SIZE + 64];

	if (protocol && (front_equal(protocol, "ttrpc") || front_equal(protocol, "grpc")))
		JOIN(answer, "{\"version\":3,\"address\":\"", front_equal(protocol, "grpc") ? path : address,
		     "\",\"protocol\":\"", protocol, "\"}");
	else
		JOIN(answer, address);
	return FAILURE("printing the address to", "stdout", front_write(1, answer, front_length(answer)));
}

void front_start(const struct front *front, const struct front_flags *flags)
{
	char path[FRONT_SOCKET_PATH_SIZE], address[FRONT_SOCKET_PATH_SIZE + 8], pod[FRONT_NAME_SIZE];
	struct failure failure = DONE, end = DONE;
	enum front_grouping grouping = front_read_config("", flags->id, pod);
	struct front_flags place = *flags;
	int listener = -1, report[2];
	int64_t pid = 0;

	if (grouping == FRONT_IN_POD)
		place.id = pod;
	if (grouping == FRONT_UNCLEAR || !front_socket_path(path, front->root, &place))
		return;
	/* A container only ever joins a pod that runs; Node says so if it does not. */
	if (grouping == FRONT_IN_POD && front_ask_socket(path) != 0)
		return;
	if (!front_take_stdin())
		return;
	JOIN(address, "unix://", path);

	if (grouping == FRONT_OWN_POD)
		listener = listen_at(front->root, path);
	if (listener >= 0) {
		pid = spawn(front, flags, path, listener, report);
		if (silt_is_error(pid))
			failure = FAILURE("starting a process for", path, pid);
	}
	/* While the child is on its way to exec. */
	if (!failure.result)
		failure = write_address(address);
	if (pid > 0) {
		CALL(close, report[1]);
		end = await_exec(pid, report[0]);
	}
	if (!failure.result)
		failure = end;
	if (!failure.result)
		failure = print_address(front->environment, address, path);
	if (!failure.result)
		front_exit(0);

	/* Nobody has the address: what was made for it goes. */
	if (listener >= 0) {
		if (pid > 0) {
			CALL(kill, pid, SIGKILL);
			CALL(wait4, pid, 0, 0, 0);
		}
		CALL(unlinkat, AT_FDCWD, path, 0);
		CALL(unlinkat, AT_FDCWD, ADDRESS_FILE, 0);
	}
	front_fail(failure.what, failure.object, failure.result);
}
