#include "lib/argument.h"

#include <assert.h>
#include <getopt.h>
#include <stdio.h>

#include "config.h"
#include "lib/exit.h"

#define ROWS_MAX 30

enum { VERSION = 1, HELP, FIRST };

/* Returns how many rows there are. */
static size_t make_options(const struct argument *table, bool help, struct option *ret)
{
	size_t n = 0;

	for (; table[n].name; n++) {
		assert(n < ROWS_MAX);
		ret[n] = (struct option){table[n].name,
			table[n].text ? required_argument : no_argument, NULL, FIRST + (int)n};
	}
	ret[n] = (struct option){"version", no_argument, NULL, VERSION};
	ret[n + 1] = help ? (struct option){"help", no_argument, NULL, HELP} : (struct option){0};
	ret[n + 2] = (struct option){0};
	return n;
}

int argument_parse(const struct argument *table, const char *program, void (*help)(void), int argc,
	char **argv)
{
	struct option options[ROWS_MAX + 3];
	int count = (int)make_options(table, help, options), option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == VERSION) {
			printf("%s %s\n", program, WNODES_VERSION);
			return EXIT_SUCCESS;
		}
		if (option == HELP) {
			help();
			return EXIT_SUCCESS;
		}
		if (option < FIRST || option >= FIRST + count)
			return EXIT_WNODES;
		if (table[option - FIRST].text)
			*table[option - FIRST].text = optarg;
		else
			*table[option - FIRST].is = true;
	}
	return -1;
}
