#include "engine/progress.h"

#include <errno.h>
#include <stdio.h>

#include "lib/log.h"
#include "lib/parse.h"

#define PROGRESS_FIRST_US  300000
#define PROGRESS_REPEAT_US 100000

struct progress {
	sd_event_source *timer;
	const struct phase_clock *phases;
	bool shown;
};

static void progress_write(const char *text, size_t length)
{
	/* Only decoration: if the terminal is gone, the command's own output will say so. */
	if (write(STDERR_FILENO, text, length) < 0)
		errno = 0;
}

static void progress_wipe(void *userdata)
{
	static const char wipe[] = "\r\033[K";
	struct progress *p = userdata;

	if (p->shown)
		progress_write(wipe, sizeof(wipe) - 1);
	p->shown = false;
}

static void progress_show(struct progress *p)
{
	char line[128], phase[FORMAT_MAX], total[FORMAT_MAX];
	int n = snprintf(line, sizeof(line), "\r\033[Kwnodes: %s %s (%s in all)",
		phase_name(p->phases->now), format_duration(phase_elapsed_us(p->phases), phase),
		format_duration(phase_total_us(p->phases), total));

	progress_write(line, (size_t)n);
	p->shown = true;
}

static int progress_on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
	progress_show(userdata);
	sd_event_source_set_time_relative(source, PROGRESS_REPEAT_US);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int progress_start(sd_event *event, const struct phase_clock *phases, struct progress **ret)
{
	struct progress *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->phases = phases;
	r = sd_event_add_time_relative(
		event, &p->timer, CLOCK_MONOTONIC, PROGRESS_FIRST_US, 0, progress_on_time, p);
	if (r < 0) {
		free(p);
		return r;
	}
	log_set_before(progress_wipe, p);
	*ret = p;
	return 0;
}

struct progress *progress_stop(struct progress *p)
{
	if (!p)
		return NULL;
	progress_wipe(p);
	log_set_before(NULL, NULL);
	sd_event_source_disable_unref(p->timer);
	free(p);
	return NULL;
}
