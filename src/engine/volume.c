#include "engine/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/file.h"
#include "lib/path.h"

void volume_list_done(struct volume_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->items[i].name);
		free(list->items[i].target);
	}
	list->count = 0;
}

/* By the volume's own name, whoever owns it. */
static char *default_target(const char *name)
{
	const char *slash = strrchr(name, '/');

	return path_format(VOLUME_DIRECTORY "/%s", slash ? slash + 1 : name);
}

int volume_add(struct volume_list *list, const char *text, struct error *err)
{
	autofree char *copy = strdup(text);
	struct volume_request *v = &list->items[list->count];
	struct volume_text parts;

	if (list->count == VM_VOLUMES_MAX)
		return fail(err, -E2BIG, "more than %d volumes", VM_VOLUMES_MAX);
	if (!copy)
		return fail(err, -ENOMEM, "out of memory");
	if (volume_split(copy, &parts, err) < 0)
		return fail_within(err, "--volume '%s'", text);
	for (size_t i = 0; i < list->count; i++)
		if (streq(list->items[i].name, parts.name))
			return fail(err, -EEXIST, "volume '%s' is asked for twice", parts.name);
	*v = (struct volume_request){
		.name = strdup(parts.name),
		.target = parts.target ? path_absolute(parts.target) : default_target(parts.name),
		.read_only = parts.read_only,
	};
	list->count++;
	if (!v->name || !v->target)
		return fail(err, -ENOMEM, "out of memory");
	return streq(v->target, "/") ? fail(err, -EINVAL,
					       "a volume cannot be mounted over the VM's root "
					       "directory")
				     : 0;
}

void volume_lent_done(struct volume_lent *v)
{
	base_close(v->fd);
	free(v->id);
	free(v->address);
	free(v->key);
	free(v->directory);
	*v = (struct volume_lent){.fd = -1};
}

/* As QEMU wants it: a directory with a file of this name. */
static int write_key(struct volume_lent *v, size_t index, const char *rundir, struct error *err)
{
	autofree char *path = NULL, *text = NULL;
	int r = -ENOMEM;

	free(v->directory);
	v->directory = path_format("%s/volume-%zu", rundir, index);
	path = v->directory ? path_format("%s/keys.psk", v->directory) : NULL;
	text = path_format("%s:%s\n", v->id, v->key);
	if (path && text)
		r = file_make_dirs(v->directory, 0700);
	if (r == 0)
		r = file_replace_soon(path, text, strlen(text), 0600);
	return r < 0 ? fail_errno(err, r, "cannot write the key of a volume") : 0;
}

int volume_fill_spec(struct volume_lent *lent, size_t count, const char *rundir,
	struct vm_spec *ret, struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		struct volume_lent *v = &lent[i];

		if (v->fd < 0)
			r = write_key(v, i, rundir, err);
		ret->volumes[i] = (struct vm_volume){.fd = v->fd,
			.id = v->id,
			.address = v->address,
			.port = v->port,
			.keys = v->directory,
			.read_only = v->read_only};
	}
	ret->volume_count = count;
	return r;
}
