/* Unit tests of those parts of the front that make no system call. Prints TAP. */
#include "front.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- assertions --- */

static uint32_t number, failed, failures;

static void expect_equal(int64_t got, int64_t want, const char *what, int line)
{
	if (got == want)
		return;
	printf("# line %d: %s is %lld, not %lld\n", line, what, (long long)got, (long long)want);
	failures++;
}
#define EXPECT(got, want) expect_equal((int64_t)(got), (int64_t)(want), #got, __LINE__)

static void expect_text(const char *got, const char *want, const char *what, int line)
{
	if (strcmp(got, want) == 0)
		return;
	printf("# line %d: %s is \"%s\", not \"%s\"\n", line, what, got, want);
	failures++;
}
#define EXPECT_TEXT(got, want) expect_text(got, want, #got, __LINE__)

static void report(const char *group, const char *name)
{
	printf("%sok %u - %s: %s\n", failures ? "not " : "", ++number, group, name);
	failed += failures != 0;
	failures = 0;
}

/* A copy of exactly that size on the heap, so that AddressSanitizer sees a byte too far in either direction. */
static void *exact(const void *bytes, size_t size)
{
	void *copy = malloc(size);

	return copy && size > 0 ? memcpy(copy, bytes, size) : copy;
}

/* --- text --- */

static void test_text(void)
{
	char to[6], digits[FRONT_DIGITS_SIZE];

	memset(to, 'x', sizeof to);
	EXPECT(JOIN(to, "ab", "", "cde"), true);
	EXPECT_TEXT(to, "abcde");
	EXPECT(JOIN(to, "ab", "cdef"), false);
	EXPECT_TEXT(to, "abcde");
	EXPECT(JOIN(to, ""), true);
	EXPECT_TEXT(to, "");
	EXPECT_TEXT(front_decimal(digits, 0), "0");
	EXPECT_TEXT(front_decimal(digits, 1090), "1090");
	EXPECT_TEXT(front_decimal(digits, UINT32_MAX), "4294967295");
	EXPECT(front_equal("ab", "ab"), true);
	EXPECT(front_equal("ab", "abc"), false);
	EXPECT(front_equal("abc", "ab"), false);
	EXPECT(front_begins("abc", "ab"), true);
	EXPECT(front_begins("a", "ab"), false);
	EXPECT_TEXT(front_last_component("/a/bc"), "bc");
	EXPECT_TEXT(front_last_component("bc"), "bc");
	EXPECT_TEXT(front_last_component("a/"), "");
	report("text", "joining, numbers, comparing, last component");
}

/* --- flags --- */

struct command_line {
	const char *name;
	const char *args[14];
	enum front_action action;
	uint32_t count;
	const char *id, *bundle;
};

static const struct command_line command_lines[] = {
	{ "one dash", { "-namespace", "n", "-address", "a", "-id", "i", "start" }, FRONT_START, 6, "i", "" },
	{ "two dashes", { "--namespace", "n", "--address", "a", "--id", "i", "start" }, FRONT_START, 6, "i", "" },
	{ "equals sign", { "-namespace=n", "--address=a", "-id=x=y", "start" }, FRONT_START, 3, "x=y", "" },
	{ "the last one counts",
	  { "-id", "j", "-namespace", "n", "-address", "a", "-id", "i", "start" }, FRONT_START, 8, "i", "" },
	{ "delete",
	  { "-debug", "-namespace", "n", "-address", "a", "-publish-binary=p", "-id", "i", "-bundle", "/b", "delete" },
	  FRONT_DELETE, 10, "i", "/b" },
	{ "value of an empty argument", { "-namespace", "n", "-address=a", "-id", "i", "-bundle", "", "start" },
	  FRONT_START, 7, "i", "" },
	{ .name = "nothing", .args = { NULL } },
	{ .name = "no action", .args = { "-namespace", "n", "-id", "i" } },
	{ .name = "another action", .args = { "-namespace", "n", "-id", "i", "serve" } },
	{ .name = "an argument after the action", .args = { "-namespace", "n", "-id", "i", "start", "x" } },
	{ .name = "a flag after the action", .args = { "-namespace", "n", "-id", "i", "start", "-debug" } },
	{ .name = "an unknown flag", .args = { "-namespace", "n", "-id", "i", "-idx", "j", "start" } },
	{ .name = "the beginning of a flag", .args = { "-namespace", "n", "-i", "i", "start" } },
	{ .name = "the socket", .args = { "-namespace", "n", "-id", "i", "-socket", "s", "start" } },
	{ .name = "the version", .args = { "-namespace", "n", "-id", "i", "-v", "start" } },
	{ .name = "a value for debug", .args = { "-namespace", "n", "-id", "i", "-debug=true", "start" } },
	{ .name = "one dash alone", .args = { "-namespace", "n", "-id", "i", "-", "start" } },
	{ .name = "two dashes alone", .args = { "-namespace", "n", "-id", "i", "--", "start" } },
	{ .name = "three dashes", .args = { "-namespace", "n", "---id", "i", "start" } },
	{ .name = "no value", .args = { "-namespace", "n", "-id" } },
	{ .name = "a flag for a value", .args = { "-namespace", "n", "-id", "-debug", "start" } },
	{ .name = "no id", .args = { "-namespace", "n", "start" } },
	{ .name = "an empty id", .args = { "-namespace", "n", "-id=", "start" } },
	{ .name = "no namespace", .args = { "-id", "i", "start" } },
	{ .name = "a path for an id", .args = { "-namespace", "n", "-id", "../i", "start" } },
	{ .name = "dots for an id", .args = { "-namespace", "n", "-id", "..", "start" } },
	{ .name = "a path for a namespace", .args = { "-namespace", "n/m", "-id", "i", "start" } },
	{ .name = "an id that is not ASCII", .args = { "-namespace", "n", "-id", "\xc3\xa4", "start" } },
	{ .name = "an address that is not ASCII", .args = { "-namespace=n", "-address", "\xff", "-id", "i", "start" } },
};

static void test_flags(const struct command_line *line)
{
	struct front_flags flags;
	size_t count = 0;

	while (line->args[count])
		count++;
	char **args = exact(line->args, (count + 1) * sizeof *args);
	EXPECT(front_parse_flags(args, &flags), line->action);
	if (line->action != FRONT_NODE) {
		EXPECT(flags.count, line->count);
		EXPECT_TEXT(flags.namespace, "n");
		EXPECT_TEXT(flags.address, "a");
		EXPECT_TEXT(flags.id, line->id);
		EXPECT_TEXT(flags.bundle, line->bundle);
	}
	free(args);
	report("flags", line->name);
}

static void test_many_flags(void)
{
	char *args[FRONT_FLAGS_MAX + 5];
	struct front_flags flags;

	for (uint32_t more = 0; more < 2; more++) {
		uint32_t count = 0;
		args[count++] = "-id=i";
		args[count++] = "-namespace=n";
		while (count < FRONT_FLAGS_MAX + more)
			args[count++] = "-debug";
		args[count++] = "start";
		args[count] = NULL;
		EXPECT(front_parse_flags(args, &flags), more ? FRONT_NODE : FRONT_START);
		/* A value in the first argument that is too many. */
		args[FRONT_FLAGS_MAX - 1] = "-address";
		args[FRONT_FLAGS_MAX] = "a";
		args[FRONT_FLAGS_MAX + 1] = "start";
		args[FRONT_FLAGS_MAX + 2] = NULL;
		EXPECT(front_parse_flags(args, &flags), FRONT_NODE);
	}
	report("flags", "too many");
}

static void test_names(void)
{
	char name[FRONT_NAME_SIZE + 1];

	memset(name, 'a', sizeof name);
	name[FRONT_NAME_SIZE] = '\0';
	EXPECT(front_is_name(name), false);
	name[FRONT_NAME_SIZE - 1] = '\0';
	EXPECT(front_is_name(name), true);
	EXPECT(front_is_name("..."), true);
	EXPECT(front_is_name("."), false);
	EXPECT(front_is_name("a b"), false);
	EXPECT(front_is_name("a\n"), false);
	EXPECT(front_is_name("\x7f"), false);
	report("flags", "names");
}

/* --- config --- */

#define KEY "\"io.kubernetes.cri.sandbox-id\""

struct config {
	const char *name, *text;
	enum front_grouping grouping;
	const char *pod;
};

static const struct config configs[] = {
	{ "empty", "", FRONT_OWN_POD, NULL },
	{ "no annotation", "{\"annotations\":{\"io.kubernetes.cri.sandbox-name\":\"x\"}}", FRONT_OWN_POD, NULL },
	{ "the id itself", "{" KEY ":\"me\"}", FRONT_OWN_POD, NULL },
	{ "the id itself, with space", "{" KEY " \t\r\n:\n \"me\" }", FRONT_OWN_POD, NULL },
	{ "the id itself, twice", "{" KEY ":\"me\"," KEY ":\"me\"}", FRONT_OWN_POD, NULL },
	{ "another id", "{" KEY ":\"pod\"}", FRONT_IN_POD, "pod" },
	{ "another id, after the id", "{" KEY ":\"me\"," KEY ":\"pod\"}", FRONT_IN_POD, "pod" },
	{ "another id, before the id", "{" KEY ":\"pod\"," KEY ":\"me\"}", FRONT_IN_POD, "pod" },
	{ "an id that begins like it", "{" KEY ":\"me2\"}", FRONT_IN_POD, "me2" },
	{ "an id that it begins like", "{" KEY ":\"m\"}", FRONT_IN_POD, "m" },
	{ "two other ids", "{" KEY ":\"pod\"," KEY ":\"pod2\"}", FRONT_UNCLEAR, NULL },
	{ "two others, one unclear", "{" KEY ":\"pod\"," KEY ":1}", FRONT_UNCLEAR, NULL },
	{ "a value with an escape", "{" KEY ":\"m\\u0065\"}", FRONT_UNCLEAR, NULL },
	{ "a number", "{" KEY ":1}", FRONT_UNCLEAR, NULL },
	{ "an empty value", "{" KEY ":\"\"}", FRONT_UNCLEAR, NULL },
	{ "a path", "{" KEY ":\"../pod\"}", FRONT_UNCLEAR, NULL },
	{ "a value with a control character", "{" KEY ":\"po\nd\"}", FRONT_UNCLEAR, NULL },
	{ "a value and no key", "{\"a\":" KEY "}", FRONT_UNCLEAR, NULL },
	{ "within another key", "{\"x.io.kubernetes.cri.sandbox-id\":\"me\"}", FRONT_UNCLEAR, NULL },
	{ "the beginning of another key", "{\"io.kubernetes.cri.sandbox-ids\":\"me\"}", FRONT_UNCLEAR, NULL },
	{ "in a string", "{\"args\":[\"{\\\"io.kubernetes.cri.sandbox-id\\\":\\\"me\\\"}\"]}", FRONT_UNCLEAR, NULL },
	{ "the words alone", "io.kubernetes.cri.sandbox-id", FRONT_UNCLEAR, NULL },
	{ "almost the words", "{\"io.kubernetes.cri.sandbox-i\":\"pod\"}", FRONT_OWN_POD, NULL },
	{ "after a false beginning", "{\"ioio.\":1," KEY ":\"pod\"}", FRONT_IN_POD, "pod" },
};

static void test_config(const struct config *config)
{
	char pod[FRONT_NAME_SIZE], *text = exact(config->text, strlen(config->text));

	EXPECT(front_scan_config(text, strlen(config->text), "me", pod), config->grouping);
	if (config->pod)
		EXPECT_TEXT(pod, config->pod);
	free(text);
	report("config", config->name);
}

/* Cut off anywhere after the words have begun to mean something, it is unclear; before, there is nothing. */
static void test_cut_config(void)
{
	static const char whole[] = "{" KEY " : \"pod\"}";
	char pod[FRONT_NAME_SIZE];

	for (size_t size = 0; size < sizeof whole - 1; size++) {
		char *text = exact(whole, size);
		enum front_grouping want = size < sizeof KEY - 1 ? FRONT_OWN_POD : FRONT_UNCLEAR;
		if (size == sizeof whole - 2)
			want = FRONT_IN_POD;
		EXPECT(front_scan_config(text, size, "me", pod), want);
		free(text);
	}
	report("config", "cut off at every byte");
}

static void test_long_value(void)
{
	char text[sizeof KEY + FRONT_NAME_SIZE + 8], pod[FRONT_NAME_SIZE], value[FRONT_NAME_SIZE + 1];

	for (size_t size = FRONT_NAME_SIZE - 1; size <= FRONT_NAME_SIZE; size++) {
		memset(value, 'a', size);
		value[size] = '\0';
		int length = snprintf(text, sizeof text, KEY ":\"%s\"", value);
		char *copy = exact(text, (size_t)length);
		bool fits = size < FRONT_NAME_SIZE;
		EXPECT(front_scan_config(copy, (size_t)length, "me", pod), fits ? FRONT_IN_POD : FRONT_UNCLEAR);
		if (fits)
			EXPECT_TEXT(pod, value);
		free(copy);
	}
	report("config", "the longest value");
}

/* --- address --- */

/* From socketPath of shim/socket-address.ts; front.test.ts compares the two directly. */
static void test_address(void)
{
	struct front_flags flags = { "default", "/run/containerd/containerd.sock", "web", "", "", 0 };
	char path[FRONT_SOCKET_PATH_SIZE], root[FRONT_SOCKET_PATH_SIZE];

	EXPECT(front_socket_path(path, "/run/silt", &flags), true);
	EXPECT_TEXT(path, "/run/silt/s/c124071fd8c8bbc079a1276f4c62a5f0");
	flags = (struct front_flags){ "", "", "", "", "", 0 };
	EXPECT(front_socket_path(path, "/r", &flags), true);
	EXPECT_TEXT(path, "/r/s/a68bb3934c8b5822836dbc78c7423ce7");
	/* 107 bytes fit, with a NUL after them. */
	memset(root, 'r', sizeof root);
	root[107 - 35] = '\0';
	EXPECT(front_socket_path(path, root, &flags), true);
	EXPECT(strlen(path), 107);
	root[107 - 35] = 'r';
	root[107 - 34] = '\0';
	EXPECT(front_socket_path(path, root, &flags), false);
	report("address", "hash and length");
}

static void test_plain_path(void)
{
	static const char *const odd[] = { "",	    "/",    "a",       "./a",  "/a/",	    "//a",
					   "/a//b", "/a/.", "/a/../b", "/a b", "/\xc3\xa4" };
	char name[FRONT_NAME_SIZE + 2] = "/";

	for (uint32_t i = 0; i < sizeof odd / sizeof *odd; i++)
		EXPECT(front_is_plain_path(odd[i]), false);
	EXPECT(front_is_plain_path("/run/silt"), true);
	EXPECT(front_is_plain_path("/.run/...silt"), true);
	memset(name + 1, 'a', FRONT_NAME_SIZE - 1);
	EXPECT(front_is_plain_path(name), true);
	name[FRONT_NAME_SIZE] = 'a';
	EXPECT(front_is_plain_path(name), false);
	report("address", "plain paths");
}

/* --- protobuf --- */

struct message {
	const char *name;
	size_t size;
	const char *bytes;
	bool options;
};
#define MESSAGE(name, bytes, options) { name, sizeof bytes - 1, bytes, options }
#define ANY "\x0a\x19runtimeoptions.v1.Options"

static const struct message messages[] = {
	MESSAGE("type and value", ANY "\x12\x02\x0a\x00", true),
	MESSAGE("type only", ANY, true),
	MESSAGE("value first", "\x12\x02xx" ANY, true),
	MESSAGE("runc's options", "\x0a\x1a" "containerd.runc.v1.Options", true),
	MESSAGE("a long value", ANY "\x12\x81\x01" "0123456789012345678901234567890123456789012345678901234567890123"
			       "01234567890123456789012345678901234567890123456789012345678901234", true),
	MESSAGE("a length in more bytes than it needs", ANY "\x12\x82\x80\x00xx", true),
	MESSAGE("nothing", "", false),
	MESSAGE("value only", "\x12\x02xx", false),
	MESSAGE("another type", "\x0a\x19runtimeoptions.v2.Options", false),
	MESSAGE("the beginning of the type", "\x0a\x04runt", false),
	MESSAGE("two types, one another", ANY "\x0a\x01x", false),
	MESSAGE("a third field", ANY "\x1a\x00", false),
	MESSAGE("BootstrapParams with such an id", ANY "\x12\x01n\x22\x01v", false),
	MESSAGE("a varint", ANY "\x10\x01", false),
	MESSAGE("a byte too few", ANY "\x12\x03xx", false),
	MESSAGE("a length that does not end", ANY "\x12\x80\x80\x80\x80\x00", false),
	MESSAGE("text", "{\"type_url\":\"runtimeoptions.v1.Options\"}", false),
};

static void test_message(const struct message *message)
{
	uint8_t *bytes = exact(message->bytes, message->size);

	EXPECT(front_is_runtime_options(bytes, message->size), message->options);
	free(bytes);
	report("options", message->name);
}

static void test_cut_message(void)
{
	static const char whole[] = ANY "\x12\x05hello";
	size_t type = sizeof ANY - 1;

	for (size_t size = 0; size < sizeof whole; size++) {
		uint8_t *bytes = exact(whole, size);
		EXPECT(front_is_runtime_options(bytes, size), size == type || size == sizeof whole - 1);
		free(bytes);
	}
	report("options", "cut off at every byte");
}

/* Whatever a byte becomes, reading stays inside: AddressSanitizer watches. */
static void test_changed_message(void)
{
	static const char whole[] = ANY "\x12\x05hello";
	uint32_t taken = 0;

	for (size_t at = 0; at < sizeof whole - 1; at++)
		for (uint32_t byte = 0; byte < 256; byte++) {
			uint8_t *bytes = exact(whole, sizeof whole - 1);
			bytes[at] = (uint8_t)byte;
			taken += front_is_runtime_options(bytes, sizeof whole - 1);
			free(bytes);
		}
	/* All values of the bytes of "hello", each other byte as it was, and a type longer by all that follows. */
	EXPECT(taken, 5 * 256 + sizeof whole - 1 - 5 + 1);
	report("options", "every byte changed");
}

static void test_delete_response(void)
{
	uint8_t *to = malloc(FRONT_DELETE_RESPONSE_SIZE);
	static const uint8_t small[] = { 0x10, 0, 0x1a, 4, 0x08, 0, 0x10, 0 };
	static const uint8_t usual[] = { 0x10, 0x89, 0x01, 0x1a, 0x0c, 0x08, 0x80, 0xa6, 0xe9, 0xc9,
					 0x06, 0x10, 0xff, 0x93, 0xeb, 0xdc, 0x03 };

	if (!to)
		abort();
	EXPECT(front_delete_response(to, 0, 0, 0), sizeof small);
	EXPECT(memcmp(to, small, sizeof small), 0);
	EXPECT(front_delete_response(to, 137, 1765430016, 999999999), sizeof usual);
	EXPECT(memcmp(to, usual, sizeof usual), 0);
	EXPECT(front_delete_response(to, UINT32_MAX, UINT64_MAX, UINT32_MAX) <= FRONT_DELETE_RESPONSE_SIZE, true);
	free(to);
	report("delete", "the response");
}

#define FOR_EACH(table, test)                                                                                          \
	for (uint32_t i = 0; i < sizeof(table) / sizeof *(table); i++)                                                 \
		test(&(table)[i])

int main(void)
{
	test_text();
	FOR_EACH(command_lines, test_flags);
	test_many_flags();
	test_names();
	FOR_EACH(configs, test_config);
	test_cut_config();
	test_long_value();
	test_address();
	test_plain_path();
	FOR_EACH(messages, test_message);
	test_cut_message();
	test_changed_message();
	test_delete_response();
	printf("1..%u\n", number);
	printf("# passed %u failed %u\n", number - failed, failed);
	return failed != 0;
}
