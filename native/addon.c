#include "addon.h"

#include <stdio.h>
#include <uv.h>

napi_value throw_napi(napi_env env)
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

napi_value throw_argument(napi_env env, const char *text)
{
	napi_throw_type_error(env, "ERR_INVALID_ARG_VALUE", text);
	return NULL;
}

napi_value throw_errno(napi_env env, const char *syscall_name, int number)
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

bool get_array(napi_env env, napi_value value, napi_typedarray_type wanted, void **data, size_t *length)
{
	napi_typedarray_type type;
	bool is_array = false;

	return napi_is_typedarray(env, value, &is_array) == napi_ok && is_array &&
	       napi_get_typedarray_info(env, value, &type, length, data, NULL, NULL) == napi_ok && type == wanted;
}

NAPI_MODULE_INIT()
{
	const napi_property_descriptor members[] = {
		{ .utf8name = "run", .method = addon_run, .attributes = napi_enumerable },
		{ .utf8name = "start", .method = addon_start, .attributes = napi_enumerable },
		{ .utf8name = "finish", .method = addon_finish, .attributes = napi_enumerable },
		{ .utf8name = "plainHeaders", .method = addon_plain_headers, .attributes = napi_enumerable },
		{ .utf8name = "packPlain", .method = addon_pack_plain, .attributes = napi_enumerable },
		{ .utf8name = "startWriting", .method = addon_start_writing, .attributes = napi_enumerable },
		{ .utf8name = "finishWriting", .method = addon_finish_writing, .attributes = napi_enumerable },
		{ .utf8name = "readNames", .method = addon_read_names, .attributes = napi_enumerable },
		{ .utf8name = "unpackPlain", .method = addon_unpack_plain, .attributes = napi_enumerable },
		{ .utf8name = "memfd", .method = addon_memfd, .attributes = napi_enumerable },
		{ .utf8name = "spawn", .method = addon_spawn, .attributes = napi_enumerable },
		{ .utf8name = "watch", .method = addon_watch, .attributes = napi_enumerable },
		{ .utf8name = "sha256", .method = addon_sha256, .attributes = napi_enumerable },
		{ .utf8name = "gmac", .method = addon_gmac, .attributes = napi_enumerable },
		{ .utf8name = "digestChunks", .method = addon_digest_chunks, .attributes = napi_enumerable },
		{ .utf8name = "reasons", .value = addon_reasons(env), .attributes = napi_enumerable },
	};

	TRY(napi_define_properties(env, exports, sizeof members / sizeof *members, members));
	return exports;
}
