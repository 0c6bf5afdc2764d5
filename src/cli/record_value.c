#include "cli/record_value.h"

#include "lib/path.h"
#include "lib/timestamp.h"

#define SECOND_US 1000000.0

/* More than a record may have, and less than overflows. */
#define SECONDS_MAX 1e12

const json_t *record_value_get(const json_t *record, const char *object, const char *key)
{
	return json_object_get(object ? json_object_get(record, object) : record, key);
}

const char *record_value_text(const json_t *record, const char *object, const char *key)
{
	return json_string_value(record_value_get(record, object, key));
}

uint64_t record_value_time(const json_t *record, const char *key)
{
	const char *text = record_value_text(record, NULL, key);
	uint64_t us;

	return text && timestamp_parse(text, &us) == 0 ? us : 0;
}

uint64_t record_value_took(const json_t *record)
{
	uint64_t started_us = record_value_time(record, "started");
	uint64_t ended_us = record_value_time(record, "ended");

	return started_us > 0 && ended_us > started_us ? ended_us - started_us : 0;
}

bool record_value_cpu(const json_t *record, uint64_t *ret_us)
{
	const json_t *user = record_value_get(record, "usage", "cpu_user_s");
	const json_t *system = record_value_get(record, "usage", "cpu_system_s");
	double seconds = json_number_value(user) + json_number_value(system);

	*ret_us = 0;
	if (!json_is_number(user) || !json_is_number(system))
		return false;
	if (seconds > 0 && seconds <= SECONDS_MAX)
		*ret_us = (uint64_t)(seconds * SECOND_US + 0.5);
	return true;
}

char *record_value_job(const json_t *record, bool step)
{
	const char *id = record_value_text(record, "job", "id");
	const char *part = step ? record_value_text(record, "job", "step") : NULL;

	return id ? path_format("%s%s%s", id, part ? "." : "", part ? part : "") : NULL;
}

char *record_value_image(const json_t *record)
{
	const char *name = record_value_text(record, "image", "name");
	const char *tag = record_value_text(record, "image", "tag");

	return name ? path_format("%s%s%s", name, tag ? ":" : "", tag ? tag : "") : NULL;
}
