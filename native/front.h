/*
 * The front: containerd-shim-silt-v1 and silt in one small program, static and without libc as silt-interp is.
 * containerd runs `start` and `delete` for every task, and a start of Node costs more than all else that they do. So
 * `start` of a pod or in a pod, and `delete` of what is gone, are done here; everything else becomes Node by exec, as if it had
 * been Node from the beginning.
 *
 *   front.c          who is called, where Node is, what goes through to it
 *   front-flags.c    the command line of a shim            front-start.c   start: socket, server, address
 *   front-server.c   the server that takes the pod         front-stdin.c   what containerd writes to start
 *   front-config.c   which pod a bundle belongs to         front-delete.c  delete
 *   front-address.c  where the shim of a pod listens
 *   front-wire.c     the protobuf that is read and written front-text.c    strings
 *   front-bundle.c   reading config.json                   front-socket.c  looking at sockets, and the lock
 *   front-report.c   messages
 *
 * Whatever is not exactly as expected goes to Node, which knows all cases and explains what is wrong with the others.
 */
#ifndef SILT_FRONT_H
#define SILT_FRONT_H

#include "raw.h"

#include <asm/unistd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A system call by its name, arguments left out being 0. */
#define CALL(name, ...) CALL_SIX(__NR_##name, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define CALL_SIX(number, a, b, c, d, e, f, ...)                                                                        \
	silt_syscall(number, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d), (uint64_t)(e), (uint64_t)(f))

#define FRONT_PATH_SIZE 4096 /* PATH_MAX, which counts the NUL */
#define FRONT_SOCKET_PATH_SIZE 108 /* of sun_path (unix(7)); a NUL is always kept */

/* --- strings --- */

size_t front_length(const char *string);
bool front_equal(const char *a, const char *b);
bool front_begins(const char *string, const char *start);
/* What follows the last '/', or all of it. */
const char *front_last_component(const char *path);
/* What follows `start`, such as "NAME=", in the first variable that begins with it; null if none does. */
const char *front_variable(char *const *environment, const char *start);
/* Parts up to a null pointer, one after the other, always with a NUL. False: they did not fit, and were cut. */
bool front_join(char *to, size_t size, const char *const *parts);
#define JOIN(to, ...) front_join(to, sizeof(to), (const char *const[]){ __VA_ARGS__, NULL })
/* Where in `digits` the number begins. */
#define FRONT_DIGITS_SIZE 11
const char *front_decimal(char digits[FRONT_DIGITS_SIZE], uint32_t number);

/* --- messages --- */

/* The name that the program was called by. */
extern const char *front_program;
/* Prints `<program>: <what>: <object>: errno N (NAME)` on stderr and exits with 1. `result` is a system call's. */
_Noreturn void front_fail(const char *what, const char *object, int64_t result);
_Noreturn void front_exit(int status);
/* Writes everything. 0, or the error of the call that failed. */
int64_t front_write(int fd, const void *bytes, size_t size);

/* --- the command line --- */

/* More arguments than that before the action are nothing that containerd does. */
#define FRONT_FLAGS_MAX 32

enum front_action { FRONT_NODE, FRONT_START, FRONT_DELETE };

struct front_flags {
	const char *namespace, *address, *id;
	const char *bundle; /* empty: the working directory */
	const char *pod; /* for `start`: the pod, by who has looked; empty: to be found out */
	uint32_t count; /* arguments before the action */
};

/*
 * Go's flag syntax, as far as shim/arguments.ts takes it too (it reads the same arguments again in the server). Strings
 * stay where they are. FRONT_NODE unless everything is known and namespace and id are such as can be part of a path.
 */
enum front_action front_parse_flags(char *const *args, struct front_flags *flags);
/* A file name of printable ASCII, not "." or "..". */
bool front_is_name(const char *name);

/* --- which pod a bundle belongs to --- */

#define FRONT_NAME_SIZE 256 /* NAME_MAX and a NUL */

enum front_grouping { FRONT_OWN_POD, FRONT_IN_POD, FRONT_UNCLEAR };

/*
 * Looks for CRI's annotation io.kubernetes.cri.sandbox-id in the text of a config.json, anywhere, without parsing the
 * rest. FRONT_IN_POD: it is there and names a pod other than `id`, which goes to `pod`. FRONT_UNCLEAR: the words are
 * there in another form, which takes a parser.
 */
enum front_grouping front_scan_config(const char *text, size_t size, const char *id, char pod[FRONT_NAME_SIZE]);
/* The same for the file in a bundle ("": the working directory). Some sandboxes have no such file: FRONT_OWN_POD. */
enum front_grouping front_read_config(const char *bundle, const char *id, char pod[FRONT_NAME_SIZE]);

/* --- where the shim of a pod listens --- */

/* An absolute path of printable ASCII with nothing in it that path.join of Node would change. */
bool front_is_plain_path(const char *path);
/* 128-bit FNV-1a over strings, each with its NUL. */
struct front_hash {
	unsigned __int128 value;
};
#define FRONT_HASH_START ((struct front_hash){ (unsigned __int128)0x6c62272e07bb0142 << 64 | 0x62b821756295c58d })
struct front_hash front_hash(struct front_hash hash, const char *string);
#define FRONT_HASH_SIZE 33
void front_hash_digits(char digits[FRONT_HASH_SIZE], struct front_hash hash);
/* shim/socket-address.ts in C. False: longer than a socket's address may be. */
bool front_socket_path(char path[FRONT_SOCKET_PATH_SIZE], const char *root, const struct front_flags *flags);

/* --- protobuf --- */

/* Is this a google.protobuf.Any, and nothing else, of runtime options? */
bool front_is_runtime_options(const uint8_t *bytes, size_t size);
#define FRONT_DELETE_RESPONSE_SIZE 32
/* containerd's task DeleteResponse without a pid. Returns its size. */
size_t front_delete_response(uint8_t to[FRONT_DELETE_RESPONSE_SIZE], uint32_t status, uint64_t seconds, uint32_t nanos);

/* --- the two actions --- */

struct front {
	const char *root;
	const char *node, *bundle; /* the program and silt's script for it */
	char *const *args; /* those after the program's name */
	char *const *environment;
};

/* True: nothing is in it that Node must see. False: everything is, and fd 0 reads it from the beginning. */
bool front_take_stdin(void);
/* A step that did not work. `result` is a system call's, 0 if all did. */
struct front_failure {
	const char *what, *object;
	int64_t result;
};
#define FRONT_FAILURE(what, object, result) ((struct front_failure){ what, object, result })
#define FRONT_DONE FRONT_FAILURE("", "", 0)
/* Gives the pod that listens on `pod`, a socket bound to `pod_path`, to a server, which is started if need be. */
struct front_failure front_serve(const struct front *front, const struct front_flags *flags, const char *pod_path,
				 int pod);
/* Both return if Node has to do it. */
void front_start(const struct front *front, const struct front_flags *flags);
void front_delete(const struct front *front, const struct front_flags *flags);

/* --- sockets --- */

/*
 * Locks <root>/s, which is made if need be, against others who bind or remove a socket in it. Closing the fd unlocks,
 * as does the end of the process. Returns the fd, or an error of mkdir(2), open(2) or flock(2).
 */
int64_t front_lock_sockets(const char *root);
enum front_socket { FRONT_STREAM = 1, FRONT_SEQPACKET = 5, FRONT_NONBLOCK = 04000 };
/* A listening socket that nobody else can connect to, close-on-exec, or the error of the call that failed. */
int64_t front_listen(const char *path, enum front_socket type);
/*
 * A connected socket, close-on-exec. -EAGAIN: the queue is full, and has been for so many seconds; with FRONT_NONBLOCK,
 * it is.
 */
int64_t front_connect(const char *path, int type, int64_t seconds);
/* 0: a shim listens there. -ECONNREFUSED: the file is what a dead one left. -ENOENT: there is none. Or other errors. */
int64_t front_ask_socket(const char *path);

#endif
