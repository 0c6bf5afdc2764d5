#include "bench/outcome.h"

#include <errno.h>
#include <stdio.h>

#include "bench/machine.h"
#include "config.h"
#include "lib/timestamp.h"

static json_t *values_to_json(const struct result *r, int figure)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < r->count; i++)
		if (r->readings[i].has[figure])
			json_array_append_new(list, json_real(r->readings[i].values[figure]));
	return list;
}

static void add_ratio(json_t *row, const struct result *r, const struct result *base, int figure)
{
	double ratio = 0;
	const char *why;

	if (!base || base == r)
		return;
	why = result_compare(r, base, figure, &ratio);
	if (why)
		json_object_set_new(row, "not_comparable", json_string(why));
	else
		json_object_set_new(row, "ratio", json_real(ratio));
}

static json_t *figure_to_json(const struct result *r, const struct result *base, int figure)
{
	const struct trial_figure *f = &r->trial->figures[figure];
	struct result_summary s;
	json_t *row;

	if (!result_summarize(r, figure, &s))
		return NULL;
	row = json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:s, s:o, s:f, s:f, s:f, s:s, s:s}",
		"trial", r->trial->name, "title", r->trial->title, "figure", f->key, "what",
		f->title, "unit", f->unit, "lower", f->lower, "place", r->place->name, "values",
		values_to_json(r, figure), "median", s.median, "min", s.min, "max", s.max,
		"programs", result_programs(r), "size", result_size(r));
	if (row)
		add_ratio(row, r, base, figure);
	return row;
}

static void add_missing(json_t *missing, const struct result *r)
{
	char why[READING_TEXT_MAX + 32] = "";

	if (result_missing(r)[0])
		snprintf(why, sizeof(why), "not installed: %s", result_missing(r));
	else if (result_why(r)[0])
		snprintf(why, sizeof(why), "%s", result_why(r));
	if (why[0])
		json_array_append_new(missing, json_pack("{s:s, s:s, s:s}", "trial", r->trial->name,
						       "place", r->place->name, "why", why));
}

static void add_result(json_t *results, json_t *missing, const struct campaign *c, size_t trial,
	const struct result *r)
{
	for (int f = 0; f < TRIAL_FIGURES_MAX && r->trial->figures[f].key; f++) {
		json_t *row = figure_to_json(r, campaign_base(c, trial), f);

		if (row)
			json_array_append_new(results, row);
	}
	add_missing(missing, r);
}

static json_t *vm_to_json(const struct campaign *c)
{
	return json_pack("{s:s, s:s*, s:s*, s:I, s:I}", "image", c->vm.image, "digest",
		c->digest[0] ? c->digest : NULL, "accel", c->accel[0] ? c->accel : NULL, "cpus",
		(json_int_t)c->vm.cpus, "memory_bytes", (json_int_t)c->vm.memory_mib * 1024 * 1024);
}

json_t *outcome_to_json(const struct campaign *c)
{
	json_t *results = json_array(), *missing = json_array();
	char when[TIMESTAMP_TEXT_SIZE];

	for (size_t t = 0; results && missing && t < c->trial_count; t++)
		for (size_t p = 0; p < c->place_count; p++)
			add_result(results, missing, c, t, &c->results[t][p]);
	return json_pack("{s:i, s:s, s:s, s:o, s:o, s:b, s:I, s:o, s:o}", "version",
		OUTCOME_VERSION, "wnodes", WNODES_VERSION, "when",
		timestamp_format(timestamp_now_us(), when), "machine", machine_to_json(c->qemu),
		"vm", vm_to_json(c), "quick", c->quick, "runs", (json_int_t)c->runs, "results",
		results, "missing", missing);
}

/* Members that must be the same in two reports. */
static const struct {
	const char *object, *member, *what;
} anchors[] = {
	{"machine", "cpu", "processor"},
	{"machine", "cpus", "number of processors"},
	{"vm", "accel", "way in which VMs run"},
	{"vm", "cpus", "VMs' CPUs"},
	{"vm", "memory_bytes", "VMs' memory"},
	{NULL, "quick", "sizes (--quick)"},
};

static json_t *anchor_get(json_t *report, size_t i)
{
	json_t *object = anchors[i].object ? json_object_get(report, anchors[i].object) : report;

	return json_object_get(object, anchors[i].member);
}

static bool is_report(json_t *json)
{
	return json_integer_value(json_object_get(json, "version")) == OUTCOME_VERSION &&
	       json_is_array(json_object_get(json, "results"));
}

int outcome_check_comparable(json_t *old, json_t *new, struct error *err)
{
	char differs[ERROR_TEXT_MAX / 2] = "";

	if (!is_report(old) || !is_report(new))
		return fail(err, -EINVAL, "this is no report of wnodes bench, version %d",
			OUTCOME_VERSION);
	for (size_t i = 0; i < ARRAY_SIZE(anchors); i++) {
		size_t length = strlen(differs);

		if (anchor_get(old, i) != anchor_get(new, i) &&
			!json_equal(anchor_get(old, i), anchor_get(new, i)))
			snprintf(differs + length, sizeof(differs) - length, "%s%s",
				length ? ", " : "", anchors[i].what);
	}
	if (differs[0])
		return fail(
			err, -EINVAL, "the two cannot be compared; they differ in: %s", differs);
	return 0;
}

static bool member_is_same(json_t *a, json_t *b, const char *member)
{
	return json_equal(json_object_get(a, member), json_object_get(b, member));
}

static json_t *find_same(json_t *results, json_t *row)
{
	json_t *other;
	size_t i;

	json_array_foreach(results, i, other) if (member_is_same(other, row, "trial") &&
						  member_is_same(other, row, "figure") &&
						  member_is_same(other, row, "place")) return other;
	return NULL;
}

static int row_compare(json_t *row, json_t *old)
{
	double now = json_number_value(json_object_get(row, "median"));
	double then = json_number_value(json_object_get(old, "median"));
	bool lower = json_is_true(json_object_get(row, "lower"));
	int r = json_object_set_new(row, "old", json_real(then));

	if (r == 0 && (!member_is_same(row, old, "programs") || !member_is_same(row, old, "size")))
		r = json_object_set_new(
			row, "old_not_comparable", json_string("other programs or sizes"));
	else if (r == 0 && now > 0 && then > 0)
		r = json_object_set_new(
			row, "ratio_to_old", json_real(lower ? then / now : now / then));
	return r < 0 ? -ENOMEM : 0;
}

int outcome_compare(json_t *old, json_t *new)
{
	json_t *row;
	size_t i;
	int r = 0;

	json_array_foreach(json_object_get(new, "results"), i, row)
	{
		json_t *same = find_same(json_object_get(old, "results"), row);

		if (same && r == 0)
			r = row_compare(row, same);
	}
	return r;
}
