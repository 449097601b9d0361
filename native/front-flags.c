/* The command line that containerd gives a shim (its core/runtime/v2/README.md, "Commands"). */
#include "front.h"

bool front_is_name(const char *name)
{
	size_t size = front_length(name);

	for (size_t i = 0; i < size; i++)
		if (name[i] <= ' ' || name[i] > '~' || name[i] == '/')
			return false;
	return size > 0 && size < FRONT_NAME_SIZE && !front_equal(name, ".") && !front_equal(name, "..");
}

/* Node would read bytes that are not UTF-8 as other characters, and find the pod at another address. */
static bool is_ascii(const char *string)
{
	for (; *string; string++)
		if ((unsigned char)*string > '~')
			return false;
	return true;
}

/* The flag's value: after '=' in the same argument or the next argument. Null if there is none. */
static const char *take_value(char *const *args, uint32_t *index, const char *rest)
{
	if (*rest == '=')
		return rest + 1;
	/* Node's parseArgs refuses a value that looks like a flag; Go takes it. Let Node explain. */
	if (*rest != '\0' || !args[*index + 1] || args[*index + 1][0] == '-')
		return NULL;
	return args[++*index];
}

/* Reads the flag at *index. False: one that is not known or without a value. */
static bool take_flag(char *const *args, uint32_t *index, struct front_flags *flags)
{
	const char *ignored;
	const struct {
		const char *name;
		const char **value;
	} known[] = {
		{ "namespace", &flags->namespace },
		{ "address", &flags->address },
		{ "publish-binary", &ignored },
		{ "id", &flags->id },
		{ "bundle", &flags->bundle },
		{ "pod", &flags->pod },
	};
	const char *name = args[*index] + (front_begins(args[*index], "--") ? 2 : 1);

	if (front_equal(name, "debug"))
		return true;
	for (uint32_t i = 0; i < sizeof known / sizeof *known; i++) {
		size_t size = front_length(known[i].name);
		if (!front_begins(name, known[i].name) || (name[size] != '\0' && name[size] != '='))
			continue;
		*known[i].value = take_value(args, index, name + size);
		return *known[i].value != NULL;
	}
	return false;
}

enum front_action front_parse_flags(char *const *args, struct front_flags *flags)
{
	uint32_t i = 0;

	*flags = (struct front_flags){ "", "", "", "", "", 0 };
	for (; args[i] && args[i][0] == '-'; i++)
		if (!take_flag(args, &i, flags))
			return FRONT_NODE;
	flags->count = i;
	if (!args[i] || args[i + 1] || i > FRONT_FLAGS_MAX)
		return FRONT_NODE;
	if (!front_is_name(flags->namespace) || !front_is_name(flags->id) || !is_ascii(flags->address))
		return FRONT_NODE;
	if (flags->pod[0] && !front_is_name(flags->pod))
		return FRONT_NODE;
	if (front_equal(args[i], "start"))
		return FRONT_START;
	return front_equal(args[i], "delete") ? FRONT_DELETE : FRONT_NODE;
}
