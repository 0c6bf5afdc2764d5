#include "porter/shelf.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/log.h"

struct item {
	struct item *next;
	struct holding *holding;
	bool wanted;
};

struct shelf {
	struct porter *porter;
	struct item *first;
	json_t *images; /* digests */
};

int shelf_new(struct porter *p, struct shelf **ret, struct error *err)
{
	struct shelf *s = calloc(1, sizeof(*s));

	if (s)
		s->images = json_array();
	if (!s || !s->images) {
		free(s);
		return fail(err, -ENOMEM, "out of memory");
	}
	s->porter = p;
	*ret = s;
	return 0;
}

/* Takes away all that is not wanted. */
static void sweep(struct shelf *s)
{
	struct item **link = &s->first;

	while (*link) {
		struct item *item = *link;

		if (item->wanted) {
			link = &item->next;
			continue;
		}
		*link = item->next;
		holdings_remove(s->porter->holdings, item->holding);
		holding_unref(item->holding);
		free(item);
	}
}

struct shelf *shelf_free(struct shelf *s)
{
	if (!s)
		return NULL;
	for (struct item *item = s->first; item; item = item->next)
		item->wanted = false;
	sweep(s);
	json_decref(s->images);
	free(s);
	return NULL;
}

static struct item *find(const struct shelf *s, const char *blob)
{
	for (struct item *item = s->first; item; item = item->next)
		if (streq(holding_blob(item->holding), blob))
			return item;
	return NULL;
}

static int load_index(int fd, struct caibx **ret, struct error *err)
{
	autofree void *bytes = NULL;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > CAIBX_BYTES_MAX)
		return fail(err, -EBADMSG, "its index cannot be read");
	bytes = malloc((size_t)st.st_size);
	if (!bytes)
		return fail(err, -ENOMEM, "out of memory");
	if (pread(fd, bytes, (size_t)st.st_size, 0) != st.st_size)
		return fail(err, -EBADMSG, "its index cannot be read");
	return caibx_parse(bytes, (size_t)st.st_size, ret, err);
}

static int add(struct shelf *s, const char *image, const char *blob, struct error *err)
{
	struct daemon_answer answer AUTO(daemon_answer_done) = {0};
	struct holding_parts parts = {.fd = -1, .index_fd = -1, .manifest_fd = -1};
	struct item *item;
	int r = daemon_ask(&s->porter->daemon,
		json_pack("{s:s, s:s, s:s}", "op", "local", "digest", image, "blob", blob), &answer,
		err);
	autoclose int index_fd = r == 0 ? daemon_answer_take(&answer, "index") : -1;

	if (r == 0)
		r = load_index(index_fd, &parts.index, err);
	if (r < 0)
		return r;
	item = calloc(1, sizeof(*item));
	snprintf(parts.blob, sizeof(parts.blob), "%s", blob);
	snprintf(parts.image, sizeof(parts.image), "%s", image);
	parts.fd = daemon_answer_take(&answer, "blob");
	parts.manifest_fd = daemon_answer_take(&answer, "manifest");
	parts.index_fd = TAKE_FD(index_fd);
	r = holdings_add(s->porter->holdings, &parts, true, item ? &item->holding : NULL, err);
	if (r < 0) {
		free(item);
		return r;
	}
	item->wanted = true;
	item->next = s->first;
	s->first = item;
	return 0;
}

/* Returns 0 if the daemon still speaks with us. */
static int want(struct shelf *s, const char *image, const char *blob, struct error *err)
{
	struct item *item = find(s, blob);
	struct error why = {0};
	int r;

	if (item) {
		item->wanted = true;
		return 0;
	}
	r = add(s, image, blob, &why);
	if (r == 0 || r == -EREMOTEIO || r == -EBADMSG) {
		if (r < 0)
			log_warning(
				"'%s' is not given to other nodes: %s, ignoring", blob, why.text);
		return 0;
	}
	return fail(err, r, "%s", why.text);
}

int shelf_set(struct shelf *s, const json_t *serve, struct error *err)
{
	const json_t *image, *blob;
	size_t i, k;
	int r = 0;

	for (struct item *item = s->first; item; item = item->next)
		item->wanted = false;
	json_array_clear(s->images);
	json_array_foreach(serve, i, image)
	{
		const char *digest = json_string_value(json_object_get(image, "digest"));

		if (!digest || !digest_is_hex(digest))
			continue;
		json_array_append_new(s->images, json_string(digest));
		json_array_foreach(json_object_get(image, "blobs"), k,
			blob) if (r == 0 && json_is_string(blob) &&
				  digest_is_hex(json_string_value(blob))) r =
			want(s, digest, json_string_value(blob), err);
	}
	sweep(s);
	return r;
}

json_t *shelf_to_json(const struct shelf *s)
{
	json_t *list = json_array(), *digest;
	size_t i;

	json_array_foreach(s->images, i, digest) json_array_append_new(list,
		json_pack("{s:O, s:s, s:i}", "digest", digest, "state", "complete", "done", 1));
	return list;
}
