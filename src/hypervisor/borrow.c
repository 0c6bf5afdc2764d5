#include "hypervisor/borrow.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>

#include "hypervisor/cache.h"
#include "hypervisor/hypervisor.h"
#include "hypervisor/pull.h"
#include "lib/log.h"
#include "lib/path.h"

/* One that is just being let go is asked for again so soon. */
#define AGAIN_US 100000

#define USER_MAX 256

struct borrow {
	struct loan_image image; /* first: it is the worker's job */
	struct hypervisor *hypervisor;
	struct borrow_events events;
	struct borrow **owner; /* NULL: it was cancelled */
	bool busy;             /* the worker has it */
	bool own, no_wait, fetched;
	uid_t uid;
	char reference[CALL_IMAGE_MAX];
	char digest[DIGEST_HEX_SIZE]; /* that was decided upon; "": the store decides */
	char user[USER_MAX];          /* "": not known */
	struct pull_waiter waiter;
	sd_event_source *again;
};

static void borrow_free(struct borrow *b)
{
	sd_event_source_disable_unref(b->again);
	pulls_forget(b->hypervisor->pulls, &b->waiter);
	loan_image_done(&b->image);
	free(b);
}

static void borrow_end(
	struct borrow *b, const struct loan_image *image, const char *why, bool node_failed)
{
	*b->owner = NULL;
	b->events.on_end(image, why, node_failed, b->events.userdata);
	borrow_free(b);
}

static void borrow_refuse(struct borrow *b, const char *why)
{
	admission_note_refusal(b->hypervisor->admission, b->uid, b->reference, why);
	borrow_end(b, NULL, why, false);
}

static void on_work(struct worker_job *job, bool cancelled);

static void give_to_worker(struct borrow *b, void (*work)(struct worker_job *job))
{
	b->image.job = (struct worker_job){.work = work, .done = on_work};
	b->busy = true;
	worker_add(b->hypervisor->worker, &b->image.job);
}

static void open_image(struct borrow *b)
{
	struct hypervisor *h = b->hypervisor;

	loan_image_done(&b->image);
	b->image.directory = h->state;
	b->image.store = h->store;
	b->image.reference = strdup(b->digest[0] ? b->digest : b->reference);
	give_to_worker(b, loan_image_work);
}

static void decide(struct borrow *b);

static int on_again(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct borrow *b = userdata;

	b->again = sd_event_source_disable_unref(b->again);
	decide(b);
	return 0;
}

static void try_again_soon(struct borrow *b)
{
	if (sd_event_add_time_relative(
		    b->hypervisor->event, &b->again, CLOCK_MONOTONIC, AGAIN_US, 0, on_again, b) < 0)
		borrow_end(b, NULL, "the node's daemon is out of memory", true);
}

/* The catalogue may have another opinion by now than when it was asked last. */
static void decide(struct borrow *b)
{
	const struct hypervisor *h = b->hypervisor;
	const struct catalogue *c = admission_catalogue(h->admission);
	const struct catalogue_image *image = catalogue_find(c, b->digest);
	struct error err = {0};
	int r = 0;

	if (!b->digest[0])
		r = catalogue_resolve(c, b->reference, b->user, &image, &err);
	if (r >= 0 && (image || b->own))
		r = admission_decide(h->admission, image, b->reference, b->user, &err);
	if (r < 0) {
		borrow_refuse(b, err.text);
		return;
	}
	if (image)
		memcpy(b->digest, image->digest, sizeof(b->digest));
	if (b->own)
		borrow_end(b, NULL, NULL, false);
	else if (image && cache_is_removing(h->cache, image->digest))
		try_again_soon(b);
	else
		open_image(b);
}

static void on_moved(const char *reason, void *userdata)
{
	const struct borrow *b = userdata;

	b->events.on_wait(reason, b->events.userdata);
}

static void on_arrived(const char *why, void *userdata)
{
	struct borrow *b = userdata;
	char text[ERROR_TEXT_MAX + CALL_IMAGE_MAX + 64];

	if (!why) {
		decide(b);
		return;
	}
	snprintf(text, sizeof(text), "the image '%s' cannot be fetched: %s", b->reference, why);
	borrow_end(b, NULL, text, true);
}

/* It is not here, or not whole. */
static void fetch(struct borrow *b, const struct catalogue_image *image)
{
	char text[ERROR_TEXT_MAX + CALL_IMAGE_MAX + 64];

	if (b->fetched || b->no_wait) {
		snprintf(text, sizeof(text), "the image '%s' is not on this node: %s", b->reference,
			b->image.err.text);
		borrow_end(b, NULL, text, true);
		return;
	}
	b->fetched = true;
	b->waiter = (struct pull_waiter){.moved = on_moved, .done = on_arrived, .userdata = b};
	if (pulls_want(b->hypervisor->pulls, image, b->reference, &b->waiter) < 0)
		borrow_end(b, NULL, "the node's daemon is out of memory", true);
}

/* What it was called, if it is known by that name. */
static void name_image(struct borrow *b)
{
	if (b->image.name || str_after(b->digest, b->reference))
		return;
	if (store_parse_reference(b->reference, &b->image.name, &b->image.tag, NULL) < 0)
		b->image.name = b->image.tag = NULL;
}

/* What the site says of an image that has no tag, as when it is not approved yet. It helps more
 * than what else is here. */
static bool is_refused_by_name(const struct borrow *b, struct error *err)
{
	const struct admission *a = b->hypervisor->admission;
	const struct catalogue_image *image =
		catalogue_find_named(admission_catalogue(a), b->reference, b->user);

	return image && admission_decide(a, image, b->reference, b->user, err) < 0;
}

/* What the store has found under a name that the catalogue does not know may be one that it does.
 */
static void on_opened(struct borrow *b)
{
	const struct hypervisor *h = b->hypervisor;
	const struct catalogue *c = admission_catalogue(h->admission);
	const struct catalogue_image *image =
		catalogue_find(c, b->digest[0] ? b->digest : b->image.digest);
	struct error err = {0};
	int r = b->image.result;

	if ((r == -ENOENT || r == -EBADMSG) && image && b->digest[0]) {
		fetch(b, image);
		return;
	}
	if (r == -ENOENT && !image && is_refused_by_name(b, &err)) {
		borrow_refuse(b, err.text);
		return;
	}
	if (r == 0 || !image)
		r = admission_decide(h->admission, image, b->reference, b->user, &err);
	if (r < 0 && err.text[0]) {
		borrow_refuse(b, err.text);
	} else if (b->image.result < 0) {
		borrow_end(b, NULL, b->image.err.text, false);
	} else {
		cache_note_use(h->cache, b->image.digest);
		name_image(b);
		borrow_end(b, &b->image, NULL, false);
	}
}

/* Accounts may be looked up over the network, which the loop does not wait for. They are called as
 * the site calls them. */
static void whois_work(struct worker_job *job)
{
	struct borrow *b = (struct borrow *)(void *)job;
	const struct passwd *account = getpwuid(b->uid);

	if (account)
		snprintf(b->user, sizeof(b->user), "%s", account->pw_name);
	else
		snprintf(b->user, sizeof(b->user), "uid%u", (unsigned int)b->uid);
}

static void on_work(struct worker_job *job, bool cancelled)
{
	struct borrow *b = (struct borrow *)(void *)job;

	b->busy = false;
	if (!b->owner) {
		borrow_free(b);
	} else if (cancelled) {
		*b->owner = NULL;
		borrow_free(b);
	} else if (job->work == whois_work) {
		decide(b);
	} else {
		on_opened(b);
	}
}

int borrow_start(struct hypervisor *h, const struct borrow_wish *wish,
	const struct borrow_events *events, struct borrow **ret)
{
	struct borrow *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	*b = (struct borrow){.image = LOAN_IMAGE_INIT,
		.hypervisor = h,
		.events = *events,
		.owner = ret,
		.own = wish->own,
		.no_wait = wish->no_wait,
		.uid = wish->uid};
	snprintf(b->reference, sizeof(b->reference), "%s", wish->reference);
	snprintf(b->digest, sizeof(b->digest), "%s", wish->digest);
	*ret = b;
	/* Also an answer that is known at once comes from the loop. */
	if (admission_has_site(h->admission) || b->own)
		give_to_worker(b, whois_work);
	else
		open_image(b);
	return 0;
}

void borrow_cancel(struct borrow *b)
{
	if (!b)
		return;
	*b->owner = NULL;
	b->owner = NULL;
	b->again = sd_event_source_disable_unref(b->again);
	pulls_forget(b->hypervisor->pulls, &b->waiter);
	if (!b->busy)
		borrow_free(b);
}
