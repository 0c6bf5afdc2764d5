/* Where usage records are read from: files of this machine, or the site's controllers. */
#pragma once

#include <jansson.h>

#include "cli/site_path.h"
#include "cli/verb.h"

/* The options that say which. */
struct record_source {
	bool site, local;
	const char *since, *until, *user, *account, *image, *job;
	struct verb_list files;
};

/* Rows for a verb's table, whose struct of options has a `struct record_source` as `member`. */
#define RECORD_SOURCE_OPTIONS(type, member)                                                     \
	{"since", 0, OPTION_STRING, offsetof(type, member.since), "TIME",                       \
		.help = "Only of VMs that ended at this time or later: a date (2026-11-21), a " \
			"time (2026-11-21T17:30:00Z), or how long ago (90m, 24h)"},             \
		{"until", 0, OPTION_STRING, offsetof(type, member.until), "TIME",               \
			.help = "Only of VMs that ended before this time"},                     \
		{"user", 'u', OPTION_STRING, offsetof(type, member.user), "NAME",               \
			.help = "Only of this user's VMs, by name or number"},                  \
		{"account", 0, OPTION_STRING, offsetof(type, member.account), "NAME",           \
			.help = "Only of VMs of jobs that were charged to this account"},       \
		{"image", 'i', OPTION_STRING, offsetof(type, member.image), "NAME[:TAG]",       \
			.help = "Only of VMs of this image", .complete = "image"},              \
		{"job", 'j', OPTION_STRING, offsetof(type, member.job), "ID",                   \
			.help = "Only of the VMs of this job (17), or of one step of it "       \
				"(17.2)"},                                                      \
		{"site", 0, OPTION_FLAG, offsetof(type, member.site),                           \
			.help = "Asks the site's controllers"},                                 \
		{"local", 0, OPTION_FLAG, offsetof(type, member.local),                         \
			.help = "Reads this machine's files, whatever the settings say"},       \
	{                                                                                       \
		"file", 'f', OPTION_LIST, offsetof(type, member.files), "FILE",                 \
			.complete = "file",                                                     \
			.help = "Reads this file instead of the usual ones; may be repeated"    \
	}

/* Is it the site that is asked? So it is with --site; with `prefer_site` also where controllers are
 * set and neither --local nor --file is given. Returns 1, 0, or negative errno. */
int record_source_is_site(const struct record_source *s, bool prefer_site, struct error *err);

/* The times of --since and --until, us since the epoch; 0 and UINT64_MAX where they are not given.
 * Returns 0 or -EINVAL. */
int record_source_times(
	const struct record_source *s, uint64_t *ret_from, uint64_t *ret_until, struct error *err);

/* The same and the other options, as the site's API takes them; not the job. Returns 0 or -EINVAL.
 */
int record_source_add_query(
	const struct record_source *s, struct site_path *path, struct error *err);

/* Of a site that does not answer, adds to `err` what may be done instead. Returns `r`. */
int record_source_explain(const struct record_source *s, int r, struct error *err);

/* Reads all: `each` is given each record, to keep, once, as one that comes by two ways has one id;
 * a negative value from it ends the walk. Of the usual files, one that is missing has no records.
 * Returns 0 or negative errno. */
int record_source_read(const struct record_source *s, bool from_site,
	int (*each)(json_t *record, void *userdata), void *userdata, struct error *err);
