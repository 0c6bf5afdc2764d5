#include "hypervisor/hypervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <pwd.h>

#include "engine/spool.h"
#include "hypervisor/client.h"
#include "hypervisor/cloud.h"
#include "hypervisor/images.h"
#include "hypervisor/liaison.h"
#include "hypervisor/listener.h"
#include "hypervisor/volumes.h"
#include "image/store.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"

#define MIB UINT64_C(1048576)

#define NODE_NAME_MAX 256

/* Users look for images in the state directory; all else in it is closed to them. */
static int open_state(struct hypervisor *h, const char *state, struct error *err)
{
	autofree char *lock = path_format("%s/hypervisor.lock", state);
	autofree char *seeds = path_format("%s/seeds", state);
	int r;

	h->state = strdup(state);
	h->instances = path_format("%s/instances", state);
	if (!lock || !seeds || !h->state || !h->instances)
		return fail(err, -ENOMEM, "out of memory");
	r = file_make_dirs(state, 0755);
	if (r == 0)
		r = file_make_dirs(seeds, 0755);
	if (r < 0)
		return fail_errno(err, r, "cannot make '%s'", state);
	h->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	r = h->lock_fd < 0 ? -errno : file_lock(h->lock_fd, true, false);
	if (r == -EWOULDBLOCK)
		return fail(err, -EBUSY, "another wnodes-hypervisor uses '%s'", state);
	if (r < 0)
		return fail_errno(err, r, "cannot lock '%s'", lock);
	/* Nothing in it has a name but where the file system knows no nameless files. */
	r = file_remove_tree(AT_FDCWD, h->instances);
	if (r == 0)
		r = file_make_dirs(h->instances, 0700);
	return r < 0 ? fail_errno(err, r, "cannot make '%s'", h->instances) : 0;
}

static struct slots_limits limits_of(const struct settings *s)
{
	return (struct slots_limits){
		.vms = s->node_vms,
		.memory_mib = s->node_memory / MIB,
		.user_vms = s->node_user_vms,
		.user_memory_mib = s->node_user_memory / MIB,
		.image_vms = s->node_image_vms,
		.queue = s->node_queue,
	};
}

static int open_slots(struct hypervisor *h, struct error *err)
{
	static const struct slots_events events = {client_on_granted, client_on_moved};
	const struct settings *s = &h->settings;
	const struct slots_limits limits = limits_of(s);

	h->allowances.connections_max = s->node_connections;
	h->allowances.requests = s->node_requests;
	return slots_new(&limits, &events, &h->slots) < 0 ? fail(err, -ENOMEM, "out of memory") : 0;
}

static int open_templates(struct hypervisor *h, struct error *err)
{
	autofree char *directory = path_format("%s/templates", h->state);
	int r = directory ? shelf_new(h->worker, directory, h->settings.node_template_memory,
				    &h->shelf, err)
			  : fail(err, -ENOMEM, "out of memory");

	if (r == 0)
		r = servant_new(&h->settings, h->state, &h->servant, err);
	return r < 0 ? r
		     : maker_new(h->event, &h->settings, h->servant, h->shelf, h->worker, &h->maker,
			       err);
}

static int open_taps(struct hypervisor *h, struct error *err)
{
	autofree char *pushed = path_format("%s/" SETTINGS_PUSHED, h->state);

	return pushed ? taps_new(h->event, &h->settings, pushed, h->config, &h->taps, err)
		      : fail(err, -ENOMEM, "out of memory");
}

/* The spool of records is beside the socket, where programs find it. */
static int open_ledger(struct hypervisor *h, const char *socket, struct error *err)
{
	autofree char *spool = spool_path(socket), *directory = strdup(socket);
	const char *set = h->settings.node_name;
	char node[NODE_NAME_MAX] = "";
	int r;

	if (!spool || !directory)
		return fail(err, -ENOMEM, "out of memory");
	gethostname(node, sizeof(node) - 1);
	r = file_make_dirs(dirname(directory), 0755);
	return r < 0 ? fail_errno(err, r, "cannot make '%s'", directory)
		     : ledger_new(h->event, h->state, spool, set && set[0] ? set : node, &h->ledger,
			       err);
}

int hypervisor_load(struct hypervisor *h, const char *state, struct error *err)
{
	autofree char *pushed = path_format("%s/" SETTINGS_PUSHED, state);
	struct settings fresh;
	int r = pushed ? settings_load_from(&fresh, pushed, h->config, err)
		       : fail(err, -ENOMEM, "out of memory");

	if (r < 0)
		return r;
	settings_done(&h->settings);
	h->settings = fresh;
	return 0;
}

void hypervisor_reload(struct hypervisor *h)
{
	autofree char *pushed = path_format("%s/" SETTINGS_PUSHED, h->state);
	struct slots_limits limits;
	struct error err = {0};

	if (!pushed || hypervisor_load(h, h->state, &err) < 0 ||
		taps_load(h->taps, pushed, h->config, &err) < 0) {
		log_warning(
			"the settings are not read again: %s; those from before hold", err.text);
		return;
	}
	limits = limits_of(&h->settings);
	h->allowances.connections_max = h->settings.node_connections;
	h->allowances.requests = h->settings.node_requests;
	slots_set_limits(h->slots, &limits);
	log_info("settings were read again");
	liaison_reload(h->liaison);
}

int hypervisor_open(struct hypervisor *h, const char *state, const char *socket, struct error *err)
{
	int r = open_state(h, state, err);

	h->started_us = clock_now_us();
	if (r == 0)
		r = store_open(state, true, &h->store, err);
	if (r == 0)
		r = worker_new(h->event, &h->worker, err);
	if (r == 0)
		r = open_ledger(h, socket, err);
	if (r == 0)
		r = open_slots(h, err);
	if (r == 0)
		r = open_templates(h, err);
	if (r == 0)
		r = trial_new(h->event, &h->settings, h->servant, &h->trial, err);
	if (r == 0)
		r = drain_new(h->event, &h->settings, h->state, h->trial, &h->drain, err);
	if (r == 0 && h->keeper_fd >= 0)
		r = volumes_new(h->event, TAKE_FD(h->keeper_fd), &h->settings, &h->volumes, err);
	if (r == 0 && h->volumes)
		r = imagevolumes_new(h, &h->imagevolumes, err);
	if (r == 0 && h->export_fd >= 0)
		r = exports_new(h->event, TAKE_FD(h->export_fd), &h->exports, err);
	if (r == 0)
		r = open_taps(h, err);
	if (r == 0)
		r = names_new(h->event, &h->settings, h->servant, h->state, &h->names, err);
	if (r == 0)
		r = jobnets_new(h->event, &h->settings, &h->jobnets) < 0
			    ? fail(err, -ENOMEM, "out of memory")
			    : 0;
	if (r == 0)
		r = images_open(h, err);
	if (r == 0)
		r = cloud_new(h, socket, &h->cloud, err);
	if (r == 0)
		r = liaison_new(h, &h->liaison, err);
	return r < 0 ? r : listener_open(h, socket, &h->listener, err);
}

void hypervisor_close(struct hypervisor *h)
{
	h->ending = true;
	/* Its last jobs belong to the others. */
	h->worker = worker_free(h->worker);
	imagevolumes_stop(h->imagevolumes);
	images_stop(h);
	h->ledger = ledger_free(h->ledger);
	listener_free(h->listener);
	cloud_free(h->cloud);
	liaison_free(h->liaison);
	images_close(h);
	taps_free(h->taps);
	names_free(h->names);
	jobnets_free(h->jobnets);
	store_free(h->store);
	imagevolumes_free(h->imagevolumes);
	volumes_free(h->volumes);
	exports_free(h->exports);
	trial_free(h->trial);
	drain_free(h->drain);
	maker_free(h->maker);
	servant_free(h->servant);
	shelf_free(h->shelf);
	slots_free(h->slots);
	allowances_done(&h->allowances);
	base_close(h->lock_fd);
	base_close(h->keeper_fd);
	base_close(h->export_fd);
	free(h->instances);
	free(h->state);
	settings_done(&h->settings);
	sd_event_unref(h->event);
}

static bool is_in_group(const struct passwd *account, const char *name)
{
	const struct group *group = getgrnam(name);

	if (!group)
		return false;
	if (group->gr_gid == account->pw_gid)
		return true;
	for (char **member = group->gr_mem; *member; member++)
		if (streq(*member, account->pw_name))
			return true;
	return false;
}

bool hypervisor_is_administrator(const struct hypervisor *h, uid_t uid)
{
	char **list = h->settings.node_administrators;
	const struct passwd *account = uid == 0 || !list || !list[0] ? NULL : getpwuid(uid);

	for (char **i = list; account && *i; i++)
		if ((*i)[0] == '@' ? is_in_group(account, *i + 1) : streq(*i, account->pw_name))
			return true;
	return uid == 0;
}
