#include "addon.h"

#include <stdlib.h>
#include <uv.h>

/*
 * A second thread that does one task at a time while JavaScript goes on. It is made at the first start and ends with the
 * environment; in between it waits on `wanted`. Everything else in here is the JavaScript thread's, but for what lies
 * between the two semaphores.
 */
struct second_thread {
	uv_thread_t thread;
	uv_sem_t wanted, done;
	bool ends;
	struct addon_task *task; /* that was started, and not finished yet */
};

static void second_thread_main(void *data)
{
	struct second_thread *second = data;

	for (;;) {
		uv_sem_wait(&second->wanted);
		if (second->ends)
			return;
		second->task->run(second->task);
		uv_sem_post(&second->done);
	}
}

static void second_thread_ends(void *data)
{
	struct second_thread *second = data;

	if (second->task != NULL)
		uv_sem_wait(&second->done);
	second->ends = true;
	uv_sem_post(&second->wanted);
	uv_thread_join(&second->thread);
	uv_sem_destroy(&second->wanted);
	uv_sem_destroy(&second->done);
	free(second->task);
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

static bool start(napi_env env, struct addon_task *task, const napi_value *arrays)
{
	struct second_thread *second = second_thread_of(env);

	if (second == NULL)
		second = second_thread_make(env);
	if (second == NULL || second->task != NULL)
		return false;
	for (int i = 0; i < ADDON_TASK_ARRAYS && arrays[i] != NULL; i++)
		if (napi_create_reference(env, arrays[i], 1, &task->held[i]) != napi_ok)
			return false;
	second->task = task;
	uv_sem_post(&second->wanted);
	return true;
}

napi_value addon_task_start(napi_env env, struct addon_task *task, const napi_value *arrays)
{
	bool started = task != NULL && start(env, task, arrays);
	napi_value result;

	if (!started)
		free(task);
	TRY(napi_get_boolean(env, started, &result));
	return result;
}

struct addon_task *addon_task_started(napi_env env, void (*run)(struct addon_task *))
{
	struct second_thread *second = second_thread_of(env);

	return second != NULL && second->task != NULL && second->task->run == run ? second->task : NULL;
}

void addon_task_wait(napi_env env)
{
	struct second_thread *second = second_thread_of(env);

	uv_sem_wait(&second->done);
	for (int i = 0; i < ADDON_TASK_ARRAYS; i++)
		if (second->task->held[i] != NULL)
			napi_delete_reference(env, second->task->held[i]);
	second->task = NULL;
}
