#include "hypervisor/autonomy.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>

#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/timestamp.h"

#define AUTONOMY_FILE_MAX 4096

/* How often an answer is noted on the disk; a restart may count so much too much. */
#define SAVE_US (10 * UINT64_C(1000000))

struct autonomy_clock autonomy_read_clock(void)
{
	struct autonomy_clock now = {.day_us = timestamp_now_us(), .boot_us = clock_now_us()};

	if (process_boot_id(now.boot) < 0)
		now.boot[0] = '\0';
	return now;
}

static void save(struct autonomy *a, const struct autonomy_clock *now)
{
	json_t *json = json_pack("{s:s, s:I, s:I, s:I, s:I}", "boot", now->boot, "boot_us",
		(json_int_t)now->boot_us, "day_us", (json_int_t)now->day_us, "alone_us",
		(json_int_t)autonomy_alone_us(a, now), "answered_us", (json_int_t)a->answered_us);
	autofree char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	int r = text ? file_replace_soon(a->path, text, strlen(text), 0600) : -ENOMEM;

	json_decref(json);
	if (r < 0)
		log_warning("cannot write '%s': %s, ignoring", a->path, strerror(-r));
	a->saved_us = now->boot_us;
}

static uint64_t number(const json_t *json, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(json, key));

	return n > 0 ? (uint64_t)n : 0;
}

/* How much has passed since the file was written. A clock of the day that went back counts nothing.
 */
static uint64_t passed_us(const json_t *json, const struct autonomy_clock *now)
{
	const char *boot = json_string_value(json_object_get(json, "boot"));
	bool same = boot && now->boot[0] && streq(boot, now->boot);
	uint64_t then = number(json, same ? "boot_us" : "day_us");
	uint64_t clock = same ? now->boot_us : now->day_us;

	return clock > then && then > 0 ? clock - then : 0;
}

int autonomy_open(struct autonomy *a, const char *path, const struct autonomy_clock *now)
{
	autofree char *text = NULL;
	json_t *json = NULL;
	size_t length;

	*a = (struct autonomy){.path = strdup(path), .mark_us = now->boot_us};
	if (!a->path)
		return -ENOMEM;
	if (file_read(AT_FDCWD, path, AUTONOMY_FILE_MAX, &text, &length) == 0)
		json = json_loadb(text, length, 0, NULL);
	if (json) {
		a->alone_us = number(json, "alone_us") + passed_us(json, now);
		a->answered_us = number(json, "answered_us");
	}
	json_decref(json);
	save(a, now); /* of this boot, before somebody sets the clock of the day */
	return 0;
}

void autonomy_done(struct autonomy *a)
{
	free(a->path);
	*a = (struct autonomy){0};
}

uint64_t autonomy_alone_us(const struct autonomy *a, const struct autonomy_clock *now)
{
	return a->alone_us + (now->boot_us > a->mark_us ? now->boot_us - a->mark_us : 0);
}

void autonomy_note_answer(struct autonomy *a, const struct autonomy_clock *now)
{
	bool was_alone = autonomy_alone_us(a, now) > SAVE_US;

	a->alone_us = 0;
	a->mark_us = now->boot_us;
	a->answered_us = now->day_us;
	if (was_alone || now->boot_us - a->saved_us > SAVE_US)
		save(a, now);
}
