#include "lib/timestamp.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#define SECOND_US   UINT64_C(1000000)
#define LAST_MOMENT (UINT64_C(253402300800) * SECOND_US - 1) /* of the year 9999 */

uint64_t timestamp_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * SECOND_US + (uint64_t)ts.tv_nsec / 1000;
}

const char *timestamp_format(uint64_t us, char text[TIMESTAMP_TEXT_SIZE])
{
	time_t seconds;
	struct tm tm;
	size_t n;

	us = MIN_OF(us, LAST_MOMENT);
	seconds = (time_t)(us / SECOND_US);
	gmtime_r(&seconds, &tm);
	n = strftime(text, TIMESTAMP_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + n, TIMESTAMP_TEXT_SIZE - n, ".%06uZ", (unsigned int)(us % SECOND_US));
	return text;
}

/* `count` digits and what must follow them (0: anything). Returns what is behind, or NULL. */
static const char *read_field(const char *text, int count, char after, int *ret)
{
	*ret = 0;
	for (int i = 0; i < count; i++, text++) {
		if (*text < '0' || *text > '9')
			return NULL;
		*ret = *ret * 10 + (*text - '0');
	}
	if (after && *text++ != after)
		return NULL;
	return text;
}

static const char *read_fraction(const char *text, uint64_t *ret_us)
{
	uint64_t unit = SECOND_US;

	*ret_us = 0;
	if (*text != '.')
		return text;
	for (text++; *text >= '0' && *text <= '9'; text++) {
		unit /= 10;
		*ret_us += unit * (uint64_t)(*text - '0');
	}
	return unit == SECOND_US ? NULL : text;
}

int timestamp_parse(const char *text, uint64_t *ret_us)
{
	struct tm tm = {0}, again;
	uint64_t fraction;
	time_t seconds;

	if (!(text = read_field(text, 4, '-', &tm.tm_year)) ||
		!(text = read_field(text, 2, '-', &tm.tm_mon)) ||
		!(text = read_field(text, 2, 'T', &tm.tm_mday)) ||
		!(text = read_field(text, 2, ':', &tm.tm_hour)) ||
		!(text = read_field(text, 2, ':', &tm.tm_min)) ||
		!(text = read_field(text, 2, 0, &tm.tm_sec)) ||
		!(text = read_fraction(text, &fraction)) || !streq(text, "Z"))
		return -EINVAL;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	again = tm;
	seconds = timegm(&again);
	/* timegm() takes the 31st of June for the 1st of July. */
	if (seconds < 0 || again.tm_mon != tm.tm_mon || again.tm_mday != tm.tm_mday ||
		again.tm_hour != tm.tm_hour || again.tm_min != tm.tm_min ||
		again.tm_sec != tm.tm_sec)
		return -EINVAL;
	*ret_us = (uint64_t)seconds * SECOND_US + fraction;
	return 0;
}
