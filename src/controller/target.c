#include "controller/target.h"

#include <errno.h>

#define QUERY_NAME_MAX  64
#define QUERY_VALUE_MAX 4096
#define QUERY_PARTS_MAX 32

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool is_utf8(const char *text, size_t n)
{
	json_t *json = json_stringn(text, n);

	json_decref(json);
	return json;
}

int target_decode(const char *text, size_t n, bool plus, char *ret, size_t size)
{
	bool is_ascii = true;
	size_t used = 0;

	for (size_t i = 0; i < n; i++) {
		int c = (unsigned char)text[i];

		if (c == '%') {
			int high = n - i > 2 ? hex(text[i + 1]) : -1;
			int low = n - i > 2 ? hex(text[i + 2]) : -1;

			if (high < 0 || low < 0)
				return -EINVAL;
			c = high * 16 + low;
			i += 2;
		} else if (plus && c == '+') {
			c = ' ';
		}
		if (c < ' ' || c == 127)
			return -EINVAL;
		is_ascii = is_ascii && c < 0x80;
		if (used + 1 >= size)
			return -ENAMETOOLONG;
		ret[used++] = (char)c;
	}
	ret[used] = '\0';
	return is_ascii || is_utf8(ret, used) ? 0 : -EINVAL;
}

static int add_part(json_t *object, const char *part, size_t n, struct error *err)
{
	char name[QUERY_NAME_MAX], value[QUERY_VALUE_MAX];
	const char *equals = memchr(part, '=', n);
	size_t length = equals ? (size_t)(equals - part) : n;
	int r = target_decode(part, length, true, name, sizeof(name));

	if (r == 0)
		r = equals ? target_decode(equals + 1, n - length - 1, true, value, sizeof(value))
			   : target_decode("", 0, true, value, sizeof(value));
	if (r == -ENAMETOOLONG)
		return fail(err, -EINVAL, "a part of the query is too long");
	if (r < 0)
		return fail(err, -EINVAL, "the query is not properly encoded");
	if (json_object_get(object, name))
		return fail(err, -EINVAL, "'%s' is in the query twice", name);
	if (json_object_size(object) == QUERY_PARTS_MAX)
		return fail(err, -EINVAL, "the query has more than %d parts", QUERY_PARTS_MAX);
	return json_object_set_new(object, name, json_string(value)) < 0 ? -ENOMEM : 0;
}

int target_parse_query(const char *query, json_t **ret, struct error *err)
{
	json_t *object = json_object();
	int r = object ? 0 : -ENOMEM;

	while (r == 0 && query && *query) {
		size_t n = strcspn(query, "&");

		if (n > 0)
			r = add_part(object, query, n, err);
		query += n + (query[n] == '&');
	}
	if (r < 0)
		json_decref(object);
	else
		*ret = object;
	return r;
}
