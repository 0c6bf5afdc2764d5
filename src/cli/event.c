/* wnodes event list: what has happened at the site. */
#include <errno.h>
#include <time.h>

#include "cli/site.h"
#include "cli/site_verb.h"
#include "lib/deadline.h"
#include "lib/log.h"

#define SECOND_US 1000000

/* How often is asked for new ones, and how long after a failure. */
#define PAUSE_MS       1000
#define RETRY_PAUSE_MS 5000

#define BLOCK 1000

struct event_options {
	bool json, follow;
	const char *kind, *subject;
	uint64_t after, duration;
};

static const struct verb_option rows[] = {
	{"follow", 'f', OPTION_FLAG, offsetof(struct event_options, follow),
		.help = "Goes on with those that come, until it is interrupted"},
	{"for", 0, OPTION_DURATION, offsetof(struct event_options, duration), "DURATION",
		.help = "With --follow: ends after this time"},
	{"after", 0, OPTION_NUMBER, offsetof(struct event_options, after), "N",
		.help = "Only events after the one of this number, which --json shows as sequence"},
	{"kind", 0, OPTION_STRING, offsetof(struct event_options, kind), "KIND",
		.help = "Only this kind, for example node.lost; several with commas between"},
	{"subject", 0, OPTION_STRING, offsetof(struct event_options, subject), "WHAT",
		.help = "Only what happened to this, for example node:wn017"},
	{"json", 0, OPTION_FLAG, offsetof(struct event_options, json),
		.help = "Prints JSON, a line for each event"},
	{.name = NULL},
};

static const struct table_column columns[] = {
	{"sequence", "NUMBER", TABLE_NUMBER},
	{"time", "TIME", TABLE_TIME},
	{"kind", "KIND", TABLE_TEXT},
	{"subject", "WHAT", TABLE_TEXT},
	{"actor", "BY", TABLE_TEXT},
	{"detail_text", "DETAIL", TABLE_TEXT},
	{.key = NULL},
};

struct following {
	const struct event_options *options;
	struct table *table;
	json_int_t last; /* number of the last event that was shown */
};

/* "node=wn1 vms=3", in the order of the members. */
static json_t *detail_text(const json_t *detail)
{
	autofree char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);
	const char *key;
	json_t *value;

	/* jansson's macro wants what it can change. */
	json_object_foreach((json_t *)(uintptr_t)detail, key, value)
	{
		autofree char *shown = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

		if (out && json_is_string(value))
			fprintf(out, "%s%s=%s", ftell(out) ? " " : "", key,
				json_string_value(value));
		else if (out)
			fprintf(out, "%s%s=%s", ftell(out) ? " " : "", key, shown ? shown : "");
	}
	if (!out || fclose(out) != 0)
		return json_string("");
	return json_string(text);
}

/* Takes `event`. */
static int show(json_t *event, void *userdata)
{
	struct following *f = userdata;
	int r = 0;

	f->last = json_integer_value(json_object_get(event, "sequence"));
	if (f->options->json) {
		json_dumpf(event, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
		putchar('\n');
		json_decref(event);
	} else {
		json_object_set_new(
			event, "detail_text", detail_text(json_object_get(event, "detail")));
		r = table_add(f->table, event);
		if (r == 0 && json_array_size(table_rows(f->table)) >= BLOCK)
			r = table_flush(f->table, stdout);
	}
	return r == 0 && ferror(stdout) ? -EPIPE : r;
}

static int ask(struct following *f, struct error *err)
{
	struct site_path path AUTO(site_path_done) = {0};
	char after[32];
	int r;

	snprintf(after, sizeof(after), "%" JSON_INTEGER_FORMAT, f->last);
	site_path_init(&path, "events", NULL);
	site_path_add(&path, "after", after);
	site_path_add(&path, "kind", f->options->kind);
	site_path_add(&path, "subject", f->options->subject);
	r = site_call_list(&path, show, f, err);
	/* Those that came before a failure, too. */
	if (!f->options->json && table_flush(f->table, stdout) < 0)
		return -ENOMEM;
	return fflush(stdout) != 0 ? -EPIPE : r;
}

static void pause_within(int ms, uint64_t deadline)
{
	int left = deadline_left_ms(deadline);
	struct timespec ts;

	ms = left >= 0 ? MIN_OF(ms, left) : ms;
	ts = (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
	nanosleep(&ts, NULL);
}

/* A controller may go away for a while, all of them too: that is told once, and waited out. */
static int follow(struct following *f, struct error *err)
{
	uint64_t us = f->options->duration;
	uint64_t deadline =
		us ? deadline_now_ms() + us / (SECOND_US / 1000) : (uint64_t)DEADLINE_NEVER;
	bool told = false;

	while (deadline_left_ms(deadline) != 0) {
		int r = ask(f, err);

		if (r < 0 && r != -ENOTCONN)
			return r;
		if (r < 0 && !told)
			log_warning("%s, retrying", err->text);
		told = r < 0;
		pause_within(r < 0 ? RETRY_PAUSE_MS : PAUSE_MS, deadline);
	}
	return 0;
}

static int run_list(const void *options, int arg_count, const char *const *args)
{
	const struct event_options *o = options;
	struct table *table AUTO(table_freep) = table_new(columns);
	struct following f = {.options = o, .table = table, .last = (json_int_t)o->after};
	struct error err = {.text = "out of memory"};
	int r;

	if (o->duration > 0 && !o->follow)
		return site_verb_fail("--for is for --follow: give that too");
	r = table ? ask(&f, &err) : -ENOMEM;

	if (r == 0 && o->follow)
		r = follow(&f, &err);
	if (r < 0 && r != -EPIPE)
		log_error("%s", err.text);
	return r < 0 ? EXIT_WNODES : EXIT_SUCCESS;
}

const struct verb verb_event_list = {
	.name = "event list",
	.synopsis = "[options]",
	.summary = "List what has happened at the site",
	.about =
		"Lists events, the oldest first: nodes that joined, were drained or lost, leases "
		"that were taken back, what administrators changed and who did. Administrators see "
		"all, others those of nodes and their own.\n"
		"\n"
		"With --follow, the site is asked each second for those that have come since; when "
		"no controller answers, this waits until one does, and misses none.",
	.examples = "wnodes event list --kind node.lost,node.up\n"
		    "wnodes event list --follow\n"
		    "wnodes event list --follow --json --after 41325 | jq --unbuffered .kind\n",
	.options = rows,
	.options_size = sizeof(struct event_options),
	.run = run_list,
};
