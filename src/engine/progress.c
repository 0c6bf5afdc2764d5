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
	const char *(*note)(const void *userdata);
	const void *userdata;
	bool shown;
};

/* A line that is longer than the terminal could not be wiped. */
#define PROGRESS_LINE 79

#define WIPE "\r\033[K"

static void progress_write(const char *text, size_t length)
{
	/* Only decoration: if the terminal is gone, the command's own output will say so. */
	if (write(STDERR_FILENO, text, length) < 0)
		errno = 0;
}

static void progress_wipe(void *userdata)
{
	struct progress *p = userdata;

	if (p->shown)
		progress_write(WIPE, sizeof(WIPE) - 1);
	p->shown = false;
}

static void progress_show(struct progress *p)
{
	const char *note = p->note ? p->note(p->userdata) : NULL;
	char line[sizeof(WIPE) + PROGRESS_LINE], phase[FORMAT_MAX], total[FORMAT_MAX];
	int n = snprintf(line, sizeof(line), WIPE "wnodes: %s %s (%s in all)%s%s",
		phase_name(p->phases->now), format_duration(phase_elapsed_us(p->phases), phase),
		format_duration(phase_total_us(p->phases), total), note ? ": " : "",
		note ? note : "");

	progress_write(line, MIN_OF((size_t)n, sizeof(line) - 1));
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

void progress_set_note(
	struct progress *p, const char *(*note)(const void *userdata), const void *userdata)
{
	p->note = note;
	p->userdata = userdata;
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
