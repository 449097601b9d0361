#include "addon.h"
#include "archive-part.h"
#include "names.h"
#include "pack-plain.h"

#include <stdlib.h>
#include <string.h>

/* --- plainHeaders(out, name, fields) --- */

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

/* --- packPlain(names, places, used, levels, path, ids, job, out, sends) --- */

/* Numbers in `job`. */
enum {
	JOB_DEPTH,
	JOB_ENTRIES, /* the most; then how many */
	JOB_AT,
	JOB_END,
	JOB_SENDS, /* how many there are */
	JOB_SEND_BYTES, /* of how many bytes there may be more */
	JOB_LARGEST_READ,
	JOB_LARGEST_SENT,
	JOB_UID_RANGES,
	JOB_LENGTH,
};

/* What packPlain is given, as it is in JavaScript. */
struct pack_arguments {
	void *names, *places, *used, *levels, *path, *ids, *job, *out, *sends;
	size_t names_size, place_count, used_count, level_numbers, path_size, id_numbers, job_length, out_size, send_numbers;
};

/* Is what is said of the names and levels within them? */
static bool are_levels(const struct silt_pack_walk *walk)
{
	const struct silt_names *names = &walk->names;

	for (uint32_t i = 0; i <= walk->depth; i++) {
		const struct silt_pack_level *level = &walk->levels[i];
		if (level->next > level->end || level->end > names->places_used || level->places > names->places_used ||
		    level->bytes > names->bytes_used || level->prefix > SILT_PLAIN_NAME_MAX)
			return false;
	}
	return names->places_used <= names->places_size && names->bytes_used <= names->bytes_size;
}

/* The walk that the arguments say; false when they are none. */
static bool get_walk(const struct pack_arguments *given, struct silt_pack_walk *walk)
{
	const uint32_t *job = given->job, *used = given->used;

	if (given->used_count != 2 || given->path_size != SILT_PLAIN_NAME_MAX || given->job_length != JOB_LENGTH ||
	    given->id_numbers % 3 != 0 || given->names_size > UINT32_MAX || given->place_count > UINT32_MAX ||
	    job[JOB_UID_RANGES] > given->id_numbers / 3 || job[JOB_AT] > job[JOB_END] || job[JOB_END] > given->out_size ||
	    job[JOB_DEPTH] >= given->level_numbers / SILT_PACK_LEVEL_NUMBERS ||
	    job[JOB_SENDS] > given->send_numbers / SILT_ARCHIVE_SEND_NUMBERS)
		return false;
	*walk = (struct silt_pack_walk){
		.names = {
			.bytes = given->names,
			.places = given->places,
			.bytes_size = (uint32_t)given->names_size,
			.places_size = (uint32_t)given->place_count,
			.bytes_used = used[0],
			.places_used = used[1],
		},
		.levels = given->levels,
		.level_count = (uint32_t)(given->level_numbers / SILT_PACK_LEVEL_NUMBERS),
		.depth = job[JOB_DEPTH],
		.uids = given->ids,
		.uid_ranges = job[JOB_UID_RANGES],
		.gids = (const struct silt_id_range *)given->ids + job[JOB_UID_RANGES],
		.gid_ranges = (uint32_t)(given->id_numbers / 3) - job[JOB_UID_RANGES],
		.largest_read = job[JOB_LARGEST_READ],
		.largest_sent = job[JOB_LARGEST_SENT],
		.out = given->out,
		.out_size = job[JOB_END],
		.out_used = job[JOB_AT],
		.sends = given->sends,
		.send_room = (uint32_t)(given->send_numbers / SILT_ARCHIVE_SEND_NUMBERS),
		.send_count = job[JOB_SENDS],
		.send_bytes_left = job[JOB_SEND_BYTES],
		.entries_left = job[JOB_ENTRIES],
	};
	memcpy(walk->path, given->path, sizeof walk->path);
	return are_levels(walk);
}

static bool get_arguments(napi_env env, const napi_value argv[9], struct pack_arguments *given)
{
	return get_array(env, argv[0], napi_uint8_array, &given->names, &given->names_size) &&
	       get_array(env, argv[1], napi_uint32_array, &given->places, &given->place_count) &&
	       get_array(env, argv[2], napi_uint32_array, &given->used, &given->used_count) &&
	       get_array(env, argv[3], napi_uint32_array, &given->levels, &given->level_numbers) &&
	       get_array(env, argv[4], napi_uint8_array, &given->path, &given->path_size) &&
	       get_array(env, argv[5], napi_uint32_array, &given->ids, &given->id_numbers) &&
	       get_array(env, argv[6], napi_uint32_array, &given->job, &given->job_length) &&
	       get_array(env, argv[7], napi_uint8_array, &given->out, &given->out_size) &&
	       get_array(env, argv[8], napi_uint32_array, &given->sends, &given->send_numbers);
}

napi_value addon_pack_plain(napi_env env, napi_callback_info info)
{
	napi_value argv[9], result;
	size_t argc = 9;
	struct pack_arguments given;
	struct silt_pack_walk walk;
	uint32_t most, *job, *used;
	enum silt_pack_end end;

	TRY(napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
	if (!get_arguments(env, argv, &given) || !get_walk(&given, &walk))
		return throw_argument(env, "packPlain: expected (names, places, used, levels, path, ids, job, out, sends) of a walk");
	most = walk.entries_left;
	end = silt_pack_plain(&walk);
	job = given.job;
	job[JOB_DEPTH] = walk.depth;
	job[JOB_ENTRIES] = most - walk.entries_left;
	job[JOB_AT] = walk.out_used;
	job[JOB_SENDS] = walk.send_count;
	job[JOB_SEND_BYTES] = walk.send_bytes_left;
	used = given.used;
	used[0] = walk.names.bytes_used;
	used[1] = walk.names.places_used;
	memcpy(given.path, walk.path, sizeof walk.path);
	TRY(napi_create_uint32(env, end, &result));
	return result;
}

/* --- startWriting(out, bytes, sends, count, outcome), finishWriting() --- */

/* Numbers in `outcome`. */
enum { OUTCOME_SENT, OUTCOME_MOVED, OUTCOME_WRITTEN, OUTCOME_ERROR, OUTCOME_LENGTH };

/* What the second thread does. */
struct writing_task {
	struct addon_task task;
	struct silt_archive_part part;
	uint32_t *outcome;
};

static void write_part(struct addon_task *task)
{
	silt_archive_write(&((struct writing_task *)task)->part);
}

/* Do the places of the files follow each other in so many bytes? */
static bool are_sends(const struct silt_archive_send *sends, uint32_t count, size_t size)
{
	for (uint32_t i = 0; i < count; i++)
		if (sends[i].at > size || (i > 0 && sends[i].at < sends[i - 1].at))
			return false;
	return true;
}

napi_value addon_start_writing(napi_env env, napi_callback_info info)
{
	napi_value argv[5], arrays[ADDON_TASK_ARRAYS] = { NULL };
	size_t argc = 5, size, send_numbers, outcome_length;
	void *bytes, *sends, *outcome;
	struct writing_task *task;
	uint32_t count;
	int32_t out;

	TRY(napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
	TRY(napi_get_value_int32(env, argv[0], &out));
	TRY(napi_get_value_uint32(env, argv[3], &count));
	if (!get_array(env, argv[1], napi_uint8_array, &bytes, &size) || size > UINT32_MAX ||
	    !get_array(env, argv[2], napi_uint32_array, &sends, &send_numbers) || count > send_numbers / SILT_ARCHIVE_SEND_NUMBERS ||
	    !get_array(env, argv[4], napi_uint32_array, &outcome, &outcome_length) || outcome_length != OUTCOME_LENGTH ||
	    !are_sends(sends, count, size))
		return throw_argument(env, "startWriting: expected (out, bytes, sends, count, outcome)");
	task = calloc(1, sizeof *task);
	if (task != NULL) {
		task->task.run = write_part;
		task->outcome = outcome;
		task->part = (struct silt_archive_part){
			.out = out, .bytes = bytes, .size = (uint32_t)size, .sends = sends, .send_count = count
		};
	}
	arrays[0] = argv[1];
	arrays[1] = argv[2];
	arrays[2] = argv[4];
	return addon_task_start(env, task == NULL ? NULL : &task->task, arrays);
}

napi_value addon_finish_writing(napi_env env, napi_callback_info info)
{
	struct writing_task *task = (struct writing_task *)addon_task_started(env, write_part);
	napi_value result;

	(void)info;
	if (task == NULL)
		return throw_argument(env, "finishWriting: nothing was started");
	addon_task_wait(env);
	task->outcome[OUTCOME_SENT] = task->part.sent;
	task->outcome[OUTCOME_MOVED] = task->part.moved;
	task->outcome[OUTCOME_WRITTEN] = task->part.written;
	task->outcome[OUTCOME_ERROR] = (uint32_t)task->part.error;
	free(task);
	TRY(napi_get_undefined(env, &result));
	return result;
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
