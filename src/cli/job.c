#include "cli/job.h"

#include <errno.h>

#include "cli/batch.h"
#include "engine/status_file.h"
#include "engine/status_job.h"
#include "lib/log.h"

/* Longer than a batch system takes to answer, and than clocks of hosts differ. */
#define YOUNG_US (UINT64_C(10) * 1000000)

struct gathering {
	const struct job_filter *filter;
	json_t *jobs;     /* in their order */
	json_t *by_id;    /* the same objects */
	json_t *restarts; /* the last one of each job */
	struct status *found;
	size_t found_count;
	char local[STATUS_WORD_MAX];
	bool is_local; /* the batch system is the user's own queue */
	bool answered; /* the batch system did; what it does not know has ended */
	uint64_t now_us;
};

static void gathering_done(struct gathering *g)
{
	json_decref(g->jobs);
	json_decref(g->by_id);
	json_decref(g->restarts);
	free(g->found);
}

static json_t *make_text(const char *text)
{
	json_t *value = text && *text ? json_string(text) : json_null();

	return value ? value : json_string("?");
}

static json_t *make_time(int64_t us)
{
	return us > 0 ? json_integer(us) : json_null();
}

static json_t *make_exit(int status)
{
	return status < 0 ? json_null() : json_integer(status);
}

/* Until its end, or until now; clocks may be set back. */
static json_t *make_ran(const struct lrms_job *job)
{
	int64_t end = job->ended_us > 0 ? job->ended_us : lrms_now_us();

	return job->started_us > 0 ? json_integer(MAX_OF(end - job->started_us, 0)) : json_null();
}

struct member {
	const char *key;
	json_t *value;
};

static json_t *make_object(const struct member *members, size_t count)
{
	json_t *object = json_object();

	for (size_t i = 0; i < count; i++)
		json_object_set_new(object, members[i].key, members[i].value);
	return object;
}

static int add_job(struct gathering *g, const char *id, json_t *job)
{
	if (json_object_set(g->by_id, id, job) < 0 || json_array_append_new(g->jobs, job) < 0)
		return -ENOMEM;
	return 0;
}

static int on_job(const struct lrms_job *job, void *userdata)
{
	struct gathering *g = userdata;
	const struct member members[] = {
		{"id", make_text(job->id)},
		{"name", make_text(job->name)},
		{"user", make_text(job->user)},
		{"state", make_text(lrms_state_name(job->state))},
		{"image", make_text(job->image)},
		{"cluster", make_text(job->cluster)},
		{"node", make_text(job->node)},
		{"submitted_us", make_time(job->submitted_us)},
		{"started_us", make_time(job->started_us)},
		{"ended_us", make_time(job->ended_us)},
		{"ran_us", make_ran(job)},
		{"exit_status", make_exit(job->exit_status)},
		{"reason", make_text(job->reason)},
		{"vms", json_array()},
	};
	json_t *object = make_object(members, ARRAY_SIZE(members));

	if (g->filter->id && !streq(g->filter->id, job->id)) {
		json_decref(object);
		return 0;
	}
	return add_job(g, job->id, object);
}

/* One that the batch system has forgotten, or does not tell of now. */
static json_t *add_forgotten(struct gathering *g, const struct status *s)
{
	const struct member members[] = {
		{"id", make_text(s->job.job)},
		{"name", json_null()},
		{"user", json_null()},
		{"state", json_null()},
		{"image", make_text(s->image)},
		{"cluster", make_text(s->job.cluster)},
		{"node", make_text(s->job.node)},
		{"submitted_us", json_null()},
		{"started_us", json_null()},
		{"ended_us", json_null()},
		{"ran_us", json_null()},
		{"exit_status", json_null()},
		{"reason", json_null()},
		{"vms", json_array()},
	};
	json_t *job = make_object(members, ARRAY_SIZE(members));

	return add_job(g, s->job.job, job) < 0 ? NULL : job;
}

static bool is_state(const json_t *job, const char *state)
{
	const char *is = json_string_value(json_object_get(job, "state"));

	return is && streq(is, state);
}

/* Did the VM end without telling? Its starter is dead, or its job is not running. */
static bool is_lost(const struct gathering *g, const struct status *s, const json_t *job)
{
	if (status_has_ended(s))
		return false;
	switch (status_starter_look(&s->starter, s->job.node)) {
	case STATUS_ALIVE:
		return false;
	case STATUS_DEAD:
		return true;
	case STATUS_UNKNOWN:
		break;
	}
	/* It may have begun since the batch system was asked. */
	if (!job && s->accepted_us + YOUNG_US > g->now_us)
		return false;
	return g->answered && !is_state(job, "running");
}

static json_t *make_phases(const struct status *s, uint64_t now_us)
{
	json_t *list = json_array();

	for (int i = PHASE_FETCH; i <= PHASE_STOP; i++) {
		enum phase phase = (enum phase)i;

		if (s->phases[i].entered)
			json_array_append_new(list,
				json_pack("{s:s, s:I, s:I}", "phase", phase_name(phase), "start_us",
					(json_int_t)s->phases[i].start_us, "duration_us",
					(json_int_t)status_phase_us(s, phase, now_us)));
	}
	return list;
}

static json_t *make_id(const struct status_job *job)
{
	return job->step[0] ? json_sprintf("%s.%s", job->job, job->step) : json_string(job->job);
}

static json_t *make_reason(const struct status *s, bool lost)
{
	if (!lost)
		return make_text(s->reason);
	return json_sprintf("ended without telling; last known phase: %s", phase_name(s->phase));
}

static json_t *make_vm(const struct status *s, bool lost, uint64_t now_us)
{
	uint64_t until_us = lost || status_has_ended(s) ? 0 : now_us;
	const struct member members[] = {
		{"id", make_id(&s->job)},
		{"vm", make_text(s->vm)},
		{"step", make_text(s->job.step)},
		{"restart", json_integer((json_int_t)s->job.restart)},
		{"node", make_text(s->job.node)},
		{"pid", json_integer((json_int_t)s->starter.pid)},
		{"image", make_text(s->image)},
		{"digest", make_text(s->digest)},
		{"start", make_text(s->start)},
		{"phase", make_text(lost ? "lost" : phase_name(s->phase))},
		{"accepted_us", json_integer((json_int_t)s->accepted_us)},
		{"provision_us", json_integer((json_int_t)status_provision_us(s, until_us))},
		{"run_us", s->phases[PHASE_RUN].entered ? json_integer((json_int_t)status_phase_us(
								  s, PHASE_RUN, until_us))
							: json_null()},
		{"phases", make_phases(s, until_us)},
		{"exit_status", make_exit(s->exit_status)},
		{"reason", make_reason(s, lost)},
	};

	return make_object(members, ARRAY_SIZE(members));
}

/* The queue of this host has the jobs of its own numbers, and Slurm those of its clusters. */
static bool is_of_batch(const struct gathering *g, const char *cluster, const json_t *job)
{
	const char *of = json_string_value(json_object_get(job, "cluster"));

	if (g->is_local)
		return streq(cluster, g->local);
	return !str_after(cluster, STATUS_LOCAL) && (!of || streq(of, cluster));
}

static bool on_wanted(const char *cluster, const char *id, void *userdata)
{
	const struct gathering *g = userdata;
	const json_t *job = json_object_get(g->by_id, id);

	if (!is_of_batch(g, cluster, job))
		return false;
	if (g->filter->id)
		return streq(g->filter->id, id);
	return job || g->filter->all || !g->answered;
}

/* All are read before the first is judged: a job may have been requeued since. */
static int on_status(const struct status *s, void *userdata)
{
	struct gathering *g = userdata;
	struct status *grown = reallocarray(g->found, g->found_count + 1, sizeof(*grown));
	const json_t *last = json_object_get(g->restarts, s->job.job);

	if (!grown)
		return -ENOMEM;
	g->found = grown;
	grown[g->found_count++] = *s;
	if (last && (uint64_t)json_integer_value(last) >= s->job.restart)
		return 0;
	return json_object_set_new(
		       g->restarts, s->job.job, json_integer((json_int_t)s->job.restart)) < 0
		       ? -ENOMEM
		       : 0;
}

/* A requeued job's earlier VM, where nobody could see it end, is gone. */
static bool is_outdone(const struct gathering *g, const struct status *s)
{
	json_int_t last = json_integer_value(json_object_get(g->restarts, s->job.job));

	return !status_has_ended(s) && s->job.restart < (uint64_t)last;
}

static int attach(struct gathering *g, const struct status *s)
{
	json_t *job = json_object_get(g->by_id, s->job.job), *vm;
	bool lost;

	/* Clusters count for themselves. */
	if (!is_of_batch(g, s->job.cluster, job))
		job = NULL;
	lost = is_lost(g, s, job) || is_outdone(g, s);
	if (!job && !g->filter->all && !g->filter->id && (lost || status_has_ended(s)))
		return 0;
	if (!job)
		job = add_forgotten(g, s);
	vm = job ? make_vm(s, lost, g->now_us) : NULL;
	return json_array_append_new(json_object_get(job, "vms"), vm) < 0 ? -ENOMEM : 0;
}

static int attach_all(struct gathering *g)
{
	int r = 0;

	for (size_t i = 0; i < g->found_count && r == 0; i++)
		r = attach(g, &g->found[i]);
	return r;
}

/* What its VMs tell, of a job that the batch system does not tell of. */
static void judge_forgotten(json_t *job)
{
	const json_t *vms = json_object_get(job, "vms"), *vm;
	const char *state = "done";
	size_t i;

	if (!json_is_null(json_object_get(job, "state")))
		return;
	json_array_foreach(vms, i, vm)
	{
		const char *phase = json_string_value(json_object_get(vm, "phase"));
		json_int_t status = json_integer_value(json_object_get(vm, "exit_status"));

		if (!streq(phase, "done") && !streq(phase, "failed") && !streq(phase, "lost"))
			state = "running";
		else if ((!streq(phase, "done") || status != 0) && !streq(state, "running"))
			state = "failed";
	}
	json_object_set_new(job, "state", json_string(state));
}

/* Without an answer, the VMs' own word has to do. */
static int ask_batch(struct gathering *g, struct batch *batch, struct error *err)
{
	const struct lrms_filter filter = {.all = g->filter->all || g->filter->id};
	struct error why = {0};
	int r = batch_load(batch, err);

	if (r == 0)
		r = lrms_open(&batch->options, &batch->lrms, err);
	if (r < 0)
		return r;
	g->is_local = streq(batch->lrms->operations->name, "local");
	r = batch->lrms->operations->list(batch->lrms, &filter, on_job, g, &why);
	g->answered = r == 0;
	if (r == -ENOMEM)
		return fail(err, r, "out of memory");
	if (r < 0)
		log_warning("%s; what follows is what VMs have told of themselves",
			why.text[0] ? why.text : strerror(-r));
	return 0;
}

int job_gather(const struct job_filter *filter, json_t **ret, struct error *err)
{
	struct gathering g AUTO(gathering_done) = {.filter = filter,
		.jobs = json_array(),
		.by_id = json_object(),
		.restarts = json_object(),
		.now_us = (uint64_t)lrms_now_us()};
	const struct status_reader reader = {on_wanted, on_status, &g};
	struct batch batch AUTO(batch_done) = {0};
	json_t *job;
	size_t i;
	int r;

	if (!g.jobs || !g.by_id || !g.restarts)
		return fail(err, -ENOMEM, "out of memory");
	status_job_local_cluster(g.local);
	r = ask_batch(&g, &batch, err);
	if (r == 0)
		r = status_file_list(&reader, err);
	if (r == 0)
		r = attach_all(&g);
	if (r < 0)
		return err->text[0] ? r : fail_errno(err, r, "cannot list the jobs");
	json_array_foreach(g.jobs, i, job) judge_forgotten(job);
	*ret = TAKE_PTR(g.jobs);
	return 0;
}
