/* Which batch system it is. Apart from the rest, so that who knows needs neither the other nor its
 * libraries. */
#include "lib/child.h"
#include "lib/path.h"
#include "lrms/lrms.h"

/* A controller on the same network answers in a few milliseconds. */
#define PING_TIMEOUT_MS 2000

static bool slurm_answers(void)
{
	struct child_spec child = CHILD_SPEC_INIT;
	autofree char *search = path_search();
	autofree char *program = search ? path_find_program(search, "scontrol") : NULL;
	autofree char *answer = NULL;
	struct error err = {0};

	if (!program)
		return false;
	child.argv = (const char *const[]){program, "ping", NULL};
	return child_output(&child, PING_TIMEOUT_MS, 65536, &answer, &err) == 0 &&
	       strstr(answer, " is UP");
}

static bool slurm_is_used(const char *type)
{
	if (streq(type, "auto"))
		return getenv("SLURM_CONF") || slurm_answers();
	return streq(type, "slurm");
}

int lrms_open(const struct lrms_options *options, struct lrms **ret, struct error *err)
{
	if (slurm_is_used(options->type))
		return lrms_slurm_open(options, ret, err);
	return lrms_local_open(options, ret, err);
}
