#include "bench/plot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/base.h"

static const char text[] =
	"{\"machine\": {\"cpu\": \"a <b> & c\"}, \"vm\": {\"accel\": \"tcg\", \"cpus\": 2}, \"results\": ["
	"{\"trial\": \"disk\", \"title\": \"local disk\", \"figure\": \"write\", \"what\": \"write\", "
	"\"place\": \"bare\", \"median\": 10, \"unit\": \"MB/s\"},"
	"{\"trial\": \"disk\", \"title\": \"local disk\", \"figure\": \"write\", \"what\": \"write\", "
	"\"place\": \"boot\", \"median\": 5, \"unit\": \"MB/s\", \"ratio\": 0.5},"
	"{\"trial\": \"disk\", \"title\": \"local disk\", \"figure\": \"write\", \"what\": \"write\", "
	"\"place\": \"clone\", \"median\": 20, \"unit\": \"MB/s\", \"ratio\": 2.0}]}";

static size_t draw(const char *trial, char **ret)
{
	json_t *report = json_loads(text, 0, NULL);
	size_t size, bars;
	FILE *out = open_memstream(ret, &size);

	assert_non_null(report);
	bars = plot_write(report, trial, out);
	fclose(out);
	json_decref(report);
	return bars;
}

static void a_bar_for_each_ratio(void **state)
{
	autofree char *svg = NULL;

	assert_int_equal(draw("disk", &svg), 2);
	assert_non_null(strstr(svg, "a &lt;b&gt; &amp; c"));
	assert_non_null(strstr(svg, "software emulation"));
	assert_non_null(strstr(svg, "0.50 (5 MB/s)"));
	/* The longest fills the room, and the shorter a quarter of it. */
	assert_non_null(strstr(svg, "width=\"390\" height=\"16\""));
	assert_non_null(strstr(svg, "width=\"97\" height=\"16\""));
	assert_string_equal(svg + strlen(svg) - 7, "</svg>\n");
}

static void nothing_is_drawn_of_nothing(void **state)
{
	autofree char *svg = NULL;

	assert_int_equal(draw("hpcc", &svg), 0);
	assert_string_equal(svg, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bar_for_each_ratio),
		cmocka_unit_test(nothing_is_drawn_of_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
