#include "addon.h"
#include "interp.h"
#include "raw.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Kernels before 6.3 do not know these two, headers of their age neither (memfd_create(2)). */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

#define DONATED_MAX 250u

/* --- memfd(name, bytes, seal, executable) --- */

static int64_t create_memfd(const char *name, bool executable)
{
	uint64_t flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	uint64_t exec = executable ? MFD_EXEC : MFD_NOEXEC_SEAL;
	int64_t fd = silt_syscall(SYS_memfd_create, (uintptr_t)name, flags | exec, 0, 0, 0, 0);

	/* EINVAL: before Linux 6.3 every memfd is executable and there is nothing to say about it. */
	return fd != -EINVAL ? fd : silt_syscall(SYS_memfd_create, (uintptr_t)name, flags, 0, 0, 0, 0);
}

napi_value addon_memfd(napi_env env, napi_callback_info info)
{
	napi_value argv[4], result;
	size_t argc = 4, size, length;
	void *bytes;
	char name[250]; /* memfd_create(2): at most 249 bytes */
	bool seal, executable = false;
	int64_t fd;

	TRY(napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
	TRY(napi_get_value_string_utf8(env, argv[0], name, sizeof name, &length));
	if (!get_array(env, argv[1], napi_uint8_array, &bytes, &size))
		return throw_argument(env, "memfd: expected (name, bytes: Uint8Array, seal, executable?)");
	TRY(napi_get_value_bool(env, argv[2], &seal));
	if (argc > 3)
		TRY(napi_get_value_bool(env, argv[3], &executable));

	fd = create_memfd(name, executable);
	if (silt_is_error(fd))
		return throw_errno(env, "memfd_create", (int)-fd);
	/* pwrite: the offset stays 0 for whoever reads it. */
	for (size_t done = 0; done < size;) {
		ssize_t n = pwrite((int)fd, (char *)bytes + done, size - done, (off_t)done);
		if (n <= 0 && errno != EINTR) {
			int number = n == 0 ? EIO : errno;
			close((int)fd);
			return throw_errno(env, "pwrite", number);
		}
		done += n > 0 ? (size_t)n : 0;
	}
	if (seal && fcntl((int)fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0) {
		int number = errno;
		close((int)fd);
		return throw_errno(env, "fcntl", number);
	}
	TRY(napi_create_int32(env, (int32_t)fd, &result));
	return result;
}

/* --- spawn(exeFd, programFd, reportFd, donated) --- */

#define FIRST_FD 3

struct child {
	int exe;
	uint32_t count; /* of fds: program, report, donated ones */
	int fds[2 + DONATED_MAX];
	const char *failed_call;
	int error;
};

#define RAW(name, a, b, c, d, e)                                                                                       \
	silt_syscall(SYS_##name, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d), (uint64_t)(e), 0)
#define CHILD_TRY(name, a, b, c, d, e)                                                                                 \
	({                                                                                                             \
		int64_t result_ = RAW(name, a, b, c, d, e);                                                            \
		if (silt_is_error(result_)) {                                                                          \
			child->failed_call = #name;                                                                    \
			child->error = (int)-result_;                                                                  \
			return 127;                                                                                    \
		}                                                                                                      \
		(int)result_;                                                                                          \
	})

/*
 * Runs between clone and exec, in the parent's memory while the parent's thread stands still: raw system calls only, as
 * even glibc's errno is the parent's (signal-safety(7), vfork(2)). Its fd table and signal actions are its own.
 */
static int run_child(void *argument)
{
	struct child *child = argument;
	/* struct sigaction of the kernel, all zero: SIG_DFL, no flags, empty mask. */
	static const uint64_t default_action[4], no_signals;
	static const char *const argv[] = { "silt-interp", NULL };
	static const char *const envp[] = { NULL };
	int end = FIRST_FD + (int)child->count, null;

	/*
	 * Handlers must go before the mask does, or one of Node's would run here and write to Node's memory. Exec keeps
	 * what is ignored, so SIGPIPE (ignored by Node) has to be reset too. SIGKILL and SIGSTOP fail, which is fine.
	 */
	for (int signal_number = 1; signal_number <= 64; signal_number++)
		RAW(rt_sigaction, signal_number, default_action, 0, sizeof no_signals, 0);

	/*
	 * A source may lie where another fd is to go. So first everything moves up, beyond `end` where the executable
	 * is going to be; from there each goes to its place, which nothing needs any more.
	 */
	for (uint32_t i = 0; i < child->count; i++)
		child->fds[i] = CHILD_TRY(fcntl, child->fds[i], F_DUPFD_CLOEXEC, end + 1, 0, 0);
	child->exe = CHILD_TRY(fcntl, child->exe, F_DUPFD_CLOEXEC, end + 1, 0, 0);
	null = CHILD_TRY(openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0, 0);
	null = CHILD_TRY(fcntl, null, F_DUPFD_CLOEXEC, end + 1, 0, 0);
	for (int fd = 0; fd < FIRST_FD; fd++)
		CHILD_TRY(dup3, null, fd, 0, 0, 0);
	for (uint32_t i = 0; i < child->count; i++)
		CHILD_TRY(dup3, child->fds[i], FIRST_FD + i, 0, 0, 0);
	CHILD_TRY(dup3, child->exe, end, O_CLOEXEC, 0, 0);
	/* Closed here and not by exec: exec lets the parent go on before it has closed anything. */
	CHILD_TRY(close_range, end + 1, ~0U, 0, 0, 0);

	CHILD_TRY(rt_sigprocmask, SIG_SETMASK, &no_signals, 0, sizeof no_signals, 0);
	CHILD_TRY(execveat, end, "", argv, envp, AT_EMPTY_PATH);
	return 127;
}

static int clone_child(struct child *child, int *pidfd)
{
	/* Enough for run_child; it lives in this frame, which stands still until the child has left it. */
	_Alignas(16) char stack[16384];
	const uint64_t all_signals = ~0ULL;
	uint64_t before = 0;
	int pid, error;

	/* Raw: glibc's version leaves its two internal signals open. */
	RAW(rt_sigprocmask, SIG_SETMASK, &all_signals, &before, sizeof before, 0);
	pid = clone(run_child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, child, pidfd);
	error = errno;
	RAW(rt_sigprocmask, SIG_SETMASK, &before, 0, sizeof before, 0);
	if (pid < 0) {
		child->failed_call = "clone";
		child->error = error;
		return -1;
	}
	if (child->error == 0)
		return pid;
	/* It did not come to exec: it is dead or dying, and nobody else knows its pid. */
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	close(*pidfd);
	return -1;
}

napi_value addon_spawn(napi_env env, napi_callback_info info)
{
	napi_value argv[4], result, value;
	size_t argc = 4, donated_count;
	struct child child = { 0 };
	void *donated;
	int pid, pidfd = -1;

	TRY(napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
	TRY(napi_get_value_int32(env, argv[0], &child.exe));
	TRY(napi_get_value_int32(env, argv[1], &child.fds[0]));
	TRY(napi_get_value_int32(env, argv[2], &child.fds[1]));
	if (!get_array(env, argv[3], napi_int32_array, &donated, &donated_count) || donated_count > DONATED_MAX)
		return throw_argument(env, "spawn: donated must be an Int32Array of at most 250 fds");
	for (size_t i = 0; i < donated_count; i++)
		child.fds[2 + i] = ((int32_t *)donated)[i];
	child.count = 2 + (uint32_t)donated_count;

	pid = clone_child(&child, &pidfd);
	if (pid < 0)
		return throw_errno(env, child.failed_call, child.error);
	TRY(napi_create_object(env, &result));
	TRY(napi_create_int32(env, pid, &value));
	TRY(napi_set_named_property(env, result, "pid", value));
	TRY(napi_create_int32(env, pidfd, &value));
	TRY(napi_set_named_property(env, result, "pidfd", value));
	return result;
}
