#include "lrms/slurm/plugin/option.h"

#include <errno.h>

#include "engine/network.h"
#include "engine/request.h"
#include "engine/share.h"
#include "engine/volume.h"
#include "image/store.h"
#include "lib/parse.h"

#define MIB UINT64_C(1048576)

static int check_image(const char *text, struct error *err)
{
	autofree char *name = NULL, *tag = NULL;

	return store_parse_reference(text, &name, &tag, err);
}

static int check_cpus(const char *text, struct error *err)
{
	uint64_t cpus;

	return parse_quantity(PARSE_NUMBER, text, 1, 256, &cpus, err);
}

static int check_memory(const char *text, struct error *err)
{
	uint64_t bytes;

	return parse_quantity(PARSE_SIZE, text, 16 * MIB, 64 * MIB * MIB, &bytes, err);
}

static int check_mount(const char *text, struct error *err)
{
	autofree char *copy = strdup(text);
	struct share_text parts;

	if (!copy)
		return fail(err, -ENOMEM, "out of memory");
	return share_split(copy, &parts, err);
}

static int check_volume(const char *text, struct error *err)
{
	autofree char *copy = strdup(text);
	struct volume_text parts;

	if (!copy)
		return fail(err, -ENOMEM, "out of memory");
	return volume_split(copy, &parts, err);
}

static int check_root(const char *text, struct error *err)
{
	return parse_choice(text, SETTINGS_ROOTS, err);
}

static int check_network(const char *text, struct error *err)
{
	return network_check_name(text, err);
}

static int check_scratch(const char *text, struct error *err)
{
	uint64_t bytes;

	return parse_size(text, &bytes, err);
}

static int check_start(const char *text, struct error *err)
{
	return parse_choice(text, "auto|clone|boot", err);
}

static int check_workdir(const char *text, struct error *err)
{
	return text[0] ? 0 : fail(err, -EINVAL, "no directory given");
}

static int check_mpi(const char *text, struct error *err)
{
	return text[strspn(text, " ")] ? 0 : fail(err, -EINVAL, "no program given");
}

#define ROW(option, argument, list, check, usage)                                   \
	{                                                                           \
		"vm-" option, "--" option, argument, "[wnodes] " usage, list, check \
	}

const struct option_row option_rows[OPTION_COUNT] = {
	[OPTION_IMAGE] = ROW("image", "NAME[:TAG]", false, check_image,
		"run in a VM that starts from this image; none: on the bare node"),
	[OPTION_CPUS] = ROW("cpus", "N", false, check_cpus,
		"CPUs of the VM (those that the step has on the node)"),
	[OPTION_MEMORY] = ROW("memory", "SIZE", false, check_memory,
		"memory of the VM, for example 2G (what the step has on the node, but for "
		"overhead)"),
	[OPTION_MOUNT] = ROW("mount", SHARE_SYNTAX, true, check_mount,
		"shows the node's directory HOST in the VM; may be repeated"),
	[OPTION_VOLUME] = ROW("volume", VOLUME_SYNTAX, true, check_volume,
		"mounts a volume of yours in the VM, at /volumes/NAME or DIR; may be repeated"),
	[OPTION_ROOT] = ROW("root", SETTINGS_ROOTS, false, check_root,
		"the root disk: overlay (a file over the image), or lvm (a volume of the node)"),
	[OPTION_NETWORK] = ROW("network", "none|user|job|NAME", false, check_network,
		"none; user: the VM reaches the network as you do; job: the step's VMs on all its "
		"nodes reach each other; or one of the node's networks"),
	[OPTION_SCRATCH] = ROW("scratch", "SIZE", false, check_scratch,
		"an empty disk of this size on /scratch and /tmp"),
	[OPTION_START] = ROW("start", "auto|clone|boot", false, check_start,
		"clone: from a template of the image; boot; or auto"),
	[OPTION_ENV] = ROW("env", "NAME[=VALUE]", true, request_check_env,
		"environment variable for the command; may be repeated"),
	[OPTION_WORKDIR] = ROW("workdir", "DIR", false, check_workdir,
		"directory in the VM that the command starts in"),
	[OPTION_MPI] = ROW("mpi", "none|first|PROGRAM", false, check_mpi,
		"PROGRAM, for example mpirun: the first task has it start the command as a rank of "
		"each task; first: the first task alone runs the command; none"),
};

int option_check(enum option_id id, const char *text, struct error *err)
{
	if (strlen(text) > OPTION_VALUE_MAX)
		return fail(err, -EINVAL, "longer than %d bytes", OPTION_VALUE_MAX);
	return option_rows[id].check(text, err);
}
