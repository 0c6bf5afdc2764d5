#include "porter/porter.h"

#include <errno.h>
#include <stdio.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "porter/haul.h"
#include "porter/server.h"
#include "porter/shelf.h"
#include "porter/stock.h"

#define SECOND UINT64_C(1000000)

#define SLOTS_DEFAULT 8
#define PROGRESS_US   SECOND

/* An image that could not be fetched is tried again, if it is still wanted. */
#define RETRY_US (15 * SECOND)

/* One who has just begun has something to give in a moment: it is known from the beginning. */
#define DONE_MIN 0.001

struct work {
	struct porter porter;
	struct server *server;
	struct shelf *shelf; /* what is given to others */
	struct stock *stock; /* what is only for ourselves */
	struct haul *haul;   /* what is being fetched; NULL: nothing */
	json_t *wanted;      /* images that are to be fetched, the most urgent one first */
	json_t *failed;      /* digest -> when it may be tried again, clock_now_us() */
	uint64_t progress_us;
	bool unsettled; /* what the daemon wants has to be looked at */
};

static void work_done(struct work *w)
{
	struct porter *p = &w->porter;

	haul_free(w->haul);
	server_free(w->server);
	herald_free(p->herald);
	stock_free(w->stock);
	shelf_free(w->shelf);
	carrier_free(p->carrier);
	holdings_free(p->holdings);
	credential_done(&p->credential);
	json_decref(p->controllers);
	json_decref(p->origins);
	json_decref(p->banned);
	json_decref(w->wanted);
	json_decref(w->failed);
	free(p->node);
	base_close(p->daemon.fd);
}

static const char *text_of(const json_t *json, const char *name)
{
	const char *text = json_string_value(json_object_get(json, name));

	return text ? text : "";
}

static int start_server(struct work *w, const json_t *hello, struct error *err)
{
	json_int_t slots = json_integer_value(json_object_get(hello, "slots"));
	json_int_t rate = json_integer_value(json_object_get(hello, "rate_bytes"));
	struct server_options options = {
		.listen = text_of(hello, "listen"),
		.credential = &w->porter.credential,
		.holdings = w->porter.holdings,
		.slots = slots > 0 ? (size_t)slots : SLOTS_DEFAULT,
		.rate_bytes = rate > 0 ? (uint64_t)rate : 0,
	};

	if (!options.listen[0])
		return 0;
	return server_new(&options, &w->server, err);
}

static int start_parts(struct work *w, const json_t *hello, struct error *err)
{
	struct porter *p = &w->porter;
	struct herald_options options = {
		.credential = &p->credential,
		.controllers = p->controllers,
		.node = p->node,
		.address = text_of(hello, "address"),
		.rack = text_of(hello, "rack"),
	};
	int r = carrier_new(&p->credential, &p->carrier, err);

	if (r == 0)
		r = herald_new(&options, &p->herald, err);
	if (r == 0)
		r = shelf_new(p, &w->shelf, err);
	if (r == 0)
		r = stock_new(p, &w->stock, err);
	if (r == 0)
		r = start_server(w, hello, err);
	return r;
}

static int work_open(struct work *w, struct error *err)
{
	struct daemon_answer hello AUTO(daemon_answer_done) = {0};
	struct porter *p = &w->porter;
	autoclose int key = -1, certificate = -1, ca = -1;
	int r = daemon_ask(&p->daemon, json_pack("{s:s}", "op", "hello"), &hello, err);

	if (r < 0)
		return r;
	key = daemon_answer_take(&hello, "key");
	certificate = daemon_answer_take(&hello, "certificate");
	ca = daemon_answer_take(&hello, "ca");
	r = credential_load(&p->credential, key, certificate, ca, err);
	if (r < 0)
		return r;
	p->node = strdup(text_of(hello.json, "node"));
	p->controllers = json_incref(json_object_get(hello.json, "controllers"));
	p->origins = json_incref(json_object_get(hello.json, "origins"));
	p->banned = json_object();
	p->holdings = holdings_new();
	w->failed = json_object();
	if (!p->node || !p->banned || !p->holdings || !w->failed)
		return fail(err, -ENOMEM, "out of memory");
	p->daemon.changed = true;
	return start_parts(w, hello.json, err);
}

/* What this node has, for its site: what is given whole, and what is on its way. */
static void tell_site(struct work *w, bool urgent)
{
	json_t *images = shelf_to_json(w->shelf);

	if (w->haul)
		json_array_append_new(images,
			json_pack("{s:s, s:s, s:f}", "digest", haul_digest(w->haul), "state",
				"fetching", "done", MAX_OF(haul_done(w->haul), DONE_MIN)));
	herald_set_images(w->porter.herald, images, urgent);
}

/* Asks the daemon what is to be done. */
static int take_work(struct work *w, struct error *err)
{
	struct daemon_answer answer AUTO(daemon_answer_done) = {0};
	int r;

	w->porter.daemon.changed = false;
	r = daemon_ask(&w->porter.daemon, json_pack("{s:s}", "op", "work"), &answer, err);
	if (r < 0)
		return r;
	r = shelf_set(w->shelf, json_object_get(answer.json, "serve"), err);
	if (r == 0)
		r = stock_set(w->stock, json_object_get(answer.json, "own"), err);
	if (r == 0 && w->haul)
		r = haul_on_changed(w->haul, err);
	json_decref(w->wanted);
	w->wanted = json_incref(json_object_get(answer.json, "fetch"));
	w->unsettled = true;
	return r;
}

static int tell_daemon(struct work *w, json_t *what, struct error *err)
{
	struct daemon_answer answer AUTO(daemon_answer_done) = {0};
	int r = daemon_ask(&w->porter.daemon, what, &answer, err);

	/* What it refuses is not our end. */
	return r == -EREMOTEIO ? 0 : r;
}

static void leave_haul(struct work *w)
{
	w->haul = haul_free(w->haul);
	w->unsettled = true;
	herald_set_wanted(w->porter.herald, NULL);
}

static int fail_haul(struct work *w, const char *digest, const char *reason, struct error *err)
{
	uint64_t again = clock_now_us() + RETRY_US;
	char why[512];

	log_warning("image %.12s cannot be fetched: %s, retrying in %d s", digest, reason,
		(int)(RETRY_US / SECOND));
	snprintf(why, sizeof(why), "%s", reason);
	json_object_set_new(w->failed, digest, json_integer((json_int_t)again));
	return tell_daemon(w,
		json_pack("{s:s, s:s, s:s?}", "op", "failed", "digest", digest, "reason", why),
		err);
}

static bool may_try(const struct work *w, const char *digest)
{
	const json_t *when = json_object_get(w->failed, digest);

	return !when || (uint64_t)json_integer_value(when) <= clock_now_us();
}

/* The most urgent one that may be tried is fetched; another one is left where it is, and taken up
 * there later. */
static int settle(struct work *w, struct error *err)
{
	json_t *image, *first = NULL;
	const char *digest;
	size_t i;
	int r;

	w->unsettled = false;
	json_array_foreach(w->wanted, i, image) if (!first && may_try(w, text_of(image, "digest")))
		first = image;
	digest = text_of(first, "digest");
	if (w->haul && first && streq(haul_digest(w->haul), digest))
		return 0;
	if (w->haul)
		leave_haul(w);
	w->unsettled = false;
	if (first) {
		struct error why = {0};

		r = haul_new(&w->porter, first, &w->haul, &why);
		if (r < 0)
			return fail_haul(w, digest, why.text, err);
		herald_set_wanted(w->porter.herald, digest);
	}
	tell_site(w, true);
	return 0;
}

static int show_progress(struct work *w, struct error *err)
{
	uint64_t now = clock_now_us();

	if (now < w->progress_us + PROGRESS_US)
		return 0;
	w->progress_us = now;
	tell_site(w, false);
	return tell_daemon(w, haul_progress(w->haul), err);
}

static int work_on_haul(struct work *w, uint64_t *wait_us, struct error *err)
{
	struct error why = {0};
	json_t *peers = herald_take_peers(w->porter.herald);
	char digest[DIGEST_HEX_SIZE];
	int r;

	if (peers)
		haul_set_peers(w->haul, peers);
	json_decref(peers);
	r = haul_work(w->haul, wait_us, &why);
	if (r == 0)
		return show_progress(w, err);
	snprintf(digest, sizeof(digest), "%s", haul_digest(w->haul));
	leave_haul(w);
	w->porter.daemon.changed =
		true; /* it may want something else now, and lends what has come */
	if (r == -ECONNRESET || r == -EPIPE)
		return fail(err, r, "%s", why.text);
	return r < 0 ? fail_haul(w, digest, why.text, err) : 0;
}

static int step(struct work *w, struct error *err)
{
	uint64_t wait_us = SECOND;
	int r = daemon_hear(&w->porter.daemon);

	stock_work(w->stock);
	if (r == 0 && w->porter.daemon.changed)
		r = take_work(w, err);
	if (r == 0 && (w->unsettled || (!w->haul && json_array_size(w->wanted) > 0)))
		r = settle(w, err);
	if (r == 0 && w->haul)
		r = work_on_haul(w, &wait_us, err);
	if (r == 0)
		r = carrier_run(
			w->porter.carrier, w->porter.daemon.fd, (int)((wait_us + 999) / 1000));
	return r;
}

int porter_run(int socket, struct error *err)
{
	struct work w = {.porter.daemon.fd = socket};
	int r = work_open(&w, err);

	while (r == 0)
		r = step(&w, err);
	work_done(&w);
	return r;
}
