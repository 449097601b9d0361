/*
 * Which pod a bundle belongs to. containerd starts a shim for every container, and a container of a pod must find the
 * shim that its pod has. Nearly all of config.json does not matter here, so it is searched and not parsed: a word
 * that stands where it means nothing sends the start to Node, which costs time and nothing else.
 */
#include "front.h"

static const char annotation[] = "io.kubernetes.cri.sandbox-id";
#define ANNOTATION_SIZE (sizeof annotation - 1)

static bool is_at(const char *text, const char *word, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (text[i] != word[i])
			return false;
	return true;
}

static size_t skip_space(const char *text, size_t size, size_t at)
{
	while (at < size && (text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r'))
		at++;
	return at;
}

/* Reads `": "value"`, from the quote that ends the key. False: there is something else, or a value with escapes. */
static bool read_value(const char *text, size_t size, size_t at, char value[FRONT_NAME_SIZE])
{
	size_t length = 0;

	if (at >= size || text[at] != '"')
		return false;
	at = skip_space(text, size, at + 1);
	if (at >= size || text[at] != ':')
		return false;
	at = skip_space(text, size, at + 1);
	if (at >= size || text[at] != '"')
		return false;
	for (at++; at < size && text[at] != '"'; at++) {
		if (text[at] == '\\' || text[at] == '\0' || length == FRONT_NAME_SIZE - 1)
			return false;
		value[length++] = text[at];
	}
	value[length] = '\0';
	return at < size && front_is_name(value);
}

enum front_grouping front_scan_config(const char *text, size_t size, const char *id, char pod[FRONT_NAME_SIZE])
{
	enum front_grouping grouping = FRONT_OWN_POD;

	for (size_t i = 0; i + ANNOTATION_SIZE <= size; i++) {
		char value[FRONT_NAME_SIZE];

		if (text[i] != annotation[0] || !is_at(text + i, annotation, ANNOTATION_SIZE))
			continue;
		if (i == 0 || text[i - 1] != '"' || !read_value(text, size, i + ANNOTATION_SIZE, value))
			return FRONT_UNCLEAR;
		if (front_equal(value, id))
			continue;
		if (grouping == FRONT_IN_POD && !front_equal(value, pod))
			return FRONT_UNCLEAR;
		front_join(pod, FRONT_NAME_SIZE, (const char *const[]){ value, NULL });
		grouping = FRONT_IN_POD;
	}
	return grouping;
}
