/* The program wnodes-controller: the site's one place for nodes, leases, VMs and records. */
#include <errno.h>
#include <stdio.h>

#include "controller/arguments.h"
#include "controller/controller.h"
#include "controller/migrate.h"
#include "controller/openapi.h"
#include "lib/exit.h"
#include "lib/file.h"
#include "lib/log.h"

static int print_openapi(void)
{
	json_t *document = openapi_new();
	int r = document ? json_dumpf(document, stdout, JSON_INDENT(2)) : -1;

	json_decref(document);
	putchar('\n');
	return r < 0 || fflush(stdout) != 0 ? -EIO : 0;
}

static int serve(const struct arguments *a, struct error *err)
{
	struct controller c AUTO(controller_close) = {0};
	int r = controller_open(&c, a->config, err);

	return r < 0 ? r : controller_run(&c);
}

int main(int argc, char **argv)
{
	struct arguments a AUTO(arguments_done) = {0};
	struct error err = {0};
	int r;

	log_set("wnodes-controller", LOG_LEVEL_INFO);
	r = file_open_stdio() < 0 ? EXIT_WNODES : arguments_parse(&a, argc, argv);
	if (r >= 0)
		return r;
	switch (a.verb) {
	case VERB_SERVE:
		r = serve(&a, &err);
		break;
	case VERB_CHECK:
		r = controller_check(a.config, &err);
		break;
	case VERB_CONFIG:
		controller_settings_print(a.man, stdout);
		r = 0;
		break;
	case VERB_OPENAPI:
		r = print_openapi();
		break;
	case VERB_MIGRATE:
		r = migrate_run(a.from, a.to, arguments_print_progress, NULL, &err);
		break;
	}
	if (r < 0)
		log_error("%s", err.text[0] ? err.text : strerror(-r));
	return r < 0 ? EXIT_WNODES : EXIT_SUCCESS;
}
