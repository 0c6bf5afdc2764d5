#include "controller/journal.h"

#include <inttypes.h>
#include <stdio.h>

#include "controller/route.h"
#include "lib/log.h"
#include "lib/timestamp.h"
#include "lib/uuid.h"

/* The beginning of a UUID, for all requests of this controller's life. */
#define PREFIX_LENGTH 13

static struct {
	char prefix[UUID_TEXT_SIZE];
	_Atomic(uint64_t) last; /* request */
	_Atomic(bool) json;
} journal;

static const char *const level_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_NOTICE] = "notice",
	[LOG_LEVEL_WARNING] = "warning",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

void journal_make_id(const char *given, struct journal_id *ret)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	size_t n = given ? strlen(given) : 0;

	if (n > 0 && n < JOURNAL_ID_MAX && strspn(given, allowed) == n)
		memcpy(ret->text, given, n + 1);
	else
		snprintf(ret->text, sizeof(ret->text), "%s-%" PRIu64, journal.prefix,
			++journal.last);
}

/* Of who is served all the time, only what is refused is of interest, and what was changed. */
static enum log_level level_of(const struct journal_entry *e)
{
	const struct exchange *x = e->x;

	if (x->status >= 500)
		return LOG_LEVEL_WARNING;
	if (x->status >= 400)
		return LOG_LEVEL_INFO;
	if (x->caller.kind == CALLER_NODE || !x->route || x->route->kind != ROUTE_WRITE)
		return LOG_LEVEL_DEBUG;
	return LOG_LEVEL_INFO;
}

static const char *kind_name(enum caller_kind kind)
{
	static const char *const names[] = {
		[CALLER_NOBODY] = "nobody",
		[CALLER_NODE] = "node",
		[CALLER_USER] = "user",
	};

	return names[kind];
}

/* A line is one write, so that lines of several threads do not mix. */
static void write_line(json_t *line)
{
	char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
	size_t n = text ? strlen(text) : 0;

	if (text) {
		text[n] = '\n';
		/* Nothing sensible can be done if stderr is gone. */
		if (write(STDERR_FILENO, text, n + 1) < 0)
			text[n] = '\0';
	}
	free(text);
	json_decref(line);
}

static json_t *line_new(enum log_level level, const char *message)
{
	char time[TIMESTAMP_TEXT_SIZE];

	return json_pack("{s:s, s:s, s:s?}", "time", timestamp_format(timestamp_now_us(), time),
		"level", level_names[level], "message", message);
}

static void write_json(const struct journal_entry *e, enum log_level level)
{
	const struct exchange *x = e->x;
	json_t *line = line_new(level, "request");
	const json_t *error = json_object_get(x->answer, "error");
	json_t *more = json_pack("{s:s, s:s, s:s?, s:s?, s:i, s:f, s:s, s:s?, s:s?, s:s?}", "id",
		e->id, "method", e->method, "route", x->route ? x->route->path : NULL, "path",
		e->path, "status", x->status, "seconds", (double)e->duration_us / 1e6, "kind",
		kind_name(x->caller.kind), "caller", x->caller.name[0] ? x->caller.name : NULL,
		"how", x->caller.how, "error", json_string_value(error));

	if (line && more)
		json_object_update(line, more);
	json_decref(more);
	write_line(line);
}

void journal_write(const struct journal_entry *e)
{
	const struct exchange *x = e->x;
	const char *error = json_string_value(json_object_get(x->answer, "error"));
	enum log_level level = level_of(e);

	if (level > log_get_level())
		return;
	if (journal.json)
		write_json(e, level);
	else
		log_print(level, "%s %s: %d in %.1f ms for %s%s%s (%s), request %s%s%s", e->method,
			e->path, x->status, (double)e->duration_us / 1e3, kind_name(x->caller.kind),
			x->caller.name[0] ? " " : "", x->caller.name,
			x->caller.how ? x->caller.how : "none", e->id, error ? ": " : "",
			error ? error : "");
}

static void on_log(enum log_level level, const char *text)
{
	write_line(line_new(level, text));
}

static enum log_level parse_level(const char *level)
{
	for (size_t i = 0; i < ARRAY_SIZE(level_names); i++)
		if (streq(level, level_names[i]))
			return (enum log_level)i;
	return LOG_LEVEL_INFO;
}

void journal_set(const char *format, const char *level)
{
	if (!journal.prefix[0] && uuid_new(journal.prefix) == 0)
		journal.prefix[PREFIX_LENGTH] = '\0';
	journal.json = streq(format, "json");
	log_set_sink(journal.json ? on_log : NULL);
	log_set("wnodes-controller", parse_level(level));
}
