#include "hypervisor/catalogue.h"

#include <errno.h>
#include <stdio.h>

#include "image/store.h"
#include "lib/timestamp.h"

/* Of a digest that is not written out. */
#define PREFIX_MIN 8

/* The first image whose digest is not before `digest`. */
static size_t find_place(const struct catalogue *c, const char *digest)
{
	size_t low = 0, high = c->image_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(c->images[middle].digest, digest) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct catalogue_image *catalogue_find(const struct catalogue *c, const char *digest)
{
	size_t i = c ? find_place(c, digest) : 0;

	return c && i < c->image_count && streq(c->images[i].digest, digest) ? &c->images[i] : NULL;
}

static bool is_digest_prefix(const char *text)
{
	size_t n = strlen(text);

	return n >= PREFIX_MIN && n < DIGEST_HEX_SIZE && strspn(text, "0123456789abcdef") == n;
}

static int resolve_digest(const struct catalogue *c, const char *prefix,
	const struct catalogue_image **ret, struct error *err)
{
	size_t i = find_place(c, prefix);

	if (i == c->image_count || !str_after(c->images[i].digest, prefix))
		return 0;
	if (i + 1 < c->image_count && str_after(c->images[i + 1].digest, prefix))
		return fail(err, -EINVAL,
			"more than one image's digest begins with %s; write more of it", prefix);
	*ret = &c->images[i];
	return 1;
}

static const struct catalogue_tag *find_tag(
	const struct catalogue *c, const char *name, const char *tag, const char *user)
{
	for (size_t i = 0; i < c->tag_count; i++)
		if (streq(c->tags[i].name, name) && streq(c->tags[i].tag, tag))
			return &c->tags[i];
	for (size_t i = 0; user && i < c->private_tag_count; i++) {
		const struct catalogue_tag *t = &c->private_tags[i];

		if (streq(t->owner, user) && streq(t->name, name) && streq(t->tag, tag))
			return t;
	}
	return NULL;
}

int catalogue_resolve(const struct catalogue *c, const char *reference, const char *user,
	const struct catalogue_image **ret, struct error *err)
{
	autofree char *name = NULL, *tag = NULL;
	const struct catalogue_tag *found = NULL;

	*ret = NULL;
	if (!c)
		return 0;
	if (store_parse_reference(reference, &name, &tag, err) == 0)
		found = find_tag(c, name, tag, user);
	if (!found)
		return is_digest_prefix(reference) ? resolve_digest(c, reference, ret, err) : 0;
	*ret = catalogue_find(c, found->digest);
	return *ret ? 1
		    : fail(err, -EINVAL,
			      "the site's catalogue does not have the image %.12s that '%s:%s' stands for; "
			      "ask an administrator of the site, or take another image",
			      found->digest, name, tag);
}

const struct catalogue_image *catalogue_find_named(
	const struct catalogue *c, const char *reference, const char *user)
{
	size_t length = strcspn(reference, ":");
	const struct catalogue_image *found = NULL;

	for (size_t i = 0; c && i < c->image_count; i++) {
		const struct catalogue_image *image = &c->images[i];

		if (length == 0 || strlen(image->name) != length ||
			memcmp(image->name, reference, length) != 0 ||
			(image->is_private && !streq(image->owner, user)))
			continue;
		if (!found || image->since_us > found->since_us)
			found = image;
	}
	return found;
}

const struct catalogue_tag *catalogue_find_tag(const struct catalogue *c, const char *digest)
{
	for (size_t i = 0; c && i < c->tag_count; i++)
		if (streq(c->tags[i].digest, digest))
			return &c->tags[i];
	for (size_t i = 0; c && i < c->private_tag_count; i++)
		if (streq(c->private_tags[i].digest, digest))
			return &c->private_tags[i];
	return NULL;
}

#define OTHERS "take another image (`wnodes image list --site` shows them)"

/* Who has set the state, when, and why, as far as it is known. */
static void describe(const struct catalogue_image *i, char *ret, size_t size)
{
	char since[TIMESTAMP_TEXT_SIZE];
	const char *when = i->since_us > 0 ? timestamp_format(i->since_us, since) : NULL;

	snprintf(ret, size, "%s%s%s%s%s%s", when ? " since " : "", when ? when : "",
		i->by[0] ? ", by " : "", i->by, i->reason[0] ? ": " : "", i->reason);
}

static bool has_expired(const struct catalogue_image *i, uint64_t now_us)
{
	return i->expires_us > 0 && i->expires_us <= now_us;
}

/* Those that nobody may start from any more come first, whoever asks. */
static int decide_state(
	const struct catalogue_image *i, const char *called, uint64_t now_us, struct error *err)
{
	char more[512], when[TIMESTAMP_TEXT_SIZE];

	describe(i, more, sizeof(more));
	switch (i->state) {
	case CATALOGUE_REVOKED:
	case CATALOGUE_EXPIRED:
	case CATALOGUE_OTHER:
		return fail(err, -EPERM, "the image '%s' (%.12s) is %s%s; " OTHERS, called,
			i->digest, catalogue_state_name(i->state), more);
	case CATALOGUE_PENDING:
	case CATALOGUE_ENDORSED:
		if (!i->is_private)
			return fail(err, -EPERM,
				"the image '%s' (%.12s) is %s%s, and was not approved yet; ask an "
				"administrator of the site to approve it, or " OTHERS,
				called, i->digest, catalogue_state_name(i->state), more);
		break;
	case CATALOGUE_APPROVED:
		break;
	}
	if (has_expired(i, now_us))
		return fail(err, -EPERM,
			"the image '%s' (%.12s) has expired at %s; ask an administrator of the site "
			"to approve it for longer, or " OTHERS,
			called, i->digest, timestamp_format(i->expires_us, when));
	return 0;
}

int catalogue_decide(const struct catalogue_image *i, const char *called, const char *user,
	uint64_t now_us, struct error *err)
{
	if (i->is_private && (!i->owner[0] || !user || !streq(i->owner, user)))
		return fail(err, -EPERM,
			"the image '%s' (%.12s) is another user's own; its owner may have it endorsed "
			"and approved for all, or " OTHERS,
			called, i->digest);
	return decide_state(i, called, now_us, err);
}

bool catalogue_is_startable(const struct catalogue_image *i, uint64_t now_us)
{
	return decide_state(i, i->name, now_us, NULL) == 0;
}
