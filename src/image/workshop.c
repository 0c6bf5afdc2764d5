#include "image/workshop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "image/apt.h"
#include "lib/child.h"
#include "lib/file.h"
#include "lib/path.h"

/* mmdebstrap downloads and installs hundreds of packages; a user's script may compile. */
#define WORKSHOP_TIMEOUT_MS (6 * 3600 * 1000)

static int open_log(
	struct workshop *w, const char *doing, const char *name, const char *tag, struct error *err)
{
	autofree char *cache = path_cache();
	int r = cache ? file_make_dirs(cache, 0700) : -ENOMEM;

	if (r >= 0)
		w->log_path = path_format("%s/%s-%s-%s.log", cache, doing, name, tag);
	if (r >= 0 && !w->log_path)
		r = -ENOMEM;
	if (r >= 0)
		w->log_fd = open(w->log_path,
			O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (r >= 0 && w->log_fd < 0)
		r = -errno;
	return r < 0 ? fail_errno(
			       err, r, "cannot write the log '%s'", w->log_path ? w->log_path : "")
		     : 0;
}

static int make_environment(struct workshop *w, struct error *err)
{
	autofree char *path = path_search();

	for (char **entry = environ; *entry; entry++)
		strv_add(&w->env, *entry);
	if (!path)
		return fail(err, -ENOMEM, "out of memory");
	strv_env_set(&w->env, "PATH", path);
	strv_env_set(&w->env, "TMPDIR", w->work->outside);
	apt_proxy(&w->env);
	return w->env.failed ? fail(err, -ENOMEM, "out of memory") : 0;
}

int workshop_open(struct store *s, const char *doing, const char *name, const char *tag,
	const volatile sig_atomic_t *cancel, struct workshop *ret, struct error *err)
{
	struct workshop *w = ret;
	int r = open_log(w, doing, name, tag, err);

	if (r >= 0)
		r = workdir_open(s, &w->work, err);
	if (r >= 0)
		r = make_environment(w, err);
	if (r < 0)
		return r;
	w->runner = (struct runner){
		.log_fd = w->log_fd,
		.log_path = w->log_path,
		.keep_fd = w->work->fd,
		.cancel = cancel,
		.env = &w->env,
		.workdir = w->work->path,
		.timeout_ms = WORKSHOP_TIMEOUT_MS,
	};
	return 0;
}

void workshop_done(struct workshop *w)
{
	w->work = workdir_free(w->work);
	w->log_fd = base_close(w->log_fd);
	strv_done(&w->env);
	free(TAKE_PTR(w->log_path));
}

void workshop_note(const struct workshop *w, const char *what)
{
	dprintf(w->log_fd, "wnodes: %s\n", what);
}

void workshop_drop_log(const struct workshop *w)
{
	if (w->log_path)
		unlink(w->log_path);
}
