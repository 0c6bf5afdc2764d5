/* Nodes that tell what they have, as couriers do: all at first, then what has changed. */
#include <stdarg.h>
#include <stdio.h>

#include "lib/clock.h"
#include "load_join.h"

#define TICK_MS     5
#define USERS       500
#define CHANGE_EACH 5 /* of so many heartbeats one has a VM that ended and one that began */
#define RETRY_US    UINT64_C(1000000)

/* Heartbeats under way, when nodes begin: a busy machine takes longer than the ramp for them. */
#define BEGINNING_MAX 256
#define HEADER_ONCE   "Connection: close\r\n"

struct nodes;

struct node {
	struct load_client http;
	struct nodes *nodes;
	unsigned int number, life; /* `life`: how many VMs the first slot has had before */
	uint64_t sequence;
	bool full, change; /* what the heartbeat under way is */
	bool told;         /* all that there is, once */
};

struct nodes {
	struct load *load;
	struct load_identity identity;
	struct node *all;
	uint64_t *due_us; /* of each the next heartbeat */
	struct load_latency full, delta;
	unsigned int failed, late, told, busy;
	char reason[256];
};

/* A text that is put together. */
struct text {
	char *data;
	size_t size, length;
};

static void add(struct text *t, const char *format, ...) PRINTF(2, 3);
static void add(struct text *t, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	t->length += (size_t)vsnprintf(t->data + t->length, t->size - t->length, format, args);
	va_end(args);
	if (t->length >= t->size)
		abort();
}

static void add_vm(struct text *t, const struct node *n, unsigned int slot, unsigned int life)
{
	unsigned int number = n->number * n->nodes->load->vms + slot, user = number % USERS;
	char id[LOAD_ID_SIZE];

	load_vm_id(id, n->number, slot, life);
	add(t,
		"{\"id\":\"%s\",\"name\":\"vm-%u-%u\",\"state\":\"run\",\"user\":\"u%03u\","
		"\"uid\":%u,\"job\":{\"system\":\"slurm\",\"id\":\"%u\"},"
		"\"image\":\"el9:2026-11\",\"digest\":\"%064x\",\"cpus\":2,"
		"\"memory_bytes\":4294967296,\"started\":\"2026-11-27T10:00:00.000000Z\"}",
		id, number, life, user, 10000 + user, number + 1000000 * life, slot % 4);
}

static void add_vms(struct text *t, struct node *n)
{
	char id[LOAD_ID_SIZE];

	add(t, ",\"vms\":[");
	for (unsigned int slot = 0; n->full && slot < n->nodes->load->vms; slot++) {
		add(t, slot ? "," : "");
		add_vm(t, n, slot, slot ? 0 : n->life);
	}
	if (!n->full && n->change)
		add_vm(t, n, 0, n->life);
	add(t, "],\"gone\":[");
	if (!n->full && n->change) {
		load_vm_id(id, n->number, 0, n->life - 1);
		add(t, "\"%s\"", id);
	}
	add(t, "]");
}

static void beat(struct node *n)
{
	static char data[1 << 20];
	struct text t = {.data = data, .size = sizeof(data)};
	char name[LOAD_NAME_SIZE], path[64], boot[LOAD_ID_SIZE];

	load_node_name(name, n->number);
	load_vm_id(boot, n->number, 0xffff, 0);
	snprintf(path, sizeof(path), "/v1/nodes/%s/heartbeat", name);
	add(&t,
		"{\"boot\":\"%s\",\"sequence\":%llu,\"full\":%s,\"state\":\"up\",\"reason\":\"\","
		"\"version\":\"0.1.0\",\"cpus\":64,\"memory_bytes\":274877906944,"
		"\"status\":{\"vms\":%u,\"queue\":0,\"images\":4,\"store_bytes\":21474836480},"
		"\"configuration\":\"\"",
		boot, (unsigned long long)n->sequence, n->full ? "true" : "false",
		n->nodes->load->vms);
	add_vms(&t, n);
	add(&t, "}");
	n->nodes->busy++;
	load_client_send(&n->http, "POST", path, t.data, t.length);
}

static void note_failure(struct nodes *s, const struct node *n, const struct load_answer *answer)
{
	s->failed++;
	if (s->reason[0])
		return;
	snprintf(s->reason, sizeof(s->reason), "node %u: %d %.*s", n->number, answer->status,
		answer->reason ? 200 : (int)MIN_OF(answer->length, (size_t)200),
		answer->reason ? answer->reason : answer->body);
	fprintf(stderr, "site-load: %s\n", s->reason);
}

static void on_answer(struct load_client *c, const struct load_answer *answer)
{
	static const char wanted[] = "\"full\":true";
	struct node *n = c->userdata;
	struct nodes *s = n->nodes;
	uint64_t now = clock_now_us();

	s->busy--;
	if (answer->status != 200) {
		note_failure(s, n, answer);
		s->due_us[n->number] = now + RETRY_US;
		return;
	}
	load_latency_add(n->full ? &s->full : &s->delta, now - c->began_us);
	s->told += !n->told;
	n->told = true;
	n->sequence++;
	n->full = memmem(answer->body, answer->length, wanted, sizeof(wanted) - 1) != NULL;
	n->change = (n->number + n->sequence) % CHANGE_EACH == 0;
	n->life += n->change;
}

static void tick(struct nodes *s)
{
	uint64_t now = clock_now_us();

	for (unsigned int i = 0; i < s->load->nodes; i++) {
		if (now < s->due_us[i])
			continue;
		if (!s->all[i].told && s->busy >= BEGINNING_MAX)
			continue;
		s->due_us[i] = now + s->load->interval_s * UINT64_C(1000000);
		if (load_client_is_busy(&s->all[i].http))
			s->late++;
		else
			beat(&s->all[i]);
	}
}

/* Their first heartbeats are spread over the ramp. */
static void start(struct nodes *s)
{
	const struct load *l = s->load;
	uint64_t now = clock_now_us();

	s->all = calloc(l->nodes, sizeof(*s->all));
	s->due_us = calloc(l->nodes, sizeof(*s->due_us));
	if (!s->all || !s->due_us)
		abort();
	for (unsigned int i = 0; i < l->nodes; i++) {
		struct node *n = &s->all[i];

		n->nodes = s;
		n->number = i;
		n->full = true;
		load_client_init(&n->http, s->load, on_answer);
		n->http.userdata = n;
		n->http.target = &l->targets[l->target_count - 1];
		n->http.certificate = s->identity.certificates[i];
		n->http.key = s->identity.key;
		n->http.header = l->once ? HEADER_ONCE : NULL;
		s->due_us[i] = now + (uint64_t)l->ramp_s * 1000000 * i / l->nodes;
	}
}

static void serve(struct nodes *s)
{
	bool ramped = false;

	s->load->end_us = clock_now_us() + s->load->seconds * UINT64_C(1000000);
	while (clock_now_us() < s->load->end_us) {
		load_loop_wait(&s->load->loop, TICK_MS);
		tick(s);
		if (!ramped && s->told == s->load->nodes) {
			ramped = true;
			printf("{\"told\": %u}\n", s->told);
			fflush(stdout);
		}
	}
}

static void print(struct nodes *s)
{
	printf("{\"told\": %u, \"failed\": %u, \"late\": %u, \"handshakes\": %u, "
	       "\"resumed\": %u, \"full\": ",
		s->told, s->failed, s->late, s->load->loop.handshakes, s->load->loop.resumed);
	load_latency_print(&s->full);
	printf(", \"delta\": ");
	load_latency_print(&s->delta);
	printf("}\n");
}

bool load_nodes(struct load *l)
{
	struct nodes s = {.load = l};
	uint64_t began = clock_now_us();
	bool joined = load_join(l, &s.identity);

	if (joined) {
		printf("{\"joined\": %u, \"join_s\": %.1f}\n", l->nodes,
			(double)(clock_now_us() - began) / 1e6);
		fflush(stdout);
		start(&s);
		serve(&s);
		print(&s);
	}
	for (unsigned int i = 0; s.all && i < l->nodes; i++)
		load_client_done(&s.all[i].http);
	free(s.all);
	free(s.due_us);
	load_identity_done(&s.identity);
	load_latency_done(&s.full);
	load_latency_done(&s.delta);
	return joined && s.told == l->nodes && s.failed == 0;
}
