/*
 * silt.node: short syscall programs in this process, starting silt-interp, and waiting for fds in Node's event loop.
 * index.ts is its only caller and documents each function.
 */
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include "interp.h"
#include "names.h"
#include "plain-files.h"
#include "raw.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <node_api.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

/* Kernels before 6.3 do not know these two, headers of their age neither (memfd_create(2)). */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

#define DONATED_MAX 250u
#define STRING_OF(number, name, text) [number] = text,
static const char *const reason_texts[] = { SILT_REASONS(STRING_OF) };
#define REASON_COUNT (sizeof reason_texts / sizeof *reason_texts)

/* Every N-API failure has thrown, or means that the environment is going away: hand back to JavaScript either way. */
#define TRY(call)                                                                                                      \
	do {                                                                                                           \
		if ((call) != napi_ok)                                                                                 \
			return throw_napi(env);                                                                        \
	} while (0)

#define STEP(call)                                                                                                     \
	do {                                                                                                           \
		napi_status status_ = (call);                                                                          \
		if (status_ != napi_ok)                                                                                \
			return status_;                                                                                \
	} while (0)

static napi_value throw_napi(napi_env env)
{
	const napi_extended_error_info *info;
	bool pending = true;

	napi_get_last_error_info(env, &info);
	const char *text = info->error_message ? info->error_message : "N-API call failed";
	napi_is_exception_pending(env, &pending);
	if (!pending)
		napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", text);
	return NULL;
}

static napi_value throw_argument(napi_env env, const char *text)
{
	napi_throw_type_error(env, "ERR_INVALID_ARG_VALUE", text);
	return NULL;
}

/* An Error shaped as Node's own: code 'ENOENT', errno -2, syscall 'execveat'. */
static napi_value throw_errno(napi_env env, const char *syscall_name, int number)
{
	napi_value error, code, message, value;
	char text[256];

	snprintf(text, sizeof text, "%s: %s, %s", uv_err_name(-number), uv_strerror(-number), syscall_name);
	TRY(napi_create_string_utf8(env, uv_err_name(-number), NAPI_AUTO_LENGTH, &code));
	TRY(napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &message));
	TRY(napi_create_error(env, code, message, &error));
	TRY(napi_create_int32(env, -number, &value));
	TRY(napi_set_named_property(env, error, "errno", value));
	TRY(napi_create_string_utf8(env, syscall_name, NAPI_AUTO_LENGTH, &value));
	TRY(napi_set_named_property(env, error, "syscall", value));
	napi_throw(env, error);
	return NULL;
}

/* The bytes of a typed array of the given type; they stay where they are while the call lasts. */
static bool get_array(napi_env env, napi_value value, napi_typedarray_type wanted, void **data, size_t *length)
{
	napi_typedarray_type type;
	bool is_array = false;

	return napi_is_typedarray(env, value, &is_array) == napi_ok && is_array &&
	       napi_get_typedarray_info(env, value, &type, length, data, NULL, NULL) == napi_ok && type == wanted;
}

/* --- run(program, slots), start(program, slots), finish() --- */

static napi_value throw_refused(napi_env env, enum silt_reason reason, uint32_t where)
{
	char text[256], place[48] = "";

	if (reason >= SILT_BAD_OP)
		snprintf(place, sizeof place, "%s %u: ",
			 reason >= SILT_BAD_RELOCATION_KIND ? "relocation" : "instruction", where);
	snprintf(text, sizeof text, "syscall program refused: %s%s", place, reason_texts[reason]);
	napi_throw_error(env, "PROGRAM_INVALID", text);
	return NULL;
}

/*
 * A second thread that runs one program at a time while JavaScript goes on. It is made at the first start and ends with the
 * environment; in between it waits on `wanted`. Everything else in here is the JavaScript thread's, but for what lies
 * between the two semaphores.
 */
struct second_thread {
	uv_thread_t thread;
	uv_sem_t wanted, done;
	bool running; /* a program was started, and its outcome not asked for yet */
	bool ends;
	void *program;
	int64_t *slots;
	int32_t failed;
	uint32_t error;
	/* Keep the memory of both. */
	napi_ref held[2];
};

static void second_thread_main(void *data)
{
	struct second_thread *second = data;

	for (;;) {
		uv_sem_wait(&second->wanted);
		if (second->ends)
			return;
		second->error = 0;
		second->failed = silt_run(second->program, second->slots, &second->error);
		uv_sem_post(&second->done);
	}
}

static void second_thread_ends(void *data)
{
	struct second_thread *second = data;

	if (second->running)
		uv_sem_wait(&second->done);
	second->ends = true;
	uv_sem_post(&second->wanted);
	uv_thread_join(&second->thread);
	uv_sem_destroy(&second->wanted);
	uv_sem_destroy(&second->done);
	free(second);
}

static struct second_thread *second_thread_make(napi_env env)
{
	struct second_thread *second = calloc(1, sizeof *second);
	int status;

	if (second == NULL)
		return NULL;
	status = uv_sem_init(&second->wanted, 0);
	if (status == 0) {
		status = uv_sem_init(&second->done, 0);
		if (status == 0) {
			status = uv_thread_create(&second->thread, second_thread_main, second);
			if (status == 0 && napi_set_instance_data(env, second, NULL, NULL) == napi_ok &&
			    napi_add_env_cleanup_hook(env, second_thread_ends, second) == napi_ok)
				return second;
			uv_sem_destroy(&second->done);
		}
		uv_sem_destroy(&second->wanted);
	}
	free(second);
	return NULL;
}

static struct second_thread *second_thread_of(napi_env env)
{
	void *second = NULL;

	return napi_get_instance_data(env, &second) == napi_ok ? second : NULL;
}

/* The checked program and its slots, of run's and start's arguments; false when it has thrown. */
static bool get_program(napi_env env, napi_callback_info info, napi_value argv[2], void **program, void **slots)
{
	size_t argc = 2, size, slot_count;
	enum silt_reason reason;
	uint32_t where;

	if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok) {
		throw_napi(env);
		return false;
	}
	if (!get_array(env, argv[0], napi_uint8_array, program, &size) ||
	    !get_array(env, argv[1], napi_bigint64_array, slots, &slot_count)) {
		throw_argument(env, "expected (program: Uint8Array, slots: BigInt64Array)");
		return false;
	}
	reason = silt_check(*program, size, &where);
	if (reason != SILT_OK) {
		throw_refused(env, reason, where);
		return false;
	}
	if (slot_count != ((struct silt_header *)*program)->slots) {
		throw_argument(env, "slots must have as many elements as the program has slots");
		return false;
	}
	return true;
}

static napi_value outcome(napi_env env, int32_t failed, uint32_t error)
{
	napi_value result;

	TRY(napi_create_int32(env, failed < 0 ? -1 : failed * 4096 + (int32_t)error, &result));
	return result;
}

static napi_value run(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	void *program, *slots;
	uint32_t error = 0;
	int32_t failed;

	if (!get_program(env, info, argv, &program, &slots))
		return NULL;
	failed = silt_run(program, slots, &error);
	return outcome(env, failed, error);
}

static napi_value start(napi_env env, napi_callback_info info)
{
	napi_value argv[2], result;
	void *program, *slots;
	struct second_thread *second = second_thread_of(env);

	if (!get_program(env, info, argv, &program, &slots))
		return NULL;
	if (second == NULL)
		second = second_thread_make(env);
	TRY(napi_get_boolean(env, second != NULL && !second->running, &result));
	if (second == NULL || second->running)
		return result;
	for (int i = 0; i < 2; i++)
		TRY(napi_create_reference(env, argv[i], 1, &second->held[i]));
	second->program = program;
	second->slots = slots;
	second->running = true;
	uv_sem_post(&second->wanted);
	return result;
}

static napi_value finish(napi_env env, napi_callback_info info)
{
	struct second_thread *second = second_thread_of(env);

	(void)info;
	if (second == NULL || !second->running)
		return throw_argument(env, "finish: no program was started");
	uv_sem_wait(&second->done);
	second->running = false;
	for (int i = 0; i < 2; i++)
		TRY(napi_delete_reference(env, second->held[i]));
	return outcome(env, second->failed, second->error);
}

/* --- plainHeaders(out, name, fields), plainFiles(names, places, prefix, ids, job, out), plainDirectory(the same) --- */

/* A name as bytes, one to a character; false when it is longer than any that a plain header has. */
static bool get_name(napi_env env, napi_value value, char name[128], size_t *length)
{
	return napi_get_value_string_latin1(env, value, NULL, 0, length) == napi_ok && *length < 128 &&
	       napi_get_value_string_latin1(env, value, name, 128, length) == napi_ok;
}

static napi_value plain_headers(napi_env env, napi_callback_info info)
{
	napi_value argv[3], result;
	size_t argc = 3, size, length, count;
	void *out, *numbers;
	char name[128];
	uint32_t written = 0;

	TRY(napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
	if (!get_array(env, argv[0], napi_uint8_array, &out, &size) || size < SILT_PLAIN_HEADERS_MAX ||
	    !get_array(env, argv[2], napi_float64_array, &numbers, &count) || count != SILT_PLAIN_FIELDS)
		return throw_argument(env, "plainHeaders: expected (out: Uint8Array, name, fields: Float64Array)");
	if (get_name(env, argv[1], name, &length)) {
		const double *field = numbers;
		struct silt_plain_fields fields = {
			.type = (char)field[0],
			.mode = (uint32_t)field[1],
			.uid = (uint32_t)field[2],
			.gid = (uint32_t)field[3],
			.size = (uint64_t)field[4],
			.seconds = (int64_t)field[5],
			.nanoseconds = (uint32_t)field[6],
		};
		written = silt_plain_headers(out, (const uint8_t *)name, (uint32_t)length, &fields);
	}
	TRY(napi_create_uint32(env, written, &result));
	return result;
}

/* Places in `job`. */
enum { JOB_DIRECTORY, JOB_FIRST, JOB_COUNT, JOB_LARGEST, JOB_UID_RANGES, JOB_AT, JOB_END, JOB_LENGTH };

/* The job that plainFiles and plainDirectory are given. */
struct files_job {
	uint32_t *numbers;
	struct silt_plain_files files;
	char prefix[128];
};

/* False when it has thrown. A prefix that is too long makes a job in which no name is plain. */
static bool get_job(napi_env env, napi_callback_info info, struct files_job *job)
{
	napi_value argv[6];
	size_t argc = 6, names_size, place_count, prefix_length = 0, id_count, number_count, out_size;
	void *names, *places, *ids, *numbers, *out;

	if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok ||
	    !get_array(env, argv[0], napi_uint8_array, &names, &names_size) ||
	    !get_array(env, argv[1], napi_uint32_array, &places, &place_count) ||
	    !get_array(env, argv[3], napi_uint32_array, &ids, &id_count) || id_count % 3 != 0 ||
	    !get_array(env, argv[4], napi_uint32_array, &numbers, &number_count) || number_count != JOB_LENGTH ||
	    !get_array(env, argv[5], napi_uint8_array, &out, &out_size)) {
		throw_argument(env, "expected (names, places, prefix, ids, job, out)");
		return false;
	}
	uint32_t *number = numbers;
	if (number[JOB_FIRST] > place_count || number[JOB_COUNT] < 1 ||
	    number[JOB_COUNT] > place_count - number[JOB_FIRST] || number[JOB_UID_RANGES] > id_count / 3 ||
	    number[JOB_AT] > number[JOB_END] || number[JOB_END] > out_size) {
		throw_argument(env, "a number of the job is out of range");
		return false;
	}
	if (!get_name(env, argv[2], job->prefix, &prefix_length))
		prefix_length = sizeof job->prefix;
	job->numbers = number;
	job->files = (struct silt_plain_files){
		.directory = (int)number[JOB_DIRECTORY],
		.prefix = (const uint8_t *)job->prefix,
		.prefix_length = (uint32_t)prefix_length,
		.names = names,
		.names_size = names_size,
		.places = (const uint32_t *)places + number[JOB_FIRST],
		.count = number[JOB_COUNT],
		.uids = ids,
		.uid_ranges = number[JOB_UID_RANGES],
		.gids = (const struct silt_id_range *)ids + number[JOB_UID_RANGES],
		.gid_ranges = (uint32_t)(id_count / 3) - number[JOB_UID_RANGES],
		.largest = number[JOB_LARGEST],
		.out = (uint8_t *)out + number[JOB_AT],
		.room = number[JOB_END] - number[JOB_AT],
	};
	return true;
}

static napi_value job_done(napi_env env, struct files_job *job, int32_t outcome)
{
	napi_value result;

	job->numbers[JOB_FIRST] += job->files.done;
	job->numbers[JOB_AT] += job->files.used;
	TRY(napi_create_int32(env, outcome, &result));
	return result;
}

static napi_value plain_files(napi_env env, napi_callback_info info)
{
	struct files_job job;

	return get_job(env, info, &job) ? job_done(env, &job, (int32_t)silt_plain_files(&job.files)) : NULL;
}

static napi_value plain_directory(napi_env env, napi_callback_info info)
{
	struct files_job job;

	return get_job(env, info, &job) ? job_done(env, &job, silt_plain_directory(&job.files)) : NULL;
}

/* --- readNames(directory, bytes, places, used) --- */

static napi_value read_names(napi_env env, napi_callback_info info)
{
	napi_value argv[4], result;
	size_t argc = 4, bytes_size, places_size, used_length;
	void *bytes, *places, *numbers;
	int32_t directory;
	int problem;

	TRY(napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
	TRY(napi_get_value_int32(env, argv[0], &directory));
	if (!get_array(env, argv[1], napi_uint8_array, &bytes, &bytes_size) ||
	    !get_array(env, argv[2], napi_uint32_array, &places, &places_size) ||
	    !get_array(env, argv[3], napi_uint32_array, &numbers, &used_length) || used_length != 2)
		return throw_argument(env, "readNames: expected (directory, bytes, places, used)");
	uint32_t *used = numbers;
	if (used[0] > bytes_size || used[1] > places_size || bytes_size > UINT32_MAX || places_size > UINT32_MAX)
		return throw_argument(env, "readNames: more is used than there is");
	struct silt_names names = {
		.bytes = bytes,
		.places = places,
		.bytes_size = (uint32_t)bytes_size,
		.places_size = (uint32_t)places_size,
		.bytes_used = used[0],
		.places_used = used[1],
	};
	problem = silt_read_names(directory, &names);
	if (problem == 0) {
		used[0] = names.bytes_used;
		used[1] = names.places_used;
	}
	TRY(napi_create_int32(env, problem, &result));
	return result;
}

/* --- memfd(name, bytes, seal, executable) --- */

static int64_t create_memfd(const char *name, bool executable)
{
	uint64_t flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	uint64_t exec = executable ? MFD_EXEC : MFD_NOEXEC_SEAL;
	int64_t fd = silt_syscall(SYS_memfd_create, (uintptr_t)name, flags | exec, 0, 0, 0, 0);

	/* EINVAL: before Linux 6.3 every memfd is executable and there is nothing to say about it. */
	return fd != -EINVAL ? fd : silt_syscall(SYS_memfd_create, (uintptr_t)name, flags, 0, 0, 0, 0);
}

static napi_value make_memfd(napi_env env, napi_callback_info info)
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

static napi_value spawn(napi_env env, napi_callback_info info)
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

/* --- watch(fd, events, callback) --- */

/*
 * Freed by whichever comes last: libuv letting go of `poll`, or the garbage collector of the handle. Until it is closed
 * the handle is held by `self`, as Node's own handles are. The cleanup hook closes it when the environment (a worker,
 * say) ends first, and holds the environment until that is done.
 */
struct watch {
	uv_poll_t poll;
	napi_env env;
	napi_ref self;
	napi_ref callback;
	napi_async_context context;
	napi_async_cleanup_hook_handle hook;
	bool closed;
	bool collected;
};

static void watch_closed(uv_handle_t *handle)
{
	struct watch *watch = handle->data;
	napi_async_cleanup_hook_handle hook = watch->hook;
	napi_handle_scope scope;

	if (napi_open_handle_scope(watch->env, &scope) == napi_ok) {
		napi_delete_reference(watch->env, watch->callback);
		napi_delete_reference(watch->env, watch->self);
		napi_async_destroy(watch->env, watch->context);
		napi_close_handle_scope(watch->env, scope);
	}
	watch->closed = true;
	if (watch->collected)
		free(watch);
	/* Last: it may end the environment, which collects what is left. */
	napi_remove_async_cleanup_hook(hook);
}

static void watch_close(struct watch *watch)
{
	if (!watch->closed && !uv_is_closing((uv_handle_t *)&watch->poll))
		uv_close((uv_handle_t *)&watch->poll, watch_closed);
}

static void watch_environment_ends(napi_async_cleanup_hook_handle hook, void *data)
{
	(void)hook;
	watch_close(data);
}

static void watch_collected(napi_env env, void *data, void *hint)
{
	struct watch *watch = data;

	(void)env, (void)hint;
	watch->collected = true;
	if (watch->closed)
		free(watch);
}

static void watch_event(uv_poll_t *poll, int status, int events)
{
	struct watch *watch = poll->data;
	napi_env env = watch->env;
	napi_handle_scope scope;
	napi_value self, callback, argv[2], error;

	if (napi_open_handle_scope(env, &scope) != napi_ok)
		return;
	if (napi_get_reference_value(env, watch->self, &self) == napi_ok &&
	    napi_get_reference_value(env, watch->callback, &callback) == napi_ok &&
	    napi_create_int32(env, events, &argv[0]) == napi_ok &&
	    napi_create_int32(env, -status, &argv[1]) == napi_ok &&
	    /* Runs ticks and microtasks after the callback. The callback may close this watch, not free it. */
	    napi_make_callback(env, watch->context, self, callback, 2, argv, NULL) == napi_pending_exception &&
	    napi_get_and_clear_last_exception(env, &error) == napi_ok)
		napi_fatal_exception(env, error);
	napi_close_handle_scope(env, scope);
}

/* The watch whose method is being called, and the method's first argument. */
static struct watch *watch_this(napi_env env, napi_callback_info info, napi_value *argument)
{
	napi_value self;
	size_t argc = 1;
	void *watch = NULL;

	if (napi_get_cb_info(env, info, &argc, argument, &self, NULL) != napi_ok ||
	    napi_unwrap(env, self, &watch) != napi_ok)
		throw_argument(env, "not called on a handle that watch() returned");
	return watch;
}

static napi_value watch_method_close(napi_env env, napi_callback_info info)
{
	napi_value unused;
	struct watch *watch = watch_this(env, info, &unused);

	if (watch != NULL)
		watch_close(watch);
	return NULL;
}

static napi_value watch_method_ref(napi_env env, napi_callback_info info)
{
	napi_value unused;
	struct watch *watch = watch_this(env, info, &unused);

	if (watch != NULL && !watch->closed)
		uv_ref((uv_handle_t *)&watch->poll);
	return NULL;
}

static napi_value watch_method_unref(napi_env env, napi_callback_info info)
{
	napi_value unused;
	struct watch *watch = watch_this(env, info, &unused);

	if (watch != NULL && !watch->closed)
		uv_unref((uv_handle_t *)&watch->poll);
	return NULL;
}

static napi_value watch_method_change(napi_env env, napi_callback_info info)
{
	napi_value argument;
	struct watch *watch = watch_this(env, info, &argument);
	int32_t events = 0, status;

	if (watch == NULL)
		return NULL;
	TRY(napi_get_value_int32(env, argument, &events));
	if (watch->closed || uv_is_closing((uv_handle_t *)&watch->poll))
		return throw_errno(env, "watch", EBADF);
	status = events == 0 ? uv_poll_stop(&watch->poll) : uv_poll_start(&watch->poll, events, watch_event);
	return status == 0 ? NULL : throw_errno(env, "watch", -status);
}

static const napi_property_descriptor watch_methods[] = {
	{ .utf8name = "close", .method = watch_method_close },
	{ .utf8name = "ref", .method = watch_method_ref },
	{ .utf8name = "unref", .method = watch_method_unref },
	{ .utf8name = "change", .method = watch_method_change },
};

/* Ties a watch whose `poll` is running to a handle for JavaScript. */
static napi_status watch_bind(napi_env env, struct watch *watch, napi_value callback, napi_value *handle)
{
	napi_value name;

	STEP(napi_create_object(env, handle));
	STEP(napi_define_properties(env, *handle, sizeof watch_methods / sizeof *watch_methods, watch_methods));
	STEP(napi_create_string_utf8(env, "silt:watch", NAPI_AUTO_LENGTH, &name));
	STEP(napi_async_init(env, *handle, name, &watch->context));
	STEP(napi_create_reference(env, callback, 1, &watch->callback));
	STEP(napi_create_reference(env, *handle, 1, &watch->self));
	STEP(napi_add_async_cleanup_hook(env, watch_environment_ends, watch, &watch->hook));
	return napi_wrap(env, *handle, watch, watch_collected, NULL, NULL);
}

static napi_value watch(napi_env env, napi_callback_info info)
{
	napi_value argv[3], handle;
	size_t argc = 3;
	int32_t fd, events, status;
	uv_loop_t *loop;
	napi_valuetype type;
	struct watch *watch;

	TRY(napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
	TRY(napi_get_value_int32(env, argv[0], &fd));
	TRY(napi_get_value_int32(env, argv[1], &events));
	TRY(napi_typeof(env, argv[2], &type));
	if (type != napi_function)
		return throw_argument(env, "watch: expected (fd, events, callback)");
	TRY(napi_get_uv_event_loop(env, &loop));

	watch = calloc(1, sizeof *watch);
	if (watch == NULL)
		return throw_errno(env, "watch", ENOMEM);
	watch->env = env;
	status = uv_poll_init(loop, &watch->poll, fd);
	if (status != 0) {
		free(watch);
		return throw_errno(env, "watch", -status);
	}
	watch->poll.data = watch;
	status = uv_poll_start(&watch->poll, events, watch_event);
	if (status == 0 && watch_bind(env, watch, argv[2], &handle) == napi_ok)
		return handle;
	/* There is no handle that could be collected. */
	watch->collected = true;
	watch_close(watch);
	return status != 0 ? throw_errno(env, "watch", -status) : throw_napi(env);
}

static napi_value list_reasons(napi_env env)
{
	napi_value list, text;

	TRY(napi_create_array_with_length(env, REASON_COUNT, &list));
	for (uint32_t i = 0; i < REASON_COUNT; i++) {
		const char *reason = reason_texts[i] ? reason_texts[i] : "";
		TRY(napi_create_string_utf8(env, reason, NAPI_AUTO_LENGTH, &text));
		TRY(napi_set_element(env, list, i, text));
	}
	return list;
}

NAPI_MODULE_INIT()
{
	const napi_property_descriptor members[] = {
		{ .utf8name = "run", .method = run, .attributes = napi_enumerable },
		{ .utf8name = "start", .method = start, .attributes = napi_enumerable },
		{ .utf8name = "finish", .method = finish, .attributes = napi_enumerable },
		{ .utf8name = "plainHeaders", .method = plain_headers, .attributes = napi_enumerable },
		{ .utf8name = "plainFiles", .method = plain_files, .attributes = napi_enumerable },
		{ .utf8name = "plainDirectory", .method = plain_directory, .attributes = napi_enumerable },
		{ .utf8name = "readNames", .method = read_names, .attributes = napi_enumerable },
		{ .utf8name = "memfd", .method = make_memfd, .attributes = napi_enumerable },
		{ .utf8name = "spawn", .method = spawn, .attributes = napi_enumerable },
		{ .utf8name = "watch", .method = watch, .attributes = napi_enumerable },
		{ .utf8name = "reasons", .value = list_reasons(env), .attributes = napi_enumerable },
	};

	TRY(napi_define_properties(env, exports, sizeof members / sizeof *members, members));
	return exports;
}
