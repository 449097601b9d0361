#include "addon.h"

#include <stdlib.h>
#include <uv.h>

#define STEP(call)                                                                                                     \
	do {                                                                                                           \
		napi_status status_ = (call);                                                                          \
		if (status_ != napi_ok)                                                                                \
			return status_;                                                                                \
	} while (0)

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

napi_value addon_watch(napi_env env, napi_callback_info info)
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
