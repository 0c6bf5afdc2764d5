/* The program wnodes-fetch: what `wnodes image fetch` becomes, as `wnodes` has no HTTP inside. The
 * options are those of that verb. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>

#include "config.h"
#include "fetch/errand.h"
#include "lib/exit.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "lib/strv.h"

#define TIMEOUT_MAX_MS (24 * 3600 * 1000)

static const struct option options[] = {
	{"from", required_argument, NULL, 'f'},
	{"release", required_argument, NULL, 'r'},
	{"name", required_argument, NULL, 'n'},
	{"tag", required_argument, NULL, 't'},
	{"timeout-ms", required_argument, NULL, 'T'},
	{"json", no_argument, NULL, 'j'},
	{"verbose", no_argument, NULL, 'v'},
	{"version", no_argument, NULL, 'V'},
	{NULL, 0, NULL, 0},
};

/* Returns 0, 1 if nothing is left to do, or negative errno. */
static int parse_one(
	struct errand *e, struct strv *origins, int option, const char *value, struct error *err)
{
	switch (option) {
	case 'f':
		strv_add(origins, value);
		return 0;
	case 'r':
		e->release_file = value;
		return 0;
	case 'n':
		e->name = value;
		return 0;
	case 't':
		e->tag = value;
		return 0;
	case 'T':
		return parse_number(value, 1, TIMEOUT_MAX_MS, &e->timeout_ms, err);
	case 'j':
		e->json = true;
		return 0;
	case 'v':
		e->verbose = true;
		return 0;
	case 'V':
		printf("wnodes-fetch %s\n", WNODES_VERSION);
		return 1;
	default:
		return fail(err, -EINVAL, "use: wnodes image fetch");
	}
}

static int parse(struct errand *e, struct strv *origins, int argc, char **argv, struct error *err)
{
	int option, r = 0;

	while (r == 0 && (option = getopt_long(argc, argv, "", options, NULL)) != -1)
		r = parse_one(e, origins, option, optarg, err);
	if (r == 0 && argc - optind > 1)
		r = fail(err, -EINVAL, "only one image is fetched at a time");
	e->digest = argv[optind];
	e->origins = strv_list(origins);
	return r;
}

int main(int argc, char **argv)
{
	struct errand e AUTO(errand_done) = {0};
	struct strv origins AUTO(strv_done) = {0};
	struct error err = {0};
	int r;

	log_set("wnodes", LOG_LEVEL_WARNING);
	signal(SIGPIPE, SIG_IGN);
	if (file_open_stdio() < 0)
		return EXIT_WNODES;
	r = parse(&e, &origins, argc, argv, &err);
	if (r == 0)
		r = errand_open(&e, &err);
	if (r == 0)
		r = errand_run(&e, &err);
	if (r >= 0)
		return EXIT_SUCCESS;
	log_error("%s", err.text[0] ? err.text : strerror(-r));
	return EXIT_WNODES;
}
