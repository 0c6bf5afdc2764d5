/* The program wnodes-porter: fetches images for the node's daemon, which starts it as a user
 * without rights, with a socket to itself as standard input, and gives to other nodes what this one
 * has. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "config.h"
#include "lib/confinement.h"
#include "lib/exit.h"
#include "lib/file.h"
#include "lib/log.h"
#include "porter/porter.h"

/* Connections of other nodes, files of images, and some more. */
#define DESCRIPTORS 4096

static int print_help(void)
{
	printf("Usage: wnodes-porter\n"
	       "Fetches images, and gives them to other nodes; wnodes-hypervisor starts it.\n");
	return EXIT_SUCCESS;
}

static int run(void)
{
	struct error err = {0};
	int r = confinement_set_helper(DESCRIPTORS, &err);

	if (r == 0)
		r = porter_run(STDIN_FILENO, &err);
	if (r == 0 || r == -ECONNRESET)
		return EXIT_SUCCESS;
	log_error("%s", err.text[0] ? err.text : strerror(-r));
	return EXIT_WNODES;
}

int main(int argc, char **argv)
{
	const char *what = argc == 2 ? argv[1] : "";

	log_set("wnodes-porter", LOG_LEVEL_INFO);
	signal(SIGPIPE, SIG_IGN);
	if (file_open_stdio() < 0)
		return EXIT_WNODES;
	if (streq(what, "--help"))
		return print_help();
	if (streq(what, "--version"))
		return printf("wnodes-porter %s\n", WNODES_VERSION) < 0;
	if (argc == 1)
		return run();
	log_error("wnodes-porter takes no arguments");
	return EXIT_WNODES;
}
