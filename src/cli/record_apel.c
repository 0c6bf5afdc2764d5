#include "cli/record_apel.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>

#include "cli/record_value.h"

#define SECOND_US  UINT64_C(1000000)
#define FUTURE_US  (2 * 24 * 3600 * SECOND_US)
#define TEXT_MAX   255
#define KILO_BYTES UINT64_C(1024)
#define MEGA_BYTES (1024 * KILO_BYTES)
#define GIGA_BYTES (1024 * MEGA_BYTES)

/* Where a field's value comes from. */
enum source {
	FROM_RECORD, /* a text */
	FROM_SIZE,   /* bytes, divided by `unit` */
	FROM_NUMBER, /* of the record */
	FROM_SITE,   /* struct record_apel_site, at `unit` */
	FROM_FIXED,  /* `key` itself */
	FROM_JOB,
	FROM_INFRASTRUCTURE,
	FROM_GROUP,
	FROM_IMAGE,
	FROM_START,
	FROM_END,
	FROM_WALL,
	FROM_CPU,
	FROM_ABSENT,
};

struct apel_field {
	const char *name;
	enum source source;
	const char *object, *key;
	uint64_t unit;
};

#define SITE(member) NULL, NULL, offsetof(struct record_apel_site, member)

static const struct apel_field job_fields[] = {
	{"Site", FROM_SITE, SITE(name)},
	{"SubmitHost", FROM_SITE, SITE(submit_host)},
	{"MachineName", FROM_RECORD, NULL, "node"},
	{"Queue", FROM_RECORD, "job", "partition"},
	{"LocalJobId", FROM_JOB},
	{"LocalUserId", FROM_RECORD, NULL, "user"},
	{"VO", FROM_RECORD, "job", "account"},
	{"WallDuration", FROM_WALL},
	{"CpuDuration", FROM_CPU},
	{"Processors", FROM_NUMBER, "shape", "cpus"},
	{"NodeCount", FROM_FIXED, NULL, "1"},
	{"StartTime", FROM_START},
	{"EndTime", FROM_END},
	{"InfrastructureDescription", FROM_INFRASTRUCTURE},
	{"InfrastructureType", FROM_SITE, SITE(infrastructure_type)},
	{"MemoryReal", FROM_SIZE, "usage", "memory_peak_bytes", KILO_BYTES},
	{"MemoryVirtual", FROM_SIZE, "shape", "memory_bytes", KILO_BYTES},
	{"ServiceLevelType", FROM_SITE, SITE(benchmark)},
	{"ServiceLevel", FROM_SITE, SITE(benchmark_value)},
	{.name = NULL},
};

static const struct apel_field cloud_fields[] = {
	{"RecordCreateTime", FROM_END},
	{"VMUUID", FROM_RECORD, NULL, "id"},
	{"SiteName", FROM_SITE, SITE(name)},
	{"CloudComputeService", FROM_SITE, SITE(cloud_service)},
	{"MachineName", FROM_RECORD, NULL, "vm"},
	{"LocalUserId", FROM_RECORD, NULL, "user"},
	{"LocalGroupId", FROM_GROUP},
	{"GlobalUserName", FROM_ABSENT},
	{"FQAN", FROM_ABSENT},
	{"Status", FROM_FIXED, NULL, "completed"},
	{"StartTime", FROM_START},
	{"EndTime", FROM_END},
	{"SuspendDuration", FROM_ABSENT},
	{"WallDuration", FROM_WALL},
	{"CpuDuration", FROM_CPU},
	{"CpuCount", FROM_NUMBER, "shape", "cpus"},
	{"NetworkType", FROM_RECORD, "shape", "network"},
	{"NetworkInbound", FROM_SIZE, "usage", "network_received_bytes", MEGA_BYTES},
	{"NetworkOutbound", FROM_SIZE, "usage", "network_sent_bytes", MEGA_BYTES},
	{"PublicIPCount", FROM_ABSENT},
	{"Memory", FROM_SIZE, "shape", "memory_bytes", MEGA_BYTES},
	{"Disk", FROM_SIZE, "shape", "scratch_bytes", GIGA_BYTES},
	{"BenchmarkType", FROM_SITE, SITE(benchmark)},
	{"Benchmark", FROM_SITE, SITE(benchmark_value)},
	{"StorageRecordId", FROM_ABSENT},
	{"ImageId", FROM_IMAGE},
	{"CloudType", FROM_FIXED, NULL, "WNoDeS"},
	{.name = NULL},
};

static const struct apel_kind {
	const char *header;
	const struct apel_field *fields;
	const char *absent; /* what stands for a value that there is not; NULL: no line at all */
} kinds[] = {
	[RECORD_APEL_JOB] = {"APEL-individual-job-message: v0.3\n", job_fields, NULL},
	[RECORD_APEL_CLOUD] = {"APEL-cloud-message: v0.4\n", cloud_fields, "NULL"},
};

const char *record_apel_header(enum record_apel_kind kind)
{
	return kinds[kind].header;
}

/* One record on its way. */
struct apel {
	const json_t *record;
	const struct record_apel_site *site;
	uint64_t start_s, end_s;
};

/* A text as it may stand in a message; empty if nothing is left of it. */
static void text_fill(char value[TEXT_MAX + 1], const char *text)
{
	size_t length = 0;

	for (; text && *text && length < TEXT_MAX; text++) {
		char c = *text;

		if ((unsigned char)c < ' ' || c == 0x7f)
			c = ' ';
		else if (c & 0x80)
			c = '?';
		else if (c == '%' && length > 0 && value[length - 1] == '%')
			c = '_';
		if (c != ' ' || length > 0)
			value[length++] = c;
	}
	while (length > 0 && value[length - 1] == ' ')
		length--;
	value[length] = '\0';
}

static void number_fill(char value[TEXT_MAX + 1], uint64_t number)
{
	snprintf(value, TEXT_MAX + 1, "%" PRIu64, number);
}

/* A number that is not known, or makes no sense, is none. */
static void json_fill(char value[TEXT_MAX + 1], const json_t *number, uint64_t unit)
{
	json_int_t n = json_integer_value(number);

	if (json_is_integer(number) && n >= 0)
		number_fill(value, (uint64_t)n / unit + ((uint64_t)n % unit > 0));
}

/* A job may have several VMs at a time, and APEL tells jobs apart by this and their end: the step
 * and the node are needed. */
static void job_fill(char value[TEXT_MAX + 1], const json_t *record)
{
	autofree char *job = record_value_job(record, true);
	const char *node = record_value_text(record, NULL, "node");
	char text[2 * TEXT_MAX];

	snprintf(text, sizeof(text), "%s%s%s", job ? job : "", node ? "@" : "", node ? node : "");
	text_fill(value, text);
}

/* "APEL-WNODES-SLURM" */
static void infrastructure_fill(char value[TEXT_MAX + 1], const struct apel *a)
{
	const char *system = record_value_text(a->record, "job", "system");
	char text[TEXT_MAX];

	if (a->site->infrastructure && *a->site->infrastructure) {
		text_fill(value, a->site->infrastructure);
		return;
	}
	snprintf(text, sizeof(text), "APEL-WNODES%s%s", system ? "-" : "", system ? system : "");
	for (char *p = text; *p; p++)
		*p = (char)toupper((unsigned char)*p);
	text_fill(value, text);
}

/* The account that a job is charged to, else the user's group. */
static void group_fill(char value[TEXT_MAX + 1], const json_t *record)
{
	text_fill(value, record_value_text(record, "job", "account"));
	if (!*value)
		json_fill(value, record_value_get(record, NULL, "gid"), 1);
}

static void image_fill(char value[TEXT_MAX + 1], const json_t *record)
{
	autofree char *name = record_value_image(record);

	text_fill(value, record_value_text(record, "image", "digest"));
	if (!*value)
		text_fill(value, name);
}

static void site_fill(char value[TEXT_MAX + 1], const struct record_apel_site *site, size_t offset)
{
	text_fill(value, *(const char *const *)((const char *)site + offset));
}

/* APEL does not take a record without it, so what is not known is nothing. */
static void cpu_fill(char value[TEXT_MAX + 1], const json_t *record)
{
	uint64_t us;

	record_value_cpu(record, &us);
	number_fill(value, (us + SECOND_US / 2) / SECOND_US);
}

static void field_fill(
	char value[TEXT_MAX + 1], const struct apel_field *field, const struct apel *a)
{
	const json_t *json = record_value_get(a->record, field->object, field->key);

	*value = '\0';
	switch (field->source) {
	case FROM_RECORD:
		text_fill(value, json_string_value(json));
		break;
	case FROM_SIZE:
		json_fill(value, json, field->unit);
		break;
	case FROM_NUMBER:
		json_fill(value, json, 1);
		break;
	case FROM_SITE:
		site_fill(value, a->site, field->unit);
		break;
	case FROM_FIXED:
		text_fill(value, field->key);
		break;
	case FROM_JOB:
		job_fill(value, a->record);
		break;
	case FROM_INFRASTRUCTURE:
		infrastructure_fill(value, a);
		break;
	case FROM_GROUP:
		group_fill(value, a->record);
		break;
	case FROM_IMAGE:
		image_fill(value, a->record);
		break;
	case FROM_START:
		number_fill(value, a->start_s);
		break;
	case FROM_END:
		number_fill(value, a->end_s);
		break;
	case FROM_WALL:
		number_fill(value, a->end_s - a->start_s);
		break;
	case FROM_CPU:
		cpu_fill(value, a->record);
		break;
	case FROM_ABSENT:
		break;
	}
}

int record_apel_check(
	enum record_apel_kind kind, const json_t *record, uint64_t now_us, struct error *err)
{
	const char *id = record_value_text(record, NULL, "id");
	uint64_t start_us = record_value_time(record, "started");
	uint64_t end_us = record_value_time(record, "ended");
	char key[TEXT_MAX + 1];

	text_fill(key, kind == RECORD_APEL_JOB ? record_value_text(record, "job", "id") : id);
	id = id ? id : "without an id";
	if (!*key)
		return fail(err, -EINVAL, "record %s: %s", id,
			kind == RECORD_APEL_JOB ? "its VM was no job's" : "nothing to know it by");
	if (start_us < SECOND_US || end_us < SECOND_US)
		return fail(err, -EINVAL, "record %s: it does not say when its VM %s", id,
			start_us < SECOND_US ? "started" : "ended");
	if (end_us > now_us + FUTURE_US)
		return fail(err, -EINVAL, "record %s: its VM ends in the future", id);
	return 0;
}

void record_apel_print(enum record_apel_kind kind, const json_t *record,
	const struct record_apel_site *site, FILE *out)
{
	struct apel a = {.record = record, .site = site};
	char value[TEXT_MAX + 1];

	a.end_s = record_value_time(record, "ended") / SECOND_US;
	a.start_s = MIN_OF(record_value_time(record, "started") / SECOND_US, a.end_s);
	for (const struct apel_field *f = kinds[kind].fields; f->name; f++) {
		field_fill(value, f, &a);
		if (*value || kinds[kind].absent)
			fprintf(out, "%s: %s\n", f->name, *value ? value : kinds[kind].absent);
	}
	fputs("%%\n", out);
}
