#include "cli/imagelist_round.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "cli/image_progress.h"
#include "cli/imagelist_site.h"
#include "cli/imagelist_store.h"
#include "image/download.h"
#include "image/locate.h"
#include "imagelist/check.h"
#include "imagelist/plan.h"
#include "lib/exit.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lib/timestamp.h"

struct round {
	const char *directory, *name;
	const struct imagelist_round_options *options;
	uint64_t now_us;
	struct subscription *s;
	struct imagelist *list; /* the one that was taken; NULL: none */
	struct imagelist_store store;
	struct plan plan;
	json_t *result, *images;
	bool failed; /* some image could not be had */
};

static void round_done(struct round *r)
{
	plan_done(&r->plan);
	imagelist_free(r->list);
	store_free(r->store.store);
	subscription_free(r->s);
}

static void say_wait(void)
{
	log_notice("another process changes this subscription; waiting for it");
}

static int save(struct round *r, struct error *err)
{
	return r->options->dry_run ? 0 : subscription_save(r->directory, r->s, err);
}

static int replace_text(char **member, const char *text)
{
	char *copy = text ? strdup(text) : NULL;

	if (text && !copy)
		return -ENOMEM;
	free(*member);
	*member = copy;
	return 0;
}

/* The list as it is at its source, for free(). */
static int read_url(const char *url, char **ret, size_t *ret_length, struct error *err)
{
	autoclose int fd = memfd_create("list", MFD_CLOEXEC);
	autofree char *path = path_format("/proc/self/fd/%d", fd);
	int r;

	if (fd < 0 || !path)
		return fail(err, -ENOMEM, "out of memory");
	r = download(url, fd, IMAGELIST_BYTES_MAX, NULL, NULL, err);
	return r < 0 ? r : file_read(AT_FDCWD, path, IMAGELIST_BYTES_MAX, ret, ret_length);
}

static int read_list(const char *source, char **ret, size_t *ret_length, struct error *err)
{
	autofree char *shown = subscription_public_source(source);
	int r;

	if (download_is_url(source)) {
		image_progress_step("fetching the list", NULL);
		r = read_url(source, ret, ret_length, err);
		image_progress_stop();
	} else {
		r = file_read(AT_FDCWD, source, IMAGELIST_BYTES_MAX, ret, ret_length);
		if (r < 0)
			fail_errno(err, r, "it cannot be read");
	}
	if (r < 0)
		fail_within(err, "the list '%s'", shown ? shown : "");
	return r;
}

/* What was taken is noted before its images are fetched: so no older list is taken from now on,
 * whatever becomes of them. */
static int note_list(struct round *r, const char *message, size_t length,
	const struct smime_signer *signer, struct error *err)
{
	struct subscription *s = r->s;
	const struct imagelist *list = r->list;

	if (replace_text(&s->identifier, list->identifier) < 0 ||
		replace_text(&s->version, list->version) < 0 ||
		replace_text(&s->title, list->title) < 0 ||
		replace_text(&s->signer_dn, signer->subject) < 0 ||
		replace_text(&s->signer_ca, signer->issuer) < 0)
		return fail(err, -ENOMEM, "out of memory");
	s->created_us = list->created_us;
	s->expires_us = list->expires_us;
	s->updated_us = r->now_us;
	free(TAKE_PTR(s->failure));
	if (r->options->dry_run)
		return 0;
	if (save(r, err) < 0)
		return err->code;
	return subscription_save_list(r->directory, s->name, message, length, err);
}

static void set_text(json_t *object, const char *key, const char *text)
{
	json_object_set_new(object, key, text ? json_string(text) : json_null());
}

static void set_time(json_t *object, const char *key, uint64_t us)
{
	char text[TIMESTAMP_TEXT_SIZE];

	json_object_set_new(
		object, key, us > 0 ? json_string(timestamp_format(us, text)) : json_null());
}

static void tell_list(struct round *r, const char *previous, const char *source)
{
	const struct imagelist *list = r->list;

	set_text(r->result, "previous_version", previous);
	set_text(r->result, "version", list->version);
	set_text(r->result, "identifier", list->identifier);
	set_text(r->result, "title", list->title);
	set_text(r->result, "endorser", list->endorser.dn);
	set_text(r->result, "ca", list->endorser.ca);
	set_time(r->result, "expires", list->expires_us);
	json_object_set_new(r->result, "warnings", json_from_strings(strv_list(&list->warnings)));
	if (download_is_url(source) && !streq(list->uri, source)) {
		autofree char *shown = subscription_public_source(source);

		if (shown && !streq(list->uri, shown))
			json_array_append_new(json_object_get(r->result, "warnings"),
				json_sprintf("the list says that it is at '%s'", list->uri));
	}
}

/* Returns 0, a verdict, or negative errno. */
static int take_list(struct round *r, struct error *err)
{
	const char *source = r->options->file ? r->options->file : r->s->source;
	struct smime_signer signer AUTO(smime_signer_done) = {0};
	autofree char *message = NULL, *previous = NULL;
	size_t length;
	int status = read_list(source, &message, &length, err);

	if (status == 0)
		status = check_message(message, length, r->s, 0, &r->list, &signer, err);
	if (status != 0)
		return status;
	previous = r->s->version ? strdup(r->s->version) : NULL;
	tell_list(r, previous, source);
	return note_list(r, message, length, &signer, err);
}

/* Why nothing of the last list may be kept; NULL: it may. */
static const char *why_withdrawn(const struct round *r)
{
	const struct subscription *s = r->s;
	autofree char *path = subscription_file(r->directory, r->name, SUBSCRIPTION_LIST);
	autofree char *message = NULL;
	size_t length;

	if (s->signer_dn && s->signer_ca &&
		!subscription_has_endorser(s, s->signer_dn, s->signer_ca))
		return "its endorser is none of this subscription any more";
	if (path && file_read(AT_FDCWD, path, IMAGELIST_BYTES_MAX, &message, &length) == 0 &&
		check_is_revoked(message, length, s))
		return "the certificate of its endorser has been revoked";
	return NULL;
}

/* Its entry in the result, borrowed. */
static json_t *tell_item(struct round *r, const struct plan_item *item)
{
	json_t *row = json_pack("{s:s, s:s, s:s?, s:s?, s:s, s:s?}", "identifier", item->identifier,
		"title", item->title, "reference", item->reference, "version",
		item->image ? item->image->version : NULL, "action", plan_word(item->action),
		"reason", item->reason);

	json_array_append_new(r->images, row);
	return row;
}

static void tell_failure(struct round *r, json_t *row, const struct error *why)
{
	set_text(row, "action", "failed");
	set_text(row, "reason", why->text);
	r->failed = true;
}

static int note_image(
	struct round *r, const struct plan_item *item, const char *digest, struct error *err)
{
	const struct imagelist_image *image = item->image;
	struct subscription_image *known = subscription_find_image(r->s, item->identifier);

	if (!known)
		known = subscription_add_image(r->s);
	if (!known || replace_text(&known->identifier, image->identifier) < 0 ||
		replace_text(&known->reference, item->reference) < 0 ||
		replace_text(&known->title, image->title) < 0 ||
		replace_text(&known->version, image->version) < 0 ||
		replace_text(&known->sha512, image->sha512) < 0 ||
		replace_text(&known->digest, digest) < 0)
		return fail(err, -ENOMEM, "out of memory");
	free(TAKE_PTR(known->gone));
	known->expires_us = image->expires_us;
	known->since_us = r->now_us;
	return save(r, err);
}

/* An image that is new or another now. An older one with another name loses that. */
static int bring(struct round *r, const struct plan_item *item, json_t *row, struct error *err)
{
	struct subscription_image *known = subscription_find_image(r->s, item->identifier);
	char digest[DIGEST_HEX_SIZE];
	struct error why = {0};
	int status =
		imagelist_store_bring(&r->store, item->image, known, item->reference, digest, &why);

	if (status == 0 && known && !known->gone && !streq(known->reference, item->reference))
		status = imagelist_store_drop(&r->store, known, &why);
	if (status < 0) {
		tell_failure(r, row, &why);
		return 0;
	}
	set_text(row, "digest", digest);
	return note_image(r, item, digest, err);
}

static int keep(struct round *r, struct plan_item *item, json_t *row, struct error *err)
{
	struct subscription_image *known = subscription_find_image(r->s, item->identifier);
	struct error why = {0};
	int status = imagelist_store_keep(&r->store, known, &why);

	set_text(row, "digest", known->digest);
	if (status < 0) {
		tell_failure(r, row, &why);
		return 0;
	}
	if (!item->image)
		return 0;
	if (status == 0) {
		set_text(row, "action", plan_word(PLAN_NEW));
		return bring(r, item, row, err);
	}
	if (known->expires_us == item->image->expires_us &&
		streq(known->version, item->image->version))
		return 0;
	known->expires_us = item->image->expires_us;
	return replace_text(&known->version, item->image->version) < 0 ? -ENOMEM : save(r, err);
}

static int drop(struct round *r, const struct plan_item *item, json_t *row, struct error *err)
{
	struct subscription_image *known = subscription_find_image(r->s, item->identifier);
	struct error why = {0};

	if (imagelist_store_drop(&r->store, known, &why) < 0) {
		tell_failure(r, row, &why);
		return 0;
	}
	known->since_us = r->now_us;
	return replace_text(&known->gone, item->reason) < 0 ? -ENOMEM : save(r, err);
}

static int apply(struct round *r, struct plan_item *item, struct error *err)
{
	json_t *row = tell_item(r, item);

	if (r->options->dry_run)
		return 0;
	switch (item->action) {
	case PLAN_NEW:
	case PLAN_CHANGE:
		return bring(r, item, row, err);
	case PLAN_KEEP:
		return keep(r, item, row, err);
	case PLAN_REMOVE:
	case PLAN_EXPIRE:
		return drop(r, item, row, err);
	default:
		return 0;
	}
}

static int make_plan(struct round *r)
{
	if (r->list)
		return plan_make(r->s, r->list, r->now_us, &r->plan);
	return plan_make_without_list(r->s, why_withdrawn(r), r->now_us, &r->plan);
}

/* First what goes, so that its names are free. */
static int follow(struct round *r, struct error *err)
{
	int status = make_plan(r);

	if (status < 0)
		return fail(err, status, "out of memory");
	if (!r->options->dry_run)
		status = locate_own_store(&r->store.store, err);
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < r->plan.count && status == 0; i++) {
			struct plan_item *item = &r->plan.items[i];
			bool goes = item->action == PLAN_REMOVE || item->action == PLAN_EXPIRE;

			if (goes == (pass == 0))
				status = apply(r, item, err);
		}
	if (r->list && !r->options->dry_run)
		imagelist_store_sweep(&r->store, r->list);
	return status;
}

static void note_failure(struct round *r, const struct error *why)
{
	if (replace_text(&r->s->failure, why->text) == 0)
		save(r, NULL);
}

static int tell_site(struct round *r, struct error *err)
{
	json_t *rows;

	if (!r->s->site || r->options->dry_run || !r->store.store)
		return 0;
	rows = json_array();
	json_object_set_new(r->result, "site", rows);
	return imagelist_site_tell(r->directory, r->s, r->store.store, rows, err);
}

/* Of a list that was not taken, what the last one has brought stays, until its time is over. */
static int run(struct round *r, struct error *err)
{
	struct error why = {0};
	int status = take_list(r, err);
	bool taken = status == 0;

	if (!r->list && status != 0)
		note_failure(r, err);
	if (status < 0 && r->list)
		return status;
	if (follow(r, &why) < 0 && taken) {
		*err = why;
		return why.code;
	}
	if (tell_site(r, &why) < 0 && taken)
		status = fail(err, CHECK_SITE, "%s", why.text);
	if (taken && r->failed)
		return fail(err, CHECK_IMAGES, "not all images of the list could be had");
	return status;
}

static int run_locked(struct round *r, struct error *err)
{
	autofree char *partial = subscription_file(r->directory, r->name, SUBSCRIPTION_PARTIAL);
	autoclose int lock = -1;
	int status;

	if (!partial)
		return fail(err, -ENOMEM, "out of memory");
	r->store.partial = partial;
	if (!r->options->dry_run) {
		lock = subscription_lock(r->directory, r->name, false, say_wait, err);
		if (lock < 0)
			return lock;
	}
	r->now_us = timestamp_now_us();
	status = subscription_load(r->directory, r->name, &r->s, err);
	return status < 0 ? status : run(r, err);
}

int imagelist_round(const char *directory, const char *name,
	const struct imagelist_round_options *options, json_t **ret)
{
	struct round r AUTO(round_done) = {
		.directory = directory, .name = name, .options = options};
	struct error err = {0};
	int status;

	r.images = json_array();
	r.result = json_pack("{s:s, s:b, s:[], s:o}", "name", name, "dry_run", options->dry_run,
		"warnings", "images", r.images);
	status = r.result ? run_locked(&r, &err) : -ENOMEM;
	json_object_set_new(r.result, "status",
		json_string(status < 0 ? "failed" : check_word((enum check_verdict)status)));
	status = status < 0 ? EXIT_WNODES : status;
	json_object_set_new(r.result, "exit_status", json_integer(status));
	set_text(r.result, "error", status != 0 ? err.text : NULL);
	*ret = r.result;
	return status;
}
