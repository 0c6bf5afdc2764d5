#include "fetch/report.h"

#include <errno.h>
#include <stdio.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/parse.h"

#define LINE_CLEAR "\r\033[K"

/* There is one terminal, so there is one line. */
static struct {
	bool verbose, terminal, shown;
	uint64_t began_us, first_bytes;
} report;

static void report_clear(void *userdata)
{
	if (report.shown)
		fputs(LINE_CLEAR, stderr);
	report.shown = false;
}

void report_start(bool verbose)
{
	report.verbose = verbose;
	report.terminal = !verbose && isatty(STDERR_FILENO);
	if (verbose)
		log_set("wnodes", LOG_LEVEL_INFO);
	log_set_before(report_clear, NULL);
}

void report_stop(void)
{
	report_clear(NULL);
	log_set_before(NULL, NULL);
}

void report_step(const char *what, void *userdata)
{
	if (report.verbose)
		log_info("%s", what);
	if (!report.terminal)
		return;
	fprintf(stderr, LINE_CLEAR "%s ...", what);
	report.shown = true;
}

void report_progress(const struct fetch_progress *progress, void *userdata)
{
	uint64_t now = clock_now_us(), took, left = progress->total - progress->done;
	char total[FORMAT_MAX], received[FORMAT_MAX], rest[FORMAT_MAX];

	if (!report.terminal || progress->total == 0)
		return;
	if (report.began_us == 0) { /* what was there from the start says nothing of the speed */
		report.began_us = now;
		report.first_bytes = progress->done;
	}
	took = now - report.began_us;
	fprintf(stderr, LINE_CLEAR "fetching: %llu %% of %s, %s have come",
		(unsigned long long)(progress->done * 100 / progress->total),
		format_size(progress->total, total), format_size(progress->received, received));
	if (took > 1000000 && progress->done > report.first_bytes)
		fprintf(stderr, ", %s left",
			format_duration((uint64_t)((double)took * (double)left /
						   (double)(progress->done - report.first_bytes)),
				rest));
	report.shown = true;
}

static json_t *sources_to_json(const struct fetch_result *result)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < result->source_count; i++) {
		const struct fetch_source *s = &result->sources[i];

		json_array_append_new(
			list, json_pack("{s:s?, s:I, s:I}", "origin", s->origin, "bytes",
				      (json_int_t)s->bytes, "chunks", (json_int_t)s->chunks));
	}
	return list;
}

static int print_json(const struct errand *e, const struct fetch_result *r, uint64_t took_us)
{
	json_t *root = json_pack("{s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:o}",
		"digest", e->image, "name", e->image_name, "tag", e->tag, "release",
		e->release != NULL, "bytes", (json_int_t)r->total, "present_bytes",
		(json_int_t)r->present, "resumed_bytes", (json_int_t)r->counts.resumed,
		"reused_bytes", (json_int_t)r->counts.reused, "fetched_bytes",
		(json_int_t)r->counts.fetched, "received_bytes", (json_int_t)r->received,
		"duration_s", (double)took_us / 1e6, "origins", sources_to_json(r));
	int status = root && json_dumpf(root, stdout, JSON_SORT_KEYS | JSON_INDENT(2)) == 0
			     ? 0
			     : -ENOMEM;

	json_decref(root);
	putchar('\n');
	return status;
}

static void print_text(const struct errand *e, const struct fetch_result *r, uint64_t took_us)
{
	uint64_t here = r->present + r->counts.resumed + r->counts.reused;
	char total[FORMAT_MAX], had[FORMAT_MAX], received[FORMAT_MAX], took[FORMAT_MAX];

	printf("%s:%s %.12s: %s in %s; %s were here, %s were fetched\n", e->image_name, e->tag,
		e->image, format_size(r->total, total), format_duration(took_us, took),
		format_size(here, had), format_size(r->received, received));
}

int report_result(const struct errand *e, const struct fetch_result *result, uint64_t took_us)
{
	if (e->json)
		return print_json(e, result, took_us);
	print_text(e, result, took_us);
	return 0;
}
