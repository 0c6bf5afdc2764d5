/* Slurm as the batch system, by its commands: their options and output change less between versions
 * than libslurm does, and the site's own wrappers and plugins have their effect. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lib/child.h"
#include "lib/deadline.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "lib/path.h"
#include "lrms/lrms.h"
#include "lrms/slurm_parse.h"

#define MIB    UINT64_C(1048576)
#define SECOND UINT64_C(1000000)

/* A busy controller lets its callers wait, and those retry by themselves for a while. */
#define COMMAND_TIMEOUT_MS 60000

/* squeue knows no way to ask for less than all: some kilobytes for each of a site's jobs. */
#define OUTPUT_MAX (256u << 20)

/* How often to ask for a job that is waited for: at first, and at most. */
#define WAIT_FIRST_MS 250
#define WAIT_LAST_MS  5000

/* What Slurm's own limit grants a job beyond that which `wnodes run` keeps: to boot and to end. */
#define TIMEOUT_MARGIN_US (600 * SECOND)

struct slurm {
	struct lrms base;
	const struct lrms_options *options;
};

static int slurm_output(const char *const *argv, const char *const *environment, int stdin_fd,
	char **ret, struct error *err)
{
	struct child_spec child = CHILD_SPEC_INIT;

	child.argv = argv;
	child.env = environment;
	child.stdin_fd = stdin_fd;
	child.new_session = true;
	return child_output(&child, COMMAND_TIMEOUT_MS, OUTPUT_MAX, ret, err);
}

/* The script as a file without a name, at its start. Returns a descriptor or negative errno. */
static int script_open(const char *const *command)
{
	autofree char *script = slurm_script(command);
	autoclose int fd = memfd_create("wnodes-script", MFD_CLOEXEC);
	int r;

	if (!script || fd < 0)
		return script ? -errno : -ENOMEM;
	r = file_write_all(fd, script, strlen(script));
	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = -errno;
	return r < 0 ? r : TAKE_FD(fd);
}

static void add_limits(struct strv *argv, const struct lrms_submission *s)
{
	uint64_t margin = s->image ? TIMEOUT_MARGIN_US : 0;

	strv_add_all(argv, "--nodes=1", "--ntasks=1", NULL);
	strv_add_format(argv, "--cpus-per-task=%" PRIu64, s->cpus);
	strv_add_format(
		argv, "--mem=%" PRIu64 "M", (s->memory_bytes + s->overhead_bytes + MIB - 1) / MIB);
	/* Minutes and seconds; Slurm counts in minutes, rounded up. */
	if (s->timeout_us > 0)
		strv_add_format(
			argv, "--time=0:%" PRIu64, (s->timeout_us + margin + SECOND - 1) / SECOND);
}

static int slurm_submit(struct lrms *lrms, const struct lrms_submission *s,
	char ret_id[LRMS_ID_MAX], struct error *err)
{
	struct strv argv AUTO(strv_done) = {0};
	autofree char *comment = slurm_comment(s);
	autofree char *answer = NULL;
	autoclose int script = script_open(s->command);
	mode_t before;
	int r;

	if (script < 0)
		return fail_errno(err, script, "cannot make the batch script");
	strv_add_all(&argv, "sbatch", "--parsable", "--export=ALL", NULL);
	strv_add_format(&argv, "--job-name=%s", s->name);
	strv_add_format(&argv, "--chdir=%s", s->directory);
	strv_add_format(&argv, "--output=%s", s->output);
	strv_add_format(&argv, "--error=%s", s->error);
	strv_add_format(&argv, "--comment=%s", comment ? comment : "");
	add_limits(&argv, s);
	if (argv.failed || !comment)
		return fail(err, -ENOMEM, "out of memory");
	/* sbatch takes it from us to the job. */
	before = umask(s->umask);
	r = slurm_output(strv_list(&argv), s->environment, script, &answer, err);
	umask(before);
	return r < 0 ? r : slurm_parse_submitted(answer, ret_id, err);
}

static int each_of_queue(
	int (*each)(struct lrms_job *job, void *userdata), void *userdata, struct error *err)
{
	static const char *const argv[] = {"squeue", "--json", NULL};
	autofree char *text = NULL;
	int r = slurm_output(argv, NULL, -1, &text, err);

	return r < 0 ? r : slurm_parse_queue(text, each, userdata, err);
}

/* `which` is one more option for sacct. A site without accounting has no records. */
static int each_of_records(const char *which, int (*each)(struct lrms_job *job, void *userdata),
	void *userdata, struct error *err)
{
	const char *argv[] = {"sacct", "--parsable2", "--noheader", "--allocations",
		"--delimiter=" SLURM_RECORD_DELIMITER, "--format=" SLURM_RECORD_FIELDS, which,
		NULL};
	autofree char *text = NULL;
	struct error ignored = {0};

	if (setenv("SLURM_TIME_FORMAT", "%s", 1) < 0)
		return fail(err, -ENOMEM, "out of memory");
	if (slurm_output(argv, NULL, -1, &text, &ignored) < 0) {
		log_debug("%s, ignoring", ignored.text);
		return 0;
	}
	return slurm_parse_records(text, each, userdata, err);
}

struct lister {
	const struct lrms_filter *filter;
	const char *user;
	int (*each)(const struct lrms_job *job, void *userdata);
	void *userdata;
	struct strv seen; /* ids that squeue has shown */
	bool is_second;   /* the records' turn */
};

static void lister_done(struct lister *l)
{
	strv_done(&l->seen);
}

static bool was_seen(const struct lister *l, const char *id)
{
	for (size_t i = 0; i < l->seen.count; i++)
		if (streq(l->seen.items[i], id))
			return true;
	return false;
}

static int list_one(struct lrms_job *job, void *userdata)
{
	struct lister *l = userdata;

	if (!job->user || !streq(job->user, l->user))
		return 0;
	if (!l->filter->all && lrms_state_is_end(job->state))
		return 0;
	if (l->is_second && was_seen(l, job->id))
		return 0;
	if (!l->is_second)
		strv_add(&l->seen, job->id);
	return l->each(job, l->userdata);
}

static int slurm_list(struct lrms *lrms, const struct lrms_filter *filter,
	int (*each)(const struct lrms_job *job, void *userdata), void *userdata, struct error *err)
{
	struct slurm *slurm = (struct slurm *)lrms;
	const struct passwd *user = getpwuid(geteuid());
	struct lister lister AUTO(lister_done) = {
		.filter = filter, .each = each, .userdata = userdata};
	autofree char *since = NULL;
	int r;

	lister.user = filter->user ? filter->user : user ? user->pw_name : "";
	r = each_of_queue(list_one, &lister, err);
	if (r != 0 || !filter->all)
		return r;
	lister.is_second = true;
	since = path_format(
		"--starttime=now-%" PRIu64 "minutes", slurm->options->keep_us / (60 * SECOND));
	return since ? each_of_records(since, list_one, &lister, err)
		     : fail(err, -ENOMEM, "out of memory");
}

struct finder {
	const char *id;
	struct lrms_job *ret;
};

static int find_one(struct lrms_job *job, void *userdata)
{
	const struct finder *finder = userdata;

	if (!streq(job->id, finder->id))
		return 0;
	*finder->ret = *job;
	*job = (struct lrms_job){0};
	return 1;
}

/* Slurm forgets a job some minutes after its end, its records do not. */
static int slurm_find(const char *id, struct lrms_job *ret, struct error *err)
{
	struct finder finder = {id, ret};
	autofree char *which = path_format("--jobs=%s", id);
	uint64_t number;
	int r;

	if (parse_number(id, 1, INT64_MAX, &number, NULL) < 0)
		return fail(err, -EINVAL,
			"'%s' is no job; give a number, as `wnodes submit` and `wnodes queue` do",
			id);
	if (!which)
		return fail(err, -ENOMEM, "out of memory");
	r = each_of_queue(find_one, &finder, err);
	if (r == 0)
		r = each_of_records(which, find_one, &finder, err);
	if (r == 0)
		return fail(err, -ENOENT, "Slurm knows no job %s; see `wnodes queue --all`", id);
	return MIN_OF(r, 0);
}

static int slurm_cancel(struct lrms *lrms, const char *id, int signo, struct error *err)
{
	struct lrms_job job AUTO(lrms_job_done) = {0};
	struct child_spec child = CHILD_SPEC_INIT;
	struct strv argv AUTO(strv_done) = {0};
	int r = slurm_find(id, &job, err);

	if (r < 0)
		return r;
	if (lrms_state_is_end(job.state))
		return fail(err, -ESRCH, "job %s has ended already: %s", id,
			lrms_state_name(job.state));
	if (job.state == LRMS_QUEUED && signo > 0 && signo != SIGKILL)
		return fail(err, -ESRCH,
			"job %s has not begun: there is nothing to send a signal to", id);
	strv_add(&argv, "scancel");
	/* The batch script has become the command. */
	if (signo > 0 && signo != SIGKILL) {
		strv_add(&argv, "--batch");
		strv_add_format(&argv, "--signal=%d", signo);
	}
	strv_add(&argv, id);
	if (argv.failed)
		return fail(err, -ENOMEM, "out of memory");
	child.argv = strv_list(&argv);
	return child_run(&child, COMMAND_TIMEOUT_MS, err);
}

static int slurm_requeue(struct lrms *lrms, const char *id, struct error *err)
{
	const char *const argv[] = {"scontrol", "requeue", id, NULL};
	struct child_spec child = CHILD_SPEC_INIT;

	child.argv = argv;
	return child_run(&child, COMMAND_TIMEOUT_MS, err);
}

static int slurm_wait(struct lrms *lrms, const char *id, uint64_t deadline, struct lrms_job *ret,
	struct error *err)
{
	int pause_ms = WAIT_FIRST_MS;

	for (;;) {
		struct lrms_job job AUTO(lrms_job_done) = {0};
		int r = slurm_find(id, &job, err), left;

		if (r < 0)
			return r;
		if (lrms_state_is_end(job.state)) {
			*ret = job;
			job = (struct lrms_job){0};
			return 0;
		}
		left = deadline_left_ms(deadline);
		if (left == 0)
			return fail(err, -ETIMEDOUT, "job %s has not ended", id);
		poll(NULL, 0, left > 0 ? MIN_OF(left, pause_ms) : pause_ms);
		pause_ms = MIN_OF(2 * pause_ms, WAIT_LAST_MS);
	}
}

static struct lrms *slurm_free(struct lrms *lrms)
{
	free(lrms);
	return NULL;
}

static const struct lrms_operations operations = {
	.name = "slurm",
	.submit = slurm_submit,
	.list = slurm_list,
	.cancel = slurm_cancel,
	.wait = slurm_wait,
	.requeue = slurm_requeue,
	.free = slurm_free,
};

int lrms_slurm_open(const struct lrms_options *options, struct lrms **ret, struct error *err)
{
	struct slurm *slurm = calloc(1, sizeof(*slurm));

	if (!slurm)
		return fail(err, -ENOMEM, "out of memory");
	slurm->base.operations = &operations;
	slurm->options = options;
	*ret = &slurm->base;
	return 0;
}
