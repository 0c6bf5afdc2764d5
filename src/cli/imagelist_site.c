#include "cli/imagelist_site.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "cli/image_progress.h"
#include "cli/image_upload.h"
#include "cli/site_call.h"
#include "depot/publish.h"
#include "lib/file.h"
#include "lib/path.h"
#include "lib/timestamp.h"

/* Chunks on their way to the site; what is there when an upload ends in the middle is of use to the
 * next. */
#define DEPOT "depot"

struct teller {
	const char *directory;
	struct subscription *s;
	struct store *store;
	json_t *rows;
};

static int replace_text(char **member, const char *text)
{
	char *copy = text ? strdup(text) : NULL;

	if (text && !copy)
		return -ENOMEM;
	free(*member);
	*member = copy;
	return 0;
}

/* The site's image is good until its time is over, or that of the list that names it. */
static uint64_t end_of(const struct subscription *s, const struct subscription_image *image)
{
	return image->expires_us > 0 ? MIN_OF(image->expires_us, s->expires_us) : s->expires_us;
}

static void tell_row(struct teller *t, const struct subscription_image *image, const char *digest,
	const char *action, const char *reason)
{
	json_array_append_new(
		t->rows, json_pack("{s:s, s:s, s:s, s:s?}", "reference", image->reference, "digest",
				 digest, "action", action, "reason", reason));
}

/* Cuts the image into chunks and sends those that the site lacks. */
static int send_image(struct teller *t, const struct image *found, struct image_upload *u,
	json_t **ret, struct error *err)
{
	autofree char *path = subscription_file(t->directory, t->s->name, DEPOT);
	struct publish_result result AUTO(publish_done) = {0};
	struct depot *depot AUTO(depot_freep) = NULL;
	struct publish_request request = {.store = t->store,
		.image = found,
		.on_step = image_progress_step,
		.on_bytes = image_progress_part};
	int r = path ? depot_open(path, true, &depot, err) : fail(err, -ENOMEM, "out of memory");

	request.depot = depot;
	if (r >= 0)
		r = publish_image(&request, &result, err);
	if (r < 0)
		return r;
	u->depot = depot;
	u->release = result.release;
	image_progress_step("sending", NULL);
	r = image_upload_run(u, ret, err);
	image_progress_stop();
	if (r == 0)
		file_remove_tree(AT_FDCWD, path);
	return r;
}

static int publish(struct teller *t, struct subscription_image *image, struct error *err)
{
	autofree char *reason = path_format("endorsed by %.200s in version %.60s of the list %.60s",
		t->s->signer_dn, t->s->version, t->s->identifier);
	autofree char *name = NULL, *tag = NULL;
	struct image *found AUTO(image_freep) = NULL;
	char until[TIMESTAMP_TEXT_SIZE];
	struct image_upload u = {.reason = reason,
		.expires = timestamp_format(end_of(t->s, image), until),
		.endorsed = true,
		.on_bytes = image_progress_part};
	json_t *answer = NULL;
	int r = reason ? store_find(t->store, image->reference, &found, err) : -ENOMEM;

	if (r == 0)
		r = store_parse_reference(image->reference, &name, &tag, err);
	u.name = name;
	u.tag = tag;
	if (r == 0)
		r = send_image(t, found, &u, &answer, err);
	if (r < 0)
		return r;
	tell_row(t, image, image->digest, "published",
		json_string_value(json_object_get(answer, "state")));
	json_decref(answer);
	image->site_expires_us = end_of(t->s, image);
	return replace_text(&image->site_digest, image->digest);
}

/* Ends the image at the site, at once or (`until_us`) later. What is not there, or has ended
 * already, has ended. */
static int expire(const char *digest, const char *reason, uint64_t until_us, struct error *err)
{
	struct site_path find AUTO(site_path_done) = {0}, path AUTO(site_path_done) = {0};
	char until[TIMESTAMP_TEXT_SIZE], revision[32];
	json_t *there = NULL, *body;
	int r;

	site_path_init(&find, "images", digest, NULL);
	r = site_call_ask("GET", &find, NULL, NULL, &there, err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	snprintf(revision, sizeof(revision), "%lld",
		(long long)json_integer_value(json_object_get(there, "revision")));
	json_decref(there);
	body = json_pack("{s:s, s:s*}", "reason", reason, "expires",
		until_us > 0 ? timestamp_format(until_us, until) : NULL);
	site_path_init(&path, "images", digest, "expire", NULL);
	r = site_call_ask("POST", &path, body, revision, NULL, err);
	json_decref(body);
	return r == -EEXIST && until_us == 0 ? 0 : r;
}

static int withdraw(struct teller *t, struct subscription_image *image, struct error *err)
{
	int r = expire(image->site_digest, image->gone, 0, err);

	if (r < 0)
		return r;
	tell_row(t, image, image->site_digest, "expired", image->gone);
	free(TAKE_PTR(image->site_digest));
	return 0;
}

/* A newer list, or the image's own time in it, has another end. */
static int limit(struct teller *t, struct subscription_image *image, struct error *err)
{
	autofree char *reason =
		path_format("version %.60s of the list %.60s", t->s->version, t->s->identifier);
	uint64_t end = end_of(t->s, image);
	int r = reason ? expire(image->site_digest, reason, end, err) : -ENOMEM;

	if (r < 0)
		return r;
	tell_row(t, image, image->site_digest, "limited", NULL);
	image->site_expires_us = end;
	return 0;
}

/* Returns 1 if something was told. */
static int tell(struct teller *t, struct subscription_image *image, struct error *err)
{
	int r;

	if (image->gone && !image->site_digest)
		return 0;
	if (image->gone)
		r = withdraw(t, image, err);
	else if (!image->site_digest || !streq(image->site_digest, image->digest))
		r = publish(t, image, err);
	else if (image->site_expires_us != end_of(t->s, image))
		r = limit(t, image, err);
	else
		return 0;
	return r < 0 ? r : 1;
}

int imagelist_site_tell(const char *directory, struct subscription *s, struct store *store,
	json_t *ret, struct error *err)
{
	struct teller t = {.directory = directory, .s = s, .store = store, .rows = ret};
	int failed = 0;

	for (size_t i = 0; i < s->image_count; i++) {
		struct error why = {0};
		int r = tell(&t, &s->images[i], &why);

		if (r > 0)
			r = subscription_save(directory, s, &why);
		if (r == 0)
			continue;
		tell_row(&t, &s->images[i], s->images[i].digest, "failed",
			why.text[0] ? why.text : strerror(-r));
		if (failed == 0)
			failed = fail(err, r, "the site was not told of all images: %s",
				why.text[0] ? why.text : strerror(-r));
	}
	return failed;
}
