/* Nodes that follow the catalogue of images and fetch one at the same time: each, with a
 * certificate of its own, asks whether the catalogue has changed, and which nodes have the image,
 * at the intervals of a node. Times count from when a request was due. */
#include <inttypes.h>
#include <stdio.h>

#include "lib/clock.h"
#include "load_join.h"
#include "site_load.h"

#define SECOND UINT64_C(1000000)

/* As the courier and the porter ask. */
#define CATALOGUE_US (5 * SECOND)
#define PEERS_US     (4 * SECOND)

enum kind { CATALOGUE, PEERS, KINDS };

static const struct {
	const char *name;
	uint64_t interval_us;
} kinds[KINDS] = {
	[CATALOGUE] = {"catalogue", CATALOGUE_US},
	[PEERS] = {"peers", PEERS_US},
};

struct follower {
	struct load_client http;
	struct followers *all;
	enum kind kind;
	uint64_t asked_us; /* when what is under way was due */
	uint64_t due_us[KINDS];
	char extra[64]; /* a line of the header: which catalogue it has */
};

struct followers {
	struct load *load;
	struct follower *nodes;
	struct load_latency latencies[KINDS], whole; /* `whole`: catalogues that were sent */
	uint64_t statuses[KINDS][600], bytes;
	unsigned int busy, failed;
};

static void ask(struct follower *f, enum kind kind)
{
	struct followers *all = f->all;
	const struct load *l = all->load;
	char path[160];

	f->kind = kind;
	f->asked_us = f->due_us[kind];
	f->due_us[kind] += kinds[kind].interval_us;
	all->busy++;
	f->http.header = kind == CATALOGUE ? f->extra : "";
	snprintf(path, sizeof(path), "/v1/images/%s/peers", l->digest);
	load_client_send(&f->http, "GET", kind == PEERS ? path : "/v1/catalogue", NULL, 0);
}

static void note_etag(struct follower *f, const struct load_answer *answer)
{
	static const char name[] = "\"revision\":";
	const char *at = memmem(answer->body, answer->length, name, sizeof(name) - 1);

	if (at)
		snprintf(f->extra, sizeof(f->extra), "If-None-Match: \"%" PRIu64 "\"\r\n",
			(uint64_t)strtoull(at + sizeof(name) - 1, NULL, 10));
}

static void on_answer(struct load_client *c, const struct load_answer *answer)
{
	struct follower *f = c->userdata;
	struct followers *all = f->all;
	uint64_t took = clock_now_us() - f->asked_us;

	all->busy--;
	all->statuses[f->kind][MIN_OF(MAX_OF(answer->status, 0), 599)]++;
	if (answer->status == 0 || answer->status >= 400) {
		if (all->failed++ == 0)
			fprintf(stderr, "site-load: %s: %d %.*s\n", kinds[f->kind].name,
				answer->status, answer->reason ? 200 : (int)answer->length,
				answer->reason ? answer->reason : answer->body);
		return;
	}
	if (f->kind == CATALOGUE && answer->status == 200) {
		note_etag(f, answer);
		all->bytes = answer->length;
		load_latency_add(&all->whole, took);
	} else {
		load_latency_add(&all->latencies[f->kind], took);
	}
}

static void tick(struct followers *all)
{
	uint64_t now = clock_now_us();

	for (unsigned int i = 0; i < all->load->nodes; i++) {
		struct follower *f = &all->nodes[i];

		for (enum kind k = 0; k < KINDS && !load_client_is_busy(&f->http); k++)
			if (f->due_us[k] <= now)
				ask(f, k);
	}
}

static void start(struct followers *all, struct load_identity *identity)
{
	uint64_t now = clock_now_us();

	all->nodes = calloc(all->load->nodes, sizeof(*all->nodes));
	if (!all->nodes)
		abort();
	for (unsigned int i = 0; i < all->load->nodes; i++) {
		struct follower *f = &all->nodes[i];

		f->all = all;
		load_client_init(&f->http, all->load, on_answer);
		f->http.userdata = f;
		f->http.target = &all->load->targets[all->load->target_count - 1];
		f->http.certificate = identity->certificates[i];
		f->http.key = identity->key;
		for (enum kind k = 0; k < KINDS; k++)
			f->due_us[k] = now + (uint64_t)random() % kinds[k].interval_us;
	}
}

static void print(struct followers *all)
{
	printf("{\"nodes\": %u, \"failed\": %u, \"catalogue_bytes\": %llu, \"catalogues_sent\": ",
		all->load->nodes, all->failed, (unsigned long long)all->bytes);
	load_latency_print(&all->whole);
	for (enum kind k = 0; k < KINDS; k++) {
		printf(", \"%s\": ", kinds[k].name);
		load_latency_print(&all->latencies[k]);
		printf(", \"%s_statuses\": {", kinds[k].name);
		for (unsigned int i = 0, any = 0; i < 600; i++)
			if (all->statuses[k][i])
				printf("%s\"%u\": %llu", any++ ? ", " : "", i,
					(unsigned long long)all->statuses[k][i]);
		printf("}");
	}
	printf("}\n");
}

bool load_images(struct load *l)
{
	struct followers all = {.load = l};
	struct load_identity identity;
	bool joined = load_join(l, &identity);

	printf("{\"joined\": %u}\n", joined ? l->nodes : 0);
	fflush(stdout);
	if (joined) {
		l->end_us = clock_now_us() + l->seconds * SECOND;
		start(&all, &identity);
		while (clock_now_us() < l->end_us) {
			load_loop_wait(&l->loop, 2);
			tick(&all);
		}
		while (all.busy > 0 && clock_now_us() < l->end_us + LOAD_ANSWER_US)
			load_loop_wait(&l->loop, 100);
		print(&all);
	}
	for (unsigned int i = 0; all.nodes && i < l->nodes; i++)
		load_client_done(&all.nodes[i].http);
	free(all.nodes);
	load_identity_done(&identity);
	load_latency_done(&all.whole);
	for (enum kind k = 0; k < KINDS; k++)
		load_latency_done(&all.latencies[k]);
	return joined && all.failed == 0 && all.busy == 0;
}
