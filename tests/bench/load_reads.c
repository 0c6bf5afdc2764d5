/* Clients that read: one VM as fast as it goes, or several kinds of requests at a steady rate,
 * whose times count from when they were due. */
#include <stdio.h>

#include "lib/clock.h"
#include "site_load.h"

#define USERS          500
#define PATH_MAX_BYTES 160

struct reads;

static void path_vm(const struct load *l, char *ret);
static void path_page(const struct load *l, char *ret);
static void path_user(const struct load *l, char *ret);
static void path_of_node(const struct load *l, char *ret);
static void path_nodes(const struct load *l, char *ret);
static void path_node(const struct load *l, char *ret);

static const struct kind {
	const char *name;
	void (*path)(const struct load *l, char *ret);
} kinds[] = {
	{"vm", path_vm},            /* one VM */
	{"vm_page", path_page},     /* 100 VMs from anywhere */
	{"vms_of_user", path_user}, /* filtered */
	{"vms_of_node", path_of_node},
	{"node_page", path_nodes}, /* 100 nodes */
	{"node", path_node},
};

struct reader {
	struct load_client http;
	struct reads *reads;
	unsigned int kind;
	uint64_t due_us;
};

struct reads {
	struct load *load;
	struct reader *readers;
	struct load_latency latencies[ARRAY_SIZE(kinds)], all;
	uint64_t count, next_us, behind;
	unsigned int failed, busy, kind; /* `kind`: without a rate */
};

static unsigned int pick(unsigned int below)
{
	return (unsigned int)random() % MAX_OF(below, 1U);
}

/* The first VM of each node comes and goes. */
static void pick_vm(const struct load *l, char id[LOAD_ID_SIZE])
{
	load_vm_id(id, pick(l->nodes), l->vms > 1 ? 1 + pick(l->vms - 1) : 0, 0);
}

static void path_vm(const struct load *l, char *ret)
{
	char id[LOAD_ID_SIZE];

	pick_vm(l, id);
	snprintf(ret, PATH_MAX_BYTES, "/v1/vms/%s", id);
}

static void path_page(const struct load *l, char *ret)
{
	char id[LOAD_ID_SIZE];

	pick_vm(l, id);
	snprintf(ret, PATH_MAX_BYTES, "/v1/vms?limit=100&after=%s", id);
}

static void path_user(const struct load *l, char *ret)
{
	snprintf(ret, PATH_MAX_BYTES, "/v1/vms?user=u%03u&limit=100", pick(USERS));
}

static void path_of_node(const struct load *l, char *ret)
{
	char name[LOAD_NAME_SIZE];

	load_node_name(name, pick(l->nodes));
	snprintf(ret, PATH_MAX_BYTES, "/v1/vms?node=%s", name);
}

static void path_nodes(const struct load *l, char *ret)
{
	char name[LOAD_NAME_SIZE];

	load_node_name(name, pick(l->nodes));
	snprintf(ret, PATH_MAX_BYTES, "/v1/nodes?limit=100&after=%s", name);
}

static void path_node(const struct load *l, char *ret)
{
	char name[LOAD_NAME_SIZE];

	load_node_name(name, pick(l->nodes));
	snprintf(ret, PATH_MAX_BYTES, "/v1/nodes/%s", name);
}

static void ask(struct reader *r, uint64_t due_us)
{
	char path[PATH_MAX_BYTES];

	r->due_us = due_us;
	r->kind = r->reads->load->rate ? (unsigned int)(r->reads->count % ARRAY_SIZE(kinds))
				       : r->reads->kind;
	r->reads->count++;
	kinds[r->kind].path(r->reads->load, path);
	r->reads->busy++;
	load_client_send(&r->http, "GET", path, NULL, 0);
}

static void on_answer(struct load_client *c, const struct load_answer *answer)
{
	struct reader *r = c->userdata;
	struct reads *s = r->reads;
	uint64_t now = clock_now_us();

	s->busy--;
	if (answer->status == 200) {
		load_latency_add(&s->latencies[r->kind], now - r->due_us);
		load_latency_add(&s->all, now - r->due_us);
	} else if (s->failed++ == 0) {
		fprintf(stderr, "site-load: %s: %d %.*s\n", kinds[r->kind].name, answer->status,
			answer->reason ? 200 : (int)answer->length,
			answer->reason ? answer->reason : answer->body);
	}
	if (!s->load->rate && answer->status != 0 && now < s->load->end_us)
		ask(r, now);
}

/* Whoever is free takes what is due. */
static void tick(struct reads *s)
{
	uint64_t now = clock_now_us();

	for (unsigned int i = 0; i < s->load->clients && s->next_us <= now; i++) {
		if (load_client_is_busy(&s->readers[i].http))
			continue;
		ask(&s->readers[i], s->next_us);
		s->next_us += 1000000 / s->load->rate;
	}
	s->behind += s->next_us <= now;
}

static void start(struct reads *s)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++)
		if (streq(kinds[i].name, s->load->kind))
			s->kind = i;
	s->readers = calloc(s->load->clients, sizeof(*s->readers));
	if (!s->readers)
		abort();
	s->next_us = clock_now_us();
	for (unsigned int i = 0; i < s->load->clients; i++) {
		struct reader *r = &s->readers[i];

		r->reads = s;
		load_client_init(&r->http, s->load, on_answer);
		r->http.userdata = r;
		r->http.target = &s->load->targets[i % s->load->target_count];
		if (!s->load->rate)
			ask(r, clock_now_us());
	}
}

static void print(struct reads *s, uint64_t took_us)
{
	printf("{\"reads\": %llu, \"reads_s\": %.0f, \"failed\": %u, \"behind\": %llu, \"all\": ",
		(unsigned long long)s->count, (double)s->count * 1e6 / (double)took_us, s->failed,
		(unsigned long long)s->behind);
	load_latency_print(&s->all);
	for (size_t i = 0; s->load->rate && i < ARRAY_SIZE(kinds); i++) {
		printf(", \"%s\": ", kinds[i].name);
		load_latency_print(&s->latencies[i]);
	}
	printf("}\n");
}

bool load_reads(struct load *l)
{
	struct reads s = {.load = l};
	uint64_t began = clock_now_us();

	l->end_us = began + l->seconds * UINT64_C(1000000);
	start(&s);
	while (clock_now_us() < l->end_us) {
		load_loop_wait(&l->loop, l->rate ? 1 : 100);
		if (l->rate)
			tick(&s);
	}
	while (s.busy > 0 && clock_now_us() < l->end_us + LOAD_ANSWER_US)
		load_loop_wait(&l->loop, 100);
	print(&s, clock_now_us() - began);
	for (unsigned int i = 0; i < l->clients; i++)
		load_client_done(&s.readers[i].http);
	free(s.readers);
	load_latency_done(&s.all);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		load_latency_done(&s.latencies[i]);
	return s.count > 0 && s.failed == 0 && s.busy == 0;
}
