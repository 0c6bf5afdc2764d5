#include "courier/courier.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#include "courier/account.h"
#include "courier/catalogue.h"
#include "courier/delivery.h"
#include "courier/delta.h"
#include "courier/leasing.h"
#include "courier/reason.h"
#include "courier/volume.h"
#include "engine/credential.h"
#include "engine/daemon.h"
#include "engine/nodekey.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lib/timestamp.h"
#include "lib/uuid.h"
#include "site/site.h"

#define SECOND UINT64_C(1000000)

/* One round over all controllers, no second one: there is a next heartbeat. */
#define TIMEOUT_MS 15000

/* Several changes are told together: so long after the first, and so long after what was told last.
 */
#define GATHER_US (200 * UINT64_C(1000))
#define APART_US  SECOND

/* Nobody has answered: sooner than with the next heartbeat, if that is far. */
#define RETRY_MIN_US SECOND
#define RETRY_MAX_US (15 * SECOND)

/* Records that are delivered before it is looked whether anything else is to be done. */
#define DELIVERIES_MAX 20
#define LEASINGS_MAX   20

#define IDS_MAX 1000

/* Leases are told in full heartbeats, and in each of so many others. */
#define LEASES_EACH 20

#define INTERVAL_MAX_S 86400

#define RENEWAL_RETRY_US (600 * SECOND)

struct courier {
	struct daemon daemon;
	struct credential credential;
	struct delivery *delivery;
	struct delta *delta;
	struct site *site;
	char **controllers;
	char *node;
	uint64_t heartbeat_us, interval_us;  /* as we would, and at most as the site would */
	uint64_t beat_us, next_us, retry_us; /* clock_now_us() */
	uint64_t beats, renewal_retry_us;
	bool full; /* the site wants it, or does not know anything yet */
	struct catalogue_watch catalogue;
	struct volume_watch volumes;
	json_t *names;    /* of users, by their number */
	char refused[72]; /* the revision of a configuration that was no good */
	bool renewed;
};

static void courier_done(struct courier *c)
{
	delivery_free(c->delivery);
	delta_free(c->delta);
	site_free(c->site);
	credential_done(&c->credential);
	for (char **i = c->controllers; i && *i; i++)
		free(*i);
	free(c->controllers);
	free(c->node);
	json_decref(c->names);
	base_close(c->daemon.fd);
}

static int take_controllers(struct courier *c, json_t *list, struct error *err)
{
	json_t *item;
	size_t i;

	c->controllers = calloc(json_array_size(list) + 1, sizeof(char *));
	json_array_foreach(list, i, item) if (c->controllers && json_is_string(item))
		c->controllers[i] = strdup(json_string_value(item));
	if (c->controllers && c->controllers[0])
		return 0;
	return fail(err, -EINVAL,
		"[site] controllers has no address that begins with https://: a node needs one");
}

static int take_hello(struct courier *c, struct daemon_answer *hello, struct error *err)
{
	autoclose int key = daemon_answer_take(hello, "key");
	autoclose int certificate = daemon_answer_take(hello, "certificate");
	autoclose int ca = daemon_answer_take(hello, "ca");
	const char *node = json_string_value(json_object_get(hello->json, "node"));
	int r = credential_load(&c->credential, key, certificate, ca, err);

	c->node = node ? strdup(node) : NULL;
	catalogue_watch_init(
		&c->catalogue, json_string_value(json_object_get(hello->json, "catalogue")));
	c->heartbeat_us =
		(uint64_t)json_integer_value(json_object_get(hello->json, "heartbeat_us"));
	if (r == 0)
		r = take_controllers(c, json_object_get(hello->json, "controllers"), err);
	if (r == 0)
		r = delivery_new(&c->daemon, daemon_answer_take(hello, "cursor"),
			daemon_answer_take(hello, "refused"), &c->delivery, err);
	return r == 0 && (!c->node || !c->node[0])
		       ? fail(err, -EINVAL,
				 "the node's name at the site is not known; have it join "
				 "again")
		       : r;
}

static int courier_open(struct courier *c, struct error *err)
{
	struct daemon_answer hello AUTO(daemon_answer_done) = {0};
	int r = daemon_ask(&c->daemon, json_pack("{s:s}", "op", "hello"), &hello, err);
	struct site_options options = {
		.ca_file = c->credential.ca_path,
		.certificate_file = c->credential.certificate_path,
		.key_file = c->credential.key_path,
		.timeout_ms = TIMEOUT_MS,
	};

	if (r == 0)
		r = take_hello(c, &hello, err);
	c->delta = delta_new();
	c->names = json_object();
	c->full = true;
	c->daemon.changed = true;
	options.controllers = (const char *const *)c->controllers;
	if (r == 0 && (!c->delta || !c->names))
		r = fail(err, -ENOMEM, "out of memory");
	return r < 0 ? r : site_open(&options, &c->site, err);
}

/* Tells the daemon, and what it answers is nothing. */
static int tell(struct courier *c, json_t *what, struct error *err)
{
	struct daemon_answer answer AUTO(daemon_answer_done) = {0};

	return daemon_ask(&c->daemon, what, &answer, err);
}

static json_t *read_vms(struct courier *c, int fd)
{
	json_t *vms, *vm;
	size_t i;

	if (fd < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return NULL;
	vms = json_loadfd(fd, 0, NULL);
	json_array_foreach(vms, i, vm) account_add_user(c->names, vm);
	return vms;
}

/* The daemon's state becomes a heartbeat. */
static int make_heartbeat(struct courier *c, struct daemon_answer *state, struct error *err)
{
	autoclose int fd = daemon_answer_take(state, "vms");
	json_t *all = read_vms(c, fd), *vms, *gone;

	if (!json_is_array(all)) {
		json_decref(all);
		return fail(err, -EPROTO, "the node's daemon does not list its VMs");
	}
	delta_make(c->delta, all, c->full, &vms, &gone);
	json_decref(all);
	json_object_set_new(state->json, "full", json_boolean(c->full));
	json_object_set_new(state->json, "vms", vms);
	json_object_set_new(state->json, "gone", gone);
	json_object_del(state->json, "descriptors");
	if (!c->full && c->beats % LEASES_EACH != 0)
		json_object_del(state->json, "leases");
	return vms && gone ? 0 : fail(err, -ENOMEM, "out of memory");
}

static void log_refused(const json_t *answer)
{
	const json_t *refused = json_object_get(answer, "refused");
	const char *why = json_string_value(json_object_get(json_array_get(refused, 0), "error"));

	if (why)
		log_warning("the site does not take %zu VMs of this node: %s",
			json_array_size(refused), why);
}

/* As many ids as fit into a packet; the next answer has the others. */
static json_t *copy_ids(const json_t *list)
{
	json_t *copy = json_array(), *id;
	size_t i;

	json_array_foreach(list, i, id)
	{
		const char *text = json_string_value(id);

		if (text && uuid_is_text(text) && json_array_size(copy) < IDS_MAX)
			json_array_append(copy, id);
	}
	return copy;
}

/* For how long our leases are ours; NULL: a controller that wants to hear all first may have given
 * them to others. */
static json_t *find_kept(const json_t *answer)
{
	json_t *kept = json_object_get(answer, "leases_kept_s");
	bool said = json_is_integer(kept) && json_integer_value(kept) > 0 &&
		    json_integer_value(kept) <= INT32_MAX;

	return said && !json_is_true(json_object_get(answer, "full")) ? kept : NULL;
}

static int take_answer(struct courier *c, json_t *answer, struct error *err)
{
	json_t *drained = json_object_get(answer, "drained");
	const char *reason = json_string_value(json_object_get(answer, "reason"));

	log_refused(answer);
	return tell(c,
		json_pack("{s:s, s:s, s:O*, s:o, s:o, s:o, s:O*}", "op", "answered", "controller",
			site_controller(c->site), "drained",
			json_is_boolean(drained) ? drained : NULL, "reason",
			reason_to_json(reason, "the site wants it so"), "leases_unknown",
			copy_ids(json_object_get(answer, "leases_unknown")), "leases_unlisted",
			copy_ids(json_object_get(answer, "leases_unlisted")), "leases_kept_s",
			find_kept(answer)),
		err);
}

static int take_silence(struct courier *c, const char *reason, struct error *err)
{
	return tell(c,
		json_pack("{s:s, s:o}", "op", "unanswered", "reason",
			reason_to_json(reason, "it answers what is no answer")),
		err);
}

static int fetch_configuration(struct courier *c, const char *revision, struct error *err)
{
	autofree char *path = path_format("/v1/nodes/%s/configuration", c->node);
	struct error why = {0};
	json_t *answer = NULL, *text, *its;
	int r = path ? site_call(c->site, "GET", path, NULL, NULL, &answer, NULL, &why) : -ENOMEM;

	text = json_object_get(answer, "text");
	its = json_object_get(answer, "revision");
	if (r == 200 && json_is_string(text) && json_is_string(its))
		r = tell(c,
			json_pack("{s:s, s:O, s:O}", "op", "configuration", "revision", its, "text",
				text),
			&why);
	else if (r >= 0)
		r = -EREMOTEIO;
	json_decref(answer);
	if (r == -EREMOTEIO || r == -EMSGSIZE) {
		/* Not again, until it is another one. */
		snprintf(c->refused, sizeof(c->refused), "%s", revision);
		log_warning("the site's configuration is not taken: %s",
			why.text[0] ? why.text : "it is none");
	}
	return r == -ECONNRESET || r == -ETIMEDOUT ? fail(err, r, "%s", why.text) : 0;
}

/* A site that gives up nodes sooner wants to hear of them more often. */
static void take_interval(struct courier *c, const json_t *answer)
{
	const json_t *interval = json_object_get(answer, "interval_s");
	json_int_t s = json_integer_value(interval);

	c->interval_us = s > 0 && s <= INTERVAL_MAX_S ? (uint64_t)s * SECOND : c->heartbeat_us;
	c->interval_us = MIN_OF(c->interval_us, c->heartbeat_us);
}

/* Returns 1 if a controller has answered, 0 if none has, or the daemon's end. */
static int after_answer(struct courier *c, json_t *state, json_t *answer, struct error *err)
{
	const char *is = json_string_value(json_object_get(state, "configuration"));
	const char *revision = json_string_value(json_object_get(answer, "configuration"));
	int r = take_answer(c, answer, err);

	take_interval(c, answer);
	delta_commit(c->delta);
	c->full = json_is_true(json_object_get(answer, "full"));
	c->beats++;
	if (c->full || delta_has_more(c->delta))
		c->daemon.changed = true;
	if (r == 0 && revision && !streq(revision, is ? is : "") && !streq(revision, c->refused))
		r = fetch_configuration(c, revision, err);
	return r < 0 ? r : 1;
}

static int beat(struct courier *c, struct error *err)
{
	struct daemon_answer state AUTO(daemon_answer_done) = {0};
	autofree char *path = path_format("/v1/nodes/%s/heartbeat", c->node);
	struct error why = {0};
	json_t *answer = NULL;
	int r;

	c->daemon.changed = false;
	r = daemon_ask(&c->daemon, json_pack("{s:s}", "op", "state"), &state, err);
	if (r == 0)
		r = make_heartbeat(c, &state, err);
	if (r < 0)
		return r;
	r = path ? site_call(c->site, "POST", path, state.json, NULL, &answer, NULL, &why)
		 : -ENOMEM;
	if (r == 200 && json_is_object(answer))
		r = after_answer(c, state.json, answer, err);
	else
		r = take_silence(c, why.text, err);
	json_decref(answer);
	return r;
}

/* Never all nodes at the same moment. */
static uint64_t scatter(uint64_t us)
{
	uint16_t random = 0;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		random = 0;
	return us - us / 10 * random / UINT16_MAX;
}

/* What a controller says may be nothing that can be done, or told to the daemon; that is no reason
 * to end. */
static bool is_bearable(int r)
{
	return r >= 0 || r == -EAGAIN || r == -ENOTCONN || r == -EREMOTEIO || r == -EMSGSIZE;
}

static int deliver(struct courier *c, struct error *err)
{
	struct error why = {0};
	int r = 1;

	for (int i = 0; i < DELIVERIES_MAX && r > 0; i++)
		r = delivery_run(c->delivery, c->site, &why);
	if (r > 0)
		c->daemon.changed = true; /* it goes on soon */
	if (r == -EAGAIN || r == -EREMOTEIO)
		log_warning("%s, trying again", why.text);
	if (is_bearable(r))
		return 0;
	return fail(err, r, "%s", why.text);
}

static int lease(struct courier *c, struct error *err)
{
	struct error why = {0};
	int r = 1;

	for (int i = 0; i < LEASINGS_MAX && r > 0; i++)
		r = leasing_run(&c->daemon, c->site, c->names, &why);
	if (r < 0 && r != -ENOTCONN && is_bearable(r))
		log_debug("%s", why.text);
	if (is_bearable(r))
		return 0;
	return fail(err, r, "%s", why.text);
}

static int renew(struct courier *c, struct error *err)
{
	autofree char *path = path_format("/v1/nodes/%s/certificate", c->node), *csr = NULL;
	json_t *body = NULL, *answer = NULL;
	const char *text;
	int r = nodekey_request(c->credential.key, c->node, &csr, err);

	if (r < 0 || !path)
		return r < 0 ? r : -ENOMEM;
	body = json_pack("{s:s}", "csr", csr);
	r = site_call(c->site, "POST", path, body, NULL, &answer, NULL, err);
	json_decref(body);
	text = json_string_value(json_object_get(answer, "certificate"));
	if (r >= 200 && r < 300)
		r = text ? credential_check(&c->credential, text, c->node, err)
			 : fail(err, -EPROTO, "the answer has no certificate");
	else
		r = r < 0 ? r : -EREMOTEIO;
	if (r == 0)
		r = tell(c, json_pack("{s:s, s:s}", "op", "certificate", "certificate", text), err);
	json_decref(answer);
	return r;
}

/* The next courier has the new one. */
static void renew_in_time(struct courier *c)
{
	uint64_t now = clock_now_us();
	struct error err = {0};

	if (timestamp_now_us() < credential_renewal_us(&c->credential) || now < c->renewal_retry_us)
		return;
	c->renewal_retry_us = now + RENEWAL_RETRY_US;
	c->renewed = renew(c, &err) == 0;
	if (!c->renewed)
		log_warning("the node's certificate was not renewed: %s, trying again in %llu min",
			err.text, (unsigned long long)(RENEWAL_RETRY_US / SECOND / 60));
}

/* A VM waits for them, or another node. */
static int look_at_volumes(struct courier *c, bool heard, struct error *err)
{
	if (!heard) {
		c->volumes.due_us = c->daemon.volumes ? 0 : c->volumes.due_us;
		c->daemon.volumes = false;
		return 0;
	}
	if (!c->daemon.volumes && clock_now_us() < c->volumes.due_us)
		return 0;
	return volume_watch_run(&c->volumes, &c->daemon, c->site, c->names, c->node, err);
}

static int turn(struct courier *c, struct error *err)
{
	int r = beat(c, err);

	c->beat_us = clock_now_us();
	if (r < 0)
		return r;
	if (r == 0) {
		c->retry_us = MIN_OF(MAX_OF(2 * c->retry_us, RETRY_MIN_US), RETRY_MAX_US);
		c->next_us = c->beat_us + scatter(MIN_OF(c->retry_us, c->heartbeat_us));
		c->daemon.changed = false; /* it is told with the next */
		return 0;
	}
	c->retry_us = 0;
	c->next_us = c->beat_us + scatter(c->interval_us);
	/* Whatever becomes of the rest: a node whose certificate ends has nothing left to say. */
	renew_in_time(c);
	if (c->renewed)
		return 0;
	/* A site that has lost sight of us has first to say which leases are not ours any more. */
	r = c->full ? 0 : lease(c, err);
	if (r == 0 && !c->full)
		r = look_at_volumes(c, true, err);
	if (r == 0)
		r = deliver(c, err);
	return r;
}

/* What is told together with a change comes a moment later. */
static void gather(struct courier *c)
{
	uint64_t now = clock_now_us(), due = MAX_OF(now + GATHER_US, c->beat_us + APART_US);

	while (now < due) {
		usleep((useconds_t)MIN_OF(due - now, SECOND));
		now = clock_now_us();
	}
}

static uint64_t next_look(const struct courier *c)
{
	return MIN_OF(c->next_us, MIN_OF(c->catalogue.due_us, c->volumes.due_us));
}

/* Until it is time for the next heartbeat, or something has changed and the rest of it as well.
 * Meanwhile it is looked whether there is a new catalogue, as long as controllers answer. */
static int wait_for_turn(struct courier *c, struct error *err)
{
	int r = 0;

	while (r == 0 && !c->daemon.changed && clock_now_us() < c->next_us) {
		bool heard = c->retry_us == 0;

		if (heard && clock_now_us() >= c->catalogue.due_us)
			r = catalogue_watch_run(&c->catalogue, &c->daemon, c->site, err);
		if (r == 0)
			r = look_at_volumes(c, heard, err);
		if (r == 0)
			r = daemon_wait(&c->daemon, heard ? next_look(c) : c->next_us);
	}
	if (r == 0 && c->daemon.changed && clock_now_us() < c->next_us)
		gather(c);
	return r;
}

int courier_run(int fd, struct error *err)
{
	struct courier c AUTO(courier_done) = {.daemon = {.fd = fd}, .credential = CREDENTIAL_INIT};
	int r = courier_open(&c, err);

	while (r == 0 && !c.renewed) {
		r = turn(&c, err);
		if (r == 0 && !c.renewed)
			r = wait_for_turn(&c, err);
	}
	return r;
}
