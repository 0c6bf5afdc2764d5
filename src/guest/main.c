/* One binary in three roles: /init of an initrd, the init of a root file system, and a service
 * under another init. They differ only in what is done before the loop.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "config.h"
#include "guest/boot.h"
#include "guest/console.h"
#include "guest/guest.h"

struct arguments {
	const char *port;
	const char *root;
	bool no_power;
};

static int arguments_parse(int argc, char **argv, struct arguments *ret)
{
	static const struct option options[] = {
		{"port", required_argument, NULL, 'p'},
		{"root", required_argument, NULL, 'r'},
		{"no-power", no_argument, NULL, 'n'},
		{"version", no_argument, NULL, 'v'},
		{0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'p')
			ret->port = optarg;
		else if (c == 'r')
			ret->root = optarg;
		else if (c == 'n')
			ret->no_power = true;
		else if (c == 'v')
			return puts("wnodes-guest " WNODES_VERSION) < 0 ? -EIO : 1;
		else
			return -EINVAL;
	}
	return 0;
}

/* So that no descriptor of ours becomes one of the three that commands take for theirs. */
static void open_standard(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	base_close(fd);
}

/* PID 1 gets the kernel command line's words as arguments: they are not for us. */
static void run_init(struct guest *g)
{
	struct error err = {0};

	g->is_init = g->may_power_off = true;
	prctl(PR_SET_NAME, "wnodes-guest");
	if (boot_is_initrd() && boot_root(&err) < 0) {
		console_print("%s", err.text);
		power_off_now();
	}
	boot_system();
	console_debug("the system is set up");
}

static int run_service(struct guest *g, const char *port)
{
	int r;

	open_standard();
	console_init();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	r = guest_init(g, port);
	if (r == 0)
		r = guest_run(g);
	if (r < 0 && r != -EPIPE)
		console_print("the link to the host ends: %s", strerror(-r));
	/* An orderly stop is the service manager's; without its host the VM has no owner. */
	if (r < 0)
		power_off(g);
	guest_done(g);
	return r;
}

int main(int argc, char **argv)
{
	struct arguments a = {.root = ""};
	static struct guest g;
	int r = 0;

	if (getpid() == 1)
		run_init(&g);
	else
		r = arguments_parse(argc, argv, &a);
	if (r != 0)
		return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	g.root = a.root;
	if (!g.is_init)
		g.may_power_off = !a.no_power;
	r = run_service(&g, a.port);
	return r == 0 || (r == -EPIPE && a.no_power) ? EXIT_SUCCESS : EXIT_FAILURE;
}
