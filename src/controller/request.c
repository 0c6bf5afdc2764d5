#include "controller/request.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "controller/connection.h"
#include "controller/controller.h"
#include "controller/guess.h"
#include "controller/header.h"
#include "controller/identity.h"
#include "controller/intake.h"
#include "controller/journal.h"
#include "controller/metrics.h"
#include "controller/reader.h"
#include "controller/response.h"
#include "controller/route.h"
#include "controller/siteclock.h"
#include "controller/stream.h"
#include "controller/target.h"
#include "controller/worker.h"
#include "controller/writer.h"
#include "lib/clock.h"

/* Requests are small; records come many at a time. As JSON they take some twenty times as much
 * memory. Whom nobody knows has less, what a node joins with; so that who sends more is looked at
 * as soon as the headers are there. */
#define BODY_MAX        (UINT64_C(1) << 20)
#define BODY_MAX_ANYONE (UINT64_C(64) << 10)
#define BODY_MAX_LARGE  (UINT64_C(16) << 20)
#define BODY_PATH_LARGE "/v1/records"
#define JOIN_PATH       "/v1/join"

/* All bodies together that are in memory. */
#define BODIES_MAX (UINT64_C(256) << 20)

/* And on the disk. */
#define FILES_MAX (UINT64_C(1) << 30)

/* A negative value that no database gives: a handler has refused. */
#define REFUSED (-ECANCELED)

/* How often the end looks whether all is done. */
#define END_STEP_US 10000

struct requests {
	pthread_rwlock_t gate; /* held for reading while a change is handed to the writer */
	bool ending;
	_Atomic(size_t) active;       /* being answered, but for streams */
	_Atomic(uint64_t) body_bytes; /* in memory */
	_Atomic(uint64_t) file_bytes; /* on the disk */
};

enum request_state {
	REQUEST_NEW,     /* its headers are there */
	REQUEST_BODY,    /* its body comes */
	REQUEST_WRITING, /* the writer has it, or the worker */
	REQUEST_DONE,
};

struct request {
	struct writer_job job; /* first: a job is its request */
	struct worker_job work;
	struct controller *controller;
	struct connection *connection;
	struct MHD_Connection *mhd;
	enum request_state state;
	struct exchange x;
	struct header header;
	char *target, *path; /* as sent; the path up to the '?' */
	const char *query;   /* behind it; NULL: none */
	bool odd;            /* the path has what no path has */
	char method[16];
	char allow[ROUTE_ALLOW_MAX];
	char if_match[64], if_none_match[64];
	struct intake body;
	uint64_t body_max;
	uint64_t started_us;
	struct journal_id id;
	bool counted; /* in `active` */
	bool known;   /* who asks, and that they may: before the body */
	struct identity_promise promise;
};

struct requests *requests_new(void)
{
	struct requests *rs = calloc(1, sizeof(*rs));

	if (rs)
		pthread_rwlock_init(&rs->gate, NULL);
	return rs;
}

struct requests *requests_free(struct requests *rs)
{
	if (!rs)
		return NULL;
	pthread_rwlock_destroy(&rs->gate);
	free(rs);
	return NULL;
}

void requests_end(struct requests *rs, uint64_t time_us)
{
	uint64_t end = clock_now_us() + time_us;

	pthread_rwlock_wrlock(&rs->gate);
	rs->ending = true;
	pthread_rwlock_unlock(&rs->gate);
	while (rs->active > 0 && clock_now_us() < end)
		usleep(END_STEP_US);
}

static struct connection *connection_of(struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

static void *tls_of(struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);

	return info ? info->tls_session : NULL;
}

/* Targets are ASCII; another byte, which a log would not like, becomes '?'. Returns whether there
 * was one. */
static bool make_ascii(char *text)
{
	bool odd = false;

	for (; *text; text++)
		if (*text <= ' ' || *text > '~') {
			*text = '?';
			odd = true;
		}
	return odd;
}

void *request_on_target(void *userdata, const char *target, struct MHD_Connection *mhd)
{
	struct request *rq = calloc(1, sizeof(*rq));

	if (!rq)
		return NULL;
	rq->controller = userdata;
	rq->x.controller = userdata;
	rq->mhd = mhd;
	rq->connection = connection_of(mhd);
	rq->target = strdup(target);
	rq->path = rq->target ? strndup(target, strcspn(target, "?")) : NULL;
	if (!rq->path || !rq->connection) {
		free(rq->target);
		free(rq->path);
		free(rq);
		return NULL;
	}
	rq->odd = make_ascii(rq->path);
	rq->query = strchr(rq->target, '?');
	if (rq->query)
		rq->query++;
	return rq;
}

static enum MHD_Result answer(struct request *rq)
{
	rq->state = REQUEST_DONE;
	connection_set(rq->connection, CONNECTION_SENDING);
	return response_queue(rq->mhd, &rq->x, rq->id.text, rq->allow);
}

/* Without reading what comes: libmicrohttpd closes the connection then. */
static enum MHD_Result answer_at_once(struct request *rq, int status, const char *text)
{
	exchange_fail(&rq->x, status, "%s", text);
	return answer(rq);
}

static uint64_t body_max_of(const struct route *route)
{
	if (route && route->upload_max > 0)
		return route->upload_max;
	if (route && streq(route->path, BODY_PATH_LARGE))
		return BODY_MAX_LARGE;
	return !route || (route->roles & ROLE_ANYONE) ? BODY_MAX_ANYONE : BODY_MAX;
}

/* Does it show something that one could try to guess? */
static bool is_guess(const struct request *rq)
{
	return rq->header.authorization || (rq->x.route && streq(rq->x.route->path, JOIN_PATH));
}

static int check_guesses(struct request *rq)
{
	uint64_t max = controller_get_settings(rq->controller)->failures;
	int wait_s = is_guess(rq) ? guesses_wait_s(rq->controller->guesses,
					    connection_address(rq->connection), max)
				  : 0;

	if (wait_s == 0)
		return 0;
	exchange_fail(&rq->x, 429,
		"too many attempts to say who one is have failed from your address; try again in "
		"%d s",
		wait_s);
	rq->x.retry_after_s = wait_s;
	return 429;
}

/* One that has failed: a token to join is refused by its route. */
static void note_guess(const struct request *rq)
{
	if (is_guess(rq) &&
		(rq->x.status == 401 || (rq->x.status == 403 && !rq->header.authorization)))
		guesses_add(rq->controller->guesses, connection_address(rq->connection),
			controller_get_settings(rq->controller)->failures);
}

/* Without the body. */
static struct identity_evidence evidence_of(struct request *rq)
{
	return (struct identity_evidence){
		.local = connection_is_local(rq->connection),
		.peer_uid = connection_uid(rq->connection),
		.authorization = rq->header.authorization,
		.tls_session = tls_of(rq->mhd),
		.method = rq->method,
		.target = rq->target,
	};
}

/* Who asks, and may they? */
static int check_caller(struct request *rq, struct sql *db)
{
	struct identity_evidence evidence = evidence_of(rq);
	const struct route *route = rq->x.route;
	int status = check_guesses(rq);

	if (status > 0)
		return status;
	evidence.body = intake_get(&rq->body);
	evidence.body_length = rq->body.length;
	/* What is the same for all does not need the database. */
	if ((route->kind == ROUTE_PLAIN && (route->roles & ROLE_ANYONE)) ||
		(route->is_open && route->is_open(rq->controller)))
		return 0;
	/* A credential is opened once. */
	if (rq->promise.text)
		return identity_check_promise(&rq->x, &evidence, &rq->promise);
	status = identity_find(&rq->x, &evidence, db);
	return status > 0 ? status : route_check_caller(&rq->x);
}

/* The same before the body is there, so that nobody in particular can fill the memory. */
static int check_early(struct request *rq)
{
	struct identity_evidence evidence = evidence_of(rq);
	struct error err = {0};
	struct sql *db;
	int status = check_guesses(rq);

	if (status > 0)
		return status;
	evidence.promise = &rq->promise;
	if (reader_get(controller_get_settings(rq->controller)->database, &db, &err) < 0 &&
		rq->x.route->kind != ROUTE_PLAIN)
		return exchange_fail_sql(&rq->x, -ENOTCONN, &err);
	reader_begin(db);
	status = identity_find(&rq->x, &evidence, db);
	reader_end(db);
	if (status == 0)
		status = route_check_caller(&rq->x);
	rq->known = status == 0;
	return status;
}

/* Whoever shows nothing is not let fill the disk. */
static bool is_stranger(const struct request *rq)
{
	return rq->x.route && rq->x.route->upload_max > 0 && !rq->header.authorization &&
	       !connection_is_local(rq->connection) && !identity_has_certificate(tls_of(rq->mhd));
}

/* The headers are there. A connection goes on to be used only if the body has been taken before it
 * is answered, so what is wrong is kept until then. */
static enum MHD_Result begin(struct request *rq, const char *method)
{
	const char *allow = "";
	struct error err = {0};
	int status;

	rq->started_us = clock_now_us();
	rq->x.now_us = siteclock_now_us();
	rq->counted = true;
	rq->controller->requests->active++;
	snprintf(rq->method, sizeof(rq->method), "%s", method);
	header_read(rq->mhd, &rq->header);
	journal_make_id(rq->header.request_id, &rq->id);
	rq->state = REQUEST_BODY;
	connection_set(rq->connection, CONNECTION_RECEIVING);
	status = header_check(&rq->header, &err);
	if (status > 0)
		return answer_at_once(rq, status, err.text);
	if (rq->odd)
		exchange_fail(&rq->x, 400, "the path is not properly encoded");
	else
		route_find(&rq->x, rq->method, rq->path, &allow);
	/* It is the thread's, which has other requests before this one's body is here. */
	snprintf(rq->allow, sizeof(rq->allow), "%s", allow);
	rq->body_max = body_max_of(rq->x.route);
	if (is_stranger(rq))
		return answer_at_once(
			rq, 401, "this takes files of those only who show who they are");
	if (header_body_length(&rq->header) > rq->body_max)
		return answer_at_once(rq, 413, "the body is too large");
	if (header_body_length(&rq->header) > BODY_MAX_ANYONE && rq->x.status == 0 &&
		check_early(rq) > 0)
		return answer(rq);
	return MHD_YES;
}

static void count_body(struct request *rq, size_t memory, size_t file)
{
	struct requests *rs = rq->controller->requests;

	rs->body_bytes += intake_memory(&rq->body) - memory;
	rs->file_bytes += intake_file(&rq->body) - file;
}

static void drop_body(struct request *rq)
{
	size_t memory = intake_memory(&rq->body), file = intake_file(&rq->body);

	intake_done(&rq->body);
	count_body(rq, memory, file);
}

/* What is too long for the memory goes to the disk, where it is to come to anyway. */
static int add_body(struct request *rq, const char *data, size_t length)
{
	bool may = rq->x.route->upload_max > 0 && rq->controller->depot;
	size_t memory = intake_memory(&rq->body), file = intake_file(&rq->body);
	int r = intake_add(&rq->body, may ? rq->controller->depot_temporary : NULL, data, length);

	count_body(rq, memory, file);
	return r;
}

static void take_body(struct request *rq, const char *data, size_t length)
{
	struct requests *rs = rq->controller->requests;
	int r;

	if (rq->x.status > 0)
		return;
	/* How long it is was not said. */
	if (rq->body.length + length > BODY_MAX_ANYONE && rq->body_max > BODY_MAX_ANYONE &&
		!rq->known && check_early(rq) > 0) {
		drop_body(rq);
		return;
	}
	if (rq->body.length + length > rq->body_max)
		r = -EFBIG;
	else if (rs->body_bytes + length > BODIES_MAX || rs->file_bytes + length > FILES_MAX)
		r = -EBUSY;
	else
		r = add_body(rq, data, length);
	if (r == 0)
		return;
	if (r == -EFBIG)
		exchange_fail(&rq->x, 413, "the body is too large");
	else if (r == -ENOSPC || r == -EDQUOT)
		exchange_fail(&rq->x, 507,
			"the depot's disk is full; its administrators have to make room");
	else
		exchange_fail(&rq->x, 503, "the controller has too much to do; try again");
	drop_body(rq);
}

/* In the writer's thread; may be called again. */
static int on_work(struct writer_job *job, struct sql *db)
{
	struct request *rq = (struct request *)(void *)job;
	struct exchange *x = &rq->x;

	json_decref(x->answer);
	x->answer = NULL;
	x->etag[0] = '\0';
	x->retry_after_s = 0;
	x->status = x->route->run(x, db);
	return x->status < 400 ? 0 : REFUSED;
}

static void on_done(struct writer_job *job, int result, const struct error *err)
{
	struct request *rq = (struct request *)(void *)job;

	if (result < 0 && result != REFUSED)
		exchange_fail_sql(&rq->x, result, err);
	if (result == 0)
		streams_wake(rq->controller->streams);
	/* It may be gone from here on. */
	MHD_resume_connection(rq->mhd);
}

/* In the worker's thread. It may be gone when it was resumed. */
static void on_file_work(struct worker_job *job)
{
	struct request *rq =
		(struct request *)(void *)((char *)job - offsetof(struct request, work));
	struct exchange *x = &rq->x;
	int status;

	if (x->route->kind == ROUTE_WORK) {
		x->status = x->route->run(x, NULL);
	} else {
		status = x->route->prepare(x);
		if (status == 0 && writer_add(rq->controller->writer, &rq->job) == 0)
			return;
		x->status = status ? status
				   : exchange_fail(x, 503,
					     "the controller has too much to do; try again");
	}
	MHD_resume_connection(rq->mhd);
}

static int add_job(struct request *rq)
{
	const struct route *route = rq->x.route;

	rq->job.work = on_work;
	rq->job.done = on_done;
	rq->work.work = on_file_work;
	return route->kind == ROUTE_WORK || route->prepare
		       ? worker_add(rq->controller->worker, &rq->work)
		       : writer_add(rq->controller->writer, &rq->job);
}

/* To the writer, or to the worker, which may hand it on. */
static enum MHD_Result hand_over(struct request *rq)
{
	struct requests *rs = rq->controller->requests;
	int r;

	pthread_rwlock_rdlock(&rs->gate);
	r = rs->ending ? -ESHUTDOWN : 0;
	if (r == 0) {
		rq->state = REQUEST_WRITING;
		connection_set(rq->connection, CONNECTION_WORKING);
		/* Before it can be resumed. */
		MHD_suspend_connection(rq->mhd);
		r = add_job(rq);
		if (r < 0)
			MHD_resume_connection(rq->mhd);
	}
	pthread_rwlock_unlock(&rs->gate);
	if (r < 0)
		exchange_fail(&rq->x, 503, "the controller %s; try again, or ask another",
			r == -EBUSY ? "has too much to do" : "ends");
	return r == -ESHUTDOWN ? answer(rq) : MHD_YES;
}

static int check_query(struct request *rq)
{
	struct error err = {0};
	int r = target_parse_query(rq->query, &rq->x.query, &err);

	if (r < 0)
		return exchange_fail(&rq->x, r == -EINVAL ? 400 : 500, "%s",
			err.text[0] ? err.text : "the controller is out of memory");
	return route_check_query(&rq->x);
}

static int check_upload(struct request *rq)
{
	struct exchange *x = &rq->x;

	if (rq->body.length == 0)
		return exchange_fail(x, 400, "the body is missing");
	if (!header_is_bytes(&rq->header))
		return exchange_fail(
			x, 415, "the body's Content-Type is not application/octet-stream");
	x->upload.data = intake_get(&rq->body);
	x->upload.length = rq->body.length;
	return x->upload.data ? 0 : exchange_fail(x, 503, "the body cannot be read; try again");
}

static int check_body(struct request *rq)
{
	struct exchange *x = &rq->x;

	if (x->route->upload_max > 0)
		return check_upload(rq);
	if (rq->body.length == 0)
		return x->route->body ? exchange_fail(x, 400, "the body is missing") : 0;
	if (!x->route->body)
		return exchange_fail(x, 400, "this takes no body");
	if (!header_is_json(&rq->header))
		return exchange_fail(x, 415, "the body's Content-Type is not application/json");
	return exchange_parse_body(x, intake_get(&rq->body), rq->body.length);
}

/* All but the work itself. Returns 0 or the status. */
static int check(struct request *rq, struct sql **ret_db)
{
	struct exchange *x = &rq->x;
	struct error err = {0};
	int status = x->status;

	*ret_db = NULL;
	if (status > 0)
		return status;
	if (reader_get(controller_get_settings(rq->controller)->database, ret_db, &err) < 0 &&
		x->route->kind != ROUTE_PLAIN)
		return exchange_fail_sql(x, -ENOTCONN, &err);
	reader_begin(*ret_db);
	status = check_caller(rq, *ret_db);
	if (status == 0)
		status = check_query(rq);
	if (status == 0)
		status = check_body(rq);
	if (status > 0 || x->route->upload_max == 0)
		drop_body(rq);
	x->if_match = header_etag(rq->header.if_match, rq->if_match, sizeof(rq->if_match));
	x->if_none_match =
		header_etag(rq->header.if_none_match, rq->if_none_match, sizeof(rq->if_none_match));
	return status;
}

static enum MHD_Result follow(struct request *rq)
{
	struct MHD_Response *response = NULL;
	const char *after = rq->header.last_event_id;
	int status;

	if (!after)
		after = exchange_query(&rq->x, "after");
	status = stream_open(rq->controller->streams, &rq->x, after, rq->mhd, &response);
	if (status > 0)
		return answer(rq);
	rq->state = REQUEST_DONE;
	rq->x.status = 200;
	rq->counted = false;
	rq->controller->requests->active--;
	connection_set(rq->connection, CONNECTION_STREAM);
	return response_queue_stream(rq->mhd, response, rq->id.text);
}

static bool is_to_follow(const struct request *rq)
{
	return rq->x.route->kind == ROUTE_STREAM && !streq(rq->method, "HEAD") &&
	       header_accepts(&rq->header, STREAM_TYPE);
}

/* The request is there as a whole. */
static enum MHD_Result serve(struct request *rq)
{
	const struct route *route;
	struct sql *db;
	bool waits;
	int status;

	connection_set(rq->connection, CONNECTION_WORKING);
	status = check(rq, &db);
	route = rq->x.route;
	waits = status == 0 && (route->kind == ROUTE_WRITE || route->kind == ROUTE_WORK);
	if (status == 0 && !waits && !is_to_follow(rq)) {
		status = route->run ? route->run(&rq->x, db) : listing_run(&rq->x, db);
		rq->x.status = status;
	}
	reader_end(db);
	if (status > 0)
		return answer(rq);
	return waits ? hand_over(rq) : follow(rq);
}

enum MHD_Result request_on_call(void *userdata, struct MHD_Connection *mhd, const char *url,
	const char *method, const char *version, const char *data, size_t *data_length,
	void **context)
{
	struct request *rq = *context;

	if (!rq)
		return MHD_NO;
	switch (rq->state) {
	case REQUEST_NEW:
		return begin(rq, method);
	case REQUEST_BODY:
		if (*data_length == 0)
			return serve(rq);
		take_body(rq, data, *data_length);
		*data_length = 0;
		return MHD_YES;
	case REQUEST_WRITING:
		return answer(rq);
	case REQUEST_DONE:
		break;
	}
	return MHD_YES;
}

static void note(const struct request *rq)
{
	const struct journal_entry entry = {
		.id = rq->id.text,
		.method = rq->method,
		.path = rq->path,
		.x = &rq->x,
		.duration_us = clock_now_us() - rq->started_us,
	};

	metrics_count(rq->controller->metrics, &rq->x, entry.duration_us);
	journal_write(&entry);
}

void request_on_end(void *userdata, struct MHD_Connection *mhd, void **context,
	enum MHD_RequestTerminationCode code)
{
	struct request *rq = *context;

	if (!rq)
		return;
	*context = NULL;
	/* One that was cut off has no status. */
	if (rq->started_us > 0 && rq->x.status > 0) {
		note(rq);
		note_guess(rq);
	}
	connection_set(rq->connection, CONNECTION_IDLE);
	drop_body(rq);
	if (rq->counted)
		rq->controller->requests->active--;
	exchange_done(&rq->x);
	free(rq->promise.text);
	free(rq->target);
	free(rq->path);
	free(rq);
}
