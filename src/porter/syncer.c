#include "porter/syncer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "image/manifest.h"

#define PERIOD_S 2

struct syncer {
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t changed;
	bool ending;
	struct assembly *assemblies[MANIFEST_PARTS_MAX];
	size_t count;
	struct error err;
};

static void *run(void *userdata)
{
	struct syncer *s = userdata;
	struct timespec t;

	pthread_mutex_lock(&s->lock);
	while (!s->ending) {
		clock_gettime(CLOCK_MONOTONIC, &t);
		t.tv_sec += PERIOD_S;
		if (pthread_cond_timedwait(&s->changed, &s->lock, &t) != ETIMEDOUT)
			continue;
		for (size_t i = 0; i < s->count && !s->ending; i++) {
			struct assembly *a = s->assemblies[i];
			struct error err = {0};

			pthread_mutex_unlock(&s->lock);
			assembly_sync(a, &err);
			pthread_mutex_lock(&s->lock);
			if (err.code < 0)
				s->err = err;
		}
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

int syncer_new(struct syncer **ret, struct error *err)
{
	struct syncer *s AUTO(syncer_freep) = calloc(1, sizeof(*s));
	pthread_condattr_t attributes;
	sigset_t all, before;
	int r;

	if (!s)
		return fail(err, -ENOMEM, "out of memory");
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&s->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = -pthread_create(&s->thread, NULL, run, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	s->started = r == 0;
	if (r < 0)
		return fail_errno(err, r, "cannot start a thread");
	*ret = TAKE_PTR(s);
	return 0;
}

int syncer_add(struct syncer *s, struct assembly *a)
{
	int r = -E2BIG;

	pthread_mutex_lock(&s->lock);
	if (s->count < ARRAY_SIZE(s->assemblies)) {
		s->assemblies[s->count++] = a;
		r = 0;
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

int syncer_check(struct syncer *s, struct error *err)
{
	int r;

	pthread_mutex_lock(&s->lock);
	r = s->err.code < 0 ? fail(err, s->err.code, "%s", s->err.text) : 0;
	pthread_mutex_unlock(&s->lock);
	return r;
}

struct syncer *syncer_free(struct syncer *s)
{
	if (!s)
		return NULL;
	if (s->started) {
		pthread_mutex_lock(&s->lock);
		s->ending = true;
		pthread_cond_signal(&s->changed);
		pthread_mutex_unlock(&s->lock);
		pthread_join(s->thread, NULL);
	}
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->changed);
	free(s);
	return NULL;
}
