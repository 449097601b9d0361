#include "addon.h"
#include "interp.h"

#include <stdio.h>
#include <stdlib.h>

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

/* A program that the second thread runs. */
struct program_task {
	struct addon_task task;
	void *program;
	int64_t *slots;
	int32_t failed;
	uint32_t error;
};

static void run_program(struct addon_task *task)
{
	struct program_task *started = (struct program_task *)task;

	started->failed = silt_run(started->program, started->slots, &started->error);
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
	napi_value argv[ADDON_TASK_ARRAYS] = { NULL };
	struct program_task *task;
	void *program, *slots;

	if (!get_program(env, info, argv, &program, &slots))
		return NULL;
	task = calloc(1, sizeof *task);
	if (task == NULL)
		return addon_task_start(env, NULL, argv);
	*task = (struct program_task){ .task.run = run_program, .program = program, .slots = slots };
	return addon_task_start(env, &task->task, argv);
}

napi_value addon_finish(napi_env env, napi_callback_info info)
{
	struct program_task *task = (struct program_task *)addon_task_started(env, run_program);
	napi_value result;

	(void)info;
	if (task == NULL)
		return throw_argument(env, "finish: no program was started");
	addon_task_wait(env);
	result = outcome(env, task->failed, task->error);
	free(task);
	return result;
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
