#include "controller/privileges.h"

#include <errno.h>
#include <grp.h>
#include <libgen.h>
#include <pwd.h>
#include <seccomp.h>

#include "lib/confinement.h"
#include "lib/file.h"

/* Beside those of connections, of which each may be sent a file: for the database and the log. */
#define DESCRIPTORS_SPARE 256

/* It starts no program. */
static const int forbidden[] = {SCMP_SYS(execve), SCMP_SYS(execveat)};

/* The parent of a socket is made for everybody to pass through. */
static int make_directory(
	const char *path, mode_t mode, const struct passwd *account, struct error *err)
{
	bool is_new = access(path, F_OK) < 0;
	int r = is_new ? file_make_dirs(path, mode) : 0;

	if (r < 0)
		return fail_errno(err, r, "cannot make '%s'", path);
	if (is_new && account && chown(path, account->pw_uid, account->pw_gid) < 0)
		return fail_errno(err, -errno, "cannot give '%s' to '%s'", path, account->pw_name);
	return 0;
}

static int make_directories(
	const struct controller_settings *s, const struct passwd *account, struct error *err)
{
	autofree char *socket = strdup(s->socket);
	int r;

	if (!socket)
		return fail(err, -ENOMEM, "out of memory");
	r = make_directory(s->state, 0700, account, err);
	if (r == 0 && s->socket[0] == '/')
		r = make_directory(dirname(socket), 0755, account, err);
	return r;
}

static int become(const struct passwd *account, struct error *err)
{
	if (initgroups(account->pw_name, account->pw_gid) < 0 ||
		setresgid(account->pw_gid, account->pw_gid, account->pw_gid) < 0 ||
		setresuid(account->pw_uid, account->pw_uid, account->pw_uid) < 0)
		return fail_errno(err, -errno, "cannot become '%s'", account->pw_name);
	return 0;
}

int privileges_drop(const struct controller_settings *s, struct error *err)
{
	const struct passwd *account = geteuid() == 0 ? getpwnam(s->user) : NULL;
	int r;

	if (geteuid() == 0 && !account)
		return fail(err, -ENOENT,
			"there is no account '%s' to become; make it, or set [controller] user to "
			"another (root: to stay root)",
			s->user);
	r = make_directories(s, account, err);
	if (r == 0 && account)
		r = become(account, err);
	if (r == 0)
		r = confinement_set_limits(2 * (size_t)s->connections + DESCRIPTORS_SPARE, err);
	return r < 0 ? r : confinement_forbid(forbidden, ARRAY_SIZE(forbidden), err);
}
