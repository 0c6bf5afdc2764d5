#include "engine/errand.h"

#include <errno.h>

#include "engine/caller.h"
#include "engine/prepare.h"
#include "engine/run.h"
#include "lib/exit.h"

/* Enough for a package manager, and for a distribution with systemd. */
#define ERRAND_MEMORY_MIB UINT64_C(1024)
#define MIB               UINT64_C(1048576)

/* Root in the guest, whoever starts it: the VM has nothing of the host. */
static void become_root(struct caller *ret)
{
	static char name[] = "root", empty[] = "", home[] = "/root", shell[] = "/bin/sh";

	*ret = (struct caller){.name = name,
		.gecos = empty,
		.home = home,
		.shell = shell,
		.group = name,
		.umask = 022};
}

static int fill_env(const struct errand *errand, struct strv *env, struct error *err)
{
	strv_add_all(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root", "USER=root", "LOGNAME=root", "SHELL=/bin/sh", "LC_ALL=C", NULL);
	for (size_t i = 0; errand->env && errand->env[i]; i++)
		strv_add(env, errand->env[i]);
	return env->failed ? fail(err, -ENOMEM, "out of memory") : 0;
}

int errand_run(const struct errand *errand, struct error *err)
{
	const struct settings *settings = errand->settings;
	const char *argv[] = {"/bin/sh", PREPARE_SCRIPT, NULL};
	struct caller caller;
	struct request request = {
		.caller = &caller,
		.settings = settings,
		.image = errand->image,
		.parts = errand->parts,
		.streams = &errand->streams,
		.cpus = MAX_OF(settings->cpus, errand->parts->manifest->min_cpus),
		.memory_mib = MAX_OF(MAX_OF(settings->memory / MIB, ERRAND_MEMORY_MIB),
			errand->parts->manifest->min_memory_mib),
		.network = errand->network,
		.accel = accel_parse(settings->accel),
		.start = REQUEST_START_BOOT,
		.argv = argv,
		.errand = errand->script,
		.timeout_us = errand->timeout_us,
	};
	int r = fill_env(errand, &request.env, err);

	become_root(&caller);
	request.workdir = r < 0 ? NULL : strdup("/");
	if (r == 0 && !request.workdir)
		r = fail(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = run_execute(&request);
	request_done(&request);
	return r == EXIT_WNODES ? fail(err, -EIO, "the VM of '%s' failed", errand->image) : r;
}
