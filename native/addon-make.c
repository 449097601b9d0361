#include "addon.h"
#include "make-files.h"

#include <errno.h>
#include <stdlib.h>

/* --- makeFiles(job, records, names, data, directories), startMaking(the same), finishMaking() --- */

#define RECORD_NUMBERS (sizeof(struct silt_make_record) / sizeof(uint32_t))
/* Places in `job`. */
enum { JOB_ARCHIVE, JOB_FIRST, JOB_END, JOB_LENGTH };

/* A job that the second thread works on, too. */
struct make_task {
	struct addon_task task;
	struct silt_make_job job;
};

static void work(struct addon_task *task)
{
	silt_make_files(&((struct make_task *)task)->job);
}

/* NULL when it has thrown. `argv` are the arrays behind `job`. */
static struct make_task *get_task(napi_env env, napi_callback_info info, napi_value argv[ADDON_TASK_ARRAYS])
{
	size_t argc = ADDON_TASK_ARRAYS, number_count, record_count, names_size, data_size, directory_count;
	void *numbers, *records, *names, *data, *directories;
	napi_value given[ADDON_TASK_ARRAYS];
	struct make_task *task;

	if (napi_get_cb_info(env, info, &argc, given, NULL, NULL) != napi_ok ||
	    !get_array(env, given[0], napi_uint32_array, &numbers, &number_count) || number_count != JOB_LENGTH ||
	    !get_array(env, given[1], napi_uint32_array, &records, &record_count) ||
	    !get_array(env, given[2], napi_uint8_array, &names, &names_size) ||
	    !get_array(env, given[3], napi_uint8_array, &data, &data_size) ||
	    !get_array(env, given[4], napi_int32_array, &directories, &directory_count)) {
		throw_argument(env, "expected (job, records, names, data, directories)");
		return NULL;
	}
	const uint32_t *number = numbers;
	if (number[JOB_FIRST] > number[JOB_END] || number[JOB_END] > record_count / RECORD_NUMBERS ||
	    number[JOB_END] > INT32_MAX / (16 * 4096) || (uintptr_t)records % _Alignof(struct silt_make_record) != 0) {
		throw_argument(env, "the job has records that are not there");
		return NULL;
	}
	task = calloc(1, sizeof *task);
	if (task == NULL) {
		throw_errno(env, "malloc", ENOMEM);
		return NULL;
	}
	task->task.run = work;
	task->job = (struct silt_make_job){
		.records = records,
		.names = names,
		.names_size = names_size,
		.data = data,
		.data_size = data_size,
		.directories = directories,
		.directory_count = (uint32_t)directory_count,
		.archive = (int)number[JOB_ARCHIVE],
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.next = number[JOB_FIRST],
		.end = number[JOB_END],
	};
	for (int i = 1; i < ADDON_TASK_ARRAYS; i++)
		argv[i - 1] = given[i];
	argv[ADDON_TASK_ARRAYS - 1] = NULL;
	return task;
}

static napi_value end_task(napi_env env, struct make_task *task)
{
	const struct silt_make_job *job = &task->job;
	int32_t outcome = job->error == 0 ? -1 : (int32_t)((job->failed * 16 + job->step) * 4096 + (uint32_t)job->error);
	napi_value result;

	free(task);
	TRY(napi_create_int32(env, outcome, &result));
	return result;
}

napi_value addon_make_files(napi_env env, napi_callback_info info)
{
	napi_value arrays[ADDON_TASK_ARRAYS];
	struct make_task *task = get_task(env, info, arrays);

	if (task == NULL)
		return NULL;
	silt_make_files(&task->job);
	return end_task(env, task);
}

napi_value addon_start_making(napi_env env, napi_callback_info info)
{
	napi_value arrays[ADDON_TASK_ARRAYS];
	struct make_task *task = get_task(env, info, arrays);

	return task == NULL ? NULL : addon_task_start(env, &task->task, arrays);
}

napi_value addon_finish_making(napi_env env, napi_callback_info info)
{
	struct make_task *task = (struct make_task *)addon_task_started(env, work);

	(void)info;
	if (task == NULL)
		return throw_argument(env, "finishMaking: nothing was started");
	silt_make_files(&task->job);
	addon_task_wait(env);
	return end_task(env, task);
}
