#include "addon.h"
#include "unpack-plain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- unpackPlain(job, memory, name) --- */

/* Numbers in `job`, which doubles hold exactly. */
enum {
	JOB_ROOT,
	JOB_ARCHIVE,
	JOB_OFFSET,
	JOB_SIZE,
	JOB_END,
	JOB_ENTRIES, /* the most; then how many */
	JOB_BYTES,
	JOB_DEPTH,
	JOB_STEP,
	JOB_ERROR,
	JOB_FAILED_AT,
	JOB_LENGTH,
};
/* An archive that has no more than this left is unpacked before another thread is awake. */
#define WORTH_A_THREAD (128u << 10)

/* What the second thread does. */
struct unpack_task {
	struct addon_task task;
	struct silt_unpack_job *job;
};

static void work(struct addon_task *task)
{
	silt_unpack_work(((struct unpack_task *)task)->job);
}

/* The job that the numbers say; NULL when there is no memory. */
static struct silt_unpack_job *job_of(const double *number, const uint8_t *memory)
{
	struct silt_unpack_job *job = calloc(1, sizeof *job);

	if (job == NULL)
		return NULL;
	job->tree.root = (int)number[JOB_ROOT];
	job->archive = (int)number[JOB_ARCHIVE];
	job->memory = memory;
	job->offset = job->memory_from = (uint64_t)number[JOB_OFFSET];
	job->size = (uint64_t)number[JOB_SIZE];
	job->end = (uint64_t)number[JOB_END];
	job->entries_left = (uint64_t)number[JOB_ENTRIES];
	job->bytes_left = (uint64_t)number[JOB_BYTES];
	job->depth = (uint32_t)number[JOB_DEPTH];
	job->uid = geteuid();
	job->gid = getegid();
	job->read_size = SILT_UNPACK_READ_LEAST;
	pthread_mutex_init(&job->lock, NULL);
	return job;
}

static bool is_number(double value, double least)
{
	return value >= least && value <= 9007199254740991.0;
}

static bool are_numbers(const double *number, size_t memory_size)
{
	for (int i = 0; i < JOB_STEP; i++)
		if (!is_number(number[i], i == JOB_ARCHIVE ? -1 : 0))
			return false;
	return number[JOB_ROOT] <= INT32_MAX && number[JOB_ARCHIVE] <= INT32_MAX && number[JOB_DEPTH] <= INT32_MAX &&
	       (number[JOB_ARCHIVE] >= 0 ||
		(number[JOB_END] <= number[JOB_SIZE] && number[JOB_OFFSET] <= number[JOB_SIZE] && memory_size <= UINT32_MAX &&
		 number[JOB_SIZE] - number[JOB_OFFSET] <= (double)memory_size));
}

static void run(napi_env env, struct silt_unpack_job *job, napi_value memory)
{
	struct unpack_task *task = NULL;
	bool has_started = false;
	const napi_value held[ADDON_TASK_ARRAYS] = { memory };
	napi_value started;

	if (job->size > job->offset + WORTH_A_THREAD && (task = calloc(1, sizeof *task)) != NULL) {
		task->task.run = work;
		task->job = job;
		/* Freed already if it has not been started. */
		started = addon_task_start(env, &task->task, held);
		if (started != NULL)
			napi_get_value_bool(env, started, &has_started);
	}
	silt_unpack_work(job);
	if (has_started) {
		addon_task_wait(env);
		free(task);
	}
	silt_unpack_end(job);
}

napi_value addon_unpack_plain(napi_env env, napi_callback_info info)
{
	size_t argc = 3, number_count, memory_size, name_size;
	void *numbers, *memory, *name;
	napi_value argv[3], result;
	struct silt_unpack_job *job;

	if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok ||
	    !get_array(env, argv[0], napi_float64_array, &numbers, &number_count) || number_count != JOB_LENGTH ||
	    !get_array(env, argv[1], napi_uint8_array, &memory, &memory_size) ||
	    !get_array(env, argv[2], napi_uint8_array, &name, &name_size) || !are_numbers(numbers, memory_size) ||
	    name_size < sizeof job->tree.failure.name)
		return throw_argument(env, "expected (job, memory, name)");
	double *number = numbers;
	job = job_of(number, memory);
	if (job == NULL)
		return throw_errno(env, "malloc", ENOMEM);
	run(env, job, argv[1]);
	number[JOB_OFFSET] = (double)job->offset;
	number[JOB_ENTRIES] = (double)job->entries;
	number[JOB_BYTES] = (double)job->bytes;
	number[JOB_STEP] = job->tree.failure.step;
	number[JOB_ERROR] = job->tree.failure.error;
	number[JOB_FAILED_AT] = (double)job->tree.failure.offset;
	memcpy(name, job->tree.failure.name, job->tree.failure.length);
	TRY(napi_create_uint32(env, job->tree.failure.length, &result));
	pthread_mutex_destroy(&job->lock);
	free(job);
	return result;
}
