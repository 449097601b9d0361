/* Strings in buffers of fixed size, and messages. */
#include "front.h"

size_t front_length(const char *string)
{
	size_t length = 0;

	while (string[length] != '\0')
		length++;
	return length;
}

bool front_begins(const char *string, const char *start)
{
	while (*start != '\0')
		if (*string++ != *start++)
			return false;
	return true;
}

bool front_equal(const char *a, const char *b)
{
	return front_begins(a, b) && a[front_length(b)] == '\0';
}

const char *front_last_component(const char *path)
{
	const char *last = path;

	for (; *path != '\0'; path++)
		if (*path == '/')
			last = path + 1;
	return last;
}

const char *front_variable(char *const *environment, const char *start)
{
	for (; *environment; environment++)
		if (front_begins(*environment, start))
			return *environment + front_length(start);
	return NULL;
}

const char *front_decimal(char digits[FRONT_DIGITS_SIZE], uint32_t number)
{
	char *at = digits + FRONT_DIGITS_SIZE - 1;

	*at = '\0';
	do
		*--at = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	return at;
}

bool front_join(char *to, size_t size, const char *const *parts)
{
	size_t at = 0;

	for (; *parts; parts++)
		for (const char *from = *parts; *from != '\0'; from++) {
			if (at == size - 1) {
				to[at] = '\0';
				return false;
			}
			to[at++] = *from;
		}
	to[at] = '\0';
	return true;
}
