/* The catalogue's text, which came over the network: every word of it is checked. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>

#include "hypervisor/catalogue.h"
#include "image/store.h"
#include "lib/fields.h"
#include "lib/printable.h"

#define STATE_SIZE 32
#define BYTES_MAX  (UINT64_C(1) << 40) /* of a part */

static const char *const states[] = {
	[CATALOGUE_PENDING] = "pending",
	[CATALOGUE_ENDORSED] = "endorsed",
	[CATALOGUE_APPROVED] = "approved",
	[CATALOGUE_EXPIRED] = "expired",
	[CATALOGUE_REVOKED] = "revoked",
	[CATALOGUE_OTHER] = "in a state that this node does not know",
};

const char *catalogue_state_name(enum catalogue_state state)
{
	return states[state];
}

static enum catalogue_state parse_state(const char *word)
{
	for (size_t i = 0; i < CATALOGUE_OTHER; i++)
		if (streq(states[i], word))
			return (enum catalogue_state)i;
	return CATALOGUE_OTHER;
}

/* Names and tags, which become files' names. */
static int check_word(const char *text, struct error *err)
{
	autofree char *name = NULL, *tag = NULL;

	return strchr(text, ':') ? fail(err, -EINVAL, "'%s' is no name", text)
				 : store_parse_reference(text, &name, &tag, err);
}

struct raw_part {
	char kind[16], digest[DIGEST_HEX_SIZE], index[DIGEST_HEX_SIZE];
	uint64_t size;
};

#define AT(member) offsetof(struct raw_part, member)

static const struct field part_fields[] = {
	{"kind", FIELD_WORD, AT(kind), 0, 16, true, "disk|kernel|initrd"},
	{"digest", FIELD_DIGEST, AT(digest), .required = true},
	{"index", FIELD_DIGEST, AT(index), .required = true},
	{"size", FIELD_NUMBER, AT(size), 0, BYTES_MAX, true},
	{.name = NULL},
};

#undef AT

static int parse_part(json_t *json, struct catalogue_part *ret, struct error *err)
{
	struct raw_part raw = {.size = 0};
	int r = fields_parse(part_fields, json, &raw, err);

	if (r < 0)
		return r;
	ret->part.kind = streq(raw.kind, "disk")     ? IMAGE_DISK
			 : streq(raw.kind, "kernel") ? IMAGE_KERNEL
						     : IMAGE_INITRD;
	ret->part.size = raw.size;
	memcpy(ret->part.digest, raw.digest, sizeof(raw.digest));
	memcpy(ret->index, raw.index, sizeof(raw.index));
	return 0;
}

struct raw_image {
	struct catalogue_image image;
	char state[STATE_SIZE];
	json_t *parts;
};

#define AT(member) offsetof(struct raw_image, member)

static const struct field image_fields[] = {
	{"digest", FIELD_DIGEST, AT(image.digest), .required = true},
	{"name", FIELD_TEXT, AT(image.name), 0, CATALOGUE_WORD_SIZE, true, .check = check_word},
	{"state", FIELD_TEXT, AT(state), 0, STATE_SIZE, true},
	{"private", FIELD_BOOL, AT(image.is_private)},
	{"since", FIELD_TIME, AT(image.since_us)},
	{"expires", FIELD_TIME, AT(image.expires_us)},
	{"owner", FIELD_TEXT, AT(image.owner), 0, CATALOGUE_USER_SIZE},
	{"by", FIELD_TEXT, AT(image.by), 0, CATALOGUE_USER_SIZE},
	{"parts", FIELD_LIST, AT(parts), 1, MANIFEST_PARTS_MAX},
	{.name = NULL},
};

#undef AT

/* For people alone: it decides nothing, and is cut where it is too long. */
static void take_reason(const json_t *json, struct catalogue_image *image)
{
	const char *reason = json_string_value(json_object_get(json, "reason"));

	snprintf(image->reason, sizeof(image->reason), "%s", reason ? reason : "");
	printable_make_line(image->reason, strlen(image->reason));
}

static int parse_image(json_t *json, struct catalogue_image *ret, struct error *err)
{
	struct raw_image raw = {.parts = NULL};
	json_t *part;
	size_t i;
	int r = fields_parse(image_fields, json, &raw, err);

	if (r < 0)
		return r;
	*ret = raw.image;
	ret->state = parse_state(raw.state);
	take_reason(json, ret);
	ret->parts = calloc(json_array_size(raw.parts) + 1, sizeof(*ret->parts));
	if (!ret->parts)
		return fail(err, -ENOMEM, "out of memory");
	json_array_foreach(raw.parts, i, part)
	{
		r = parse_part(part, &ret->parts[ret->part_count++], err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int compare_images(const void *a, const void *b)
{
	const struct catalogue_image *one = a, *two = b;

	return strcmp(one->digest, two->digest);
}

static size_t count_ended(const json_t *ended)
{
	const json_t *list;
	const char *state;
	size_t count = 0;

	/* Iterating changes nothing of it. */
	json_object_foreach((json_t *)(uintptr_t)ended, state, list) count += json_array_size(list);
	return count;
}

/* Digests by their state. */
static int parse_ended(struct catalogue *c, json_t *ended, struct error *err)
{
	json_t *list, *json;
	const char *state;
	size_t i;

	json_object_foreach(ended, state, list)
	{
		json_array_foreach(list, i, json)
		{
			struct catalogue_image *image = &c->images[c->image_count++];
			const char *digest = json_string_value(json);

			if (!digest || !digest_is_hex(digest))
				return fail(
					err, -EINVAL, "what has ended is not named by its SHA-256");
			memcpy(image->digest, digest, DIGEST_HEX_SIZE);
			image->state = parse_state(state);
			/* Nothing starts from it, whatever that is. */
			if (image->state < CATALOGUE_EXPIRED)
				image->state = CATALOGUE_OTHER;
		}
	}
	return 0;
}

static int parse_images(struct catalogue *c, json_t *list, json_t *ended, struct error *err)
{
	size_t ended_count = count_ended(ended);
	json_t *json;
	size_t i;

	if (ended_count > CATALOGUE_ENDED_MAX)
		return fail(err, -EINVAL, "more than %d images have ended", CATALOGUE_ENDED_MAX);
	c->images = calloc(json_array_size(list) + ended_count + 1, sizeof(*c->images));
	if (!c->images)
		return fail(err, -ENOMEM, "out of memory");
	json_array_foreach(list, i, json)
	{
		c->image_count++; /* also one that fails has parts to be freed */
		if (parse_image(json, &c->images[i], err) < 0)
			return fail_within(err, "image %zu", i);
	}
	if (parse_ended(c, ended, err) < 0)
		return -EINVAL;
	qsort(c->images, c->image_count, sizeof(*c->images), compare_images);
	for (i = 1; i < c->image_count; i++)
		if (streq(c->images[i - 1].digest, c->images[i].digest))
			return fail(
				err, -EINVAL, "the image %s is there twice", c->images[i].digest);
	return 0;
}

#define AT(member) offsetof(struct catalogue_tag, member)

static const struct field tag_fields[] = {
	{"name", FIELD_TEXT, AT(name), 0, CATALOGUE_WORD_SIZE, true, .check = check_word},
	{"tag", FIELD_TEXT, AT(tag), 0, CATALOGUE_WORD_SIZE, true, .check = check_word},
	{"digest", FIELD_DIGEST, AT(digest), .required = true},
	{"owner", FIELD_TEXT, AT(owner), 0, CATALOGUE_USER_SIZE},
	{.name = NULL},
};

#undef AT

static int compare_tags(const void *a, const void *b)
{
	const struct catalogue_tag *one = a, *two = b;
	int r = strcmp(one->name, two->name);

	r = r ? r : strcmp(one->tag, two->tag);
	return r ? r : strcmp(one->owner, two->owner);
}

/* *ret is freed with the catalogue, also after a failure. */
static int parse_tags(
	json_t *list, struct catalogue_tag **ret, size_t *ret_count, struct error *err)
{
	struct catalogue_tag *tags = calloc(json_array_size(list) + 1, sizeof(*tags));
	json_t *json;
	size_t i;

	*ret = tags;
	if (!tags)
		return fail(err, -ENOMEM, "out of memory");
	json_array_foreach(list, i, json)
	{
		if (fields_parse(tag_fields, json, &tags[i], err) < 0)
			return fail_within(err, "tag %zu", i);
	}
	*ret_count = json_array_size(list);
	qsort(tags, *ret_count, sizeof(*tags), compare_tags);
	for (i = 1; i < *ret_count; i++)
		if (compare_tags(&tags[i - 1], &tags[i]) == 0)
			return fail(err, -EINVAL, "the tag %s:%s is there twice", tags[i].name,
				tags[i].tag);
	return 0;
}

static int parse_staged(struct catalogue *c, json_t *list, struct error *err)
{
	json_t *json;
	size_t i;

	c->staged = calloc(json_array_size(list) + 1, sizeof(*c->staged));
	if (!c->staged)
		return fail(err, -ENOMEM, "out of memory");
	json_array_foreach(list, i, json)
	{
		const char *digest = json_string_value(json);

		if (!digest || !digest_is_hex(digest))
			return fail(err, -EINVAL, "what is staged is not named by its SHA-256");
		memcpy(c->staged[c->staged_count++], digest, DIGEST_HEX_SIZE);
	}
	return 0;
}

struct raw_catalogue {
	json_t *images, *tags, *private_tags, *staged, *ended;
};

#define AT(member) offsetof(struct raw_catalogue, member)

static const struct field catalogue_fields[] = {
	{"images", FIELD_LIST, AT(images), 0, CATALOGUE_IMAGES_MAX, true},
	{"tags", FIELD_LIST, AT(tags), 0, CATALOGUE_IMAGES_MAX, true},
	{"private_tags", FIELD_LIST, AT(private_tags), 0, CATALOGUE_IMAGES_MAX},
	{"staged", FIELD_LIST, AT(staged), 0, CATALOGUE_IMAGES_MAX},
	{"ended", FIELD_OBJECT, AT(ended)},
	{.name = NULL},
};

#undef AT

static int take_revision(struct catalogue *c, const json_t *json, struct error *err)
{
	const json_t *revision = json_object_get(json, "revision");
	const char *text = json_string_value(revision);

	if (json_is_integer(revision))
		snprintf(c->revision, sizeof(c->revision), "%lld",
			(long long)json_integer_value(revision));
	else if (text && text[0] && strlen(text) < sizeof(c->revision))
		snprintf(c->revision, sizeof(c->revision), "%s", text);
	else
		return fail(err, -EINVAL, "'revision' is missing");
	printable_make_line(c->revision, strlen(c->revision));
	return 0;
}

static int parse_all(struct catalogue *c, json_t *json, struct error *err)
{
	struct raw_catalogue raw = {.images = NULL};
	int r = fields_parse(catalogue_fields, json, &raw, err);

	if (r == 0)
		r = take_revision(c, json, err);
	if (r == 0)
		r = parse_images(c, raw.images, raw.ended, err);
	if (r == 0)
		r = parse_tags(raw.tags, &c->tags, &c->tag_count, err);
	if (r == 0)
		r = parse_tags(raw.private_tags, &c->private_tags, &c->private_tag_count, err);
	return r == 0 ? parse_staged(c, raw.staged, err) : r;
}

int catalogue_parse(const char *text, size_t length, struct catalogue **ret, struct error *err)
{
	struct catalogue *c AUTO(catalogue_freep) = calloc(1, sizeof(*c));
	json_t *json;
	int r;

	if (!c)
		return fail(err, -ENOMEM, "out of memory");
	json = length <= CATALOGUE_BYTES_MAX
		       ? json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL)
		       : NULL;
	r = json ? parse_all(c, json, err)
		 : fail(err, -EINVAL, "it is not JSON of at most %u MiB",
			   CATALOGUE_BYTES_MAX >> 20);
	json_decref(json);
	if (r == 0)
		*ret = TAKE_PTR(c);
	return r < 0 ? fail_within(err, "the site's catalogue of images") : 0;
}

struct catalogue *catalogue_free(struct catalogue *c)
{
	if (!c)
		return NULL;
	for (size_t i = 0; i < c->image_count; i++)
		free(c->images[i].parts);
	free(c->images);
	free(c->tags);
	free(c->private_tags);
	free(c->staged);
	free(c);
	return NULL;
}
