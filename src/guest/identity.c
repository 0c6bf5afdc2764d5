/* Everything that must differ between two clones of one template, and that only the guest can
 * change. Each part is done even if another failed; the first failure is reported.
 */
#include "guest/identity.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "guest/call.h"
#include "guest/disk.h"
#include "guest/guest.h"

/* From linux/random.h, which musl's compiler does not find. */
#ifndef RNDADDENTROPY
#define RNDADDENTROPY _IOW('R', 0x03, int[2])
#define RNDRESEEDCRNG _IO('R', 0x07)
#endif

#define IDENTITY_HOSTNAME_MAX 64 /* of the kernel */
#define IDENTITY_ENTROPY_MAX  512

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

/* Writes one file if there is a value. Keeps an error that is in `err` already. */
static void identity_write(
	const char *root, const char *name, const char *value, mode_t mode, struct error *err)
{
	char path[PATH_MAX], line[128];
	int r;

	if (!value[0])
		return;
	r = disk_path(path, sizeof(path), root, name);
	/* A name is a line; /etc/hosts comes as it is to be. */
	if (r == 0 && !strchr(value, '\n')) {
		int n = snprintf(line, sizeof(line), "%s\n", value);
		r = disk_replace(path, line, (size_t)n, mode);
	} else if (r == 0) {
		r = disk_replace(path, value, strlen(value), mode);
	}
	if (r < 0 && err->code == 0)
		fail_errno(err, r, "cannot write '%s'", name);
}

int identity_set_files(const char *root, const struct identity *x, struct error *err)
{
	if (!hostname_is_valid(x->hostname))
		return fail(err, -EINVAL, "'%s' is no host name", x->hostname);
	if (x->machine_id[0] && !machine_id_is_valid(x->machine_id))
		return fail(err, -EINVAL, "'%s' is no machine id", x->machine_id);
	if (x->hosts[0] && !strchr(x->hosts, '\n'))
		return fail(err, -EINVAL, "the content of /etc/hosts has no line end");
	identity_write(root, "/etc/hostname", x->hostname, 0644, err);
	identity_write(root, "/etc/machine-id", x->machine_id, 0444, err);
	identity_write(root, "/etc/hosts", x->hosts, 0644, err);
	return err->code;
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

int identity_on_call(const struct call *c)
{
	const struct identity *x = c->message;
	int r = identity_set_files(c->guest->root, x, c->err);

	if (r == -EINVAL)
		return r;
	if (x->hostname[0] && sethostname(x->hostname, strlen(x->hostname)) < 0 && r == 0)
		r = fail_errno(c->err, -errno, "cannot set the host name");
	if (x->entropy.length > 0) {
		int added = entropy_add(&x->entropy);
		if (added < 0 && r == 0)
			r = fail_errno(c->err, added, "cannot add entropy");
	}
	return r;
}
