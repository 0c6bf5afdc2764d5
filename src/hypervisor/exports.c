#include "hypervisor/exports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "engine/packet.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/strv.h"
#include "net/firewall.h"
#include "storage/export.h"

/* How often what could not be removed is tried again. */
#define RETRY_US 1000000

/* For how long what an earlier daemon has had served waits for its VM: as VMs themselves. */
#define CLAIM_US (60 * UINT64_C(1000000))

/* What one VM may have: shares of a first start and, if that failed, of a second. */
#define VM_EXPORTS_MAX 64

enum export_state {
	EXPORT_ADDING,
	EXPORT_SERVED,
	EXPORT_LEAVING,
	EXPORT_ORPHAN, /* of an earlier daemon: its VM may come back */
};

struct export_item {
	char name[EXPORT_NAME_MAX], vm[UUID_TEXT_SIZE];
	struct in_addr address;
	enum export_state state;
	export_fn done; /* of who waits for it; NULL: nobody */
	void *userdata;
	bool asked;        /* the keeper is to remove it, and has not answered */
	bool told;         /* that it cannot be removed */
	uint64_t retry_us; /* not before */
	struct export_item *next;
};

struct exports {
	sd_event *event;
	sd_event_source *source, *timer;
	int fd;
	struct export_item *list;
	bool listed;        /* the keeper has said what an earlier daemon has left */
	struct strv claims; /* VMs that came back before that; "" for one that has ended since */
};

/* Takes `question`. */
static int keeper_ask(struct exports *e, json_t *question, int fd)
{
	int r = question ? packet_send(e->fd, question, &fd, fd >= 0) : -ENOMEM;

	json_decref(question);
	return r;
}

static struct export_item *export_find(struct exports *e, const char *name)
{
	for (struct export_item *i = e->list; i; i = i->next)
		if (streq(i->name, name))
			return i;
	return NULL;
}

static struct export_item *export_new(struct exports *e, const char *name, enum export_state state)
{
	struct export_item *item = calloc(1, sizeof(*item));

	if (!item)
		return NULL;
	*item = (struct export_item){.state = state, .next = e->list};
	snprintf(item->name, sizeof(item->name), "%s", name);
	if (export_parse_name(name, &item->address, item->vm) < 0) {
		free(item);
		return NULL;
	}
	e->list = item;
	return item;
}

static bool is_served_to(const struct exports *e, struct in_addr address)
{
	for (const struct export_item *i = e->list; i; i = i->next)
		if (i->address.s_addr == address.s_addr)
			return true;
	return false;
}

/* With the last of an address nobody need be kept from it any more. */
static void export_forget(struct exports *e, struct export_item *item)
{
	struct export_item **at = &e->list;
	struct in_addr address = item->address;
	struct error err = {0};

	while (*at != item)
		at = &(*at)->next;
	*at = item->next;
	free(item);
	if (!is_served_to(e, address) && firewall_end_served(address, &err) < 0)
		log_warning("%s, ignoring", err.text);
}

static void export_drop(struct exports *e, struct export_item *item)
{
	item->state = EXPORT_LEAVING;
	item->retry_us = clock_now_us() + RETRY_US;
	item->asked =
		keeper_ask(e, json_pack("{s:s, s:s}", "op", "remove", "name", item->name), -1) == 0;
}

/* Of a VM that had this address before, and cannot have it any more. */
static void drop_others(struct exports *e, const struct export_wish *wish)
{
	for (struct export_item *i = e->list; i; i = i->next)
		if (i->address.s_addr == wish->address.s_addr && !streq(i->vm, wish->vm) &&
			!i->asked)
			export_drop(e, i);
}

static bool has_others(const struct exports *e, const struct export_item *item)
{
	for (const struct export_item *i = e->list; i; i = i->next)
		if (i->address.s_addr == item->address.s_addr && !streq(i->vm, item->vm))
			return true;
	return false;
}

/* The next name of the VM's that is free. Returns NULL if it has too many. */
static struct export_item *export_start(struct exports *e, const struct export_wish *wish)
{
	char name[EXPORT_NAME_MAX];

	for (unsigned int number = 0; number < VM_EXPORTS_MAX; number++) {
		export_format_name(wish->address, wish->vm, number, name);
		if (!export_find(e, name))
			return export_new(e, name, EXPORT_ADDING);
	}
	return NULL;
}

int exports_add(struct exports *e, const struct export_wish *wish, export_fn done, void *userdata,
	struct error *err)
{
	struct export_item *item;
	int r = firewall_begin_served(wish->address, err);

	if (r < 0)
		return r;
	drop_others(e, wish);
	item = export_start(e, wish);
	if (!item)
		return fail(err, -E2BIG, "the VM has too many directories by NFS");
	r = keeper_ask(e,
		json_pack("{s:s, s:s, s:I, s:I, s:b}", "op", "add", "name", item->name, "uid",
			(json_int_t)wish->uid, "gid", (json_int_t)wish->gid, "read_only",
			wish->read_only),
		wish->fd);
	if (r < 0) {
		export_forget(e, item);
		return fail(err, r, "the node serves many directories just now; try again");
	}
	item->done = done;
	item->userdata = userdata;
	return 0;
}

static void claim(struct exports *e, const char *vm)
{
	struct error err = {0};

	for (struct export_item *i = e->list; i; i = i->next)
		if (i->state == EXPORT_ORPHAN && streq(i->vm, vm)) {
			i->state = EXPORT_SERVED;
			if (firewall_admit(i->address, &err) < 0)
				log_warning("%s", err.text);
		}
}

void exports_claim(struct exports *e, const char *vm)
{
	if (e && !e->listed)
		strv_add(&e->claims, vm);
	else if (e)
		claim(e, vm);
}

void exports_end(struct exports *e, const char *vm)
{
	bool dismissed = false;
	struct error err = {0};

	for (size_t i = 0; e && i < e->claims.count; i++)
		if (streq(e->claims.items[i], vm))
			e->claims.items[i][0] = '\0';
	for (struct export_item *i = e ? e->list : NULL; i; i = i->next) {
		if (!streq(i->vm, vm) || i->state == EXPORT_LEAVING)
			continue;
		if (!dismissed && firewall_dismiss(i->address, &err) < 0)
			log_warning("%s", err.text);
		dismissed = true;
		i->done = NULL;
		i->userdata = NULL;
		export_drop(e, i);
	}
}

/* Before its address is let through nothing may be served to it that is another's. */
static void on_added(struct exports *e, struct export_item *item, const char *why)
{
	export_fn done = item->done;
	void *userdata = item->userdata;
	autofree char *path = NULL;
	struct error err = {0};
	bool is_there = !why;

	item->done = NULL;
	item->state = EXPORT_SERVED;
	if (!why && has_others(e, item))
		why = "what an earlier VM of this address had by NFS is not gone yet; try again";
	if (!why && firewall_admit(item->address, &err) < 0)
		why = err.text;
	if (!why && asprintf(&path, EXPORT_DIRECTORY "/%s", item->name) < 0)
		why = "out of memory";
	if (why && is_there)
		export_drop(e, item);
	else if (why)
		export_forget(e, item);
	done(why ? NULL : path, why, userdata);
}

static void on_removed(struct exports *e, struct export_item *item, const char *why)
{
	item->asked = false;
	if (why && !item->told)
		log_warning("'%s' is still served by NFS: %s; trying again", item->name, why);
	item->told = true;
	if (!why)
		export_forget(e, item);
}

/* What is still there of an earlier daemon's. */
static void on_listed(struct exports *e, json_t *answer, const char *why)
{
	struct error err = {0};
	json_t *name;
	size_t i;

	if (why) {
		log_error("%s; the daemon ends, to be started anew", why);
		sd_event_exit(e->event, -EIO);
	}
	json_array_foreach(json_object_get(answer, "names"), i, name)
	{
		const char *text = json_string_value(name);
		struct export_item *item =
			text && !export_find(e, text) ? export_new(e, text, EXPORT_ORPHAN) : NULL;

		if (!item)
			continue;
		item->retry_us = clock_now_us() + CLAIM_US;
		if (firewall_begin_served(item->address, &err) < 0)
			log_warning("%s", err.text);
	}
	e->listed = true;
	for (i = 0; i < e->claims.count; i++)
		claim(e, e->claims.items[i]);
	strv_done(&e->claims);
}

static void keeper_on_answer(struct exports *e, json_t *answer)
{
	const char *op = json_string_value(json_object_get(answer, "op"));
	const char *name = json_string_value(json_object_get(answer, "name"));
	const char *why = json_string_value(json_object_get(answer, "error"));
	struct export_item *item = name ? export_find(e, name) : NULL;

	if (op && streq(op, "list"))
		on_listed(e, answer, why);
	else if (op && item && streq(op, "remove"))
		on_removed(e, item, why);
	else if (item && item->state == EXPORT_ADDING && item->done)
		on_added(e, item, why);
}

static int on_packet(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct exports *e = userdata;
	int fds[PACKET_FDS_MAX], r;
	json_t *answer = NULL;
	size_t count = 0;

	r = packet_recv(fd, &answer, fds, &count);
	if (r == -EAGAIN || r == -EINTR)
		return 0;
	if (r <= 0) {
		log_error("the keeper of directories that are served by NFS has ended; the daemon "
			  "ends too, to be started anew");
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
		return sd_event_exit(e->event, -EIO);
	}
	keeper_on_answer(e, answer);
	while (count > 0)
		close(fds[--count]);
	json_decref(answer);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct exports *e = userdata;
	uint64_t now = clock_now_us();

	for (struct export_item *i = e->list; i; i = i->next) {
		bool leaves = i->state == EXPORT_LEAVING || i->state == EXPORT_ORPHAN;

		if (!leaves || i->asked || now < i->retry_us)
			continue;
		if (i->state == EXPORT_ORPHAN)
			log_info("'%s' is nobody's; it is not served by NFS any more", i->name);
		export_drop(e, i);
	}
	sd_event_source_set_time_relative(source, RETRY_US);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int exports_new(sd_event *event, int keeper_fd, struct exports **ret, struct error *err)
{
	struct exports *e = calloc(1, sizeof(*e));
	int r;

	if (!e) {
		base_close(keeper_fd);
		return fail(err, -ENOMEM, "out of memory");
	}
	*e = (struct exports){.event = event, .fd = keeper_fd};
	*ret = e;
	/* VMs that come back are let through again: an address may be another's by now. */
	r = firewall_dismiss_all(err);
	if (r < 0)
		return r;
	r = sd_event_add_io(event, &e->source, keeper_fd, EPOLLIN, on_packet, e);
	if (r >= 0)
		r = sd_event_add_time_relative(
			event, &e->timer, CLOCK_MONOTONIC, RETRY_US, 0, on_timer, e);
	if (r >= 0)
		r = keeper_ask(e, json_pack("{s:s}", "op", "list"), -1);
	return r < 0 ? fail_errno(err, r, "cannot speak with the keeper of directories for NFS")
		     : 0;
}

struct exports *exports_free(struct exports *e)
{
	if (!e)
		return NULL;
	while (e->list) {
		struct export_item *next = e->list->next;

		free(e->list);
		e->list = next;
	}
	strv_done(&e->claims);
	sd_event_source_disable_unref(e->source);
	sd_event_source_disable_unref(e->timer);
	base_close(e->fd);
	free(e);
	return NULL;
}

json_t *exports_to_json(const struct exports *e)
{
	json_int_t served = 0, leaving = 0, left = 0;

	if (!e)
		return NULL;
	for (const struct export_item *i = e->list; i; i = i->next) {
		served += i->state == EXPORT_SERVED || i->state == EXPORT_ADDING;
		leaving += i->state == EXPORT_LEAVING;
		left += i->state == EXPORT_ORPHAN;
	}
	return json_pack("{s:I, s:I, s:I}", "served", served, "leaving", leaving, "left", left);
}
