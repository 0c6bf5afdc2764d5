/* Clients that get leases and give them back. A client's request is one that it repeats until there
 * is an answer, at one controller after the other, as a node does. */
#include <jansson.h>
#include <stdio.h>

#include "lib/clock.h"
#include "lib/uuid.h"
#include "site_load.h"

#define KEYS 3 /* name, mac, address */

struct holder {
	struct load_client http;
	struct load *load;
	struct leases *leases;
	size_t target;
	bool holds; /* what it asks for is to give it back */
	bool over;  /* no more work */
	char id[UUID_TEXT_SIZE];
	char keys[KEYS][64]; /* of the lease; empty: none */
	uint64_t wanted_us;  /* since when the answer is waited for, over all tries */
	uint64_t retry_us;   /* when to try again; 0: a request is under way */
	unsigned int tries;
};

struct leases {
	struct load *load;
	struct holder *holders;
	struct load_latency give, take;
	unsigned int pairs, failed, retried, twice, running;
	uint64_t outage_us; /* the longest that one waited who had to ask again */
	char reason[256];   /* of the first failure */
};

static const char *const key_names[KEYS] = {"name", "mac", "address"};

static void note(struct leases *s, const char *format, ...) PRINTF(2, 3);
static void note(struct leases *s, const char *format, ...)
{
	va_list args;

	if (s->reason[0])
		return;
	va_start(args, format);
	vsnprintf(s->reason, sizeof(s->reason), format, args);
	va_end(args);
	for (char *c = s->reason; *c; c++)
		if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
			*c = '\'';
}

static void ask(struct holder *h)
{
	char path[64], body[128];
	int n = snprintf(body, sizeof(body), "{\"pool\":\"%s\"}", h->load->pool);

	h->retry_us = 0;
	snprintf(path, sizeof(path), "/v1/leases/%s", h->id);
	if (h->holds)
		load_client_send(&h->http, "DELETE", path, NULL, 0);
	else
		load_client_send(&h->http, "PUT", path, body, (size_t)n);
}

static void begin(struct holder *h)
{
	h->wanted_us = clock_now_us();
	h->tries = 0;
	ask(h);
}

static void begin_pair(struct holder *h)
{
	h->holds = false;
	if (clock_now_us() >= h->load->end_us || uuid_new(h->id) < 0) {
		h->over = true;
		h->leases->running--;
		return;
	}
	begin(h);
}

/* From here on the lease may be another's. */
static void begin_return(struct holder *h)
{
	memset(h->keys, 0, sizeof(h->keys));
	h->holds = true;
	begin(h);
}

/* Nobody else has what this one got. */
static void check_lease(struct holder *h, const struct load_answer *answer)
{
	struct leases *s = h->leases;
	json_t *lease = json_loadb(answer->body, answer->length, 0, NULL);

	for (int k = 0; k < KEYS; k++) {
		const char *text = json_string_value(json_object_get(lease, key_names[k]));

		snprintf(h->keys[k], sizeof(h->keys[k]), "%s", text ? text : "");
		for (unsigned int i = 0; i < h->load->clients; i++) {
			const struct holder *other = &s->holders[i];

			if (other == h || !streq(other->keys[k], h->keys[k]))
				continue;
			s->twice++;
			note(s, "%s '%s' is held by leases %s and %s", key_names[k], h->keys[k],
				other->id, h->id);
		}
	}
	json_decref(lease);
}

static void end_request(struct holder *h, struct load_latency *latency)
{
	uint64_t took = clock_now_us() - h->wanted_us;

	load_latency_add(latency, took);
	if (h->tries > 0)
		h->leases->outage_us = MAX_OF(h->leases->outage_us, took);
}

static void give_up(struct holder *h, const struct load_answer *answer)
{
	struct leases *s = h->leases;

	s->failed++;
	note(s, "%s: %d %.*s", h->holds ? "DELETE" : "PUT", answer->status,
		answer->reason ? 200 : (int)MIN_OF(answer->length, (size_t)200),
		answer->reason ? answer->reason : answer->body);
	/* A bound: where all fails, it is not tried as fast as it goes. */
	h->wanted_us = clock_now_us();
	h->tries = 0;
	h->holds = false;
	if (uuid_new(h->id) < 0 || s->failed > 1000 || h->wanted_us >= h->load->end_us) {
		h->over = true;
		s->running--;
		return;
	}
	h->retry_us = h->wanted_us + LOAD_PAUSE_US;
}

/* There is no answer, or one that says to come again. */
static void again(struct holder *h, const struct load_answer *answer)
{
	if (clock_now_us() - h->wanted_us > LOAD_PATIENCE_US) {
		give_up(h, answer);
		return;
	}
	h->leases->retried++;
	h->tries++;
	h->target = (h->target + 1) % h->load->target_count;
	load_client_fail(&h->http, "another is asked");
	h->http.target = &h->load->targets[h->target];
	h->retry_us = clock_now_us() + (h->tries < h->load->target_count ? 1 : LOAD_PAUSE_US);
}

static void on_answer(struct load_client *c, const struct load_answer *answer)
{
	struct holder *h = c->userdata;

	if (answer->status == 0 || answer->status == 429 || answer->status >= 500) {
		again(h, answer);
	} else if (answer->status >= 300) {
		give_up(h, answer);
	} else if (h->holds) {
		end_request(h, &h->leases->take);
		h->leases->pairs++;
		begin_pair(h);
	} else {
		end_request(h, &h->leases->give);
		if (h->load->check)
			check_lease(h, answer);
		begin_return(h);
	}
}

/* Tries again whoever is to, and ends what takes too long. */
static void tick(struct leases *s)
{
	uint64_t now = clock_now_us();

	for (unsigned int i = 0; i < s->load->clients; i++) {
		struct holder *h = &s->holders[i];

		if (h->over)
			continue;
		if (h->retry_us && now >= h->retry_us)
			ask(h);
		else if (!h->retry_us && now > h->http.began_us + LOAD_ANSWER_US)
			load_client_fail(&h->http, "no answer in time");
	}
}

static void start(struct leases *s)
{
	for (unsigned int i = 0; i < s->load->clients; i++) {
		struct holder *h = &s->holders[i];

		h->leases = s;
		h->load = s->load;
		h->target = i % s->load->target_count;
		load_client_init(&h->http, s->load, on_answer);
		h->http.userdata = h;
		h->http.target = &s->load->targets[h->target];
		s->running++;
		begin_pair(h);
	}
}

static void print(struct leases *s, uint64_t took_us)
{
	printf("{\"pairs\": %u, \"pairs_s\": %.1f, \"failed\": %u, \"retried\": %u, "
	       "\"twice\": %u, \"outage_s\": %.3f, \"reason\": \"%s\", \"give\": ",
		s->pairs, s->pairs * 1e6 / (double)took_us, s->failed, s->retried, s->twice,
		(double)s->outage_us / 1e6, s->reason);
	load_latency_print(&s->give);
	printf(", \"take\": ");
	load_latency_print(&s->take);
	printf("}\n");
}

bool load_leases(struct load *l)
{
	struct leases s = {.load = l, .holders = calloc(l->clients, sizeof(*s.holders))};
	uint64_t began = clock_now_us();

	if (!s.holders)
		abort();
	l->end_us = began + l->seconds * UINT64_C(1000000);
	start(&s);
	while (s.running > 0) {
		load_loop_wait(&l->loop, 10);
		tick(&s);
	}
	print(&s, clock_now_us() - began);
	for (unsigned int i = 0; i < l->clients; i++)
		load_client_done(&s.holders[i].http);
	free(s.holders);
	load_latency_done(&s.give);
	load_latency_done(&s.take);
	return s.pairs > 0 && s.failed == 0 && s.twice == 0;
}
