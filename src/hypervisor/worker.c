#include "hypervisor/worker.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include "lib/thread.h"

struct worker {
	sd_event_source *source;
	int done_fd; /* eventfd: the thread has done a job */
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* of all below */
	pthread_cond_t wake;
	bool ending;
	struct worker_job *todo, *done;
};

static void append(struct worker_job **list, struct worker_job *job)
{
	while (*list)
		list = &(*list)->next;
	job->next = NULL;
	*list = job;
}

static struct worker_job *take(struct worker_job **list)
{
	struct worker_job *job = *list;

	if (job)
		*list = job->next;
	return job;
}

/* Returns the next job, or NULL when it is time to end. */
static struct worker_job *await(struct worker *w)
{
	struct worker_job *job;

	pthread_mutex_lock(&w->lock);
	while (!w->todo && !w->ending)
		pthread_cond_wait(&w->wake, &w->lock);
	job = w->ending ? NULL : take(&w->todo);
	pthread_mutex_unlock(&w->lock);
	return job;
}

static void *run(void *userdata)
{
	struct worker *w = userdata;
	struct worker_job *job;

	while ((job = await(w))) {
		job->work(job);
		pthread_mutex_lock(&w->lock);
		append(&w->done, job);
		pthread_mutex_unlock(&w->lock);
		eventfd_write(w->done_fd, 1);
	}
	return NULL;
}

static struct worker_job *take_done(struct worker *w)
{
	struct worker_job *job;

	pthread_mutex_lock(&w->lock);
	job = take(&w->done);
	pthread_mutex_unlock(&w->lock);
	return job;
}

static int on_done(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct worker *w = userdata;
	struct worker_job *job;
	eventfd_t count;

	eventfd_read(fd, &count);
	while ((job = take_done(w)))
		job->done(job, false);
	return 0;
}

static int start(struct worker *w)
{
	int r = thread_start(&w->thread, run, w);

	w->started = r == 0;
	return r;
}

int worker_new(sd_event *event, struct worker **ret, struct error *err)
{
	struct worker *w AUTO(worker_freep) = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return fail(err, -ENOMEM, "out of memory");
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, NULL);
	w->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = w->done_fd < 0 ? -errno
			   : sd_event_add_io(event, &w->source, w->done_fd, EPOLLIN, on_done, w);
	if (r >= 0)
		r = start(w);
	if (r < 0)
		return fail_errno(err, r, "cannot start a thread");
	*ret = TAKE_PTR(w);
	return 0;
}

void worker_add(struct worker *w, struct worker_job *job)
{
	pthread_mutex_lock(&w->lock);
	append(&w->todo, job);
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
}

struct worker *worker_free(struct worker *w)
{
	struct worker_job *job;

	if (!w)
		return NULL;
	pthread_mutex_lock(&w->lock);
	w->ending = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	if (w->started)
		pthread_join(w->thread, NULL);
	while ((job = take(&w->done)) || (job = take(&w->todo)))
		job->done(job, true);
	sd_event_source_disable_unref(w->source);
	base_close(w->done_fd);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	free(w);
	return NULL;
}
