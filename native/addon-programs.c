#include "addon.h"
#include "interp.h"

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#define STRING_OF(number, name, text) [number] = text,
static const char *const reason_texts[] = { SILT_REASONS(STRING_OF) };
#define REASON_COUNT (sizeof reason_texts / sizeof *reason_texts)

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

napi_value addon_run(napi_env env, napi_callback_info info)
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

napi_value addon_start(napi_env env, napi_callback_info info)
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

napi_value addon_finish(napi_env env, napi_callback_info info)
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

napi_value addon_reasons(napi_env env)
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
