#include "cli/image_site.h"

#include <errno.h>
#include <stdio.h>

#include "cli/site_verb.h"
#include "image/store.h"
#include "lib/digest.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "lib/timestamp.h"

#define PREFIX_MIN 8 /* digits */

static const char *text_of(json_t *row, const char *name)
{
	const char *text = json_string_value(json_object_get(row, name));

	return text ? text : "";
}

/* A walk through images, of which one is kept. */
struct search {
	const char *prefix, *tag; /* of the digest; that it is to get, NULL: any */
	json_t *found;
	size_t count;
};

static void search_done(struct search *s)
{
	json_decref(s->found);
}

static bool has_ended(json_t *image)
{
	return streq(text_of(image, "state"), "expired") ||
	       streq(text_of(image, "state"), "revoked");
}

/* Is this one meant rather than the other? One that is good or may become so, and then the newer
 * one. */
static bool is_better(json_t *image, json_t *other)
{
	if (has_ended(image) != has_ended(other))
		return has_ended(other);
	return strcmp(text_of(image, "published"), text_of(other, "published")) > 0;
}

static int on_image(json_t *image, void *userdata)
{
	struct search *s = userdata;
	bool fits = s->prefix ? str_after(text_of(image, "digest"), s->prefix) != NULL
			      : !s->tag || streq(text_of(image, "tag"), s->tag);

	if (fits && s->count++ > 0 && !is_better(image, s->found))
		fits = false;
	if (!fits) {
		json_decref(image);
		return 0;
	}
	json_decref(s->found);
	s->found = image;
	return 0;
}

static int search(struct search *s, const char *name, struct error *err)
{
	struct site_path path AUTO(site_path_done) = {0};

	site_path_init(&path, "images", NULL);
	site_path_add(&path, "name", name);
	return site_call_list(&path, on_image, s, err);
}

static int get_image(const char *digest, json_t **ret, struct error *err)
{
	struct site_path path AUTO(site_path_done) = {0};

	site_path_init(&path, "images", digest, NULL);
	return site_call_ask("GET", &path, NULL, NULL, ret, err);
}

/* Returns 0, -ENOENT if it is no tag, or another negative errno. */
static int find_tag(const char *reference, json_t **ret, struct error *err)
{
	struct site_path path AUTO(site_path_done) = {0};
	json_t *tag = NULL;
	int r;

	site_path_init(&path, "tags", reference, NULL);
	r = site_call_ask("GET", &path, NULL, NULL, &tag, err);
	if (r == 0)
		r = get_image(text_of(tag, "digest"), ret, err);
	json_decref(tag);
	return r;
}

static bool is_prefix(const char *text)
{
	size_t n = strlen(text);

	return n >= PREFIX_MIN && n < DIGEST_HEX_SIZE && strspn(text, "0123456789abcdef") == n;
}

static int find_digest(const char *prefix, json_t **ret, struct error *err)
{
	struct search s AUTO(search_done) = {.prefix = prefix};
	int r = search(&s, NULL, err);

	if (r < 0)
		return r;
	if (s.count > 1)
		return fail(err, -EINVAL, "there are several images whose digest begins with '%s'",
			prefix);
	*ret = TAKE_PTR(s.found);
	return *ret ? 0 : -ENOENT;
}

static int find_name(const char *name, const char *tag, json_t **ret, struct error *err)
{
	struct search s AUTO(search_done) = {.tag = tag};
	int r = search(&s, name, err);

	*ret = TAKE_PTR(s.found);
	return r < 0 || *ret ? r : -ENOENT;
}

int image_site_find(const char *reference, json_t **ret, struct error *err)
{
	autofree char *name = NULL, *tag = NULL, *whole = NULL;
	const char *slash = strchr(reference, '/');
	int r = is_prefix(reference) ? find_digest(reference, ret, err) : -ENOENT;

	if (r != -ENOENT)
		return r;
	r = store_parse_reference(slash ? slash + 1 : reference, &name, &tag, err);
	if (r < 0)
		return r;
	if (asprintf(&whole, "%.*s%s:%s", slash ? (int)(slash + 1 - reference) : 0, reference, name,
		    tag) < 0) {
		whole = NULL;
		return fail(err, -ENOMEM, "out of memory");
	}
	r = find_tag(whole, ret, err);
	if (r == -ENOENT && !slash)
		r = find_name(name, strchr(reference, ':') ? tag : NULL, ret, err);
	if (r == -ENOENT)
		return fail(err, -ENOENT,
			"the site has no image '%s' that you may see; see wnodes image list --site",
			reference);
	return r;
}

int image_site_get(const char *reference, json_t **ret)
{
	struct error err = {0};

	if (image_site_find(reference, ret, &err) == 0)
		return EXIT_SUCCESS;
	log_error("%s", err.text);
	return EXIT_WNODES;
}

int image_site_parse_time(const char *text, char *ret, struct error *err)
{
	uint64_t us;

	if (timestamp_parse(text, &us) < 0) {
		if (parse_duration(text, &us, NULL) < 0)
			return fail(err, -EINVAL,
				"'%s' is neither a time such as 2027-01-31T00:00:00Z nor how long "
				"from now, such as 30d",
				text);
		us += timestamp_now_us();
	}
	timestamp_format(us, ret);
	return 0;
}

static const struct table_column columns[] = {
	{"name", "NAME", TABLE_TEXT},
	{"tags", "TAGS", TABLE_TEXT},
	{"digest", "DIGEST", TABLE_DIGEST},
	{"state", "STATE", TABLE_TEXT},
	{"whose", "FOR", TABLE_TEXT},
	{"size", "SIZE", TABLE_SIZE},
	{"published", "PUBLISHED", TABLE_TIME},
	{"expires", "EXPIRES", TABLE_TIME},
	{.key = NULL},
};

/* Tags by digest, and images of a list. */
struct all {
	json_t *tags;
	struct table *table;
};

static int on_tag(json_t *tag, void *userdata)
{
	struct all *a = userdata;
	const char *digest = text_of(tag, "digest");
	json_t *list = json_object_get(a->tags, digest);

	if (!list) {
		json_object_set_new(a->tags, digest, json_array());
		list = json_object_get(a->tags, digest);
	}
	json_array_append(list, json_object_get(tag, "reference"));
	json_decref(tag);
	return 0;
}

static int on_row(json_t *image, void *userdata)
{
	struct all *a = userdata;
	json_t *tags = json_object_get(a->tags, text_of(image, "digest"));
	bool private = json_is_true(json_object_get(image, "private"));

	json_object_set_new(image, "tags", tags ? json_incref(tags) : json_array());
	json_object_set_new(image, "whose", json_string(private ? text_of(image, "owner") : "all"));
	return table_add(a->table, image);
}

static int load_list(struct all *a, struct error *err)
{
	struct site_path tags AUTO(site_path_done) = {0}, images AUTO(site_path_done) = {0};
	int r;

	site_path_init(&tags, "tags", NULL);
	site_path_init(&images, "images", NULL);
	r = site_call_list(&tags, on_tag, a, err);
	return r < 0 ? r : site_call_list(&images, on_row, a, err);
}

int image_site_list(bool json, bool quiet)
{
	struct table *table AUTO(table_freep) = table_new(columns);
	struct all all = {json_object(), table};
	struct error err = {.text = "out of memory"};
	int r = table && all.tags ? load_list(&all, &err) : -ENOMEM;

	json_decref(all.tags);
	if (r >= 0 && quiet)
		table_print_member(table, "digest", stdout);
	else if (r >= 0)
		r = json ? table_print_json(table, stdout) : table_print(table, stdout);
	if (r < 0)
		log_error("%s", err.text);
	return r < 0 ? EXIT_WNODES : EXIT_SUCCESS;
}

int image_site_tag(const char *reference, const char *tag, const char *reason)
{
	struct site_path path AUTO(site_path_done) = {0};
	json_t *image = NULL, *answer = NULL;
	int status = image_site_get(reference, &image);

	if (status)
		return status;
	site_path_init(&path, "tags", tag, NULL);
	status = site_verb_change("PUT", &path,
		json_pack("{s:s, s:s}", "digest", text_of(image, "digest"), "reason",
			reason ? reason : ""),
		NULL, &answer);
	json_decref(image);
	if (status)
		return status;
	status = printf("%s is %.12s\n", text_of(answer, "reference"), text_of(answer, "digest")) <
		 0;
	json_decref(answer);
	return status ? EXIT_WNODES : EXIT_SUCCESS;
}
