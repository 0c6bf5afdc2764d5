#include "porter/herald.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "lib/clock.h"
#include "lib/digest.h"
#include "lib/log.h"
#include "lib/path.h"
#include "site/site.h"

#define SECOND     UINT64_C(1000000)
#define TIMEOUT_MS 10000

/* What it has is told so often, and when it has changed, but not more often than this. */
#define TELL_US  (15 * SECOND)
#define APART_US (SECOND / 2)

/* Peers are asked for often in the beginning, when each may know of some that have just begun. */
#define PEERS_US     (SECOND / 4)
#define PEERS_MAX_US (4 * SECOND)

#define REPORTS_MAX 64

struct herald {
	struct site *site;
	char **controllers, *node, *address, *rack;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t changed;
	bool ending;
	json_t *images, *peers, *reports;
	char wanted[DIGEST_HEX_SIZE];
	uint64_t tell_us, told_us, ask_us, pause_us; /* clock_now_us() */
};

/* One call, whose failure is nobody's end: there is a next one. */
static json_t *call(
	struct herald *h, const char *method, const char *path, json_t *body, bool *silent)
{
	struct error err = {0};
	json_t *answer = NULL;
	int r = path ? site_call(h->site, method, path, body, NULL, &answer, NULL, &err) : -ENOMEM;

	json_decref(body);
	if (r >= 0 && r < 300)
		return answer ? answer : json_object();
	log_debug("%s %s: %s", method, path ? path : "", err.text);
	*silent = r < 0;
	json_decref(answer);
	return NULL;
}

/* With the lock, which is released meanwhile: so that nothing is shared then. */
static void tell(struct herald *h)
{
	json_t *body = json_pack("{s:s, s:s, s:o}", "address", h->address, "rack", h->rack,
		"images", json_deep_copy(h->images));
	autofree char *path = path_format("/v1/nodes/%s/images", h->node);
	bool silent = false;

	h->told_us = clock_now_us();
	h->tell_us = h->told_us + TELL_US;
	pthread_mutex_unlock(&h->lock);
	json_decref(call(h, "PUT", path, body, &silent));
	pthread_mutex_lock(&h->lock);
	if (silent)
		h->tell_us = MIN_OF(h->tell_us, clock_now_us() + 2 * SECOND);
}

static void ask(struct herald *h)
{
	autofree char *path = path_format("/v1/images/%s/peers", h->wanted);
	char wanted[DIGEST_HEX_SIZE];
	bool silent = false;
	json_t *answer, *peers;

	snprintf(wanted, sizeof(wanted), "%s", h->wanted);
	pthread_mutex_unlock(&h->lock);
	answer = call(h, "GET", path, NULL, &silent);
	pthread_mutex_lock(&h->lock);
	peers = json_object_get(answer, "peers");
	if (json_is_array(peers) && streq(wanted, h->wanted)) {
		json_decref(h->peers);
		h->peers = json_incref(peers);
	}
	json_decref(answer);
	h->ask_us = clock_now_us() + h->pause_us;
	h->pause_us = MIN_OF(h->pause_us * 3 / 2, PEERS_MAX_US);
}

static void report(struct herald *h)
{
	json_t *what = json_incref(json_array_get(h->reports, 0));
	autofree char *path = path_format("/v1/nodes/%s/images/report", h->node);
	bool silent = false;

	json_array_remove(h->reports, 0);
	pthread_mutex_unlock(&h->lock);
	json_decref(call(h, "POST", path, what, &silent));
	pthread_mutex_lock(&h->lock);
}

static void wait_until(struct herald *h, uint64_t us)
{
	uint64_t now = clock_now_us(), left = us > now ? us - now : 0;
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += (time_t)(left / SECOND);
	t.tv_nsec += (long)(left % SECOND) * 1000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	pthread_cond_timedwait(&h->changed, &h->lock, &t);
}

static void *run(void *userdata)
{
	struct herald *h = userdata;

	pthread_mutex_lock(&h->lock);
	while (!h->ending) {
		uint64_t now = clock_now_us();

		if (json_array_size(h->reports) > 0)
			report(h);
		else if (now >= h->tell_us)
			tell(h);
		else if (h->wanted[0] && now >= h->ask_us)
			ask(h);
		else
			wait_until(h, h->wanted[0] ? MIN_OF(h->tell_us, h->ask_us) : h->tell_us);
	}
	pthread_mutex_unlock(&h->lock);
	return NULL;
}

static int copy_options(struct herald *h, const struct herald_options *o)
{
	size_t count = json_array_size(o->controllers), i;
	json_t *item;

	h->controllers = calloc(count + 1, sizeof(char *));
	h->node = strdup(o->node);
	h->address = strdup(o->address);
	h->rack = strdup(o->rack);
	h->images = json_array();
	h->reports = json_array();
	if (!h->controllers || !h->node || !h->address || !h->rack || !h->images || !h->reports)
		return -ENOMEM;
	json_array_foreach(o->controllers, i, item)
	{
		h->controllers[i] = strdup(json_is_string(item) ? json_string_value(item) : "");
		if (!h->controllers[i])
			return -ENOMEM;
	}
	return 0;
}

/* Signals are the main thread's. */
static int start(struct herald *h)
{
	pthread_condattr_t attributes;
	sigset_t all, before;
	int r;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&h->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = -pthread_create(&h->thread, NULL, run, h);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	h->started = r == 0;
	return r;
}

int herald_new(const struct herald_options *options, struct herald **ret, struct error *err)
{
	struct herald *h AUTO(herald_freep) = calloc(1, sizeof(*h));
	struct site_options site = {
		.ca_file = options->credential->ca_path,
		.certificate_file = options->credential->certificate_path,
		.key_file = options->credential->key_path,
		.timeout_ms = TIMEOUT_MS,
	};
	int r;

	if (!h)
		return fail(err, -ENOMEM, "out of memory");
	pthread_mutex_init(&h->lock, NULL);
	if (copy_options(h, options) < 0)
		return fail(err, -ENOMEM, "out of memory");
	site.controllers = (const char *const *)h->controllers;
	r = site_open(&site, &h->site, err);
	if (r < 0)
		return r;
	r = start(h);
	if (r < 0)
		return fail_errno(err, r, "cannot start a thread");
	*ret = TAKE_PTR(h);
	return 0;
}

struct herald *herald_free(struct herald *h)
{
	if (!h)
		return NULL;
	if (h->started) {
		pthread_mutex_lock(&h->lock);
		h->ending = true;
		pthread_cond_signal(&h->changed);
		pthread_mutex_unlock(&h->lock);
		pthread_join(h->thread, NULL);
	}
	site_free(h->site);
	for (char **i = h->controllers; i && *i; i++)
		free(*i);
	free(h->controllers);
	free(h->node);
	free(h->address);
	free(h->rack);
	json_decref(h->images);
	json_decref(h->peers);
	json_decref(h->reports);
	pthread_mutex_destroy(&h->lock);
	free(h);
	return NULL;
}

void herald_set_images(struct herald *h, json_t *images, bool urgent)
{
	pthread_mutex_lock(&h->lock);
	json_decref(h->images);
	h->images = images;
	if (urgent)
		h->tell_us = h->told_us + APART_US;
	pthread_cond_signal(&h->changed);
	pthread_mutex_unlock(&h->lock);
}

void herald_set_wanted(struct herald *h, const char *digest)
{
	pthread_mutex_lock(&h->lock);
	if (!streq(h->wanted, digest ? digest : "")) {
		snprintf(h->wanted, sizeof(h->wanted), "%s", digest ? digest : "");
		json_decref(h->peers);
		h->peers = NULL;
		h->ask_us = 0;
		h->pause_us = PEERS_US;
		pthread_cond_signal(&h->changed);
	}
	pthread_mutex_unlock(&h->lock);
}

json_t *herald_take_peers(struct herald *h)
{
	json_t *peers;

	pthread_mutex_lock(&h->lock);
	peers = TAKE_PTR(h->peers);
	pthread_mutex_unlock(&h->lock);
	return peers;
}

void herald_report(struct herald *h, const char *peer, const char *chunk, const char *reason)
{
	pthread_mutex_lock(&h->lock);
	if (json_array_size(h->reports) < REPORTS_MAX)
		json_array_append_new(h->reports, json_pack("{s:s, s:s, s:s}", "peer", peer,
							  "chunk", chunk, "reason", reason));
	pthread_cond_signal(&h->changed);
	pthread_mutex_unlock(&h->lock);
}
