/*
 * The server that a pod is given to. One serves many pods, so that most starts cost no start of Node: it listens on a
 * socket of its own, where each front hands it the listening socket of a pod with the words of the pod's `start`. Where
 * nobody listens, this starts one, with the pod as its first.
 *
 * A server greets who connects, and is only then given the pod: one that stands still (SIGSTOP, a cgroup that is
 * frozen) never does, and gets no pod that another one has had in the meantime. It is passed by: the next one takes
 * over its name. One that has greeted is only slow, and is waited for.
 *
 * Pods share a server when they would have had the same one each: the same installed silt, containerd, namespace,
 * environment and namespaces of the kernel. All of that is in the name of the server's socket.
 */
#include "front.h"

#include <asm/stat.h>
#include <linux/close_range.h>
#include <linux/fcntl.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/stat.h>
#include <linux/wait.h>

#define SIGKILL 9
#define SIGCHLD 17
#define SIGSTOP 19
#define SIGNALS 64
#define SIG_SETMASK 2
#define EINTR 4
#define ECHILD 10
#define EAGAIN 11
#define EPIPE 32
#define ENOENT 2
#define ENAMETOOLONG 36
#define ECONNRESET 104
#define ECONNREFUSED 111
#define ETIMEDOUT 110
#define ETIME 62
#define EEXIST 17
#define MSG_NOSIGNAL 0x4000
#define SOL_SOCKET 1
#define SCM_RIGHTS 1

#define POD_FD 3
#define SERVER_FD 4

/* A server may be full, or about to end, when it is asked; the next one is not. */
#define TRIES_MAX 16
/*
 * Before one that does not greet is passed by; the next ones get twice as long each, as a machine may be so busy that
 * none can. A new server beside one that was only slow costs memory, and nothing else.
 */
#define GREETING_SECONDS 5
#define GREETING_DOUBLED_MAX 3
/*
 * One that takes longer is stuck; one that is only slow, with fifty pods at once on two busy cores, was seen to take more than 10. A
 * kubelet waits four minutes for a pod.
 */
#define ANSWER_SECONDS 60

/* --- which server --- */

static struct front_hash hash_number(struct front_hash hash, uint64_t number)
{
	char digits[17];

	for (uint32_t i = 0; i < 16; i++)
		digits[i] = "0123456789abcdef"[(number >> (60 - 4 * i)) & 15];
	digits[16] = '\0';
	return front_hash(hash, digits);
}

/* The file of the server's program: another one once silt has been installed anew. */
static struct front_hash hash_program(struct front_hash hash, const char *path)
{
	struct stat file;

	if (silt_is_error(CALL(newfstatat, AT_FDCWD, path, &file)))
		return front_hash(hash, "");
	hash = hash_number(hash_number(hash, file.st_dev), file.st_ino);
	return hash_number(hash_number(hash, (uint64_t)file.st_mtime), file.st_mtime_nsec);
}

static struct front_hash hash_namespaces(struct front_hash hash)
{
	static const char *const links[] = { "/proc/self/ns/cgroup", "/proc/self/ns/ipc",  "/proc/self/ns/mnt",
					     "/proc/self/ns/net",    "/proc/self/ns/pid",  "/proc/self/ns/time",
					     "/proc/self/ns/user",   "/proc/self/ns/uts",  "/proc/self/root" };
	char target[256];

	for (uint32_t i = 0; i < sizeof links / sizeof *links; i++) {
		int64_t size = CALL(readlinkat, AT_FDCWD, links[i], target, sizeof target - 1);
		target[silt_is_error(size) ? 0 : size] = '\0';
		hash = front_hash(hash, target);
	}
	return hash;
}

static bool server_path(char path[FRONT_SOCKET_PATH_SIZE], const struct front *front, const struct front_flags *flags)
{
	struct front_hash hash = front_hash(front_hash(FRONT_HASH_START, flags->address), flags->namespace);
	char digits[FRONT_HASH_SIZE];

	hash = hash_program(hash, front->bundle);
	hash = hash_namespaces(hash);
	for (uint32_t i = 0; front->environment[i]; i++)
		hash = front_hash(hash, front->environment[i]);
	front_hash_digits(digits, hash);
	/* The end says how the server is spoken to: up to now it was "s", and no greeting. shim/pod-intake.ts looks at it. */
	return front_join(path, FRONT_SOCKET_PATH_SIZE, (const char *const[]){ front->root, "/s/", digits, ".2", NULL });
}

/* --- giving it a pod --- */

#define WORDS_SIZE (128u << 10) /* what a message to a socket can have by default (net.core.wmem_default) */
static char words[WORDS_SIZE];

/* Appends a word with its NUL. False: there is no room. */
static bool add_word(size_t *size, const char *word)
{
	size_t length = front_length(word) + 1;

	if (length > sizeof words - *size)
		return false;
	for (size_t i = 0; i < length; i++)
		words[*size + i] = word[i];
	*size += length;
	return true;
}

/* The words of `start`, and where its bundle and the pod's socket are. 0: they are too long. */
static size_t write_words(const struct front *front, const struct front_flags *flags, const char *path)
{
	static char bundle[FRONT_PATH_SIZE];
	size_t size = 0;

	if (silt_is_error(CALL(getcwd, bundle, sizeof bundle)))
		return 0;
	for (uint32_t i = 0; i < flags->count; i++)
		if (!add_word(&size, front->args[i]))
			return 0;
	return add_word(&size, "-bundle") && add_word(&size, bundle) && add_word(&size, "-socket") &&
			       add_word(&size, path) ?
		       size :
		       0;
}

/* sendmsg(2) with one fd. */
static int64_t send_pod(int64_t server, size_t size, int listener)
{
	struct {
		uint64_t length;
		int32_t level, type, fd, padding;
	} control = { sizeof control - sizeof(int32_t), SOL_SOCKET, SCM_RIGHTS, listener, 0 };
	struct {
		char *base;
		size_t length;
	} part = { words, size };
	struct {
		void *name;
		uint64_t name_length;
		void *parts;
		size_t part_count;
		void *control;
		size_t control_length;
		uint64_t flags;
	} message = { NULL, 0, &part, 1, &control, sizeof control, 0 };

	return CALL(sendmsg, server, &message, MSG_NOSIGNAL);
}

/* Waits for a message, of which at most `size` bytes are kept. Returns their number, 0 at the end, or -ETIMEDOUT. */
static int64_t await_message(int64_t server, char *to, size_t size, int64_t seconds)
{
	struct __kernel_timespec {
		int64_t seconds, nanoseconds;
	} limit = { seconds, 0 };
	struct pollfd readable = { .fd = (int)server, .events = POLLIN };
	int64_t result = CALL(ppoll, &readable, 1, &limit, 0, 8);

	if (result == 0)
		return -ETIMEDOUT;
	result = CALL(read, server, to, size);
	return result == -ECONNRESET ? 0 : result;
}

static char refusal[512];

/* 0: it has the pod. -EAGAIN: it does not take it, ask another one. -EEXIST: nobody should, and `refusal` says why. */
static int64_t await_answer(int64_t server)
{
	char answer[sizeof refusal];
	int64_t size = await_message(server, answer, sizeof answer - 1, ANSWER_SECONDS);

	if (size <= 0)
		return size == 0 ? -EAGAIN : size;
	if (answer[0] != 'n')
		return 0;
	for (int64_t i = 1; i < size; i++)
		refusal[i - 1] = answer[i];
	refusal[size - 1] = '\0';
	return -EEXIST;
}

/*
 * Gives the pod to the server that listens there. -ECONNREFUSED or -ENOENT: there is none. -ETIME: there is one, and it
 * has not greeted in time; it has not been told of the pod.
 */
static int64_t give(const char *path, size_t size, int listener, int64_t seconds)
{
	int64_t server = front_connect(path, FRONT_SEQPACKET, seconds), result;
	char greeting;

	if (silt_is_error(server))
		return server == -EAGAIN ? -ETIME : server;
	result = await_message(server, &greeting, sizeof greeting, seconds);
	if (result == -ETIMEDOUT)
		result = -ETIME;
	else if (result == 0)
		result = -EAGAIN;
	else if (!silt_is_error(result))
		result = send_pod(server, size, listener);
	if (result == -EPIPE || result == -ECONNRESET)
		result = -EAGAIN;
	else if (!silt_is_error(result))
		result = await_answer(server);
	CALL(close, server);
	return result;
}

/* --- starting one --- */

/* Default handling of all signals: those that containerd ignores or blocks would stay so through exec. */
static void reset_signals(void)
{
	static const uint64_t default_action[4], nothing; /* struct sigaction of the kernel; SIG_DFL is 0 */

	for (uint32_t signal = 1; signal <= SIGNALS; signal++)
		if (signal != SIGKILL && signal != SIGSTOP)
			CALL(rt_sigaction, signal, default_action, 0, sizeof nothing);
	CALL(rt_sigprocmask, SIG_SETMASK, &nothing, 0, sizeof nothing);
}

/* In the child: fds 0 to 4, its own session, exec. Returns what failed. */
static struct front_failure become_server(const struct front *front, char *const *argv, int64_t pod, int64_t server)
{
	int64_t result = CALL(dup3, pod, POD_FD, 0), null;

	if (!silt_is_error(result))
		result = CALL(dup3, server, SERVER_FD, 0);
	if (silt_is_error(result))
		return FRONT_FAILURE("handing over", "the sockets", result);
	null = CALL(openat, AT_FDCWD, "/dev/null", O_RDWR);
	if (silt_is_error(null))
		return FRONT_FAILURE("opening", "/dev/null", null);
	for (int64_t fd = 0; fd < POD_FD; fd++)
		if (null != fd)
			CALL(dup3, null, fd, 0);
	result = CALL(close_range, SERVER_FD + 1, ~0u, CLOSE_RANGE_CLOEXEC);
	if (silt_is_error(result))
		return FRONT_FAILURE("closing", "inherited files", result);
	CALL(setsid, 0);
	reset_signals();
	return FRONT_FAILURE("starting", front->node, CALL(execve, front->node, argv, front->environment));
}

/* Starts the server. `report` becomes a pipe that ends at its exec or brings a struct front_failure. Returns its pid. */
static int64_t spawn(const struct front *front, const struct front_flags *flags, const char *pod_path, int pod,
		     const char *server_path, int64_t server, int report[2])
{
	const char *argv[FRONT_FLAGS_MAX + 9];
	uint32_t count = 0;
	int64_t pid = CALL(pipe2, report, O_CLOEXEC);

	if (silt_is_error(pid))
		return pid;
	/* Its name in a list of processes. */
	argv[count++] = front_program;
	/* V8 would let the garbage of a pod's start grow to 48 MB before it looks at it. */
	argv[count++] = "--max-semi-space-size=4";
	argv[count++] = front->bundle;
	for (uint32_t i = 0; i < flags->count; i++)
		argv[count++] = front->args[i];
	argv[count++] = "-socket";
	argv[count++] = pod_path;
	argv[count++] = "-server";
	argv[count++] = server_path;
	argv[count++] = "serve";
	argv[count] = NULL;
	pid = CALL(clone, SIGCHLD);
	if (pid != 0)
		return pid;

	/* Out of the way of the fds that the server gets. */
	int64_t pod_fd = CALL(fcntl, pod, F_DUPFD_CLOEXEC, SERVER_FD + 1);
	int64_t server_fd = CALL(fcntl, server, F_DUPFD_CLOEXEC, SERVER_FD + 1);
	int64_t pipe = CALL(fcntl, report[1], F_DUPFD_CLOEXEC, SERVER_FD + 1);
	struct front_failure failure = become_server(front, (char *const *)argv, pod_fd, server_fd);
	front_write((int)pipe, &failure, sizeof failure);
	front_exit(1);
}

/* Waits for the server's exec. The child has this program's memory, so its pointers mean here what they mean there. */
static struct front_failure await_exec(int64_t pid, int report)
{
	struct front_failure failure;
	int64_t result;

	do
		result = CALL(read, report, &failure, sizeof failure);
	while (result == -EINTR);
	if (result == sizeof failure)
		return failure;
	/* An end without a word is an exec or a death. */
	if (CALL(wait4, pid, 0, WNOHANG, 0) != 0)
		return FRONT_FAILURE("starting", "the server, which ended at once", -ECHILD);
	return FRONT_DONE;
}

/* Which of the sockets that have had a name one after the other. All zero: none. */
struct socket_file {
	uint64_t inode;
	int64_t changed, changed_nsec;
};

static struct socket_file socket_at(const char *path)
{
	struct stat file;

	if (silt_is_error(CALL(newfstatat, AT_FDCWD, path, &file)))
		return (struct socket_file){ 0 };
	return (struct socket_file){ file.st_ino, (int64_t)file.st_ctime, (int64_t)file.st_ctime_nsec };
}

/* Whether the name is still that of a server which does not greet. */
static bool is_silent(const char *path, struct socket_file silent)
{
	struct socket_file now = socket_at(path);

	return silent.inode != 0 && now.inode == silent.inode && now.changed == silent.changed &&
	       now.changed_nsec == silent.changed_nsec;
}

/*
 * Starts a server with this pod, unless another start has been faster: then the result is -EAGAIN. It takes over the
 * name of a server that has ended, and of the silent one: that has its pods, and hears of no others.
 */
static struct front_failure start_server(const struct front *front, const struct front_flags *flags,
					 const char *pod_path, int pod, const char *path, struct socket_file silent)
{
	int64_t lock = front_lock_sockets(front->root), server, pid;
	struct front_failure failure;
	int report[2];

	if (silt_is_error(lock))
		return FRONT_FAILURE("locking the directory s of", front->root, lock);
	server = is_silent(path, silent) ? -ENOENT : front_connect(path, FRONT_SEQPACKET | FRONT_NONBLOCK, 0);
	if (server == -ECONNREFUSED || server == -ENOENT) {
		CALL(unlinkat, AT_FDCWD, path, 0);
		server = front_listen(path, FRONT_SEQPACKET);
	} else {
		if (!silt_is_error(server))
			CALL(close, server);
		server = -EAGAIN;
	}
	if (silt_is_error(server)) {
		CALL(close, lock);
		return FRONT_FAILURE("listening on", path, server);
	}
	pid = spawn(front, flags, pod_path, pod, path, server, report);
	CALL(close, server);
	CALL(close, lock);
	if (silt_is_error(pid)) {
		failure = FRONT_FAILURE("starting a process for", path, pid);
	} else {
		CALL(close, report[1]);
		failure = await_exec(pid, report[0]);
	}
	if (failure.result)
		CALL(unlinkat, AT_FDCWD, path, 0);
	return failure;
}

struct front_failure front_serve(const struct front *front, const struct front_flags *flags, const char *pod_path,
				 int pod)
{
	/* Static: what failed in a child is told with a pointer to it. */
	static char path[FRONT_SOCKET_PATH_SIZE];
	size_t size = write_words(front, flags, pod_path);
	struct front_failure failure = FRONT_FAILURE("finding the server of", pod_path, -ENAMETOOLONG);
	uint32_t doubled = 0;

	if (size == 0 || !server_path(path, front, flags))
		return failure;
	for (uint32_t i = 0; i < TRIES_MAX; i++) {
		struct socket_file found = socket_at(path), silent = { 0 };
		int64_t result = give(path, size, pod, GREETING_SECONDS << doubled);

		failure = FRONT_FAILURE("giving the pod to", path, result);
		if (result == -EEXIST)
			return FRONT_FAILURE("starting the pod", refusal, result);
		if (result == -ETIME) {
			silent = found;
			doubled += doubled < GREETING_DOUBLED_MAX;
		}
		if (result == -ECONNREFUSED || result == -ENOENT || result == -ETIME)
			failure = start_server(front, flags, pod_path, pod, path, silent);
		if (failure.result != -EAGAIN)
			return failure;
	}
	return failure;
}
