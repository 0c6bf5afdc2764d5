#include "bench/place.h"

#include <errno.h>

/* The host in QEMU's user network, and in its own.
 * Source: QEMU docs/system/devices/net.rst, "Using the user mode network stack". */
#define USER_ADDRESS "10.0.2.2"
#define BARE_ADDRESS "127.0.0.1"

int place_parse_local(const char *text, struct place *ret, struct error *err)
{
	static const struct place known[] = {
		{PLACE_BARE, "bare", BARE_ADDRESS},
		{PLACE_BOOT, "boot", NULL},
		{PLACE_CLONE, "clone", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (streq(known[i].name, text)) {
			*ret = known[i];
			return 0;
		}
	return fail(err, -EINVAL, "'%s' is no place to measure in; there are bare, boot and clone",
		text);
}

int place_parse_network(char *text, struct place *ret, struct error *err)
{
	char *equals = strchr(text, '=');

	*ret = (struct place){PLACE_NETWORK, text, USER_ADDRESS};
	if (equals) {
		*equals = '\0';
		ret->address = equals + 1;
	}
	if (!equals && !streq(text, "user"))
		return fail(err, -EINVAL,
			"say by what address a VM reaches this host in the network '%s': "
			"%s=ADDRESS",
			text, text);
	if (text[0] == '\0' || ret->address[0] == '\0')
		return fail(err, -EINVAL, "a network is NAME=ADDRESS");
	return 0;
}

bool place_is_vm(const struct place *p)
{
	return p->kind != PLACE_BARE;
}

bool place_suits(const struct place *p, const struct trial *t)
{
	switch (p->kind) {
	case PLACE_BARE:
		return true;
	case PLACE_BOOT:
	case PLACE_CLONE:
		return t->kind == TRIAL_LOCAL;
	case PLACE_GATEWAY:
		return t->kind == TRIAL_SHARE;
	case PLACE_NETWORK:
		return t->kind == TRIAL_NETWORK;
	}
	return false;
}

const char *place_work(const struct place *p, const struct place_vm *vm)
{
	if (p->kind == PLACE_BARE)
		return vm->directory;
	return p->kind == PLACE_GATEWAY ? PLACE_SHARE_TARGET : PLACE_VM_WORK;
}

void place_fill_command(const struct place *p, const struct place_vm *vm, const char *report,
	const char *script, struct strv *argv)
{
	if (place_is_vm(p)) {
		strv_add_all(argv, vm->program, "run", "--image", vm->image, "--start",
			p->kind == PLACE_CLONE ? "clone" : "boot", "--network",
			p->kind == PLACE_NETWORK ? p->name : "none", "--report", report, NULL);
		strv_add_format(argv, "--cpus=%llu", (unsigned long long)vm->cpus);
		strv_add_format(argv, "--memory=%lluM", (unsigned long long)vm->memory_mib);
		strv_add_format(argv, "--scratch=%llu", (unsigned long long)vm->scratch_bytes);
		if (p->kind == PLACE_GATEWAY)
			strv_add_format(argv, "--mount=%s:" PLACE_SHARE_TARGET ":gateway=%s",
				vm->directory, p->name);
		strv_add_all(argv, "--mount", "none", "--workdir", "/", "--", NULL);
	}
	strv_add_all(argv, "sh", "-c", script, NULL);
}
