#include "lrms/slurm/plugin/limit.h"

#include <errno.h>
#include <sys/resource.h>

#define NOT_CARRIED (-1)

static const struct {
	const char *variable;
	int resource;
} limits[] = {
	{"SLURM_RLIMIT_CPU", RLIMIT_CPU},
	{"SLURM_RLIMIT_FSIZE", RLIMIT_FSIZE},
	{"SLURM_RLIMIT_STACK", RLIMIT_STACK},
	{"SLURM_RLIMIT_CORE", RLIMIT_CORE},
	{"SLURM_RLIMIT_NOFILE", RLIMIT_NOFILE},
	{"SLURM_RLIMIT_DATA", NOT_CARRIED},
	{"SLURM_RLIMIT_RSS", NOT_CARRIED},
	{"SLURM_RLIMIT_NPROC", NOT_CARRIED},
	{"SLURM_RLIMIT_MEMLOCK", NOT_CARRIED},
	{"SLURM_RLIMIT_AS", NOT_CARRIED},
};

/* "1024", or "U1024" where --propagate asked for it. */
static bool limit_parse(const char *text, rlim_t *ret, bool *ret_asked)
{
	char *end;

	*ret_asked = text[0] == 'U';
	text += *ret_asked;
	errno = 0;
	*ret = strtoul(text, &end, 10);
	return end != text && *end == '\0' && errno == 0;
}

static void limit_set(const char *variable, int resource, const char *text)
{
	struct rlimit limit;
	rlim_t value;
	bool asked;

	if (!limit_parse(text, &value, &asked) ||
		getrlimit((__rlimit_resource_t)resource, &limit) < 0)
		return;
	limit.rlim_cur = asked ? value : MIN_OF(value, limit.rlim_max);
	if (setrlimit((__rlimit_resource_t)resource, &limit) < 0 && asked)
		slurm_error("wnodes: cannot propagate %s: %s", variable, strerror(errno));
}

void limit_apply(spank_t spank)
{
	char text[32];

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		const char *variable = limits[i].variable;

		if (spank_getenv(spank, variable, text, sizeof(text)) != ESPANK_SUCCESS)
			continue;
		if (limits[i].resource != NOT_CARRIED)
			limit_set(variable, limits[i].resource, text);
		spank_unsetenv(spank, variable);
	}
}
