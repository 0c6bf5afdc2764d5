/* Everything that must differ between two clones of one template, and that only the guest can
 * change. Entropy comes first, so that nothing random is drawn from what all clones share. Each
 * part is done even if another failed; the first failure is reported.
 *
 * A boot id that was asked for in the template is fixed in its kernel, so a file lies over it.
 */
#include "guest/identity.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

#include "guest/call.h"
#include "guest/disk.h"
#include "guest/guest.h"

/* From linux/random.h, which musl's compiler does not find. */
#ifndef RNDADDENTROPY
#define RNDADDENTROPY _IOW('R', 0x03, int[2])
#define RNDRESEEDCRNG _IO('R', 0x07)
#endif

#define IDENTITY_HOSTNAME_MAX 64 /* of the kernel */
#define IDENTITY_LINE_MAX     1024
#define IDENTITY_ENTROPY_MAX  512

#define BOOT_ID_FILE   "/run/wnodes-boot-id"
#define BOOT_ID_KERNEL "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_SIZE   37 /* and the end of the line */
#define BOOT_ID_MODE   0444

#define SSH_DIRECTORY  "/etc/ssh"
#define SSH_KEY        "ssh_host_ed25519_key"
#define SSH_KEY_HEADER "-----BEGIN OPENSSH PRIVATE KEY-----\n"

/* struct rand_pool_info with room for the bytes. */
struct entropy {
	int bits;
	int size;
	uint8_t bytes[IDENTITY_ENTROPY_MAX];
};

static bool hostname_is_valid(const char *s)
{
	if (strlen(s) > IDENTITY_HOSTNAME_MAX || s[0] == '-' || s[0] == '.')
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && *s != '-' && *s != '.')
			return false;
	return true;
}

static bool machine_id_is_valid(const char *s)
{
	return strlen(s) == 32 && strspn(s, "0123456789abcdef") == 32;
}

static bool boot_id_is_valid(const char *s)
{
	static const char form[] = "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh";

	if (strlen(s) != strlen(form))
		return false;
	for (const char *f = form; *f; f++, s++)
		if (*f == 'h' ? !isxdigit((unsigned char)*s) : *s != *f)
			return false;
	return true;
}

static bool ssh_key_is_valid(const struct identity *x)
{
	if (!x->ssh_key[0] && !x->ssh_public_key[0])
		return true;
	return str_after(x->ssh_key, SSH_KEY_HEADER) && str_after(x->ssh_public_key, "ssh-") &&
	       !strchr(x->ssh_public_key, '\n');
}

static int identity_check(const struct identity *x, struct error *err)
{
	if (!hostname_is_valid(x->hostname))
		return fail(err, -EINVAL, "'%s' is no host name", x->hostname);
	if (x->machine_id[0] && !machine_id_is_valid(x->machine_id))
		return fail(err, -EINVAL, "'%s' is no machine id", x->machine_id);
	if (x->hosts[0] && !strchr(x->hosts, '\n'))
		return fail(err, -EINVAL, "the content of /etc/hosts has no line end");
	if (x->boot_id[0] && !boot_id_is_valid(x->boot_id))
		return fail(err, -EINVAL, "'%s' is no boot id", x->boot_id);
	if (!ssh_key_is_valid(x))
		return fail(err, -EINVAL, "the ssh key is no pair of keys of OpenSSH");
	return 0;
}

/* Writes one file if there is a value; a name is a line, what has lines comes as it is to be. Keeps
 * an error that is in `err` already. Without memory from the heap, which a clone's kernel would
 * have to be asked for. */
static void identity_write(
	const char *root, const char *name, const char *value, mode_t mode, struct error *err)
{
	char path[PATH_MAX], line[IDENTITY_LINE_MAX];
	size_t n = strlen(value);
	int r;

	if (n == 0)
		return;
	r = disk_path(path, sizeof(path), root, name);
	if (r == 0 && !strchr(value, '\n')) {
		n = (size_t)snprintf(line, sizeof(line), "%s\n", value);
		value = line;
	}
	if (r == 0)
		r = n < sizeof(line) || value != line ? disk_update(path, value, n, mode) : -E2BIG;
	if (r < 0 && err->code == 0)
		fail_errno(err, r, "cannot write '%s'", name);
}

/* Copies of the machine id that are files of their own are written in place: systemd mounts the one
 * in /run over /etc/machine-id, where none could be written at boot. */
static bool machine_id_update(const char *root, const char *name, const char *id)
{
	char path[PATH_MAX], line[40];
	int n = snprintf(line, sizeof(line), "%s\n", id);

	return disk_path(path, sizeof(path), root, name) == 0 &&
	       disk_overwrite(path, line, (size_t)n, -1) == 0;
}

static void machine_id_set(const char *root, const char *id, struct error *err)
{
	struct error own = {0};
	bool in_run;

	if (!id[0])
		return;
	in_run = machine_id_update(root, "/run/machine-id", id);
	machine_id_update(root, "/var/lib/dbus/machine-id", id);
	identity_write(root, "/etc/machine-id", id, 0444, &own);
	if (own.code < 0 && !(own.code == -EBUSY && in_run) && err->code == 0)
		*err = own;
}

static bool is_other_host_key(const char *name)
{
	const char *rest = str_after(name, "ssh_host_");
	const char *end = rest ? strstr(rest, "_key") : NULL;

	return end && (streq(end, "_key") || streq(end, "_key.pub")) && !streq(name, SSH_KEY) &&
	       !streq(name, SSH_KEY ".pub");
}

static void ssh_remove_other_keys(DIR *dir)
{
	struct dirent *e;

	while ((e = readdir(dir)))
		if (is_other_host_key(e->d_name))
			unlinkat(dirfd(dir), e->d_name, 0);
}

static void ssh_set_key(const char *root, const struct identity *x, struct error *err)
{
	char path[PATH_MAX];
	DIR *dir;

	if (!x->ssh_key[0] || disk_path(path, sizeof(path), root, SSH_DIRECTORY) < 0)
		return;
	dir = opendir(path);
	if (!dir)
		return;
	identity_write(root, SSH_DIRECTORY "/" SSH_KEY, x->ssh_key, 0600, err);
	identity_write(root, SSH_DIRECTORY "/" SSH_KEY ".pub", x->ssh_public_key, 0644, err);
	ssh_remove_other_keys(dir);
	closedir(dir);
}

int identity_set_files(const char *root, const struct identity *x, struct error *err)
{
	int r = identity_check(x, err);

	if (r < 0)
		return r;
	identity_write(root, "/etc/hostname", x->hostname, 0644, err);
	machine_id_set(root, x->machine_id, err);
	identity_write(root, "/etc/hosts", x->hosts, 0644, err);
	ssh_set_key(root, x, err);
	return err->code;
}

void ssh_restart(const char *root)
{
	char path[PATH_MAX], text[32];
	int pid;

	if (disk_path(path, sizeof(path), root, "/run/sshd.pid") < 0 ||
		disk_read_line(path, text, sizeof(text)) <= 0)
		return;
	pid = atoi(text);
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	/* The file may be older than the process with this number. */
	if (pid > 1 && disk_read_line(path, text, sizeof(text)) > 0 && streq(text, "sshd"))
		kill(pid, SIGHUP);
}

/* The file is made and mounted once, by the rehearsal of a template if there was one; then it is
 * only written to. */
int boot_id_set(const char *file, const char *over, const char *id)
{
	char line[BOOT_ID_SIZE + 1];
	int n = snprintf(line, sizeof(line), "%s\n", id), r;

	if (disk_overwrite(file, line, (size_t)n, BOOT_ID_MODE) == 0)
		return 0;
	r = disk_replace(file, line, (size_t)n, BOOT_ID_MODE);
	if (r == 0 && mount(file, over, NULL, MS_BIND, NULL) < 0) {
		r = -errno;
		unlink(file);
	}
	return r;
}

void identity_rehearse(const char *root)
{
	static const struct {
		const char *name, *content;
		mode_t mode;
	} files[] = {
		{"/etc/hostname", "localhost\n", 0644},
		{"/etc/hosts", "127.0.0.1 localhost\n", 0644},
		{"/etc/machine-id", "uninitialized\n", 0444},
		{"/run/machine-id", NULL, 0},
		{"/var/lib/dbus/machine-id", NULL, 0},
		{SSH_DIRECTORY "/" SSH_KEY, "\n", 0600},
		{SSH_DIRECTORY "/" SSH_KEY ".pub", "\n", 0644},
		{"/etc/resolv.conf", "\n", 0644},
	};
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (disk_path(path, sizeof(path), root, files[i].name) == 0)
			disk_rehearse(path, files[i].content, files[i].mode);
}

void boot_id_rehearse(void)
{
	boot_id_set(BOOT_ID_FILE, BOOT_ID_KERNEL, "00000000-0000-0000-0000-000000000000");
}

static int entropy_add(const struct message_bytes *bytes)
{
	int fd autoclose = open("/dev/urandom", O_RDWR | O_CLOEXEC);
	struct entropy e = {0};

	if (fd < 0)
		return -errno;
	e.size = (int)MIN_OF(bytes->length, (uint32_t)sizeof(e.bytes));
	e.bits = e.size * 8;
	memcpy(e.bytes, bytes->data, (size_t)e.size);
	/* The second makes the generator use it now, not minutes later. */
	if (ioctl(fd, RNDADDENTROPY, &e) < 0 || ioctl(fd, RNDRESEEDCRNG) < 0)
		return -errno;
	return 0;
}

/* The parts that only the running kernel and its processes have. */
static int identity_set_kernel(const struct guest *g, const struct identity *x, struct error *err)
{
	int r;

	if (x->hostname[0] && sethostname(x->hostname, strlen(x->hostname)) < 0 && err->code == 0)
		fail_errno(err, -errno, "cannot set the host name");
	r = x->boot_id[0] ? boot_id_set(BOOT_ID_FILE, BOOT_ID_KERNEL, x->boot_id) : 0;
	if (r < 0 && err->code == 0)
		fail_errno(err, r, "cannot set the boot id");
	if (x->ssh_key[0])
		ssh_restart(g->root);
	return err->code;
}

int identity_on_call(const struct call *c)
{
	const struct identity *x = c->message;
	int r = identity_check(x, c->err);

	if (r < 0)
		return r;
	r = x->entropy.length > 0 ? entropy_add(&x->entropy) : 0;
	if (r < 0)
		fail_errno(c->err, r, "cannot add entropy");
	template_on_identity(&c->guest->template);
	identity_set_files(c->guest->root, x, c->err);
	return identity_set_kernel(c->guest, x, c->err);
}
