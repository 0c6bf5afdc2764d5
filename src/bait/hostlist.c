#include "bait/hostlist.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "lib/path.h"

/* More nodes than clusters have. */
#define NAMES_MAX 65536

/* A host name's part between dots, and Linux's limit of a host name's length. */
#define NAME_MAX_LENGTH 63

/* Brackets in one name, as in rack[1-4]node[1-8]. */
#define BRACKETS_MAX 4

/* The kernel takes 128 KiB for one variable. */
#define LIST_MAX (100 * 1024)

static int add_names(
	const char *head, const char *tail, int depth, struct strv *ret, struct error *err);

static int wrong(const char *text, struct error *err)
{
	return fail(err, -EINVAL, "'%.80s' is no list of hosts", text);
}

/* One number of a bracket, with the digits that it is written with. */
static int read_number(const char **text, uint64_t *ret, int *ret_digits)
{
	const char *start = *text;

	for (*ret = 0; isdigit((unsigned char)**text) && *text - start < 10; (*text)++)
		*ret = *ret * 10 + (uint64_t)(**text - '0');
	*ret_digits = (int)(*text - start);
	return *text == start || isdigit((unsigned char)**text) ? -EINVAL : 0;
}

/* "07" or "07-10", put between head and tail. */
static int add_range(const char *head, const char **range, const char *tail, int depth,
	struct strv *ret, struct error *err)
{
	const char *start = *range;
	uint64_t first, last;
	int digits, unused, r = read_number(range, &first, &digits);

	last = first;
	if (r == 0 && **range == '-') {
		(*range)++;
		r = read_number(range, &last, &unused);
	}
	if (r < 0 || last < first)
		return wrong(start, err);
	for (uint64_t i = first; i <= last && r == 0; i++) {
		autofree char *name = path_format("%s%0*llu", head, digits, (unsigned long long)i);

		r = name ? add_names(name, tail, depth, ret, err)
			 : fail(err, -ENOMEM, "out of memory");
	}
	return r;
}

/* All of the bracket at the start of `tail`. */
static int add_bracket(
	const char *head, const char *tail, int depth, struct strv *ret, struct error *err)
{
	const char *end = strchr(tail, ']'), *range = tail + 1;
	int r = end && depth < BRACKETS_MAX ? 0 : wrong(tail, err);

	while (r == 0) {
		r = add_range(head, &range, end + 1, depth + 1, ret, err);
		if (r < 0 || range == end)
			return r;
		r = *range++ == ',' ? 0 : wrong(tail, err);
	}
	return r;
}

/* `tail` is what follows `head` in one name: without brackets, or with some. */
static int add_names(
	const char *head, const char *tail, int depth, struct strv *ret, struct error *err)
{
	size_t plain = strcspn(tail, "[]");
	autofree char *name = path_format("%s%.*s", head, (int)plain, tail);

	if (!name)
		return fail(err, -ENOMEM, "out of memory");
	if (tail[plain] == '[')
		return add_bracket(name, tail + plain, depth, ret, err);
	if (tail[plain] || !name[0])
		return wrong(tail, err);
	if (ret->count >= NAMES_MAX)
		return fail(err, -E2BIG, "more than %d hosts", NAMES_MAX);
	strv_add(ret, name);
	return ret->failed ? fail(err, -ENOMEM, "out of memory") : 0;
}

/* The length of the first name of a list, whose brackets have commas of their own. */
static size_t first_length(const char *text)
{
	size_t n = 0;

	for (bool inside = false; text[n] && (inside || text[n] != ','); n++)
		inside = text[n] == '[' || (inside && text[n] != ']');
	return n;
}

int hostlist_expand(const char *text, struct strv *ret, struct error *err)
{
	for (;;) {
		size_t n = first_length(text);
		autofree char *name = strndup(text, n);
		int r = name ? add_names("", name, 0, ret, err)
			     : fail(err, -ENOMEM, "out of memory");

		if (r < 0 || text[n] == '\0')
			return r;
		text += n + 1;
	}
}

char *hostlist_vm(const char *job, const char *step, const char *node)
{
	autofree char *name = path_format("vm-%s-%s-%s", job, step, node);

	if (!name || strlen(name) > NAME_MAX_LENGTH)
		return NULL;
	/* One name, not a name in a domain; and what no host name may have. */
	for (char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c))
			*c = '-';
	return TAKE_PTR(name);
}

char *hostlist_vms(const char *job, const char *step, const char *nodes)
{
	struct strv names AUTO(strv_done) = {0};
	autofree char *list = NULL;
	size_t used = 0;

	if (hostlist_expand(nodes, &names, NULL) < 0)
		return NULL;
	list = calloc(1, LIST_MAX);
	for (size_t i = 0; list && i < names.count; i++) {
		autofree char *vm = hostlist_vm(job, step, names.items[i]);

		if (!vm || used + strlen(vm) + 2 > LIST_MAX)
			return NULL;
		used += (size_t)snprintf(
			list + used, LIST_MAX - used, "%s%s", used > 0 ? "," : "", vm);
	}
	return TAKE_PTR(list);
}
