#include "imagelist/list.h"

#include <errno.h>

#define NAME_MAX_BYTES   128
#define LINE_MAX_BYTES   512
#define TEXT_MAX_BYTES   (16 * 1024)
#define URI_MAX_BYTES    2048
#define SHA512_MAX_BYTES 128
#define IMAGE_SIZE_MAX   (UINT64_C(1) << 40)
#define MEMORY_MIB_MAX   (UINT64_C(1) << 24)
#define CPUS_MAX         4096

#define ROW(type, member, key, kind, max, required)              \
	{                                                        \
		key, kind, offsetof(type, member), max, required \
	}
#define LIST(...)     ROW(struct imagelist, __VA_ARGS__)
#define ENDORSER(...) ROW(struct imagelist_endorser, __VA_ARGS__)
#define IMAGE(...)    ROW(struct imagelist_image, __VA_ARGS__)

static const struct member list_rows[] = {
	LIST(created_us, "dc:date:created", MEMBER_TIME, 0, true),
	LIST(expires_us, "dc:date:expires", MEMBER_TIME, 0, true),
	LIST(identifier, "dc:identifier", MEMBER_NAME, NAME_MAX_BYTES, true),
	LIST(title, "dc:title", MEMBER_LINE, LINE_MAX_BYTES, true),
	LIST(description, "dc:description", MEMBER_TEXT, TEXT_MAX_BYTES, true),
	LIST(source, "dc:source", MEMBER_TEXT, LINE_MAX_BYTES, true),
	LIST(vo, "ad:vo", MEMBER_LINE, LINE_MAX_BYTES, false),
	LIST(uri, "hv:uri", MEMBER_URI, URI_MAX_BYTES, true),
	LIST(version, "hv:version", MEMBER_LINE, NAME_MAX_BYTES, true),
	{.key = NULL},
};

static const struct member endorser_rows[] = {
	ENDORSER(creator, "dc:creator", MEMBER_LINE, LINE_MAX_BYTES, true),
	ENDORSER(ca, "hv:ca", MEMBER_LINE, LINE_MAX_BYTES, true),
	ENDORSER(dn, "hv:dn", MEMBER_LINE, LINE_MAX_BYTES, true),
	ENDORSER(email, "hv:email", MEMBER_LINE, LINE_MAX_BYTES, true),
	{.key = NULL},
};

static const struct member image_rows[] = {
	IMAGE(title, "dc:title", MEMBER_LINE, LINE_MAX_BYTES, true),
	IMAGE(identifier, "dc:identifier", MEMBER_NAME, NAME_MAX_BYTES, true),
	IMAGE(description, "dc:description", MEMBER_TEXT, TEXT_MAX_BYTES, true),
	IMAGE(hypervisor, "hv:hypervisor", MEMBER_LINE, LINE_MAX_BYTES, true),
	IMAGE(format, "hv:format", MEMBER_LINE, LINE_MAX_BYTES, false),
	IMAGE(size, "hv:size", MEMBER_NUMBER, IMAGE_SIZE_MAX, true),
	IMAGE(uri, "hv:uri", MEMBER_URI, URI_MAX_BYTES, true),
	IMAGE(version, "hv:version", MEMBER_LINE, NAME_MAX_BYTES, true),
	IMAGE(min_memory_mib, "hv:ram_minimum", MEMBER_NUMBER, MEMORY_MIB_MAX, false),
	IMAGE(min_cpus, "hv:core_minimum", MEMBER_NUMBER, CPUS_MAX, false),
	IMAGE(expires_us, "dc:date:expires", MEMBER_TIME, 0, false),
	IMAGE(architecture, "sl:arch", MEMBER_LINE, LINE_MAX_BYTES, true),
	IMAGE(sha512, "sl:checksum:sha512", MEMBER_SHA512, SHA512_MAX_BYTES, true),
	IMAGE(comments, "sl:comments", MEMBER_TEXT, TEXT_MAX_BYTES, true),
	IMAGE(os, "sl:os", MEMBER_LINE, LINE_MAX_BYTES, true),
	IMAGE(os_name, "sl:osname", MEMBER_LINE, LINE_MAX_BYTES, false),
	IMAGE(os_version, "sl:osversion", MEMBER_LINE, LINE_MAX_BYTES, true),
	{.key = NULL},
};

struct imagelist *imagelist_free(struct imagelist *list)
{
	if (!list)
		return NULL;
	for (size_t i = 0; i < list->image_count; i++)
		members_done(image_rows, &list->images[i]);
	free(list->images);
	members_done(endorser_rows, &list->endorser);
	members_done(list_rows, list);
	strv_done(&list->warnings);
	free(list);
	return NULL;
}

struct imagelist_image *imagelist_add(struct imagelist *list)
{
	size_t count = list->image_count;
	struct imagelist_image *images = list->images;

	/* Doubled at each power of two. */
	if ((count & (count - 1)) == 0)
		images = realloc(images, (count > 0 ? 2 * count : 1) * sizeof(*images));
	if (!images)
		return NULL;
	list->images = images;
	images[count] = (struct imagelist_image){0};
	list->image_count++;
	return &images[count];
}

const struct imagelist_image *imagelist_find(const struct imagelist *list, const char *identifier)
{
	for (size_t i = 0; i < list->image_count; i++)
		if (streq(list->images[i].identifier, identifier))
			return &list->images[i];
	return NULL;
}

/* Passes over the image that is being read. */
static int drop_image(struct imagelist *list, size_t index, const struct error *why)
{
	struct imagelist_image *image = &list->images[list->image_count - 1];

	strv_add_format(&list->warnings, "image %zu of the list (%s) is passed over: %s", index + 1,
		image->title ? image->title : "without a title", why->text);
	members_done(image_rows, image);
	list->image_count--;
	return list->warnings.failed ? -ENOMEM : 0;
}

static int load_image(struct imagelist *list, size_t index, const json_t *item)
{
	const json_t *object = json_object_get(item, "hv:image");
	struct imagelist_image *image = imagelist_add(list);
	struct error why = {0};
	int r;

	if (!image)
		return -ENOMEM;
	if (!json_is_object(object))
		r = fail(&why, -EINVAL, "it is no 'hv:image'");
	else
		r = members_parse(image_rows, object, image, &why);
	if (r == 0 && imagelist_find(list, image->identifier) != image)
		r = fail(&why, -EINVAL, "another one has its dc:identifier");
	return r == -EINVAL ? drop_image(list, index, &why) : r;
}

static int load_images(const json_t *root, struct imagelist *list, struct error *err)
{
	const json_t *array = json_object_get(root, "hv:images");
	size_t count = json_array_size(array);

	if (!json_is_array(array))
		return fail(err, -EINVAL, "it has no 'hv:images'");
	if (count > IMAGELIST_IMAGES_MAX)
		return fail(err, -EINVAL, "it has more than %d images", IMAGELIST_IMAGES_MAX);
	for (size_t i = 0; i < count; i++) {
		int r = load_image(list, i, json_array_get(array, i));

		if (r < 0)
			return r;
	}
	return 0;
}

static int load_endorser(const json_t *root, struct imagelist_endorser *e, struct error *err)
{
	const json_t *object = json_object_get(json_object_get(root, "hv:endorser"), "hv:x509");

	if (!json_is_object(object))
		return fail(err, -EINVAL, "it has no 'hv:endorser' with an 'hv:x509'");
	if (members_parse(endorser_rows, object, e, err) < 0)
		return fail_within(err, "its endorser");
	return 0;
}

static int load_list(const json_t *root, struct imagelist *list, struct error *err)
{
	const json_t *object = json_object_get(root, "hv:imagelist");
	int r;

	if (!object && json_object_get(root, "hv:images")) {
		strv_add(&list->warnings, "the list is of the old form without 'hv:imagelist'");
		object = root;
	}
	if (!json_is_object(object))
		return fail(err, -EINVAL, "it has no 'hv:imagelist'");
	r = members_parse(list_rows, object, list, err);
	if (r == 0)
		r = load_endorser(object, &list->endorser, err);
	return r < 0 ? r : load_images(object, list, err);
}

int imagelist_parse(const char *json, size_t length, struct imagelist **ret, struct error *err)
{
	struct imagelist *list AUTO(imagelist_freep) = NULL;
	json_error_t why;
	json_t *root;
	int r;

	if (length > IMAGELIST_BYTES_MAX)
		return fail(err, -EINVAL, "it is larger than %d bytes", IMAGELIST_BYTES_MAX);
	root = json_loadb(json, length, JSON_REJECT_DUPLICATES, &why);
	if (!root)
		return fail(err, -EPROTO, "it is not JSON: line %d: %s", why.line, why.text);
	list = calloc(1, sizeof(*list));
	r = list ? load_list(root, list, err) : -ENOMEM;
	json_decref(root);
	if (r == -ENOMEM)
		return fail(err, r, "out of memory");
	if (r < 0)
		return r;
	*ret = TAKE_PTR(list);
	return 0;
}

char *imagelist_format(const struct imagelist *list)
{
	json_t *object = members_format(list_rows, list), *images = json_array(), *root;
	char *text;

	for (size_t i = 0; i < list->image_count; i++)
		json_array_append_new(
			images, json_pack("{s:o}", "hv:image",
					members_format(image_rows, &list->images[i])));
	json_object_set_new(object, "hv:endorser",
		json_pack("{s:o}", "hv:x509", members_format(endorser_rows, &list->endorser)));
	json_object_set_new(object, "hv:images", images);
	root = json_pack("{s:o}", "hv:imagelist", object);
	text = root ? json_dumps(root, JSON_INDENT(1) | JSON_PRESERVE_ORDER) : NULL;
	json_decref(root);
	return text;
}
