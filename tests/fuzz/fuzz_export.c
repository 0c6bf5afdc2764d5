/* Usage records of any content as CSV and as messages of APEL: a record stays one record, and a
 * field one field. */
#include <assert.h>

#include "cli/record_apel.h"
#include "cli/record_csv.h"
#include "lib/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a reader of APEL's sees: printable lines "Name: value", one "%%" at the end. */
static void check_message(const char *text, size_t length)
{
	const char *line = text, *end;

	assert(strlen(text) == length);
	for (; (end = strchr(line, '\n')); line = end + 1) {
		const char *colon = memchr(line, ':', (size_t)(end - line));

		for (const char *p = line; p < end; p++)
			assert(*p >= ' ' && *p <= '~');
		if (end[1] == '\0') {
			assert(end - line == 2 && line[0] == '%' && line[1] == '%');
			return;
		}
		assert(colon && colon[1] == ' ' && colon + 2 < end && colon[2] != ' ');
		assert(end - colon <= 257);
		assert(!memmem(line, (size_t)(end - line), "%%", 2));
	}
	assert(false);
}

/* As RFC 4180 is read: fields of one line. */
static size_t count_fields(const char *text)
{
	bool quoted = false;
	size_t fields = 1;

	for (; *text && (quoted || *text != '\n'); text++) {
		if (*text == '"')
			quoted = !quoted;
		fields += *text == ',' && !quoted;
	}
	assert(!quoted && streq(text, "\n"));
	return fields;
}

static char *print(int kind, const json_t *record, const struct record_apel_site *site)
{
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);

	assert(out);
	if (kind < 0)
		record_csv_print(record, out);
	else
		record_apel_print((enum record_apel_kind)kind, record, site, out);
	fclose(out);
	if (kind >= 0)
		check_message(text, length);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint64_t now_us = UINT64_C(1800000000000000);
	json_t *record = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
	const struct record_apel_site site = {
		.name = "S",
		.infrastructure = json_string_value(json_object_get(record, "reason")),
		.cloud_service = json_string_value(json_object_get(record, "policy")),
	};

	if (record) {
		autofree char *line = print(-1, record, NULL);

		assert(count_fields(line) == 38);
	}
	for (int kind = RECORD_APEL_JOB; record && kind <= RECORD_APEL_CLOUD; kind++) {
		struct error err = {0};

		if (record_apel_check((enum record_apel_kind)kind, record, now_us, &err) == 0)
			free(print(kind, record, &site));
		else
			assert(err.text[0]);
	}
	json_decref(record);
	return 0;
}
