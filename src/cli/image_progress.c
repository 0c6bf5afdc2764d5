#include "cli/image_progress.h"

#include <stdio.h>

#include "lib/log.h"
#include "lib/parse.h"

#define LINE_CLEAR "\r\033[K"

/* There is one terminal, so there is one line. */
static struct {
	bool verbose, terminal, shown;
	const char *step;
} progress;

static void progress_clear(void *userdata)
{
	(void)userdata;
	if (progress.shown)
		fputs(LINE_CLEAR, stderr);
	progress.shown = false;
}

void image_progress_start(bool verbose)
{
	progress.verbose = verbose;
	progress.terminal = !verbose && isatty(STDERR_FILENO);
	if (verbose)
		log_set("wnodes", LOG_LEVEL_INFO);
	log_set_before(progress_clear, NULL);
}

void image_progress_step(const char *what, void *userdata)
{
	(void)userdata;
	progress.step = what;
	if (progress.verbose)
		log_info("%s", what);
	if (!progress.terminal)
		return;
	fprintf(stderr, LINE_CLEAR "%s ...", what);
	progress.shown = true;
}

void image_progress_bytes(uint64_t done, void *userdata)
{
	char size[FORMAT_MAX];

	(void)userdata;
	if (!progress.terminal || !progress.step)
		return;
	fprintf(stderr, LINE_CLEAR "%s: %s", progress.step, format_size(done, size));
	progress.shown = true;
}

void image_progress_part(uint64_t done, uint64_t total, void *userdata)
{
	char size[FORMAT_MAX];

	(void)userdata;
	if (!progress.terminal || !progress.step || total == 0)
		return;
	fprintf(stderr, LINE_CLEAR "%s: %llu %% of %s", progress.step,
		(unsigned long long)(done * 100 / total), format_size(total, size));
	progress.shown = true;
}

void image_progress_stop(void)
{
	progress_clear(NULL);
	log_set_before(NULL, NULL);
}

static volatile sig_atomic_t cancelled;

static void on_signal(int signo)
{
	cancelled = signo;
}

const volatile sig_atomic_t *image_progress_catch_signals(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction action = {.sa_handler = on_signal};

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &action, NULL);
	return &cancelled;
}
