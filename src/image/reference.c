/* References: the names by which people ask for images. */
#include <errno.h>
#include <stdio.h>

#include "image/store_private.h"
#include "lib/buffer.h"
#include "lib/path.h"

#define REFERENCE_DIGEST_MIN 8

/* Of the images that there are, how much an error message lists. */
#define REFERENCE_LIST_MAX 400

struct prefix_search {
	const char *prefix;
	char digest[DIGEST_HEX_SIZE];
	bool found, ambiguous;
};

static int match_digest(
	struct store *s, const char *name, const char *tag, void *userdata, struct error *err)
{
	struct prefix_search *search = userdata;
	char digest[DIGEST_HEX_SIZE];

	if (store_read_tag(s, name, tag, digest, NULL) < 0 || !str_after(digest, search->prefix))
		return 0;
	search->ambiguous |= search->found && !streq(digest, search->digest);
	search->found = true;
	memcpy(search->digest, digest, sizeof(digest));
	return 0;
}

static int match_kept(struct store *s, const char *digest, void *userdata, struct error *err)
{
	struct prefix_search *search = userdata;

	if (!str_after(digest, search->prefix))
		return 0;
	search->ambiguous |= search->found && !streq(digest, search->digest);
	search->found = true;
	memcpy(search->digest, digest, DIGEST_HEX_SIZE);
	return 0;
}

static bool is_digest_prefix(const char *text)
{
	size_t n = strlen(text);

	return n >= REFERENCE_DIGEST_MIN && n < DIGEST_HEX_SIZE &&
	       strspn(text, "0123456789abcdef") == n;
}

static int find_digest(struct store *s, const char *prefix, struct image **ret, struct error *err)
{
	struct prefix_search search = {.prefix = prefix};
	int r = store_each_tag(s, match_digest, &search, err);

	if (r == 0)
		r = store_each_kept(s, match_kept, &search, err);
	if (r < 0)
		return r;
	if (search.ambiguous)
		return fail(err, -EINVAL, "more than one image's digest begins with %s", prefix);
	return search.found ? store_load_digest(s, search.digest, ret, err) : -ENOENT;
}

static int append_tag(
	struct store *s, const char *name, const char *tag, void *userdata, struct error *err)
{
	struct buffer *list = userdata;
	autofree char *text = path_format("%s%s:%s", list->len > 0 ? ", " : "", name, tag);

	if (!text)
		return -ENOMEM;
	if (list->len + strlen(text) > REFERENCE_LIST_MAX)
		return buffer_append(list, ", ...", 5) < 0 ? -ENOMEM : 1;
	return buffer_append(list, text, strlen(text));
}

void store_describe(struct store *s, struct buffer *list)
{
	if (list->len <= REFERENCE_LIST_MAX)
		store_each_tag(s, append_tag, list, NULL);
}

int reference_not_found(const char *reference, const struct buffer *list, struct error *err)
{
	if (list->len == 0)
		return fail(err, -ENOENT,
			"there is no image '%.130s', nor any other; make one with"
			" `wnodes image build debian` or `wnodes image import FILE`",
			reference);
	return fail(err, -ENOENT, "there is no image '%.130s'; there are: %.*s", reference,
		(int)list->len, (const char *)buffer_head(list));
}

int store_find(struct store *s, const char *reference, struct image **ret, struct error *err)
{
	autofree char *name = NULL, *tag = NULL;
	struct image *image AUTO(image_freep) = NULL;
	struct buffer list AUTO(buffer_done) = {0};
	int r = store_parse_reference(reference, &name, &tag, err);

	if (r < 0)
		return r;
	r = store_load_image(s, name, tag, &image, err);
	if (!image && (r == -ENOENT || r == -ENOTDIR) && is_digest_prefix(reference))
		r = find_digest(s, reference, &image, err);
	if (!image && (r == -ENOENT || r == -ENOTDIR)) {
		store_describe(s, &list);
		return reference_not_found(reference, &list, err);
	}
	if (r < 0) {
		fail_within(err, "image '%.130s'", reference);
		return r;
	}
	*ret = TAKE_PTR(image);
	return 0;
}
