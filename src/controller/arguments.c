#include "controller/arguments.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "config.h"
#include "lib/argument.h"
#include "lib/exit.h"
#include "lib/file.h"
#include "lib/log.h"

#define URL_MAX 4096

static void print_help(void)
{
	printf("Usage: wnodes-controller [options]\n"
	       "       wnodes-controller check [options]\n"
	       "       wnodes-controller migrate --from URL|--from-file FILE --to URL|--to-file FILE\n"
	       "       wnodes-controller config [--man]\n"
	       "       wnodes-controller openapi\n"
	       "Serves the site's nodes, users and administrators; see wnodes-controller(8).\n\n"
	       "  check          says whether settings and database are good\n"
	       "  migrate        copies a database into another, empty one: from sqlite:/PATH to\n"
	       "                 postgresql://..., or back. Everybody on the machine sees the command\n"
	       "                 line: a URL with a password is the first line of a file, or the\n"
	       "                 password is where libpq finds it (PGPASSFILE, ~/.pgpass, PGSERVICE)\n"
	       "  config         prints a file of settings with all of them\n"
	       "  openapi        prints the OpenAPI document of what it serves\n"
	       "  --config FILE  settings (" WNODES_SYSCONFDIR "/controller.conf)\n"
	       "  --version, --help\n");
}

/* A URL, from the command line or from the first line of a file. Returns -1 to go on. */
static int set_url(char **url, const char *text, const char *file)
{
	autofree char *content = NULL;
	size_t length;
	int r = file ? file_read(AT_FDCWD, file, URL_MAX, &content, &length) : 0;

	if (r < 0) {
		log_error("cannot read '%s': %s", file, strerror(-r));
		return EXIT_WNODES;
	}
	if (file)
		*url = strndup(content, strcspn(content, "\r\n"));
	else
		*url = text ? strdup(text) : NULL;
	if (*url || (!text && !file))
		return -1;
	log_error("out of memory");
	return EXIT_WNODES;
}

static int parse_verb(struct arguments *a, int argc, char **argv)
{
	static const char *const verbs[] = {[VERB_CHECK] = "check",
		[VERB_MIGRATE] = "migrate",
		[VERB_CONFIG] = "config",
		[VERB_OPENAPI] = "openapi"};
	const char *verb = optind < argc ? argv[optind] : NULL;

	for (size_t i = 0; verb && i < ARRAY_SIZE(verbs); i++)
		if (verbs[i] && streq(verb, verbs[i]))
			a->verb = (enum arguments_verb)i;
	optind += a->verb != VERB_SERVE;
	if (optind < argc) {
		log_error(
			"unknown argument '%s'; there are check, migrate, config and openapi, see "
			"--help",
			argv[optind]);
		return EXIT_WNODES;
	}
	if ((a->verb == VERB_MIGRATE) != (a->from && a->to) || (!a->from != !a->to)) {
		log_error("migrate takes both --from and --to, or --from-file and --to-file, and "
			  "nothing else does");
		return EXIT_WNODES;
	}
	return -1;
}

int arguments_parse(struct arguments *a, int argc, char **argv)
{
	const char *from = NULL, *from_file = NULL, *to = NULL, *to_file = NULL;
	const struct argument table[] = {
		{"config", .text = &a->config},
		{"from", .text = &from},
		{"from-file", .text = &from_file},
		{"to", .text = &to},
		{"to-file", .text = &to_file},
		{"man", .is = &a->man},
		{.name = NULL},
	};
	int status = argument_parse(table, "wnodes-controller", print_help, argc, argv);

	if (status < 0)
		status = set_url(&a->from, from, from_file);
	if (status < 0)
		status = set_url(&a->to, to, to_file);
	return status < 0 ? parse_verb(a, argc, argv) : status;
}

void arguments_done(struct arguments *a)
{
	free(a->from);
	free(a->to);
}

void arguments_print_progress(const char *table, int64_t rows, void *userdata)
{
	log_info("%s: %" PRId64, table, rows);
}
