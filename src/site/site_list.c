/* Lists come in pages; a controller that fails between two of them is as good as any other. */
#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "lib/path.h"
#include "site/site.h"

#define LIMIT "1000" /* items a page */

/* "next" is the key of the last item: a text or a number. *ret is NULL at the end. */
static int read_next(json_t *page, char **ret, struct error *err)
{
	json_t *next = json_object_get(page, "next");
	char *escaped;

	*ret = NULL;
	if (!next || json_is_null(next))
		return 0;
	if (json_is_integer(next)) {
		*ret = path_format("%" JSON_INTEGER_FORMAT, json_integer_value(next));
		return *ret ? 0 : fail(err, -ENOMEM, "out of memory");
	}
	if (json_string_length(next) == 0)
		return fail(err, -EREMOTEIO, "a page of the list says not where the next begins");
	escaped = curl_easy_escape(NULL, json_string_value(next), (int)json_string_length(next));
	*ret = escaped ? strdup(escaped) : NULL;
	curl_free(escaped);
	return *ret ? 0 : fail(err, -ENOMEM, "out of memory");
}

static int walk_page(
	json_t *page, int (*each)(json_t *item, void *userdata), void *userdata, struct error *err)
{
	json_t *items = json_object_get(page, "items"), *item;
	size_t i;

	if (!json_is_array(items))
		return fail(err, -EREMOTEIO, "what the controller answers is no list");
	json_array_foreach(items, i, item)
	{
		int r = each(item, userdata);

		if (r < 0)
			return r;
	}
	return 0;
}

static char *page_path(const char *path, const char *after)
{
	const char *query = strchr(path, '?');
	bool limited = query && (strstr(query, "?limit=") || strstr(query, "&limit="));

	return path_format("%s%s%s%s%s", path, query ? "&" : "?", limited ? "" : "limit=" LIMIT "&",
		after ? "after=" : "", after ? after : "");
}

/* Returns 1 if there is another page, behind *after. */
static int list_page(struct site *s, const char *path, char **after,
	int (*each)(json_t *item, void *userdata), void *userdata, struct error *err)
{
	autofree char *where = page_path(path, *after), *next = NULL;
	json_t *page = NULL;
	size_t n = where ? strlen(where) : 0;
	int r;

	if (!where)
		return fail(err, -ENOMEM, "out of memory");
	if (where[n - 1] == '&' || where[n - 1] == '?')
		where[n - 1] = '\0';
	r = site_call(s, "GET", where, NULL, NULL, &page, NULL, err);
	if (r >= 400)
		r = -EREMOTEIO;
	if (r >= 0)
		r = walk_page(page, each, userdata, err);
	if (r >= 0)
		r = read_next(page, &next, err);
	json_decref(page);
	if (r >= 0 && next && *after && streq(next, *after))
		r = fail(err, -EREMOTEIO, "the pages of the list do not end");
	free(*after);
	*after = TAKE_PTR(next);
	return r < 0 ? r : *after != NULL;
}

int site_list(struct site *s, const char *path, int (*each)(json_t *item, void *userdata),
	void *userdata, struct error *err)
{
	autofree char *after = NULL;
	int r;

	do
		r = list_page(s, path, &after, each, userdata, err);
	while (r > 0);
	return r;
}
