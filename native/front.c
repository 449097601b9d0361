/* What the front is called as, where Node is, and what it has to do. front.h says what this program is for. */
#include "front.h"

#include <linux/fcntl.h>

#define DEFAULT_ROOT "/run/silt"
#define ENOENT 2
#define EINVAL 22
#define ENAMETOOLONG 36

static char node[FRONT_PATH_SIZE], bundle[FRONT_PATH_SIZE];

/* Cuts a path's last component off, with its '/'. */
static void cut_last(char *path)
{
	size_t length = front_length(path);

	while (length > 0 && path[length] != '/')
		length--;
	path[length] = '\0';
}

/* Where symlinks lead. */
static bool real_path(char real[FRONT_PATH_SIZE], const char *path)
{
	char digits[FRONT_DIGITS_SIZE], link[FRONT_PATH_SIZE];
	int64_t fd = CALL(openat, AT_FDCWD, path, O_PATH | O_CLOEXEC), length;

	if (silt_is_error(fd))
		return false;
	JOIN(link, "/proc/self/fd/", front_decimal(digits, (uint32_t)fd));
	length = CALL(readlinkat, AT_FDCWD, link, real, FRONT_PATH_SIZE - 1);
	CALL(close, fd);
	real[silt_is_error(length) ? 0 : length] = '\0';
	return !silt_is_error(length);
}

/*
 * Are Node and the bundles those of the program at `path`? They are in PREFIX/lib/silt beside PREFIX/bin, or in a checkout in build beside
 * bin. `prefix` gets PREFIX.
 */
static bool has_library(char prefix[FRONT_PATH_SIZE], const char *path, const char *script)
{
	static const char *const places[] = { "/lib/silt", "/build" };
	char shim[FRONT_PATH_SIZE];

	if (!real_path(prefix, path))
		return false;
	cut_last(prefix);
	cut_last(prefix);
	for (uint32_t i = 0; i < sizeof places / sizeof *places; i++) {
		if (!JOIN(shim, prefix, places[i], "/shim.js") || !JOIN(node, prefix, places[i], "/node") ||
		    !JOIN(bundle, prefix, places[i], script))
			front_fail("finding silt beside", prefix, -ENAMETOOLONG);
		if (CALL(faccessat, AT_FDCWD, shim, 0) == 0)
			return true;
	}
	return false;
}

/* The files beside the program, or for a copy of it alone (containerd's runtime_path) those of the silt on PATH. */
static void find_library(const char *script, char *const *environment)
{
	char prefix[FRONT_PATH_SIZE], other[FRONT_PATH_SIZE], shim[FRONT_PATH_SIZE];
	const char *path = front_variable(environment, "PATH=");

	prefix[0] = '\0';
	if (has_library(prefix, "/proc/self/exe", script))
		return;
	while (path && *path != '\0') {
		char directory[FRONT_PATH_SIZE];
		size_t length = 0;

		for (; *path != '\0' && *path != ':'; path++)
			if (length < sizeof directory - 1)
				directory[length++] = *path;
		directory[length] = '\0';
		path += *path == ':';
		if (directory[0] == '/' && JOIN(shim, directory, "/containerd-shim-silt-v1") && has_library(other, shim, script))
			return;
	}
	if (prefix[0] == '\0')
		front_fail("reading", "/proc/self/exe", -ENOENT);
	JOIN(shim, prefix, "/lib/silt/shim.js");
	front_fail("finding silt in", shim, -ENOENT);
}

static const char *find_root(char *const *environment)
{
	const char *root = front_variable(environment, "SILT_ROOT=");

	return root ? root : DEFAULT_ROOT;
}

/*
 * What V8 is told for a restore. It makes less than 8 MB of objects and ends: V8 would stop a few times to look for garbage among them. And
 * it calls few functions more than once: what is compiled on other threads is never used, and CRIU wants those processors.
 */
static char *const restore_flags[] = { "--min-semi-space-size=8", "--no-sparkplug", "--no-maglev", "--no-turbofan" };
/* Words that have to be free before argc: Node's takes argc's own place, and each flag one more. */
_Static_assert(sizeof restore_flags <= 32, "_start leaves room for four words");

/* Whether a restore may be asked for: in no other place than a command's would the word do harm. */
static bool may_restore(char *const *args)
{
	for (; *args; args++)
		if (front_equal(*args, "restore"))
			return true;
	return false;
}

/*
 * `words` is the stack as the kernel made it: argc, argv, null, environment, null (System V ABI, "Process Stack"). There is room for four further
 * words before it.
 */
void front_main(char **words)
{
	uint64_t count = (uint64_t)words[0];
	struct front front = { .node = node, .bundle = bundle, .args = words + 2, .environment = words + count + 2 };
	enum front_action action = FRONT_NODE;
	struct front_flags flags;

	if (count == 0)
		front_fail("reading", "the empty argument list", -EINVAL);
	front_program = front_last_component(words[1]);
	front.root = find_root(front.environment);
	if (front_begins(front_program, "containerd-shim-")) {
		find_library("/shim.js", front.environment);
		if (front_is_plain_path(front.root))
			action = front_parse_flags(front.args, &flags);
		if (action == FRONT_START)
			front_start(&front, &flags);
		if (action == FRONT_DELETE)
			front_delete(&front, &flags);
	} else {
		find_library("/cli.js", front.environment);
	}

	/* Node takes two words more at the front than were given and one less, the name: argc makes room for that. */
	words[1] = bundle;
	if (may_restore(front.args))
		for (uint32_t i = sizeof restore_flags / sizeof *restore_flags; i > 0; i--)
			*words-- = restore_flags[i - 1];
	words[0] = node;
	front_fail("starting", node, CALL(execve, node, words, front.environment));
}

#if defined(__x86_64__)
__asm__(".text\n.globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tsub $32, %rsp\n\tcall front_main\n\thlt\n");
#else
__asm__(".text\n.globl _start\n_start:\n\tmov x29, #0\n\tmov x30, #0\n\tmov x0, sp\n\tsub sp, sp, #32\n\tbl front_main\n\tbrk #0\n");
#endif
