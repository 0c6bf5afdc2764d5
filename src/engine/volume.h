/* The site's volumes that a VM is to have: `--volume NAME[:DIR][:ro]`. */
#pragma once

#include "lib/error.h"
#include "vm/spec.h"

/* Where a volume is mounted unless said otherwise, below it by its name. */
#define VOLUME_DIRECTORY "/volumes"

struct volume_request {
	char *name;   /* NAME, OWNER/NAME or id */
	char *target; /* in the VM */
	bool read_only;
};

struct volume_list {
	struct volume_request items[VM_VOLUMES_MAX];
	size_t count;
};

#define VOLUME_SYNTAX "NAME[:DIR][:ro]"

/* What --volume says; its parts point into the text. */
struct volume_text {
	const char *name, *target; /* NULL: none was given */
	bool read_only;
};

/* Cuts "NAME[:DIR][:ro]" in place at its colons. Looks at the text alone. Returns 0 or -EINVAL. */
int volume_split(char *text, struct volume_text *ret, struct error *err);

/* Adds what the option says. Returns 0 or negative errno. */
int volume_add(struct volume_list *list, const char *text, struct error *err);
void volume_list_done(struct volume_list *list);

/* What the VM gets of one, its own: the open file, or who serves it. */
struct volume_lent {
	int fd; /* -1: elsewhere */
	char *id, *address, *key;
	char *directory; /* of the key, once it was written */
	uint64_t port;
	bool read_only;
};

void volume_lent_done(struct volume_lent *v);

/* Writes the keys where QEMU reads them, below the VM's run directory, and fills the spec's
 * volumes. Returns 0 or negative errno. */
int volume_fill_spec(struct volume_lent *lent, size_t count, const char *rundir,
	struct vm_spec *ret, struct error *err);
