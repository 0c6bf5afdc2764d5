#include "controller/arguments.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>

#include "config.h"
#include "lib/exit.h"
#include "lib/log.h"

static const struct option options[] = {
	{"config", required_argument, NULL, 'c'},
	{"from", required_argument, NULL, 'f'},
	{"to", required_argument, NULL, 't'},
	{"man", no_argument, NULL, 'm'},
	{"version", no_argument, NULL, 'V'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static void print_help(void)
{
	printf("Usage: wnodes-controller [options]\n"
	       "       wnodes-controller check [options]\n"
	       "       wnodes-controller migrate --from URL --to URL\n"
	       "       wnodes-controller config [--man]\n"
	       "Serves the site's nodes, users and administrators; see wnodes-controller(8).\n\n"
	       "  check          says whether settings and database are good\n"
	       "  migrate        copies a database into another, empty one: from sqlite:/PATH to\n"
	       "                 postgresql://..., or back\n"
	       "  config         prints a file of settings with all of them\n"
	       "  --config FILE  settings (" WNODES_SYSCONFDIR "/controller.conf)\n"
	       "  --version, --help\n");
}

static int parse_verb(struct arguments *a, int argc, char **argv)
{
	static const char *const verbs[] = {
		[VERB_CHECK] = "check", [VERB_MIGRATE] = "migrate", [VERB_CONFIG] = "config"};
	const char *verb = optind < argc ? argv[optind] : NULL;

	for (size_t i = 0; verb && i < ARRAY_SIZE(verbs); i++)
		if (verbs[i] && streq(verb, verbs[i]))
			a->verb = (enum arguments_verb)i;
	optind += a->verb != VERB_SERVE;
	if (optind < argc) {
		log_error("unknown argument '%s'; there are check, migrate and config, see --help",
			argv[optind]);
		return EXIT_WNODES;
	}
	if ((a->verb == VERB_MIGRATE) != (a->from && a->to) || (!a->from != !a->to)) {
		log_error("migrate takes both --from URL and --to URL, and nothing else does");
		return EXIT_WNODES;
	}
	return -1;
}

int arguments_parse(struct arguments *a, int argc, char **argv)
{
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option) {
		case 'c':
			a->config = optarg;
			break;
		case 'f':
			a->from = optarg;
			break;
		case 't':
			a->to = optarg;
			break;
		case 'm':
			a->man = true;
			break;
		case 'V':
			printf("wnodes-controller %s\n", WNODES_VERSION);
			return EXIT_SUCCESS;
		case 'h':
			print_help();
			return EXIT_SUCCESS;
		default:
			return EXIT_WNODES;
		}
	return parse_verb(a, argc, argv);
}

void arguments_print_progress(const char *table, int64_t rows, void *userdata)
{
	log_info("%s: %" PRId64, table, rows);
}
