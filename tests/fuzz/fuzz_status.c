/* The status file of a job's VM: what is accepted is within its bounds, its times can be added, and
 * it is written as it was read. */
#include <assert.h>

#include "engine/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CENTURY_US (UINT64_C(36525) * 86400 * 1000000)

static void check_times(const struct status *s, uint64_t now_us)
{
	assert(status_provision_us(s, now_us) <= 2 * CENTURY_US + now_us);
	for (int i = 0; i < PHASE_COUNT; i++)
		assert(status_phase_us(s, (enum phase)i, now_us) <= CENTURY_US + now_us);
}

static void check_accepted(const struct status *s)
{
	autofree char *first = status_format(s), *second = NULL;
	struct status again;

	assert(first && strlen(first) <= STATUS_MAX);
	assert(status_is_word(s->job.job) && !strchr(s->job.job, '.'));
	assert(status_is_word(s->job.cluster) && status_is_word(s->job.node));
	assert(s->exit_status >= -1 && s->exit_status <= 255);
	assert(phase_name(s->phase));
	check_times(s, 0);
	check_times(s, UINT64_C(1800000000000000));
	assert(status_parse(first, strlen(first), &again, NULL) == 0);
	second = status_format(&again);
	assert(second && strcmp(first, second) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct status status;
	struct error err = {0};

	if (status_parse((const char *)data, size, &status, &err) == 0)
		check_accepted(&status);
	else
		assert(err.text[0]);
	return 0;
}
