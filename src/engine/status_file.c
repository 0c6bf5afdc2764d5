#include "engine/status_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "engine/status_job.h"
#include "lib/clock.h"
#include "lib/exit.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lib/timestamp.h"

#define SECOND UINT64_C(1000000)

/* VMs of one step and node, as of a script that starts one after the other: those beyond have no
 * file, so that a loop does not fill the directory. */
#define NAMES_MAX 16

/* Its time of change is that of the last sweep. */
#define SWEPT          ".swept"
#define SWEEP_PAUSE_S  3600
#define SWEEP_LIMIT_US 50000

/* Where there was more to do than that. */
#define SWEEP_AGAIN_S 60

/* So many files are a burden to a home directory: of these, all but the last day's go. */
#define MANY_FILES  10000
#define MANY_KEEP_S 86400

/* Without an end: a job of a year is none, and its host may not have told of its death. */
#define UNENDED_KEEP_S (366 * 86400)

#define TEMPORARY ".new-"

/* The caller frees; NULL when out of memory. */
static char *jobs_directory(void)
{
	autofree char *state = path_state();

	return state ? path_format("%s/jobs", state) : NULL;
}

static int directory_open(const struct status_job *job)
{
	autofree char *jobs = jobs_directory();
	autofree char *path = jobs ? path_format("%s/%s", jobs, job->cluster) : NULL;
	int fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1, r;

	if (!path)
		return -ENOMEM;
	if (fd >= 0 || errno != ENOENT)
		return fd >= 0 ? fd : -errno;
	r = file_make_dirs(path, 0700);
	if (r < 0)
		return r;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static char *file_name(const struct status *s, int number)
{
	const struct status_job *j = &s->job;
	const char *step = j->step[0] ? j->step : "vm";
	unsigned long long restart = j->restart;

	return number ? path_format("%s.%s.%llu-%s+%d", j->job, step, restart, j->node, number)
		      : path_format("%s.%s.%llu-%s", j->job, step, restart, j->node);
}

static int temporary_write(int directory_fd, const char *name, const char *text)
{
	autoclose int fd = openat(
		directory_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r = fd < 0 ? -errno : file_write_all(fd, text, strlen(text));

	/* Over NFS the disk is found to be full only now. */
	if (r == 0 && close(TAKE_FD(fd)) < 0)
		r = -errno;
	return r;
}

/* The first writing: to a name that nobody has. */
static int file_place(struct status_file *f, const struct status *s, const char *temporary)
{
	for (int i = 0; i < NAMES_MAX; i++) {
		autofree char *name = file_name(s, i);

		if (!name)
			return -ENOMEM;
		if (linkat(f->directory_fd, temporary, f->directory_fd, name, 0) == 0) {
			f->name = TAKE_PTR(name);
			unlinkat(f->directory_fd, temporary, 0);
			return 0;
		}
		/* Some file systems have no links. */
		if (errno == EPERM || errno == EOPNOTSUPP) {
			f->name = TAKE_PTR(name);
			break;
		}
		if (errno != EEXIST)
			return -errno;
	}
	if (!f->name)
		return -EEXIST;
	return renameat(f->directory_fd, temporary, f->directory_fd, f->name) < 0 ? -errno : 0;
}

static int file_write(struct status_file *f, const struct status *s)
{
	autofree char *json = status_format(s);
	autofree char *temporary =
		path_format(TEMPORARY "%s-%s-%d", s->job.node, s->vm, (int)getpid());
	int r;

	if (!json || !temporary)
		return -ENOMEM;
	if (f->directory_fd < 0)
		f->directory_fd = directory_open(&s->job);
	if (f->directory_fd < 0)
		return f->directory_fd;
	r = temporary_write(f->directory_fd, temporary, json);
	if (r == 0 && !f->name)
		r = file_place(f, s, temporary);
	else if (r == 0)
		r = renameat(f->directory_fd, temporary, f->directory_fd, f->name) < 0 ? -errno : 0;
	if (r < 0)
		unlinkat(f->directory_fd, temporary, 0);
	return r;
}

int status_file_write(struct status_file *f, const struct status *s)
{
	int r = f->failed ? -ECANCELED : file_write(f, s);

	f->failed = r < 0;
	return r;
}

int status_file_note_refusal(const struct status_job *job, const char *image, const char *reason)
{
	struct status_file file AUTO(status_file_done) = STATUS_FILE_INIT;
	struct status s = {
		.job = *job,
		.accepted_us = timestamp_now_us(),
		.phase = PHASE_FAILED,
		.exit_status = EXIT_WNODES,
	};

	status_starter_set(&s.starter);
	snprintf(s.image, sizeof(s.image), "%s", image ? image : "");
	snprintf(s.reason, sizeof(s.reason), "%s", reason);
	return status_file_write(&file, &s);
}

void status_file_done(struct status_file *f)
{
	base_close(f->directory_fd);
	free(f->name);
	*f = (struct status_file)STATUS_FILE_INIT;
}

/* Reads one of the caller's. What else there is, a pipe or another's file, is not even opened for
 * long. Returns 0 or negative errno. */
static int file_load(int directory_fd, const char *name, struct status *ret)
{
	autoclose int fd = openat(
		directory_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	autofree char *text = malloc(STATUS_MAX + 1);
	struct error err = {0};
	struct stat st;
	ssize_t n;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_size > STATUS_MAX)
		return -EPERM;
	if (!text)
		return -ENOMEM;
	n = read(fd, text, STATUS_MAX + 1);
	r = n < 0 ? -errno : status_parse(text, (size_t)n, ret, &err);
	if (r < 0)
		log_debug("%s: %s, ignoring", name, err.text[0] ? err.text : strerror(-r));
	return r;
}

static DIR *directory_read(int fd)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);

	if (!dir)
		base_close(copy);
	return dir;
}

static bool sweep_is_due(int directory_fd)
{
	struct stat st;
	time_t now = time(NULL);

	if (fstatat(directory_fd, SWEPT, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return true;
	return st.st_mtime + SWEEP_PAUSE_S <= now || st.st_mtime > now;
}

/* The next one is due in so many seconds. */
static void sweep_note(int directory_fd, time_t pause_s)
{
	const struct timespec then = {.tv_sec = time(NULL) - SWEEP_PAUSE_S + pause_s};

	autoclose int fd = openat(directory_fd, SWEPT,
		O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);

	if (fd < 0 || futimens(fd, (struct timespec[]){then, then}) < 0)
		log_debug("cannot note a sweep: %s, ignoring", strerror(errno));
}

static size_t directory_count(int fd)
{
	DIR *dir = directory_read(fd);
	size_t n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

/* Only files that are ours by their name, and by what is in them. */
static bool is_outdated(int directory_fd, const char *name, uint64_t keep_s)
{
	uint64_t now = (uint64_t)time(NULL), age;
	struct status status;
	struct stat st;

	if (fstatat(directory_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return false;
	age = now > (uint64_t)st.st_mtime ? now - (uint64_t)st.st_mtime : 0;
	if (age <= keep_s)
		return false;
	if (name[0] == '.')
		return str_after(name, TEMPORARY) != NULL;
	if (file_load(directory_fd, name, &status) < 0)
		return false;
	return status_has_ended(&status) || age > UNENDED_KEEP_S;
}

void status_file_sweep(const struct status_file *f, uint64_t keep_us)
{
	uint64_t end_us = clock_now_us() + SWEEP_LIMIT_US, keep_s = keep_us / SECOND;
	struct dirent *e;
	DIR *dir;

	if (f->directory_fd < 0 || !sweep_is_due(f->directory_fd))
		return;
	/* First, so that of many jobs that end now only one does it. */
	sweep_note(f->directory_fd, SWEEP_PAUSE_S);
	if (directory_count(f->directory_fd) > MANY_FILES)
		keep_s = MIN_OF(keep_s, (uint64_t)MANY_KEEP_S);
	dir = directory_read(f->directory_fd);
	while (dir && clock_now_us() < end_us && (e = readdir(dir)))
		if (is_outdated(f->directory_fd, e->d_name, keep_s))
			unlinkat(f->directory_fd, e->d_name, 0);
	if (clock_now_us() >= end_us)
		sweep_note(f->directory_fd, SWEEP_AGAIN_S);
	if (dir)
		closedir(dir);
}

static int not_hidden(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

/* Calls `each` for all names in a directory but those that begin with a dot, in their order. */
static int directory_each(int fd,
	int (*each)(
		int fd, const char *name, const char *cluster, const struct status_reader *reader),
	const char *cluster, const struct status_reader *reader)
{
	struct dirent **names = NULL;
	int n = scandirat(fd, ".", &names, not_hidden, versionsort), r = n < 0 ? -errno : 0;

	for (int i = 0; i < n; i++) {
		if (r == 0)
			r = each(fd, names[i]->d_name, cluster, reader);
		free(names[i]);
	}
	free(names);
	return r;
}

static int list_file(
	int fd, const char *name, const char *cluster, const struct status_reader *reader)
{
	struct status status;
	size_t n = strcspn(name, ".");
	autofree char *job = strndup(name, n);

	if (!job)
		return -ENOMEM;
	if (name[n] != '.' || (reader->wanted && !reader->wanted(cluster, job, reader->userdata)))
		return 0;
	/* A file of another name than its content's was put there by somebody else. */
	if (file_load(fd, name, &status) < 0 || !streq(status.job.job, job) ||
		!streq(status.job.cluster, cluster))
		return 0;
	return reader->each(&status, reader->userdata);
}

static int list_cluster(
	int fd, const char *name, const char *unused, const struct status_reader *reader)
{
	autoclose int directory =
		openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	int r = directory < 0 ? 0 : directory_each(directory, list_file, name, reader);

	return r == -EACCES ? 0 : r;
}

int status_file_list(const struct status_reader *reader, struct error *err)
{
	autofree char *path = jobs_directory();
	autoclose int fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int r;

	if (!path)
		return fail(err, -ENOMEM, "out of memory");
	if (fd < 0 && errno == ENOENT)
		return 0;
	r = fd < 0 ? -errno : directory_each(fd, list_cluster, NULL, reader);
	return r < 0 ? fail_errno(err, r, "cannot read '%s'", path) : r;
}
