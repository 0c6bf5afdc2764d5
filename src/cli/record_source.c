#include "cli/record_source.h"

#include <errno.h>
#include <time.h>

#include "cli/record_value.h"
#include "cli/site_call.h"
#include "engine/accounting.h"
#include "engine/record.h"
#include "image/locate.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "lib/path.h"
#include "lib/timestamp.h"

#define SECOND_US 1000000

/* One reading. */
struct reading {
	const struct record_source *source;
	struct record_filter filter;
	json_t *seen; /* ids; NULL of the site, which has each once */
	int (*each)(json_t *record, void *userdata);
	void *userdata;
};

int record_source_is_site(const struct record_source *s, bool prefer_site, struct error *err)
{
	struct settings settings AUTO(settings_done) = {0};
	int r;

	if (s->site && (s->local || s->files.count > 0))
		return fail(err, -EINVAL, "--site and --%s exclude each other",
			s->local ? "local" : "file");
	if (s->site || s->local || s->files.count > 0 || !prefer_site)
		return s->site;
	r = settings_load(&settings, err);
	return r < 0 ? r : *settings.site_controllers != NULL;
}

/* "2026-11-21", of the local day. */
static int parse_day(const char *text, uint64_t *ret_us)
{
	struct tm day = {.tm_isdst = -1};
	const char *end = strptime(text, "%Y-%m-%d", &day);
	time_t seconds = end && !*end ? mktime(&day) : -1;

	if (seconds < 0)
		return -EINVAL;
	*ret_us = (uint64_t)seconds * SECOND_US;
	return 0;
}

static int parse_when(
	const char *name, const char *text, uint64_t otherwise, uint64_t *ret_us, struct error *err)
{
	uint64_t ago_us, now_us = timestamp_now_us();

	*ret_us = otherwise;
	if (!text || timestamp_parse(text, ret_us) == 0 || parse_day(text, ret_us) == 0)
		return 0;
	if (parse_duration(text, &ago_us, NULL) < 0)
		return fail(err, -EINVAL,
			"--%s: '%s' is no date (2026-11-21), no time (2026-11-21T17:30:00Z) and no "
			"duration (24h)",
			name, text);
	*ret_us = now_us - MIN_OF(ago_us, now_us);
	return 0;
}

int record_source_times(
	const struct record_source *s, uint64_t *ret_from, uint64_t *ret_until, struct error *err)
{
	int r = parse_when("since", s->since, 0, ret_from, err);

	return r == 0 ? parse_when("until", s->until, UINT64_MAX, ret_until, err) : r;
}

static bool is_of_user(const json_t *record, const char *user)
{
	const char *name = record_value_text(record, NULL, "user");
	autofree char *number = path_format(
		"%lld", (long long)json_integer_value(record_value_get(record, NULL, "uid")));

	return (name && streq(name, user)) || (number && streq(number, user));
}

static bool is_of_job(const json_t *record, const char *job)
{
	autofree char *id = record_value_job(record, false), *step = record_value_job(record, true);

	return (id && streq(id, job)) || (step && streq(step, job));
}

static bool is_of_account(const json_t *record, const char *account)
{
	const char *text = record_value_text(record, "job", "account");

	return text && streq(text, account);
}

static bool is_of_image(const json_t *record, const char *image)
{
	const char *name = record_value_text(record, "image", "name");
	autofree char *both = record_value_image(record);

	return (name && streq(name, image)) || (both && streq(both, image));
}

static bool is_wanted(const struct record_source *s, const json_t *record)
{
	return (!s->user || is_of_user(record, s->user)) &&
	       (!s->job || is_of_job(record, s->job)) &&
	       (!s->account || is_of_account(record, s->account)) &&
	       (!s->image || is_of_image(record, s->image));
}

/* Is it the first of its id? */
static bool is_new(struct reading *reading, const json_t *record)
{
	const char *id = record_value_text(record, NULL, "id");

	if (!reading->seen || !id)
		return true;
	if (json_object_get(reading->seen, id))
		return false;
	json_object_set_new(reading->seen, id, json_true());
	return true;
}

/* Takes `record`. */
static int take_record(json_t *record, void *userdata)
{
	struct reading *reading = userdata;

	if (is_wanted(reading->source, record) && is_new(reading, record))
		return reading->each(record, reading->userdata);
	json_decref(record);
	return 0;
}

/* Files that may be missing are those that nobody has named. */
static int read_file(struct reading *reading, const char *path, bool named, struct error *err)
{
	struct record_reader *reader AUTO(record_reader_freep) = NULL;
	json_t *record;
	int r;

	if (!named && access(path, F_OK) < 0 && errno == ENOENT)
		return 0;
	r = record_reader_open(path, &reading->filter, &reader, err);
	while (r >= 0 && (r = record_reader_next(reader, &record, err)) == 1)
		r = take_record(record, reading);
	if (r < 0)
		return r;
	if (record_reader_damaged(reader) > 0)
		log_warning("%llu lines of '%s' are no usage records, ignoring",
			(unsigned long long)record_reader_damaged(reader), path);
	return 0;
}

static int read_usual_files(struct reading *reading, struct error *err)
{
	struct settings settings AUTO(settings_done) = {0};
	autofree char *own = NULL, *node = NULL;
	int r = settings_load(&settings, err);

	if (r < 0)
		return r;
	own = accounting_file(&settings);
	r = own ? read_file(reading, own, false, err) : 0;
	if (r < 0 || geteuid() != 0)
		return r;
	node = path_format("%s/" RECORD_FILE, locate_system_directory());
	return node ? read_file(reading, node, false, err) : fail(err, -ENOMEM, "out of memory");
}

static int read_files(struct reading *reading, struct error *err)
{
	const struct verb_list *files = &reading->source->files;
	int r = files->count == 0 ? read_usual_files(reading, err) : 0;

	for (size_t i = 0; r == 0 && i < files->count; i++)
		r = read_file(reading, files->items[i], true, err);
	return r;
}

/* What the site cannot tell apart, a user by number and an image without its tag, is picked out by
 * is_wanted(). */
int record_source_add_query(
	const struct record_source *s, struct site_path *path, struct error *err)
{
	char time[TIMESTAMP_TEXT_SIZE];
	uint64_t from_us, until_us, number;
	int r = record_source_times(s, &from_us, &until_us, err);

	if (r < 0)
		return r;
	if (from_us > 0)
		site_path_add(path, "since", timestamp_format(from_us, time));
	if (until_us < UINT64_MAX)
		site_path_add(path, "until", timestamp_format(until_us, time));
	if (s->user && parse_number(s->user, 0, UINT32_MAX, &number, NULL) < 0)
		site_path_add(path, "user", s->user);
	site_path_add(path, "account", s->account);
	if (s->image && strchr(s->image, ':'))
		site_path_add(path, "image", s->image);
	return 0;
}

int record_source_explain(const struct record_source *s, int r, struct error *err)
{
	char text[ERROR_TEXT_MAX];

	if (r != -ENOTCONN || s->site)
		return r;
	snprintf(text, sizeof(text), "%s", err->text);
	return fail(err, r, "%s; --local reads this machine's files", text);
}

static int read_site(struct reading *reading, struct error *err)
{
	struct site_path path AUTO(site_path_done) = {0};
	int r;

	site_path_init(&path, "records", NULL);
	r = record_source_add_query(reading->source, &path, err);
	if (r == 0)
		r = site_call_list(&path, take_record, reading, err);
	return record_source_explain(reading->source, r, err);
}

int record_source_read(const struct record_source *s, bool from_site,
	int (*each)(json_t *record, void *userdata), void *userdata, struct error *err)
{
	struct reading reading = {.source = s, .each = each, .userdata = userdata};
	int r = record_source_times(s, &reading.filter.from_us, &reading.filter.until_us, err);

	if (r < 0)
		return r;
	reading.seen = from_site ? NULL : json_object();
	if (!from_site && !reading.seen)
		return fail(err, -ENOMEM, "out of memory");
	r = from_site ? read_site(&reading, err) : read_files(&reading, err);
	json_decref(reading.seen);
	return r == -ENOMEM ? fail(err, r, "out of memory") : r;
}
