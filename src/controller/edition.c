#include "controller/edition.h"

#include <pthread.h>

struct editions {
	pthread_mutex_t lock;
	struct edition *newest;
};

struct editions *editions_new(void)
{
	struct editions *es = calloc(1, sizeof(*es));

	if (es)
		pthread_mutex_init(&es->lock, NULL);
	return es;
}

struct editions *editions_free(struct editions *es)
{
	if (!es)
		return NULL;
	edition_unref(es->newest);
	pthread_mutex_destroy(&es->lock);
	free(es);
	return NULL;
}

struct edition *edition_unref(struct edition *e)
{
	if (e && --e->references == 0) {
		free(e->text);
		free(e);
	}
	return NULL;
}

struct edition *editions_find(struct editions *es, int64_t revision)
{
	struct edition *e = NULL;

	if (!es)
		return NULL;
	pthread_mutex_lock(&es->lock);
	if (es->newest && es->newest->revision == revision) {
		e = es->newest;
		e->references++;
	}
	pthread_mutex_unlock(&es->lock);
	return e;
}

struct edition *editions_add(struct editions *es, int64_t revision, char *text)
{
	struct edition *e = calloc(1, sizeof(*e)), *old = NULL;

	if (!e) {
		free(text);
		return NULL;
	}
	e->revision = revision;
	e->text = text;
	e->length = strlen(text);
	e->references = 1;
	if (!es)
		return e;
	pthread_mutex_lock(&es->lock);
	/* A thread that reads may see an older one than another thread has seen already. */
	if (!es->newest || es->newest->revision < revision) {
		old = es->newest;
		es->newest = e;
		e->references++;
	}
	pthread_mutex_unlock(&es->lock);
	edition_unref(old);
	return e;
}
