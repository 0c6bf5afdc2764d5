#include "engine/phase.h"

#include <errno.h>

#include "lib/clock.h"

static const char *const names[PHASE_COUNT] = {
	[PHASE_QUEUED] = "queued",
	[PHASE_FETCH] = "fetch",
	[PHASE_CLONE] = "clone",
	[PHASE_BOOT] = "boot",
	[PHASE_PREPARE] = "prepare",
	[PHASE_RUN] = "run",
	[PHASE_STOP] = "stop",
	[PHASE_DONE] = "done",
	[PHASE_FAILED] = "failed",
};

const char *phase_name(enum phase phase)
{
	return names[phase];
}

int phase_parse(const char *name, enum phase *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (streq(name, names[i])) {
			*ret = (enum phase)i;
			return 0;
		}
	return -EINVAL;
}

void phase_start(struct phase_clock *c)
{
	*c = (struct phase_clock){.origin = clock_now_us(), .now = PHASE_QUEUED};
	c->entered[PHASE_QUEUED] = true;
}

void phase_enter(struct phase_clock *c, enum phase next)
{
	uint64_t now = phase_total_us(c);

	c->took[c->now] += phase_elapsed_us(c);
	/* A phase that is entered again counts on from what it took before. */
	c->began[next] = now - c->took[next];
	c->took[next] = 0;
	c->entered[next] = true;
	c->now = next;
}

uint64_t phase_elapsed_us(const struct phase_clock *c)
{
	return phase_total_us(c) - c->began[c->now];
}

uint64_t phase_total_us(const struct phase_clock *c)
{
	return clock_now_us() - c->origin;
}

json_t *phase_to_json(const struct phase_clock *c)
{
	json_t *list = json_array();

	for (int p = PHASE_FETCH; p <= PHASE_STOP; p++) {
		uint64_t took = c->now == (enum phase)p ? phase_elapsed_us(c) : c->took[p];

		if (c->entered[p])
			json_array_append_new(list, json_pack("{s:s, s:f, s:f}", "phase", names[p],
							    "start_s", (double)c->began[p] / 1e6,
							    "duration_s", (double)took / 1e6));
	}
	return list;
}
