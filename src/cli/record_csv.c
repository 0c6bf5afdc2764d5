#include "cli/record_csv.h"

#include "cli/record_value.h"

/* Digits of seconds: as many as a record has. */
#define REAL_DIGITS 15

#define TOOK "took_s" /* is no member: from `started` to `ended` */

/* One row a column; `object` is the member that it stands in. */
static const struct csv_column {
	const char *title, *object, *key;
} columns[] = {
	{"id", NULL, "id"},
	{"vm", NULL, "vm"},
	{"node", NULL, "node"},
	{"user", NULL, "user"},
	{"uid", NULL, "uid"},
	{"gid", NULL, "gid"},
	{"job_system", "job", "system"},
	{"job_id", "job", "id"},
	{"job_step", "job", "step"},
	{"job_name", "job", "name"},
	{"partition", "job", "partition"},
	{"account", "job", "account"},
	{"job_verified", "job", "verified"},
	{"image", "image", "name"},
	{"tag", "image", "tag"},
	{"digest", "image", "digest"},
	{"policy", NULL, "policy"},
	{"accel", "shape", "accel"},
	{"cpus", "shape", "cpus"},
	{"memory_bytes", "shape", "memory_bytes"},
	{"scratch_bytes", "shape", "scratch_bytes"},
	{"network", "shape", "network"},
	{"start", NULL, "start"},
	{"started", NULL, "started"},
	{"lent", NULL, "lent"},
	{"ended", NULL, "ended"},
	{TOOK, NULL, TOOK},
	{"exit_status", NULL, "exit_status"},
	{"reason", NULL, "reason"},
	{"source", NULL, "source"},
	{"cpu_user_s", "usage", "cpu_user_s"},
	{"cpu_system_s", "usage", "cpu_system_s"},
	{"memory_peak_bytes", "usage", "memory_peak_bytes"},
	{"guest_oom_kills", "usage", "guest_oom_kills"},
	{"disk_read_bytes", "usage", "disk_read_bytes"},
	{"disk_written_bytes", "usage", "disk_written_bytes"},
	{"network_received_bytes", "usage", "network_received_bytes"},
	{"network_sent_bytes", "usage", "network_sent_bytes"},
};

void record_csv_print_titles(FILE *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
		fprintf(out, "%s%s", i ? "," : "", columns[i].title);
	putc('\n', out);
}

static void text_print(const char *text, FILE *out)
{
	if (text[strcspn(text, ",\"\r\n")] == '\0') {
		fputs(text, out);
		return;
	}
	putc('"', out);
	for (; *text; text++) {
		if (*text == '"')
			putc('"', out);
		putc(*text, out);
	}
	putc('"', out);
}

static void value_print(const json_t *value, FILE *out)
{
	switch (value ? json_typeof(value) : JSON_NULL) {
	case JSON_STRING:
		text_print(json_string_value(value), out);
		break;
	case JSON_INTEGER:
		fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		break;
	case JSON_REAL:
		fprintf(out, "%.*g", REAL_DIGITS, json_real_value(value));
		break;
	case JSON_TRUE:
		fputs("true", out);
		break;
	case JSON_FALSE:
		fputs("false", out);
		break;
	case JSON_ARRAY:
	case JSON_OBJECT:
	case JSON_NULL:
		break;
	}
}

static void took_print(const json_t *record, FILE *out)
{
	uint64_t took_us = record_value_took(record);

	if (took_us > 0)
		fprintf(out, "%.*g", REAL_DIGITS, (double)took_us / 1e6);
}

void record_csv_print(const json_t *record, FILE *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
		const struct csv_column *c = &columns[i];

		if (i > 0)
			putc(',', out);
		if (streq(c->title, TOOK))
			took_print(record, out);
		else
			value_print(record_value_get(record, c->object, c->key), out);
	}
	putc('\n', out);
}
