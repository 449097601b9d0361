/* SHA-256 by the OpenSSL that is part of Node, without loading node:crypto and on libuv's threads. */
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>

#define DIGEST_SIZE 32
/* How much is read at once: what fits a processor's cache is still there when it is hashed. */
#define STEP (256u << 10)

/* --- sha256(bytes) --- */

napi_value addon_sha256(napi_env env, napi_callback_info info)
{
	napi_value argv[1], buffer, result;
	size_t argc = 1, size;
	void *bytes, *digest;

	TRY(napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
	if (!get_array(env, argv[0], napi_uint8_array, &bytes, &size))
		return throw_argument(env, "sha256: expected (bytes: Uint8Array)");
	TRY(napi_create_arraybuffer(env, DIGEST_SIZE, &digest, &buffer));
	if (!EVP_Digest(bytes, size, digest, NULL, EVP_sha256(), NULL))
		return throw_errno(env, "EVP_Digest", ENOMEM);
	TRY(napi_create_typedarray(env, napi_uint8_array, DIGEST_SIZE, buffer, 0, &result));
	return result;
}

/* --- digestChunks(fd, start, end, chunk, out, writeOut, callback) --- */

struct chunks {
	int fd;
	int error;
	bool write_out;
	uint64_t at, end, chunk;
	uint8_t *out;
	uint32_t done; /* chunks whose digest is in `out` */
	napi_ref keeps_out, callback;
	napi_async_work work;
};

/* One chunk; false for an error, and for a file that ends before the chunk does. */
static bool digest_chunk(struct chunks *job, EVP_MD_CTX *context, uint8_t *buffer)
{
	uint64_t start = job->at, left = job->end - start < job->chunk ? job->end - start : job->chunk;

	if (!EVP_DigestInit_ex(context, EVP_sha256(), NULL)) {
		job->error = ENOMEM;
		return false;
	}
	while (left > 0) {
		ssize_t n = pread(job->fd, buffer, left < STEP ? left : STEP, (off_t)job->at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			job->error = n < 0 ? errno : 0;
			return false;
		}
		if (!EVP_DigestUpdate(context, buffer, (size_t)n)) {
			job->error = ENOMEM;
			return false;
		}
		job->at += (uint64_t)n;
		left -= (uint64_t)n;
	}
	if (!EVP_DigestFinal_ex(context, job->out + (size_t)job->done * DIGEST_SIZE, NULL)) {
		job->error = ENOMEM;
		return false;
	}
	/* Only begins it (sync_file_range(2)); whether all is on disk is what an fsync finds out. */
	if (job->write_out)
		sync_file_range(job->fd, (off_t)start, (off_t)(job->at - start), SYNC_FILE_RANGE_WRITE);
	return true;
}

/* On a thread of libuv's. */
static void digest_chunks(napi_env env, void *data)
{
	struct chunks *job = data;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	uint8_t *buffer = malloc(STEP);

	(void)env;
	if (!context || !buffer)
		job->error = ENOMEM;
	else
		while (job->at < job->end && digest_chunk(job, context, buffer))
			job->done++;
	free(buffer);
	EVP_MD_CTX_free(context);
}

static napi_value tell(napi_env env, const struct chunks *job)
{
	napi_value callback, undefined, argv[2], ignored;

	TRY(napi_get_reference_value(env, job->callback, &callback));
	TRY(napi_get_undefined(env, &undefined));
	TRY(napi_create_uint32(env, job->done, &argv[0]));
	TRY(napi_create_int32(env, job->error, &argv[1]));
	TRY(napi_call_function(env, undefined, callback, 2, argv, &ignored));
	return NULL;
}

static void free_chunks(napi_env env, struct chunks *job)
{
	if (job->work)
		napi_delete_async_work(env, job->work);
	if (job->keeps_out)
		napi_delete_reference(env, job->keeps_out);
	if (job->callback)
		napi_delete_reference(env, job->callback);
	free(job);
}

static void chunks_digested(napi_env env, napi_status status, void *data)
{
	/* Cancelled: the environment is going away, and nobody is to be told. */
	if (status == napi_ok)
		tell(env, data);
	free_chunks(env, data);
}

static napi_value queue_chunks(napi_env env, struct chunks *job, const napi_value *argv)
{
	napi_value name;

	TRY(napi_create_reference(env, argv[4], 1, &job->keeps_out));
	TRY(napi_create_reference(env, argv[6], 1, &job->callback));
	TRY(napi_create_string_utf8(env, "silt:digestChunks", NAPI_AUTO_LENGTH, &name));
	TRY(napi_create_async_work(env, NULL, name, digest_chunks, chunks_digested, job, &job->work));
	TRY(napi_queue_async_work(env, job->work));
	TRY(napi_get_undefined(env, &name));
	return name;
}

napi_value addon_digest_chunks(napi_env env, napi_callback_info info)
{
	napi_value argv[7], result;
	size_t argc = 7, size;
	int32_t fd;
	int64_t start, end;
	uint32_t chunk;
	bool write_out;
	void *out;

	TRY(napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
	TRY(napi_get_value_int32(env, argv[0], &fd));
	TRY(napi_get_value_int64(env, argv[1], &start));
	TRY(napi_get_value_int64(env, argv[2], &end));
	TRY(napi_get_value_uint32(env, argv[3], &chunk));
	TRY(napi_get_value_bool(env, argv[5], &write_out));
	if (!get_array(env, argv[4], napi_uint8_array, &out, &size) || start < 0 || end < start || chunk == 0 ||
	    ((uint64_t)(end - start) + chunk - 1) / chunk > size / DIGEST_SIZE)
		return throw_argument(env, "digestChunks: expected (fd, start, end, chunk, out: Uint8Array, writeOut, callback)");
	struct chunks *job = calloc(1, sizeof *job);
	if (!job)
		return throw_errno(env, "calloc", ENOMEM);
	*job = (struct chunks){
		.fd = fd,
		.write_out = write_out,
		.at = (uint64_t)start,
		.end = (uint64_t)end,
		.chunk = chunk,
		.out = out,
	};
	result = queue_chunks(env, job, argv);
	if (!result)
		free_chunks(env, job);
	return result;
}
