/* The program wnodes-hypervisor: lends the VMs of a node what they are started from. It runs none
 * and ends none. */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

#include "config.h"
#include "engine/broker.h"
#include "hypervisor/exportkeeper.h"
#include "hypervisor/hypervisor.h"
#include "hypervisor/rights.h"
#include "hypervisor/volumekeeper.h"
#include "lib/argument.h"
#include "lib/exit.h"
#include "lib/file.h"
#include "lib/log.h"

#define DEFAULT_STATE "/var/lib/wnodes"

struct arguments {
	const char *socket, *state, *config;
};

static void print_help(void)
{
	printf("Usage: wnodes-hypervisor [options]\n"
	       "Lends the VMs of this node what they are started from; see wnodes-hypervisor(8).\n\n"
	       "  --socket PATH  where it is asked (" BROKER_SOCKET ")\n"
	       "  --state DIR    the machine's images and templates (" DEFAULT_STATE ")\n"
	       "  --config FILE  settings (" WNODES_SYSCONFDIR "/wnodes.conf)\n"
	       "  --verbose      says what is done\n"
	       "  --version, --help\n");
}

/* Returns -1 to go on, else the exit status. */
static int parse(struct arguments *a, int argc, char **argv)
{
	bool verbose = false;
	const struct argument table[] = {
		{"socket", .text = &a->socket},
		{"state", .text = &a->state},
		{"config", .text = &a->config},
		{"verbose", .is = &verbose},
		{.name = NULL},
	};
	int status = argument_parse(table, "wnodes-hypervisor", print_help, argc, argv);

	if (status >= 0)
		return status;
	if (verbose)
		log_set("wnodes-hypervisor", LOG_LEVEL_DEBUG);
	if (optind < argc || a->socket[0] != '/' || a->state[0] != '/') {
		log_error("wnodes-hypervisor takes options only, and paths that begin with /");
		return EXIT_WNODES;
	}
	return -1;
}

static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	hypervisor_reload(userdata);
	return 0;
}

static int open_loop(struct hypervisor *h, struct error *err)
{
	sigset_t heard;
	int r;

	sigemptyset(&heard);
	sigaddset(&heard, SIGTERM);
	sigaddset(&heard, SIGINT);
	sigaddset(&heard, SIGHUP);
	sigprocmask(SIG_BLOCK, &heard, NULL);
	r = sd_event_new(&h->event);
	if (r >= 0)
		r = sd_event_add_signal(h->event, NULL, SIGTERM, NULL, NULL);
	if (r >= 0)
		r = sd_event_add_signal(h->event, NULL, SIGINT, NULL, NULL);
	if (r >= 0)
		r = sd_event_add_signal(h->event, NULL, SIGHUP, on_hangup, h);
	if (r >= 0)
		r = sd_event_set_watchdog(h->event, true);
	return r < 0 ? fail_errno(err, r, "cannot set up the event loop") : 0;
}

int main(int argc, char **argv)
{
	struct arguments a = {BROKER_SOCKET, DEFAULT_STATE, NULL};
	struct hypervisor h AUTO(hypervisor_close) = {
		.lock_fd = -1, .keeper_fd = -1, .export_fd = -1};
	struct error err = {0};
	int r;

	log_set("wnodes-hypervisor", LOG_LEVEL_INFO);
	mallopt(M_ARENA_MAX, 1); /* the thread needs none of its own */
	r = file_open_stdio() < 0 ? EXIT_WNODES : parse(&a, argc, argv);
	if (r >= 0)
		return r;
	h.config = a.config;
	r = hypervisor_load(&h, a.state, &err);
	if (r == 0) /* before it has no right to use LVM, or to mount, any more */
		r = MIN_OF(volumekeeper_start(&h.settings, a.state, &h.keeper_fd, &err), 0);
	if (r == 0)
		r = MIN_OF(exportkeeper_start(&h.settings, a.state, &h.export_fd, &err), 0);
	if (r == 0)
		r = rights_drop(&err);
	if (r == 0)
		r = open_loop(&h, &err);
	if (r == 0)
		r = hypervisor_open(&h, a.state, a.socket, &err);
	if (r == 0) {
		malloc_trim(0); /* what the filter of system calls was made with */
		sd_notify(false, "READY=1");
		log_info("listens on %s", a.socket);
		r = sd_event_loop(h.event);
	}
	if (r < 0)
		log_error("%s", err.text[0] ? err.text : strerror(-r));
	return r < 0 ? EXIT_WNODES : EXIT_SUCCESS;
}
