#include "engine/identity.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#include "engine/sshkey.h"
#include "lib/path.h"

/* Version 4, variant 1: RFC 4122, section 4.4. */
static int make_uuid(uint8_t ret[16])
{
	if (getrandom(ret, 16, 0) != 16)
		return -errno;
	ret[6] = (uint8_t)((ret[6] & 0x0f) | 0x40);
	ret[8] = (uint8_t)((ret[8] & 0x3f) | 0x80);
	return 0;
}

static void print_hex(const uint8_t *bytes, size_t count, char *ret)
{
	for (size_t i = 0; i < count; i++)
		snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
}

/* 8-4-4-4-12 digits. */
static void print_uuid(const uint8_t uuid[16], char ret[37])
{
	static const size_t groups[] = {4, 2, 2, 2, 6};

	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		print_hex(uuid, groups[i], ret);
		uuid += groups[i];
		ret += 2 * groups[i];
		*ret++ = i + 1 < ARRAY_SIZE(groups) ? '-' : '\0';
	}
}

char *vm_identity_hosts(const char *address, const char *hostname)
{
	return path_format("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n%s %s\n",
		address, hostname);
}

int vm_identity_new(const char *hostname, struct vm_identity *ret, struct error *err)
{
	uint8_t machine[16], boot[16];
	int r;

	*ret = (struct vm_identity){0};
	if (getrandom(ret->entropy, sizeof(ret->entropy), 0) != sizeof(ret->entropy) ||
		make_uuid(machine) < 0 || make_uuid(boot) < 0)
		return fail_errno(err, -errno, "cannot get random numbers");
	print_hex(machine, sizeof(machine), ret->machine_id);
	print_uuid(boot, ret->boot_id);
	r = sshkey_make(hostname, &ret->ssh_key, &ret->ssh_public_key);
	return r < 0 ? fail_errno(err, r, "cannot make the VM's ssh key") : 0;
}

void vm_identity_done(struct vm_identity *x)
{
	explicit_bzero(x->entropy, sizeof(x->entropy));
	if (x->ssh_key)
		explicit_bzero(x->ssh_key, strlen(x->ssh_key));
	free(x->ssh_key);
	free(x->ssh_public_key);
}
