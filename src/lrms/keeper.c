#include "lrms/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <systemd/sd-event.h>

#include "lib/child.h"
#include "lib/deadline.h"
#include "lib/exit.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "lib/path.h"
#include "lrms/local.h"
#include "lrms/wake.h"

/* What is asked of a keeper comes as this signal with a number: realtime signals queue up. */
#define KEEPER_SIGNAL (SIGRTMIN + 3)

/* How long what a job has started and left may take to be gone. */
#define LEFTOVER_TIMEOUT_MS 10000

/* How long to try to note the end, while the disk is full for example, and how often. */
#define NOTE_TIMEOUT_MS (60 * 60 * 1000)
#define NOTE_PAUSE_MS   1000

struct keeper {
	const struct lrms_options *options;
	char *directory;
	struct database *db;
	struct entry entry;
	struct entry_keeper self;
	sd_event *event;
	sd_event_source *grace_timer;
	int output_fd, error_fd;
	pid_t pid;
	int pidfd;
	int wait_status;
	bool claimed;
	bool unwritten; /* the database did not let us claim it */
	bool told;      /* the command was sent SIGTERM */
	bool killed;    /* it had to be killed */
	bool cancelled; /* somebody asked for its end */
	bool timed_out;
};

static const int end_signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};

static void keeper_done(struct keeper *k)
{
	sd_event_source_disable_unref(k->grace_timer);
	sd_event_unref(k->event);
	base_close(k->output_fd);
	base_close(k->error_fd);
	base_close(k->pidfd);
	entry_done(&k->entry);
	database_free(k->db);
	free(k->directory);
}

int keeper_ask(const struct entry_keeper *keeper, int signo)
{
	siginfo_t info = {.si_signo = KEEPER_SIGNAL, .si_code = SI_QUEUE};
	char boot[PROCESS_BOOT_ID_MAX];
	autoclose int fd = -1;

	if (process_boot_id(boot) == 0 && !streq(boot, keeper->boot))
		return -ESRCH;
	fd = process_open(&keeper->process);
	if (fd < 0)
		return fd;
	info.si_pid = getpid();
	info.si_uid = getuid();
	info.si_value.sival_int = signo;
	return pidfd_send_signal(fd, KEEPER_SIGNAL, &info, 0) < 0 ? -errno : 0;
}

static bool has_vm(const struct keeper *k)
{
	return k->entry.job.image != NULL;
}

/* `wnodes run` passes signals on to the command in the VM, and must not lose QEMU to them. A plain
 * job is all processes of its session that are where it has put them. */
static void keeper_signal(struct keeper *k, int signo)
{
	if (has_vm(k) || kill(-k->pid, signo) < 0)
		pidfd_send_signal(k->pidfd, signo, NULL, 0);
}

static void keeper_kill(struct keeper *k)
{
	k->killed = true;
	keeper_signal(k, SIGKILL);
}

static int on_grace(sd_event_source *source, uint64_t usec, void *userdata)
{
	keeper_kill(userdata);
	return 0;
}

/* SIGTERM, and SIGKILL after the grace; a job that is stopped must go on to hear of it. */
static void keeper_end_job(struct keeper *k)
{
	if (k->told)
		return;
	k->told = true;
	keeper_signal(k, SIGTERM);
	keeper_signal(k, SIGCONT);
	if (sd_event_add_time_relative(k->event, &k->grace_timer, CLOCK_MONOTONIC,
		    k->options->grace_us, 0, on_grace, k) < 0)
		keeper_kill(k);
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct keeper *k = userdata;

	k->timed_out = !k->told;
	keeper_end_job(k);
	return 0;
}

static int on_request(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	struct keeper *k = userdata;
	int signo = (int)info->ssi_int;

	if (signo == 0 || signo == SIGKILL)
		k->cancelled = true;
	if (signo == 0)
		keeper_end_job(k);
	else if (signo == SIGKILL)
		keeper_kill(k);
	else if (signo > 0 && signo < NSIG)
		keeper_signal(k, signo);
	return 0;
}

/* The machine is shut down, or somebody means us. */
static int on_end_signal(
	sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	keeper_end_job(userdata);
	return 0;
}

static int on_command_end(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct keeper *k = userdata;

	k->wait_status = child_wait(k->pidfd, 0);
	return sd_event_exit(k->event, 0);
}

/* From before the claim on, so that nothing that is asked of us gets lost. */
static int keeper_block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, KEEPER_SIGNAL);
	for (size_t i = 0; i < ARRAY_SIZE(end_signals); i++)
		sigaddset(&set, end_signals[i]);
	return sigprocmask(SIG_BLOCK, &set, NULL) < 0 ? -errno : 0;
}

static int keeper_watch(struct keeper *k)
{
	int r = sd_event_add_signal(k->event, NULL, KEEPER_SIGNAL, on_request, k);

	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(end_signals); i++)
		r = sd_event_add_signal(k->event, NULL, end_signals[i], on_end_signal, k);
	if (r >= 0)
		r = sd_event_add_io(k->event, NULL, k->pidfd, EPOLLIN, on_command_end, k);
	if (r >= 0 && !has_vm(k) && k->entry.timeout_us > 0)
		r = sd_event_add_time_relative(
			k->event, NULL, CLOCK_MONOTONIC, k->entry.timeout_us, 0, on_timeout, k);
	return r;
}

/* Opened, but not emptied: another keeper may be the one who runs the job. */
static int output_open(const struct entry *entry, const char *name, struct error *err)
{
	autofree char *file = lrms_expand(name, entry->job.id);
	autofree char *path = NULL;
	autoclose int fd = -1;

	if (file && file[0] == '/')
		path = TAKE_PTR(file);
	else if (file)
		path = path_format("%s/%s", entry->job.directory, file);
	if (!path)
		return fail(err, -ENOMEM, "out of memory");
	/* A pipe that nobody reads must not hold us up. */
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
	if (fd < 0 || file_set_nonblocking(fd, false) < 0)
		return fail_errno(err, -errno, "cannot open '%s' for the job's output", path);
	return TAKE_FD(fd);
}

/* Both streams into one file share an offset, so that they do not overwrite each other. */
static int outputs_open(struct keeper *k, struct error *err)
{
	struct stat out, error;

	k->output_fd = output_open(&k->entry, k->entry.output, err);
	if (k->output_fd < 0)
		return k->output_fd;
	k->error_fd = output_open(&k->entry, k->entry.error, err);
	if (k->error_fd < 0)
		return k->error_fd;
	if (fstat(k->output_fd, &out) == 0 && fstat(k->error_fd, &error) == 0 &&
		out.st_dev == error.st_dev && out.st_ino == error.st_ino &&
		dup3(k->output_fd, k->error_fd, O_CLOEXEC) < 0)
		return fail_errno(err, -errno, "cannot share the job's output");
	return 0;
}

static void output_empty(int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && ftruncate(fd, 0) < 0)
		log_debug("cannot empty an output file");
}

/* The command waits before its first instruction for the job to be noted as running. */
static int on_forked(pid_t pid, void *userdata, struct error *err)
{
	struct keeper *k = userdata;
	int r = entry_claim(k->db, k->entry.id, &k->self, pid, lrms_now_us(), err);

	k->unwritten = r < 0;
	if (r < 0)
		return r;
	if (r == 0)
		return fail(err, -ECANCELED, "the job is not queued any more");
	k->claimed = true;
	k->pid = pid;
	wake_touch(k->directory);
	output_empty(k->output_fd);
	output_empty(k->error_fd);
	return 0;
}

/* Programs are searched where the job's own PATH says. */
static int adopt_path(const struct strv *environment)
{
	const char *path = strv_env_get(environment, "PATH");

	return path ? setenv("PATH", path, 1) : unsetenv("PATH");
}

static int keeper_spawn(struct keeper *k, struct error *err)
{
	struct child_spec child = CHILD_SPEC_INIT;
	struct strv *environment = &k->entry.environment;
	const char *mark = str_after(k->entry.mark, ENTRY_MARK_NAME "=");

	strv_env_set(environment, "WNODES_JOB_ID", k->entry.job.id);
	strv_env_set(environment, ENTRY_MARK_NAME, mark ? mark : "");
	if (environment->failed || adopt_path(environment) < 0)
		return fail(err, -ENOMEM, "out of memory");
	child.argv = strv_list(&k->entry.command);
	child.env = strv_list(environment);
	child.stdout_fd = k->output_fd;
	child.stderr_fd = k->error_fd;
	child.workdir = k->entry.job.directory;
	child.new_session = true;
	child.before_exec = on_forked;
	child.userdata = k;
	return child_spawn(&child, &k->pid, &k->pidfd, err);
}

/* The disk may be full, or slow, for a while: what is known of the job's end must not get lost. */
static int keeper_note_end(
	struct keeper *k, enum lrms_state state, int exit_status, const char *reason)
{
	uint64_t deadline = deadline_in_ms(NOTE_TIMEOUT_MS);
	int64_t now_us = lrms_now_us();
	struct error err = {0};
	int r;

	for (;;) {
		r = k->db ? 0 : database_open(k->directory, &k->db, &err);
		if (r == 0 && k->claimed)
			r = entry_end(k->db, k->entry.id, &k->self, state, exit_status, reason,
				now_us, &err);
		else if (r == 0)
			r = entry_refuse(k->db, k->entry.id, exit_status, reason, now_us, &err);
		if (r >= 0 || deadline_left_ms(deadline) == 0)
			break;
		log_warning("job %s: %s, retrying in 1 s", k->entry.job.id, err.text);
		k->db = database_free(k->db);
		poll(NULL, 0, NOTE_PAUSE_MS);
	}
	wake_touch(k->directory);
	if (r == 0)
		log_warning("job %s has got another end meanwhile", k->entry.job.id);
	return MIN_OF(r, 0);
}

/* The command could not be started: the job has failed, and its error output says so too. */
static int keeper_give_up(struct keeper *k, int error, const char *reason)
{
	int status = error == -ENOENT                        ? 127
		     : error == -EACCES || error == -ENOEXEC ? 126
							     : EXIT_WNODES;

	if (!k->claimed) {
		output_empty(k->output_fd);
		output_empty(k->error_fd);
	}
	if (k->error_fd >= 0)
		dprintf(k->error_fd, "wnodes: %s\n", reason);
	return keeper_note_end(k, LRMS_FAILED, status, reason);
}

/* What a VM leaves is its own affair: a template that is being made may go on. */
static void keeper_end_leftovers(struct keeper *k)
{
	if (has_vm(k) && !k->killed)
		return;
	if (process_kill_all(getpid(), NULL, LEFTOVER_TIMEOUT_MS) < 0)
		log_warning("job %s: not all of its processes could be ended", k->entry.job.id);
}

static int keeper_report(struct keeper *k)
{
	bool exited = WIFEXITED(k->wait_status);
	int signo = exited ? 0 : WTERMSIG(k->wait_status);
	int status = exited ? WEXITSTATUS(k->wait_status) : 128 + signo;
	bool limited = has_vm(k) && k->entry.timeout_us > 0 && status == EXIT_TIMEOUT;
	char reason[ERROR_TEXT_MAX], limit[FORMAT_MAX];

	if (k->cancelled)
		return keeper_note_end(k, LRMS_CANCELLED, status, "cancelled");
	if (k->timed_out || limited) {
		snprintf(reason, sizeof(reason), "its time limit of %s ran out",
			format_duration(k->entry.timeout_us, limit));
		return keeper_note_end(k, LRMS_TIMEOUT, EXIT_TIMEOUT, reason);
	}
	if (status == 0)
		return keeper_note_end(k, LRMS_DONE, 0, NULL);
	if (k->told)
		snprintf(reason, sizeof(reason),
			"the machine was shut down, or its keeper told to end");
	else if (status == EXIT_WNODES && has_vm(k))
		snprintf(reason, sizeof(reason), "WNoDeS failed; its error output says why");
	else if (exited)
		snprintf(reason, sizeof(reason), "exit status %d", status);
	else
		snprintf(reason, sizeof(reason), "signal %d (%s)", signo, strsignal(signo));
	return keeper_note_end(k, LRMS_FAILED, status, reason);
}

static int keeper_start(struct keeper *k, struct error *err)
{
	int r = outputs_open(k, err);

	if (r == 0)
		r = keeper_spawn(k, err);
	if (r == 0) {
		r = keeper_watch(k);
		if (r >= 0)
			return 0;
		fail_errno(err, r, "cannot watch the job");
		keeper_kill(k);
		child_wait(k->pidfd, LEFTOVER_TIMEOUT_MS);
	}
	return r;
}

static int keeper_init(struct keeper *k, const char *id_text, struct error *err)
{
	int64_t id;
	int r = entry_parse_id(id_text, &id, err);

	if (r < 0)
		return r;
	r = keeper_block_signals();
	/* What the job's processes leave behind comes to us, and not to init. */
	if (r == 0 && prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		r = -errno;
	if (r == 0)
		r = process_boot_id(k->self.boot);
	if (r == 0)
		r = process_find(getpid(), &k->self.process);
	if (r == 0)
		r = sd_event_new(&k->event);
	if (r < 0)
		return fail_errno(err, r, "cannot keep job %s", id_text);
	k->directory = local_directory();
	if (!k->directory)
		return fail(err, -ENOMEM, "out of memory");
	r = database_open(k->directory, &k->db, err);
	return r < 0 ? r : entry_find(k->db, id, &k->entry, err);
}

int keeper_run(const struct lrms_options *options, const char *id, struct error *err)
{
	struct keeper keeper AUTO(keeper_done) = {
		.options = options, .output_fd = -1, .error_fd = -1, .pidfd = -1};
	int r = keeper_init(&keeper, id, err);

	if (r < 0 || keeper.entry.job.state != LRMS_QUEUED)
		return r;
	umask(keeper.entry.umask);
	r = keeper_start(&keeper, err);
	/* A failure of the database is none of the job's: it stays queued. */
	if (r == -ECANCELED)
		return 0;
	if (r < 0 && keeper.unwritten)
		return r;
	if (r < 0)
		return keeper_give_up(&keeper, r, err->text);
	r = sd_event_loop(keeper.event);
	if (r < 0)
		return fail_errno(err, r, "job %s: the event loop failed", id);
	keeper_end_leftovers(&keeper);
	return keeper_report(&keeper);
}
