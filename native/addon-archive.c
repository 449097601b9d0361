#include "addon.h"
#include "names.h"
#include "plain-files.h"

/* --- plainHeaders(out, name, fields), plainFiles(names, places, prefix, ids, job, out), plainDirectory(the same) --- */

/* A name as bytes, one to a character; false when it is longer than any that a plain header has. */
static bool get_name(napi_env env, napi_value value, char name[128], size_t *length)
{
	return napi_get_value_string_latin1(env, value, NULL, 0, length) == napi_ok && *length < 128 &&
	       napi_get_value_string_latin1(env, value, name, 128, length) == napi_ok;
}

napi_value addon_plain_headers(napi_env env, napi_callback_info info)
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

napi_value addon_plain_files(napi_env env, napi_callback_info info)
{
	struct files_job job;

	return get_job(env, info, &job) ? job_done(env, &job, (int32_t)silt_plain_files(&job.files)) : NULL;
}

napi_value addon_plain_directory(napi_env env, napi_callback_info info)
{
	struct files_job job;

	return get_job(env, info, &job) ? job_done(env, &job, silt_plain_directory(&job.files)) : NULL;
}

/* --- readNames(directory, bytes, places, used) --- */

napi_value addon_read_names(napi_env env, napi_callback_info info)
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
