#include "controller/stream.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "controller/controller.h"
#include "controller/event.h"
#include "controller/listing.h"
#include "controller/reader.h"
#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "lib/thread.h"

/* How often the database is asked for what others have done, and how soon again after something was
 * done here. */
#define POLL_US  1000000
#define PAUSE_US 20000

/* A comment says that the connection is alive. */
#define COMMENT_US 15000000

/* Then the client comes again, and is looked at again: its token may have been revoked. */
#define LIFE_US (10 * UINT64_C(60000000))

#define PAGE       100
#define BLOCK_SIZE 4096

struct streams {
	char *url;
	size_t max;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* of all below, and of the streams' members that say so */
	pthread_cond_t wake;
	struct stream *first;
	size_t count;
	int64_t last; /* the newest event that the thread has seen */
	bool woken, ending;
};

struct stream {
	struct streams *owner;
	struct stream *next, **link;
	struct MHD_Connection *connection;
	struct caller caller;
	char *kinds;      /* NULL: all */
	int64_t sequence; /* all up to it are sent, or were not for this client */
	struct buffer out;
	uint64_t opened_us;
	_Atomic(uint64_t) spoken_us;
	bool fresh; /* nothing has been looked for yet */
	/* With the lock: */
	bool suspended, woken, behind;
};

/* With the lock. */
static void stream_wake(struct stream *s)
{
	s->woken = true;
	if (!s->suspended)
		return;
	s->suspended = false;
	MHD_resume_connection(s->connection);
}

static void append(struct stream *s, const char *format, ...) PRINTF(2, 3);
static void append(struct stream *s, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	buffer_append(&s->out, text, strlen(text));
}

/* An event's data has no line feed: JSON writes it as "\n". */
static void append_event(struct stream *s, json_t *event)
{
	char *text = json_dumps(event, JSON_COMPACT);
	const char *kind = json_string_value(json_object_get(event, "kind"));

	if (text) {
		append(s, "id: %" JSON_INTEGER_FORMAT "\nevent: %s\ndata: ",
			json_integer_value(json_object_get(event, "sequence")),
			kind ? kind : "message");
		buffer_append(&s->out, text, strlen(text));
		append(s, "\n\n");
	}
	free(text);
}

static int look(struct stream *s, struct error *err)
{
	json_t *events = NULL, *event;
	struct sql *db;
	size_t i;
	int r = reader_get(s->owner->url, &db, err);

	if (r == 0)
		r = event_read(db, &s->caller, s->kinds, &s->sequence, PAGE, &events, err);
	json_array_foreach(events, i, event) append_event(s, event);
	json_decref(events);
	return r;
}

/* What there is to send goes into `out`. */
static void fill(struct stream *s)
{
	struct streams *all = s->owner;
	struct error err = {0};
	bool behind = false;
	int64_t last;

	pthread_mutex_lock(&all->lock);
	last = all->last;
	s->woken = false;
	pthread_mutex_unlock(&all->lock);
	if (s->fresh || s->behind || last > s->sequence) {
		int r = look(s, &err);

		if (r < 0)
			log_debug("a stream waits: %s", err.text);
		else
			s->fresh = false;
		behind = r < 0 || r >= PAGE;
	}
	if (s->out.len == 0 && clock_now_us() - s->spoken_us >= COMMENT_US)
		append(s, ":\n\n");
	pthread_mutex_lock(&all->lock);
	s->behind = behind;
	pthread_mutex_unlock(&all->lock);
}

/* Returns what there is of `out`, at most `max`. */
static ssize_t take(struct stream *s, char *data, size_t max)
{
	size_t n = MIN_OF(s->out.len, max);

	memcpy(data, buffer_head(&s->out), n);
	buffer_consume(&s->out, n);
	s->spoken_us = clock_now_us();
	return (ssize_t)n;
}

static ssize_t on_read(void *userdata, uint64_t position, char *data, size_t max)
{
	struct stream *s = userdata;
	struct streams *all = s->owner;
	bool ended;

	if (s->out.len == 0)
		fill(s);
	if (s->out.len > 0)
		return take(s, data, max);
	pthread_mutex_lock(&all->lock);
	ended = all->ending || clock_now_us() - s->opened_us >= LIFE_US;
	/* What has come since fill() is looked at when we are asked again, at once. */
	if (!ended && !s->woken) {
		s->suspended = true;
		MHD_suspend_connection(s->connection);
	}
	pthread_mutex_unlock(&all->lock);
	return ended ? MHD_CONTENT_READER_END_OF_STREAM : 0;
}

static void on_free(void *userdata)
{
	struct stream *s = userdata;
	struct streams *all = s->owner;

	pthread_mutex_lock(&all->lock);
	if (s->link) {
		*s->link = s->next;
		if (s->next)
			s->next->link = s->link;
		all->count--;
	}
	pthread_mutex_unlock(&all->lock);
	buffer_done(&s->out);
	caller_done(&s->caller);
	free(s->kinds);
	free(s);
}

/* Where to begin: behind what the client has seen, or with what comes. */
static int find_start(struct stream *s, struct exchange *x, const char *after)
{
	struct error err = {0};
	uint64_t number = 0;
	struct sql *db;
	int r;

	if (after) {
		if (parse_number(after, 0, INT64_MAX, &number, &err) < 0)
			return exchange_fail(x, 400, "the number of the last event: %s", err.text);
		s->sequence = (int64_t)number;
		return 0;
	}
	r = reader_get(s->owner->url, &db, &err);
	if (r == 0)
		r = event_get_last(db, &s->sequence, &err);
	return r < 0 ? exchange_fail_sql(x, r, &err) : 0;
}

/* What a list would refuse fails here while nobody listens any more. */
static int check_kinds(struct exchange *x)
{
	const char *kinds = exchange_query(x, "kind");
	size_t count = 1;

	for (const char *c = kinds; c && *c; c++)
		count += *c == ',';
	return count > LISTING_VALUES_MAX
		       ? exchange_fail(x, 400,
				 "'kind': more than %d values; ask without it, and choose yourself",
				 LISTING_VALUES_MAX)
		       : 0;
}

/* A filter that is passed over would show more than was asked for. */
static int check_query(struct exchange *x)
{
	const char *name;
	json_t *unused;

	json_object_foreach(x->query, name, unused)
	{
		if (!streq(name, "kind") && !streq(name, "after"))
			return exchange_fail(x, 400,
				"a stream is not filtered by '%.64s'; there are kind and after",
				name);
	}
	return check_kinds(x);
}

/* With the lock: has this user as many as he may? */
static bool has_enough(const struct streams *all, const struct exchange *x)
{
	uint64_t max = controller_get_settings(x->controller)->user_streams, count = 0;

	for (const struct stream *s = all->first; s; s = s->next)
		count += s->caller.kind == x->caller.kind && streq(s->caller.name, x->caller.name);
	return max > 0 && count >= max;
}

static int add(struct streams *all, struct stream *s, struct exchange *x)
{
	bool full, enough;

	pthread_mutex_lock(&all->lock);
	full = all->ending || all->count >= all->max;
	enough = has_enough(all, x);
	if (!full && !enough) {
		s->next = all->first;
		s->link = &all->first;
		if (s->next)
			s->next->link = &s->next;
		all->first = s;
		all->count++;
		pthread_cond_signal(&all->wake);
	}
	pthread_mutex_unlock(&all->lock);
	if (!full && enough)
		return exchange_fail(
			x, 429, "you have as many streams as one user may; end one of them");
	return full ? exchange_fail(x, 503,
			      "the controller has as many streams as it may; ask without one, or try "
			      "again later")
		    : 0;
}

int stream_open(struct streams *all, struct exchange *x, const char *after,
	struct MHD_Connection *connection, struct MHD_Response **ret)
{
	struct stream *s = calloc(1, sizeof(*s));
	const char *kinds = exchange_query(x, "kind");
	int status = check_query(x);

	if (!s)
		return exchange_fail(x, 500, "the controller is out of memory");
	s->owner = all;
	s->connection = connection;
	s->kinds = kinds ? strdup(kinds) : NULL;
	s->opened_us = clock_now_us();
	s->spoken_us = s->opened_us;
	s->fresh = true;
	/* Its host groups are the request's until it is certain. */
	s->caller = x->caller;
	s->caller.groups = NULL;
	if (status == 0)
		status = find_start(s, x, after);
	if (status == 0)
		status = add(all, s, x);
	if (status > 0) {
		on_free(s);
		return status;
	}
	/* The client hears at once that it is connected, and how soon to come again. */
	append(s, "retry: 1000\n\n");
	*ret = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_SIZE, on_read, s, on_free);
	if (!*ret) {
		on_free(s);
		return exchange_fail(x, 500, "the controller is out of memory");
	}
	s->caller.groups = TAKE_PTR(x->caller.groups);
	return 0;
}

/* With the lock: those that have something to send, or have been silent. */
static void wake_some(struct streams *all, bool news)
{
	uint64_t now = clock_now_us();

	for (struct stream *s = all->first; s; s = s->next)
		if (news || s->behind || all->ending || now - s->spoken_us >= COMMENT_US ||
			now - s->opened_us >= LIFE_US)
			stream_wake(s);
}

static void ask(struct streams *all)
{
	struct error err = {0};
	int64_t last = 0;
	struct sql *db;
	bool news;
	int r = reader_get(all->url, &db, &err);

	if (r == 0)
		r = event_get_last(db, &last, &err);
	pthread_mutex_lock(&all->lock);
	news = r == 0 && last > all->last;
	if (news)
		all->last = last;
	wake_some(all, news);
	pthread_mutex_unlock(&all->lock);
}

/* Returns false when it is time to end. */
static bool await(struct streams *all)
{
	struct timespec end;
	bool goes_on;

	pthread_mutex_lock(&all->lock);
	while (all->count == 0 && !all->ending)
		pthread_cond_wait(&all->wake, &all->lock);
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += POLL_US / 1000000;
	while (!all->woken && !all->ending)
		if (pthread_cond_timedwait(&all->wake, &all->lock, &end) == ETIMEDOUT)
			break;
	all->woken = false;
	goes_on = !all->ending;
	pthread_mutex_unlock(&all->lock);
	return goes_on;
}

static void *run(void *userdata)
{
	struct streams *all = userdata;

	while (await(all)) {
		ask(all);
		usleep(PAUSE_US);
	}
	return NULL;
}

void streams_wake(struct streams *all)
{
	pthread_mutex_lock(&all->lock);
	if (!all->woken && all->count > 0) {
		all->woken = true;
		pthread_cond_signal(&all->wake);
	}
	pthread_mutex_unlock(&all->lock);
}

void streams_end(struct streams *all)
{
	pthread_mutex_lock(&all->lock);
	all->ending = true;
	pthread_cond_signal(&all->wake);
	wake_some(all, true);
	pthread_mutex_unlock(&all->lock);
	if (all->started)
		pthread_join(all->thread, NULL);
	all->started = false;
}

size_t streams_count(struct streams *all)
{
	size_t count;

	pthread_mutex_lock(&all->lock);
	count = all->count;
	pthread_mutex_unlock(&all->lock);
	return count;
}

int streams_new(const char *url, size_t max, struct streams **ret, struct error *err)
{
	struct streams *all AUTO(streams_freep) = calloc(1, sizeof(*all));
	pthread_condattr_t attributes;
	int r;

	if (!all)
		return fail(err, -ENOMEM, "out of memory");
	all->max = max;
	pthread_mutex_init(&all->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&all->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	all->url = strdup(url);
	if (!all->url)
		return fail(err, -ENOMEM, "out of memory");
	r = thread_start(&all->thread, run, all);
	if (r < 0)
		return fail_errno(err, r, "cannot start a thread");
	all->started = true;
	*ret = TAKE_PTR(all);
	return 0;
}

struct streams *streams_free(struct streams *all)
{
	if (!all)
		return NULL;
	streams_end(all);
	pthread_cond_destroy(&all->wake);
	pthread_mutex_destroy(&all->lock);
	free(all->url);
	free(all);
	return NULL;
}
