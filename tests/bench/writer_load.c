/* How many small changes a second the controller's writer keeps: writer-load URL CLIENTS SECONDS
 * Each client is a thread that asks for one change, waits until it is on the disk, and asks for the
 * next. In the database `url`, which must be empty. Prints
 *   {"changes_s":n,"transactions_s":n,"p50_ms":n,"p95_ms":n,"p99_ms":n,"max_ms":n,...} */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "controller/schema.h"
#include "controller/writer.h"
#include "lib/clock.h"
#include "load_latency.h"

#define CLIENTS_MAX 1024

struct client {
	struct writer_job job; /* first */
	struct writer *writer;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool done;
	int64_t number, result;
	uint64_t end_us;
	struct load_latency latency;
};

static int work(struct writer_job *job, struct sql *db)
{
	struct client *c = (struct client *)(void *)job;

	return sql_change(db, NULL,
		       "INSERT INTO event (sequence, time, kind, subject, actor, detail_json)"
		       " VALUES (?1, ?2, 'node.up', 'node:n1', 'root', '{}')",
		       sql_number(c->number), sql_number((int64_t)clock_now_us())) < 0
		       ? -1
		       : 0;
}

static void done(struct writer_job *job, int result, const struct error *err)
{
	struct client *c = (struct client *)(void *)job;

	if (result < 0)
		fprintf(stderr, "writer-load: %s\n", err->text);
	pthread_mutex_lock(&c->lock);
	c->done = true;
	c->result = result;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
}

static void *run(void *userdata)
{
	static atomic_int next;
	struct client *c = userdata;
	uint64_t began;

	c->result = 0;
	while (c->result == 0 && (began = clock_now_us()) < c->end_us) {
		c->job = (struct writer_job){.work = work, .done = done};
		c->number = atomic_fetch_add(&next, 1) + 1;
		c->done = false;
		if (writer_add(c->writer, &c->job) < 0)
			break;
		pthread_mutex_lock(&c->lock);
		while (!c->done)
			pthread_cond_wait(&c->wake, &c->lock);
		pthread_mutex_unlock(&c->lock);
		load_latency_add(&c->latency, clock_now_us() - began);
	}
	return NULL;
}

static void print(
	struct client *clients, int count, double seconds, const struct writer_usage *usage)
{
	struct load_latency all = {0};

	for (int i = 0; i < count; i++)
		for (size_t n = 0; n < clients[i].latency.count; n++)
			load_latency_add(&all, clients[i].latency.us[n]);
	printf("{\"changes_s\": %.0f, \"transactions_s\": %.0f, \"latency\": ",
		(double)all.count / seconds, (double)usage->transactions / seconds);
	load_latency_print(&all);
	printf("}\n");
	load_latency_done(&all);
}

static void load(struct writer *w, int count, uint64_t seconds)
{
	static struct client clients[CLIENTS_MAX];
	uint64_t began = clock_now_us();
	struct writer_usage usage;

	for (int i = 0; i < count; i++) {
		struct client *c = &clients[i];

		pthread_mutex_init(&c->lock, NULL);
		pthread_cond_init(&c->wake, NULL);
		c->writer = w;
		c->end_us = began + seconds * 1000000;
		if (pthread_create(&c->thread, NULL, run, c) != 0)
			abort();
	}
	for (int i = 0; i < count; i++)
		pthread_join(clients[i].thread, NULL);
	writer_get_usage(w, &usage);
	print(clients, count, (double)(clock_now_us() - began) / 1e6, &usage);
}

static int prepare(const char *url, struct error *err)
{
	struct sql *db AUTO(sql_freep) = NULL;
	int r = sql_open(url, &db, err);

	return r < 0 ? r : schema_upgrade(db, err);
}

int main(int argc, char **argv)
{
	struct writer *writer AUTO(writer_freep) = NULL;
	struct error err = {0};
	int clients = argc == 4 ? atoi(argv[2]) : 0;

	if (clients < 1 || clients > CLIENTS_MAX || atoi(argv[3]) < 1) {
		fprintf(stderr, "write: writer-load URL CLIENTS SECONDS\n");
		return 2;
	}
	if (prepare(argv[1], &err) < 0 || writer_new(argv[1], &writer, &err) < 0) {
		fprintf(stderr, "writer-load: %s\n", err.text);
		return 1;
	}
	load(writer, clients, (uint64_t)atoi(argv[3]));
	return 0;
}
