#include "engine/sshaccess.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "engine/sshkey.h"
#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/path.h"

/* In the VM's run directory. */
#define ACCESS_DIRECTORY "ssh"
#define ACCESS_CONFIG    "config"
#define ACCESS_HOST_KEY  "host"
#define ACCESS_USER_KEY  "key"
#define ACCESS_PUBLIC    "key.pub"
#define ACCESS_KNOWN     "known_hosts"

#define KEY_MAX 4096

#define FIND_SERVER                                                               \
	"for s in /usr/sbin/sshd /usr/local/sbin/sshd /sbin/sshd /usr/bin/sshd\n" \
	"do [ -x \"$s\" ] && break; done\n"

const char *const sshaccess_probe[] = {"/bin/sh", "-c", FIND_SERVER "[ -x \"$s\" ]", NULL};

/* The server reads its keys from files: in memory, where the guest has that, as a shared /tmp is
 * the host's. They are the same for all connections to a VM. Whoever could have made the directory
 * before us is the VM's root, or its user: `-O` sees to the others.
 *
 * A user's own server asks for no password and for no PAM, which only root could, and keeps no
 * record of logins. Root's has PAM, by which the root of images that have no password may log in,
 * and the directory that its service would have made. */
const char *const sshaccess_server[] = {"/bin/sh", "-c",
	FIND_SERVER
	"for p in /dev/shm /run /tmp; do\n"
	"	d=$p/wnodes-ssh-$" SSHACCESS_NAME "\n"
	"	mkdir -m 700 \"$d\" 2>/dev/null\n"
	"	[ -d \"$d\" ] && [ -O \"$d\" ] && [ ! -L \"$d\" ] && break\n"
	"	d=\n"
	"done\n"
	"[ -n \"$d\" ] || { echo 'no directory for the keys of sshd' >&2; exit 1; }\n"
	"put() {\n"
	"	(umask 077 && printf '%s\\n' \"$2\" >\"$1.$$\") && mv \"$1.$$\" \"$1\"\n"
	"}\n"
	"put \"$d/host\" \"$" SSHACCESS_HOST_KEY "\" || exit 1\n"
	"put \"$d/user\" \"$" SSHACCESS_USER_KEY "\" || exit 1\n"
	"unset " SSHACCESS_HOST_KEY " " SSHACCESS_USER_KEY "\n"
	"pam=no\n"
	"if [ \"$(id -u)\" = 0 ]; then\n"
	"	[ ! -e /etc/pam.d/sshd ] || pam=yes\n"
	"	mkdir -p -m 755 /run/sshd\n"
	"fi\n"
	"exec \"$s\" -i -e -f /dev/null -h \"$d/host\" -o AuthorizedKeysFile=\"$d/user\" \\\n"
	"	-o StrictModes=no -o UsePAM=$pam -o PasswordAuthentication=no \\\n"
	"	-o KbdInteractiveAuthentication=no -o UseDNS=no -o PrintMotd=no \\\n"
	"	-o PrintLastLog=no -o X11Forwarding=yes -o 'AcceptEnv=LANG LC_* TZ' \\\n"
	"	-o 'Subsystem=sftp internal-sftp' -o LogLevel=ERROR\n",
	NULL};

static int add_quoted(struct buffer *b, const char *text)
{
	int r = buffer_append(b, "'", 1);

	for (; *text && r == 0; text++) {
		if (*text == '\'')
			r = buffer_append(b, "'\\''", 4);
		else if (*text == '%') /* ssh looks for its own words behind one */
			r = buffer_append(b, "%%", 2);
		else
			r = buffer_append(b, text, 1);
	}
	return r < 0 ? r : buffer_append(b, "'", 2); /* with NUL */
}

/* For ssh's shell. */
static char *quote_program(const char *program)
{
	struct buffer b AUTO(buffer_done) = {0};

	return add_quoted(&b, program) < 0 ? NULL : strdup((const char *)buffer_head(&b));
}

static int write_new(int fd, const char *name, const char *text)
{
	autoclose int file =
		openat(fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	return file < 0 ? -errno : file_write_all(file, text, strlen(text));
}

/* What is given on ssh's command line comes before it, and nothing of the user's own does, which
 * may be about hosts of the same name. */
static char *format_config(
	const char *directory, const char *vm, const char *user, const char *program)
{
	autofree char *quoted = quote_program(program);

	return quoted ? path_format("# Of wnodes vm ssh; gone with the VM.\n"
				    "Host *\n"
				    "HostName %s\n"
				    "HostKeyAlias %s\n"
				    "User %s\n"
				    "ProxyCommand %s vm ssh --proxy %s\n"
				    "IdentityFile \"%s/" ACCESS_USER_KEY "\"\n"
				    "UserKnownHostsFile \"%s/" ACCESS_KNOWN "\"\n"
				    "GlobalKnownHostsFile /dev/null\n"
				    "IdentitiesOnly yes\n"
				    "StrictHostKeyChecking yes\n"
				    "UpdateHostKeys no\n"
				    "PreferredAuthentications publickey\n"
				    "SendEnv LANG LC_* TZ\n"
				    "LogLevel ERROR\n",
				vm, vm, user, quoted, vm, directory, directory)
		      : NULL;
}

static int write_keys(int fd, const char *vm)
{
	autofree char *host = NULL, *host_public = NULL, *key = NULL, *key_public = NULL;
	autofree char *known = NULL;
	int r = sshkey_make(vm, &host, &host_public);

	if (r == 0)
		r = sshkey_make(vm, &key, &key_public);
	if (r == 0)
		known = path_format("%s %s\n", vm, host_public);
	if (r == 0 && !known)
		r = -ENOMEM;
	if (r == 0)
		r = write_new(fd, ACCESS_HOST_KEY, host);
	if (r == 0)
		r = write_new(fd, ACCESS_USER_KEY, key);
	if (r == 0)
		r = write_new(fd, ACCESS_PUBLIC, key_public);
	if (r == 0)
		r = write_new(fd, ACCESS_KNOWN, known);
	if (host)
		explicit_bzero(host, strlen(host));
	if (key)
		explicit_bzero(key, strlen(key));
	return r;
}

static int fill(const char *path, const char *vm, const char *config)
{
	autoclose int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	int r = fd < 0 ? -errno : write_keys(fd, vm);

	return r < 0 ? r : write_new(fd, ACCESS_CONFIG, config);
}

/* Renamed into place whole: of two who make it at once one wins, and both use that. */
static int make(const char *final, const char *vm, const char *config)
{
	autofree char *fresh = path_format("%s.XXXXXX", final);
	int r;

	if (!fresh)
		return -ENOMEM;
	if (!mkdtemp(fresh))
		return -errno;
	r = fill(fresh, vm, config);
	if (r == 0 && rename(fresh, final) < 0)
		r = errno == ENOTEMPTY || errno == EEXIST ? 1 : -errno;
	if (r != 0)
		file_remove_tree(AT_FDCWD, fresh);
	return MIN_OF(r, 0);
}

static int load(const char *directory, struct sshaccess *ret)
{
	autoclose int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	size_t length;
	int r = fd < 0 ? -errno : file_read(fd, ACCESS_HOST_KEY, KEY_MAX, &ret->host_key, &length);

	return r < 0 ? r : file_read(fd, ACCESS_PUBLIC, KEY_MAX, &ret->user_public, &length);
}

int sshaccess_open(const char *directory, const char *vm, const char *user, const char *program,
	struct sshaccess *ret, struct error *err)
{
	autofree char *path = path_format("%s/" ACCESS_DIRECTORY, directory);
	autofree char *config = path ? format_config(path, vm, user, program) : NULL;
	int r = 0;

	*ret = (struct sshaccess){0};
	if (!config)
		return fail(err, -ENOMEM, "out of memory");
	if (strpbrk(path, "\"\n%") || strchr(program, '\n'))
		return fail(err, -EINVAL,
			"ssh takes no path like '%s'; set XDG_RUNTIME_DIR to another one", path);
	if (access(path, F_OK) < 0)
		r = make(path, vm, config);
	if (r == 0)
		r = load(path, ret);
	if (r == 0) {
		ret->config = path_format("%s/" ACCESS_CONFIG, path);
		r = ret->config ? 0 : -ENOMEM;
	}
	if (r < 0)
		sshaccess_done(ret);
	return r < 0 ? fail_errno(err, r, "cannot make the keys for '%s' in '%s'", vm, path) : 0;
}

void sshaccess_done(struct sshaccess *a)
{
	if (a->host_key)
		explicit_bzero(a->host_key, strlen(a->host_key));
	free(a->host_key);
	free(a->user_public);
	free(a->config);
	*a = (struct sshaccess){0};
}
