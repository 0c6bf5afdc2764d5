/* A report as tables: a row for each figure, a column for each place. */
#include <errno.h>

#include "bench/outcome.h"
#include "cli/bench.h"
#include "cli/table.h"
#include "lib/json.h"
#include "lib/parse.h"

#define COLUMNS_MAX (PLACES_MAX + 4)

static const char *text_of(json_t *row, const char *member)
{
	const char *text = json_string_value(json_object_get(row, member));

	return text ? text : "";
}

/* Four digits, and no powers of ten as far as people read numbers. */
static void number_format(double value, char text[FORMAT_MAX])
{
	if (value >= 1000 && value < 1e12)
		snprintf(text, FORMAT_MAX, "%.0f", value);
	else
		snprintf(text, FORMAT_MAX, "%.4g", value);
}

/* "71.3 (0.89)": the figure, and how good it is beside the host's. */
static json_t *cell_of(json_t *row)
{
	json_t *ratio = json_object_get(row, "ratio");
	const char *why = json_string_value(json_object_get(row, "not_comparable"));
	char median[FORMAT_MAX];

	number_format(json_number_value(json_object_get(row, "median")), median);
	if (ratio)
		return json_sprintf("%s (%.2f)", median, json_number_value(ratio));
	return json_sprintf("%s%s", median, why ? " (?)" : "");
}

/* "1.04" or why not. */
static json_t *old_cell_of(json_t *row)
{
	json_t *ratio = json_object_get(row, "ratio_to_old");
	const char *why = json_string_value(json_object_get(row, "old_not_comparable"));

	if (ratio)
		return json_sprintf("%.2f", json_number_value(ratio));
	return why ? json_string("?") : NULL;
}

static json_t *find_row(json_t *rows, const char *figure)
{
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row) if (streq(text_of(row, "figure"), figure)) return row;
	return NULL;
}

static int add_cell(json_t *rows, json_t *result)
{
	json_t *row = find_row(rows, text_of(result, "figure")), *old = old_cell_of(result);

	if (!row) {
		row = json_pack("{s:s, s:s, s:s}", "figure", text_of(result, "figure"), "what",
			text_of(result, "what"), "unit", text_of(result, "unit"));
		if (json_array_append_new(rows, row) < 0)
			return -ENOMEM;
	}
	if (old && json_object_set_new(row, "old", old) < 0)
		return -ENOMEM;
	return json_object_set_new(row, text_of(result, "place"), cell_of(result)) < 0 ? -ENOMEM
										       : 0;
}

static void add_column(struct table_column *columns, const char *place)
{
	size_t n = 0;

	for (; columns[n].key; n++)
		if (streq(columns[n].key, place))
			return;
	if (n < COLUMNS_MAX - 1)
		columns[n] = (struct table_column){place, place, TABLE_NUMBER};
}

static int print_rows(json_t *rows, const struct table_column *columns, FILE *out)
{
	struct table *table AUTO(table_freep) = table_new(columns);
	json_t *row;
	size_t i;
	int r = table ? 0 : -ENOMEM;

	json_array_foreach(rows, i, row) if (r == 0) r = table_add(table, json_incref(row));
	return r < 0 ? r : table_print(table, out);
}

static int print_trial(json_t *report, const struct trial *trial, FILE *out)
{
	struct table_column columns[COLUMNS_MAX] = {
		{"what", trial->title, TABLE_TEXT}, {"unit", "unit", TABLE_TEXT}};
	json_t *rows = json_array(), *result, *last = NULL;
	size_t i;
	int r = rows ? 0 : -ENOMEM;

	json_array_foreach(json_object_get(report, "results"), i, result)
	{
		if (!streq(text_of(result, "trial"), trial->name))
			continue;
		last = result;
		add_column(columns, text_of(result, "place"));
		if (r == 0)
			r = add_cell(rows, result);
	}
	if (r == 0 && last) {
		r = print_rows(rows, columns, out);
		fprintf(out, "  %s%s%s\n\n", text_of(last, "programs"),
			text_of(last, "programs")[0] ? "; " : "", text_of(last, "size"));
	}
	json_decref(rows);
	return r;
}

static void print_vms(json_t *report, FILE *out)
{
	json_t *vm = json_object_get(report, "vm");
	json_int_t memory = json_integer_value(json_object_get(vm, "memory_bytes"));
	char size[FORMAT_MAX];

	if (!text_of(vm, "accel")[0])
		return;
	fprintf(out, "VMs of %s (%.12s), %lld CPUs, %s, accelerator %s; medians of %lld\n",
		text_of(vm, "image"), text_of(vm, "digest"),
		(long long)json_integer_value(json_object_get(vm, "cpus")),
		format_size((uint64_t)memory, size), text_of(vm, "accel"),
		(long long)json_integer_value(json_object_get(report, "runs")));
	if (streq(text_of(vm, "accel"), "tcg"))
		fputs("VMs ran in software emulation: their figures say nothing of VMs with KVM.\n",
			out);
	fputs("In parentheses: how good it is beside the host itself, 1 is as good, more is better.\n",
		out);
}

static void print_head(json_t *report, FILE *out)
{
	json_t *machine = json_object_get(report, "machine");

	fprintf(out, "%s, %lld CPUs, %s, Linux %s; %s\n", text_of(machine, "cpu"),
		(long long)json_integer_value(json_object_get(machine, "cpus")),
		text_of(machine, "os"), text_of(machine, "kernel"), text_of(machine, "qemu"));
	print_vms(report, out);
	putc('\n', out);
}

static void print_missing(json_t *report, FILE *out)
{
	json_t *row;
	size_t i;

	json_array_foreach(json_object_get(report, "missing"), i, row)
		fprintf(out, "not measured: %s, %s: %s\n", text_of(row, "trial"),
			text_of(row, "place"), text_of(row, "why"));
}

int bench_print(json_t *report, FILE *out)
{
	int r = 0;

	print_head(report, out);
	for (const struct trial *t = trials; t->name && r == 0; t++)
		r = print_trial(report, t, out);
	print_missing(report, out);
	return r;
}
