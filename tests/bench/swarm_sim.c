/* Many nodes that fetch one image, in one process: what they decide is decided by the library that
 * real nodes have (swarm, offer, throttle), what they send by simulated links. swarm-sim NODES
 * [OPTION=VALUE...] prints one line of JSON; docs/performance.md says what is simulated and what is
 * not.
 *
 * An answer is a flow from one link to another. Each link is shared evenly by the flows that use
 * it, and a flow has the smaller of its two shares; what one does not use because its other end is
 * slower is not given to others, so that links are worse here than they are. A chunk is there when
 * its last byte has come, and may be given on from then on. */
#include <assert.h>
#include <stdio.h>

#include "depot/offer.h"
#include "depot/swarm.h"
#include "depot/throttle.h"

#define MS UINT64_C(1000)

/* What is simulated. */
struct scene {
	uint64_t nodes, image_mib, link_mbit, origin_mbit, slots, requests, peers, near, rack, web,
		refresh_ms, latency_us, seed, killed, bad, spread_ms, origins, origin_slots;
};

static struct scene scene = {
	.image_mib = 256,
	.link_mbit = 200,
	.origin_mbit = 200,
	.slots = 8,
	.requests = 8,
	.peers = 20,
	.near = 10,
	.rack = 40,
	.refresh_ms = 4000,
	.latency_us = 1000,
	.seed = 1,
	.spread_ms = 1000,
	.origins = 1,
};

static const struct {
	const char *name;
	uint64_t *value;
} options[] = {
	{"image_mib", &scene.image_mib},
	{"link_mbit", &scene.link_mbit},
	{"origin_mbit", &scene.origin_mbit},
	{"slots", &scene.slots},
	{"requests", &scene.requests},
	{"peers", &scene.peers},
	{"near", &scene.near},
	{"rack", &scene.rack},
	{"refresh_ms", &scene.refresh_ms},
	{"latency_us", &scene.latency_us},
	{"seed", &scene.seed},
	{"web", &scene.web},
	{"killed", &scene.killed},
	{"bad", &scene.bad},
	{"spread_ms", &scene.spread_ms},
	{"origins", &scene.origins},
	{"origin_slots", &scene.origin_slots},
};

enum event_kind { EVENT_WAKE, EVENT_HEAD, EVENT_CHUNK, EVENT_REFRESH, EVENT_KILL };

struct event {
	uint64_t us;
	enum event_kind kind;
	uint32_t node, slot; /* slot: a request of the node's */
	uint32_t version;    /* of the flow, or of the node's wake */
};

struct flow {
	bool used, flowing;
	uint32_t to, from, slot, version;
	uint32_t chunks[PICK_CHUNKS_MAX];
	size_t count, done;
	double left, rate; /* bytes of the chunk that is next; bytes a us */
	uint64_t since_us;
	enum swarm_end refusal;
	bool refused;
	size_t next_up, next_down; /* lists of a link's flows, by index + 1 */
};

struct link {
	double rate; /* bytes a us */
	uint32_t *flows;
	size_t count, cap;
};

struct node {
	struct swarm *swarm;
	struct offer *offer;
	struct throttle throttle;
	struct link up, down;
	uint32_t sources[SWARM_SOURCES_MAX]; /* who they are */
	bool listed[SWARM_SOURCES_MAX];
	struct flow flows[SWARM_REQUESTS_MAX];
	uint32_t wake_version;
	uint64_t done_us, sent, received, twice;
	bool dead, bad;
};

/* First the nodes, from 1 on, then the origins; 0 is nobody. An origin is a controller, or a node
 * that has all; with web=1 a web server. Each knows what it has given, and not what others have. */
static struct node *nodes;
static uint32_t *sizes;
static size_t chunk_count;
static struct event *heap;
static size_t heap_count, heap_cap;
static uint64_t now, random_state, polls, origin_polls, events;
static size_t waiting; /* nodes that are not done */

static bool is_origin(uint32_t number)
{
	return number > scene.nodes;
}

static uint64_t next_random(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * UINT64_C(2685821657736338717) >> 11;
}

static void push(struct event e)
{
	size_t i = heap_count++;

	if (heap_count > heap_cap) {
		heap_cap = heap_cap ? 2 * heap_cap : 1024;
		heap = realloc(heap, heap_cap * sizeof(*heap));
		assert(heap);
	}
	while (i > 0 && heap[(i - 1) / 2].us > e.us) {
		heap[i] = heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	heap[i] = e;
}

static struct event pop(void)
{
	struct event first = heap[0], last = heap[--heap_count];
	size_t i = 0;

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= heap_count)
			break;
		if (child + 1 < heap_count && heap[child + 1].us < heap[child].us)
			child++;
		if (heap[child].us >= last.us)
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = last;
	return first;
}

static uint32_t flow_name(const struct flow *f)
{
	return f->to * SWARM_REQUESTS_MAX + f->slot;
}

static struct flow *flow_of(uint32_t name)
{
	return &nodes[name / SWARM_REQUESTS_MAX].flows[name % SWARM_REQUESTS_MAX];
}

static void link_add(struct link *l, uint32_t flow)
{
	if (l->count == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 16;
		l->flows = realloc(l->flows, l->cap * sizeof(*l->flows));
		assert(l->flows);
	}
	l->flows[l->count++] = flow;
}

static void link_remove(struct link *l, uint32_t flow)
{
	for (size_t i = 0; i < l->count; i++)
		if (l->flows[i] == flow) {
			l->flows[i] = l->flows[--l->count];
			return;
		}
	assert(false);
}

static void settle(struct flow *f)
{
	f->left -= f->rate * (double)(now - f->since_us);
	f->since_us = now;
}

static void schedule_chunk(struct flow *f)
{
	double us = f->left > 0 ? f->left / f->rate : 0;

	push((struct event){now + (uint64_t)us + 1, EVENT_CHUNK, f->to, f->slot, ++f->version});
}

static void share(struct link *l)
{
	for (size_t i = 0; i < l->count; i++) {
		struct flow *f = flow_of(l->flows[i]);
		const struct link *up = &nodes[f->from].up, *down = &nodes[f->to].down;
		double rate = MIN_OF(up->rate / (double)MAX_OF(up->count, 1U),
			down->rate / (double)MAX_OF(down->count, 1U));

		if (rate == f->rate)
			continue;
		settle(f);
		f->rate = rate;
		schedule_chunk(f);
	}
}

static void flow_start(struct flow *f)
{
	f->flowing = true;
	f->left = sizes[f->chunks[0]];
	f->rate = 0;
	f->since_us = now;
	link_add(&nodes[f->from].up, flow_name(f));
	link_add(&nodes[f->to].down, flow_name(f));
	share(&nodes[f->from].up);
	share(&nodes[f->to].down);
}

static void wake(uint32_t node, uint64_t us)
{
	push((struct event){us, EVENT_WAKE, node, 0, ++nodes[node].wake_version});
}

static void flow_end(struct flow *f, enum swarm_end how)
{
	if (f->flowing) {
		link_remove(&nodes[f->from].up, flow_name(f));
		link_remove(&nodes[f->to].down, flow_name(f));
		throttle_give_back(&nodes[f->from].throttle);
		share(&nodes[f->from].up);
		share(&nodes[f->to].down);
	}
	f->used = f->flowing = false;
	f->version++;
	swarm_end(nodes[f->to].swarm, f->slot, how, now);
	wake(f->to, now);
}

/* A request arrives, and what is decided about it. */
static void serve(uint32_t from, const struct swarm_ask *a, struct flow *f)
{
	struct node *giver = &nodes[from];
	const struct pick *pick = &a->pick;

	f->refused = true;
	f->refusal = SWARM_BUSY;
	polls++;
	origin_polls += is_origin(from);
	if (giver->dead) {
		f->refusal = SWARM_FAILED;
		return;
	}
	if (a->kind == SWARM_WEB) { /* who asks chooses, and all are served at once */
		giver->throttle.taken++;
		f->chunks[0] = a->chunk;
		f->count = 1;
		f->done = 0;
		f->refused = false;
		return;
	}
	if (!throttle_take(&giver->throttle, now))
		return;
	f->count = offer_pick(giver->offer, pick, f->chunks, PICK_CHUNKS_MAX);
	f->done = 0;
	f->refused = f->count == 0;
	f->refusal = SWARM_NOTHING;
	if (f->refused)
		throttle_give_back(&giver->throttle);
}

static void ask(uint32_t number)
{
	struct node *n = &nodes[number];
	struct swarm_ask a;
	uint64_t wait_us;

	while (!n->dead && swarm_next(n->swarm, now, &a, &wait_us)) {
		struct flow *f = &n->flows[a.request];

		f->used = true;
		f->flowing = false;
		f->to = number;
		f->slot = (uint32_t)a.request;
		f->from = n->sources[a.source];
		serve(f->from, &a, f);
		/* Who is dead is seen as such after a while. */
		push((struct event){now + (nodes[f->from].dead ? SWARM_STALL_US : scene.latency_us),
			EVENT_HEAD, number, f->slot, ++f->version});
	}
	if (!n->dead && n->done_us == 0)
		wake(number, now + wait_us);
}

static void on_head(struct node *n, struct flow *f)
{
	if (f->refused) {
		flow_end(f, f->refusal);
		return;
	}
	for (size_t i = 0; i < f->count && !(is_origin(f->from) && scene.web); i++)
		swarm_promise(n->swarm, f->slot, f->chunks[i]);
	flow_start(f);
}

static void on_chunk(struct node *n, struct flow *f)
{
	uint32_t chunk = f->chunks[f->done++];

	nodes[f->from].sent += sizes[chunk];
	n->received += sizes[chunk];
	swarm_hear(n->swarm, f->slot, sizes[chunk], now);
	if (nodes[f->from].bad) {
		flow_end(f, SWARM_BAD);
		return;
	}
	if (offer_has(n->offer, chunk))
		n->twice += sizes[chunk];
	offer_add(n->offer, chunk, !is_origin(f->from));
	swarm_have(n->swarm, 0, chunk);
	if (f->done == f->count) {
		flow_end(f, SWARM_DONE);
	} else {
		f->left = sizes[f->chunks[f->done]];
		f->since_us = now;
		schedule_chunk(f);
	}
	if (n->done_us == 0 && swarm_is_complete(n->swarm)) {
		n->done_us = now;
		waiting--;
	}
}

static bool is_source(const struct node *n, uint32_t peer)
{
	for (size_t i = 0; i < SWARM_SOURCES_MAX; i++)
		if (n->listed[i] && n->sources[i] == peer)
			return true;
	return false;
}

static void add_source(struct node *n, uint32_t peer)
{
	int i = swarm_add_source(n->swarm, !is_origin(peer) ? SWARM_PEER
					   : scene.web      ? SWARM_WEB
							    : SWARM_ORIGIN);

	if (i < 0)
		return;
	n->sources[i] = peer;
	n->listed[i] = true;
}

/* As a controller names them: some of the same rack, the others by chance. Those that are not named
 * again are not asked any more. */
static void refresh(uint32_t number)
{
	struct node *n = &nodes[number];
	uint64_t rack = MAX_OF(MIN_OF(scene.rack, scene.nodes), 1U),
		 first = (number - 1) / rack * rack;

	for (size_t i = 0; i < SWARM_SOURCES_MAX; i++)
		if (n->listed[i] && !is_origin(n->sources[i])) {
			swarm_remove_source(n->swarm, i);
			n->listed[i] = false;
		}
	for (uint64_t tries = 0, got = 0; tries < 10 * scene.peers && got < scene.peers; tries++) {
		bool near = got < scene.near;
		uint64_t peer = near ? first + next_random() % rack : next_random() % scene.nodes;

		peer++;
		if (peer > scene.nodes || peer == number || is_source(n, (uint32_t)peer))
			continue;
		add_source(n, (uint32_t)peer);
		got++;
	}
	push((struct event){now + scene.refresh_ms * MS, EVENT_REFRESH, number, 0, 0});
}

static void kill_node(uint32_t number)
{
	struct node *n = &nodes[number];

	n->dead = true;
	waiting -= n->done_us == 0;
	/* What it was sending stops; those who wait see that after a while. */
	while (n->up.count > 0) {
		struct flow *f = flow_of(n->up.flows[0]);

		link_remove(&n->up, flow_name(f));
		link_remove(&nodes[f->to].down, flow_name(f));
		share(&nodes[f->to].down);
		f->flowing = false;
		f->refused = true;
		f->refusal = SWARM_FAILED;
		push((struct event){
			now + SWARM_STALL_US, EVENT_HEAD, f->to, f->slot, ++f->version});
	}
	for (size_t i = 0; i < SWARM_REQUESTS_MAX; i++)
		if (n->flows[i].used && n->flows[i].flowing)
			flow_end(&n->flows[i], SWARM_FAILED);
}

static void handle(const struct event *e)
{
	struct node *n = &nodes[e->node];
	struct flow *f = &n->flows[e->slot];

	switch (e->kind) {
	case EVENT_WAKE:
		if (e->version == n->wake_version)
			ask(e->node);
		break;
	case EVENT_HEAD:
		if (f->used && e->version == f->version && !n->dead)
			on_head(n, f);
		break;
	case EVENT_CHUNK:
		if (f->used && e->version == f->version)
			on_chunk(n, f);
		break;
	case EVENT_REFRESH:
		if (n->done_us == 0 && !n->dead)
			refresh(e->node);
		break;
	case EVENT_KILL:
		kill_node(e->node);
		break;
	}
}

static void make_chunks(void)
{
	uint64_t left = scene.image_mib << 20;

	sizes = calloc(left / 16384 + 2, sizeof(*sizes));
	assert(sizes);
	while (left > 0) { /* 16 to 256 KiB, 80 on average, in pages */
		uint64_t size = (4 + next_random() % 16 + next_random() % 17) * 4096;

		sizes[chunk_count] = (uint32_t)MIN_OF(size, left);
		left -= sizes[chunk_count++];
	}
}

static void make_node(uint32_t number)
{
	struct node *n = &nodes[number];
	uint64_t mbit = is_origin(number) ? scene.origin_mbit : scene.link_mbit;
	uint64_t slots = is_origin(number) && scene.origin_slots ? scene.origin_slots : scene.slots;

	n->offer = offer_new(sizes, chunk_count, next_random());
	throttle_init(&n->throttle, slots, 0, 0);
	n->up.rate = n->down.rate = (double)mbit / 8;
	assert(n->offer);
	if (is_origin(number)) {
		for (uint32_t i = 0; i < chunk_count; i++)
			offer_add(n->offer, i, false);
		return;
	}
	n->swarm = swarm_new(scene.requests, next_random());
	assert(n->swarm && swarm_add_part(n->swarm, sizes, chunk_count) == 0);
	for (uint32_t i = 1; i <= scene.origins; i++)
		add_source(n, (uint32_t)scene.nodes + i);
	n->bad = number > scene.killed && number <= scene.killed + scene.bad;
	now = next_random() % (scene.spread_ms * MS + 1);
	refresh(number);
	wake(number, now);
	if (number <= scene.killed)
		push((struct event){2000 * MS + number * 1000 * MS, EVENT_KILL, number, 0, 0});
	waiting += !n->bad;
	n->done_us = n->bad;
}

static void print_result(void)
{
	uint64_t last = 0, received = 0, twice = 0, done = 0, sent = 0;
	double ideal = (double)(scene.image_mib << 20) / ((double)scene.link_mbit / 8);

	for (uint32_t i = 1; i <= scene.nodes; i++) {
		const struct node *n = &nodes[i];

		if (n->dead || n->bad)
			continue;
		last = MAX_OF(last, n->done_us);
		received += n->received;
		twice += n->twice;
		done++;
	}
	for (uint64_t i = 1; i <= scene.origins; i++)
		sent += nodes[scene.nodes + i].sent;
	printf("{\"nodes\":%llu,\"done\":%llu,\"last_s\":%.2f,\"link_s\":%.2f,\"ratio\":%.3f,"
	       "\"origin_copies\":%.2f,\"twice_percent\":%.1f,\"polls\":%llu,"
	       "\"origin_polls\":%llu,\"events\":%llu}\n",
		(unsigned long long)scene.nodes, (unsigned long long)done, (double)last / 1e6,
		ideal / 1e6, (double)last / ideal, (double)sent / (double)(scene.image_mib << 20),
		100.0 * (double)twice / (double)received, (unsigned long long)polls,
		(unsigned long long)origin_polls, (unsigned long long)events);
}

static bool take_option(const char *text)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		const char *value = str_after(text, options[i].name);

		if (value && *value == '=') {
			*options[i].value = strtoull(value + 1, NULL, 10);
			return true;
		}
	}
	return false;
}

int main(int argc, char **argv)
{
	scene.nodes = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
	for (int i = 2; i < argc; i++)
		if (!take_option(argv[i]))
			scene.nodes = 0;
	if (scene.nodes == 0) {
		fprintf(stderr, "Usage: swarm-sim NODES [OPTION=NUMBER...]\n");
		return 2;
	}
	random_state = scene.seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	nodes = calloc(scene.nodes + scene.origins + 1, sizeof(*nodes));
	assert(nodes);
	make_chunks();
	for (uint32_t i = 1; i <= scene.nodes + scene.origins; i++)
		make_node(i);
	now = 0;
	while (waiting > 0 && heap_count > 0) {
		struct event e = pop();

		now = e.us;
		events++;
		handle(&e);
	}
	print_result();
	return waiting > 0;
}
