#include "lrms/lrms.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#include "lib/exit.h"
#include "lib/path.h"

static const char *const state_names[] = {
	[LRMS_QUEUED] = "queued",
	[LRMS_RUNNING] = "running",
	[LRMS_DONE] = "done",
	[LRMS_FAILED] = "failed",
	[LRMS_CANCELLED] = "cancelled",
	[LRMS_TIMEOUT] = "timeout",
};

void lrms_job_done(struct lrms_job *job)
{
	free(job->name);
	free(job->user);
	free(job->cluster);
	free(job->image);
	free(job->node);
	free(job->reason);
	free(job->directory);
	strv_done(&job->argv);
	*job = (struct lrms_job){0};
}

const char *lrms_state_name(enum lrms_state state)
{
	return state_names[state];
}

int lrms_state_parse(const char *name, enum lrms_state *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(state_names); i++)
		if (streq(name, state_names[i])) {
			*ret = (enum lrms_state)i;
			return 0;
		}
	return -EINVAL;
}

bool lrms_state_is_end(enum lrms_state state)
{
	return state > LRMS_RUNNING;
}

int lrms_job_status(const struct lrms_job *job)
{
	if (job->state == LRMS_DONE)
		return 0;
	if (job->state == LRMS_TIMEOUT)
		return EXIT_TIMEOUT;
	if (job->exit_status > 0)
		return job->exit_status;
	return job->state == LRMS_CANCELLED ? 128 + SIGTERM : EXIT_WNODES;
}

char *lrms_expand(const char *text, const char *id)
{
	size_t size = 1, length = strlen(id);
	char *expanded, *to;

	for (const char *p = text; *p; p++)
		size += *p == '%' ? length + 1 : 1;
	to = expanded = malloc(size);
	for (; expanded && *text; text++)
		if (text[0] == '%' && text[1] == 'j') {
			memcpy(to, id, length);
			to += length;
			text++;
		} else {
			*to++ = *text;
			text += text[0] == '%' && text[1] == '%';
		}
	if (expanded)
		*to = '\0';
	return expanded;
}

int64_t lrms_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Does a controller answer? `scontrol ping` ends well also where none does. */
struct lrms *lrms_free(struct lrms *lrms)
{
	return lrms ? lrms->operations->free(lrms) : NULL;
}
