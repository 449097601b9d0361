/*
 * Digests by the OpenSSL that is part of Node, without loading node:crypto and on libuv's threads: SHA-256, and for what is large GMAC
 * (NIST SP 800-38D: AES-GCM's tag of data that is not encrypted), which takes a tenth of the time. Key and nonce are all zeros: it is
 * to find damage, as a CRC of 128 bits would, and is no secret.
 */
#include "addon.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>

#define SHA256_SIZE 32
#define GMAC_SIZE 16
#define GMAC_NONCE_SIZE 12
/* How much is read at once: what fits a processor's cache is still there when it is hashed. */
#define STEP (256u << 10)

/* --- a digest in the making --- */

struct digest {
	EVP_MD_CTX *sha256; /* one of the two */
	EVP_CIPHER_CTX *gmac;
};

static uint32_t digest_size(bool is_gmac)
{
	return is_gmac ? GMAC_SIZE : SHA256_SIZE;
}

static bool digest_open(struct digest *digest, bool is_gmac)
{
	static const unsigned char zeros[16];

	*digest = (struct digest){ 0 };
	if (!is_gmac)
		return (digest->sha256 = EVP_MD_CTX_new()) != NULL;
	digest->gmac = EVP_CIPHER_CTX_new();
	return digest->gmac && EVP_EncryptInit_ex(digest->gmac, EVP_aes_128_gcm(), NULL, zeros, zeros);
}

static void digest_close(struct digest *digest)
{
	EVP_MD_CTX_free(digest->sha256);
	EVP_CIPHER_CTX_free(digest->gmac);
}

/* The beginning of each one. */
static bool digest_begin(struct digest *digest)
{
	static const unsigned char nonce[GMAC_NONCE_SIZE];

	return digest->gmac ? EVP_EncryptInit_ex(digest->gmac, NULL, NULL, NULL, nonce) :
			      EVP_DigestInit_ex(digest->sha256, EVP_sha256(), NULL);
}

/* At most STEP bytes. */
static bool digest_add(struct digest *digest, const uint8_t *bytes, size_t size)
{
	int length;

	return digest->gmac ? EVP_EncryptUpdate(digest->gmac, NULL, &length, bytes, (int)size) :
			      EVP_DigestUpdate(digest->sha256, bytes, size);
}

static bool digest_end(struct digest *digest, uint8_t *out)
{
	unsigned char none[GMAC_SIZE];
	int length;

	if (!digest->gmac)
		return EVP_DigestFinal_ex(digest->sha256, out, NULL);
	return EVP_EncryptFinal_ex(digest->gmac, none, &length) &&
	       EVP_CIPHER_CTX_ctrl(digest->gmac, EVP_CTRL_AEAD_GET_TAG, GMAC_SIZE, out);
}

static bool digest_all(bool is_gmac, const uint8_t *bytes, size_t size, uint8_t *out)
{
	struct digest digest;
	bool done = digest_open(&digest, is_gmac) && digest_begin(&digest);

	for (size_t at = 0; done && at < size; at += STEP)
		done = digest_add(&digest, bytes + at, size - at < STEP ? size - at : STEP);
	done = done && digest_end(&digest, out);
	digest_close(&digest);
	return done;
}

/* --- sha256(bytes), gmac(bytes) --- */

static napi_value digest_bytes(napi_env env, napi_callback_info info, bool is_gmac)
{
	napi_value argv[1], buffer, result;
	size_t argc = 1, size;
	void *bytes, *digest;

	TRY(napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
	if (!get_array(env, argv[0], napi_uint8_array, &bytes, &size))
		return throw_argument(env, is_gmac ? "gmac: expected (bytes: Uint8Array)" :
						     "sha256: expected (bytes: Uint8Array)");
	TRY(napi_create_arraybuffer(env, digest_size(is_gmac), &digest, &buffer));
	if (!digest_all(is_gmac, bytes, size, digest))
		return throw_errno(env, is_gmac ? "EVP_aes_128_gcm" : "EVP_sha256", ENOMEM);
	TRY(napi_create_typedarray(env, napi_uint8_array, digest_size(is_gmac), buffer, 0, &result));
	return result;
}

napi_value addon_sha256(napi_env env, napi_callback_info info)
{
	return digest_bytes(env, info, false);
}

napi_value addon_gmac(napi_env env, napi_callback_info info)
{
	return digest_bytes(env, info, true);
}

/* --- digestChunks(fd, start, end, chunk, out, isGmac, callback) --- */

struct chunks {
	int fd;
	int error;
	bool is_gmac;
	uint64_t at, end, chunk;
	uint8_t *out;
	uint32_t done; /* chunks whose digest is in `out` */
	napi_ref keeps_out, callback;
	napi_async_work work;
};

/* One chunk; false for an error, and for a file that ends before the chunk does. */
static bool digest_chunk(struct chunks *job, struct digest *digest, uint8_t *buffer)
{
	uint64_t left = job->end - job->at < job->chunk ? job->end - job->at : job->chunk;

	if (!digest_begin(digest)) {
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
		if (!digest_add(digest, buffer, (size_t)n)) {
			job->error = ENOMEM;
			return false;
		}
		job->at += (uint64_t)n;
		left -= (uint64_t)n;
	}
	if (!digest_end(digest, job->out + (size_t)job->done * digest_size(job->is_gmac))) {
		job->error = ENOMEM;
		return false;
	}
	return true;
}

/* On a thread of libuv's. */
static void digest_chunks(napi_env env, void *data)
{
	struct chunks *job = data;
	uint8_t *buffer = malloc(STEP);
	struct digest digest;

	(void)env;
	if (!digest_open(&digest, job->is_gmac) || !buffer)
		job->error = ENOMEM;
	else
		while (job->at < job->end && digest_chunk(job, &digest, buffer))
			job->done++;
	free(buffer);
	digest_close(&digest);
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
	bool is_gmac;
	void *out;

	TRY(napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
	TRY(napi_get_value_int32(env, argv[0], &fd));
	TRY(napi_get_value_int64(env, argv[1], &start));
	TRY(napi_get_value_int64(env, argv[2], &end));
	TRY(napi_get_value_uint32(env, argv[3], &chunk));
	TRY(napi_get_value_bool(env, argv[5], &is_gmac));
	if (!get_array(env, argv[4], napi_uint8_array, &out, &size) || start < 0 || end < start || chunk == 0 ||
	    ((uint64_t)(end - start) + chunk - 1) / chunk > size / digest_size(is_gmac))
		return throw_argument(env, "digestChunks: expected (fd, start, end, chunk, out: Uint8Array, isGmac, callback)");
	struct chunks *job = calloc(1, sizeof *job);
	if (!job)
		return throw_errno(env, "calloc", ENOMEM);
	*job = (struct chunks){
		.fd = fd,
		.is_gmac = is_gmac,
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
