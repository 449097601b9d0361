/*
 * silt.node, the part of silt that runs in Node's process: short syscall programs (addon-programs.c), an archive's plain files, to be
 * packed (addon-archive.c) and unpacked (addon-unpack.c), a thread for both (addon-thread.c), starting silt-interp (addon-spawn.c),
 * waiting for fds in Node's event loop (addon-watch.c), and digests (addon-digest.c). index.ts is its only caller and documents each
 * function.
 */
#ifndef SILT_ADDON_H
#define SILT_ADDON_H

/* uv.h wants it of libc. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define NAPI_VERSION 8
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>

/* Every N-API failure has thrown, or means that the environment is going away: hand back to JavaScript either way. */
#define TRY(call)                                                                                                      \
	do {                                                                                                           \
		if ((call) != napi_ok)                                                                                 \
			return throw_napi(env);                                                                        \
	} while (0)

/* Each throws, and returns NULL for its caller to return. */
napi_value throw_napi(napi_env env);
napi_value throw_argument(napi_env env, const char *text);
/* An Error shaped as Node's own: code 'ENOENT', errno -2, syscall 'execveat'. */
napi_value throw_errno(napi_env env, const char *syscall_name, int number);

/* The bytes of a typed array of the given type; they stay where they are while the call lasts. */
bool get_array(napi_env env, napi_value value, napi_typedarray_type wanted, void **data, size_t *length);

/* Arrays that a task works on, at most. */
#define ADDON_TASK_ARRAYS 5

/* What the second thread does: the first member of what is known about it, which is from malloc. */
struct addon_task {
	void (*run)(struct addon_task *task);
	/* Keep the memory of its arrays. */
	napi_ref held[ADDON_TASK_ARRAYS];
};

/*
 * Begins a task on the second thread, with the arrays (up to the first NULL) kept. Gives JavaScript a boolean: false
 * when that thread has another task or cannot be made, or there is no task; then it has been freed. One that was begun is to be waited for, and is
 * then the caller's to free.
 */
napi_value addon_task_start(napi_env env, struct addon_task *task, const napi_value *arrays);
/* The task that was begun and not waited for, if it is one that runs by this function; else NULL. */
struct addon_task *addon_task_started(napi_env env, void (*run)(struct addon_task *));
/* Waits for the task that was begun. */
void addon_task_wait(napi_env env);

/* What index.ts calls. */
napi_value addon_run(napi_env env, napi_callback_info info);
napi_value addon_start(napi_env env, napi_callback_info info);
napi_value addon_finish(napi_env env, napi_callback_info info);
napi_value addon_plain_headers(napi_env env, napi_callback_info info);
napi_value addon_pack_plain(napi_env env, napi_callback_info info);
napi_value addon_start_writing(napi_env env, napi_callback_info info);
napi_value addon_finish_writing(napi_env env, napi_callback_info info);
napi_value addon_read_names(napi_env env, napi_callback_info info);
napi_value addon_unpack_plain(napi_env env, napi_callback_info info);
napi_value addon_memfd(napi_env env, napi_callback_info info);
napi_value addon_spawn(napi_env env, napi_callback_info info);
napi_value addon_watch(napi_env env, napi_callback_info info);
napi_value addon_sha256(napi_env env, napi_callback_info info);
napi_value addon_gmac(napi_env env, napi_callback_info info);
napi_value addon_digest_chunks(napi_env env, napi_callback_info info);

/* The sentences of why programs are refused, by number. */
napi_value addon_reasons(napi_env env);

#endif
