#include "engine/identity.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#include "engine/sshkey.h"
#include "lib/path.h"
#include "lib/uuid.h"

static void print_hex(const uint8_t *bytes, size_t count, char *ret)
{
	for (size_t i = 0; i < count; i++)
		snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
}

char *vm_identity_hosts(const char *address, const char *hostname)
{
	return path_format("%s%s %s\n", VM_IDENTITY_LOOPBACK, address, hostname);
}

bool vm_identity_is_hostname(const char *text)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.";
	size_t n = strlen(text);

	return n > 0 && n <= VM_IDENTITY_HOSTNAME_MAX && text[0] != '-' && text[0] != '.' &&
	       strspn(text, allowed) == n;
}

int vm_identity_new(const char *hostname, struct vm_identity *ret, struct error *err)
{
	uint8_t machine[16];
	int r;

	*ret = (struct vm_identity){0};
	if (getrandom(ret->entropy, sizeof(ret->entropy), 0) != sizeof(ret->entropy) ||
		uuid_make(machine) < 0 || uuid_new(ret->boot_id) < 0)
		return fail_errno(err, -errno, "cannot get random numbers");
	print_hex(machine, sizeof(machine), ret->machine_id);
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
