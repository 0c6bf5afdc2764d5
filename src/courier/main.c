/* The program wnodes-courier: speaks with the site's controllers for the node's daemon, which
 * starts it as a user without rights, with a socket to itself as standard input. `wnodes-courier
 * join` is for `wnodes node join`. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "config.h"
#include "courier/courier.h"
#include "courier/join.h"
#include "lib/confinement.h"
#include "lib/exit.h"
#include "lib/file.h"
#include "lib/log.h"

/* A connection to each controller, and files. */
#define DESCRIPTORS 256

static int print_help(void)
{
	printf("Usage: wnodes-courier [join]\n"
	       "Speaks with a site's controllers; wnodes-hypervisor and wnodes node join start it.\n");
	return EXIT_SUCCESS;
}

static int run(void)
{
	struct error err = {0};
	int r = confinement_set_helper(DESCRIPTORS, &err);

	if (r == 0)
		r = courier_run(STDIN_FILENO, &err);
	if (r == 0 || r == -ECONNRESET)
		return EXIT_SUCCESS;
	log_error("%s", err.text[0] ? err.text : strerror(-r));
	return EXIT_WNODES;
}

int main(int argc, char **argv)
{
	const char *what = argc == 2 ? argv[1] : "";

	log_set("wnodes-courier", LOG_LEVEL_INFO);
	signal(SIGPIPE, SIG_IGN);
	if (file_open_stdio() < 0)
		return EXIT_WNODES;
	/* The key is in our memory, and others may have the same user. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (streq(what, "--help"))
		return print_help();
	if (streq(what, "--version"))
		return printf("wnodes-courier %s\n", WNODES_VERSION) < 0;
	if (streq(what, "join"))
		return join_run();
	if (argc == 1)
		return run();
	log_error("wnodes-courier takes no arguments but join");
	return EXIT_WNODES;
}
