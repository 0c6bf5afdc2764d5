#include "hypervisor/cloud.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "hypervisor/hypervisor.h"
#include "hypervisor/liaison.h"
#include "hypervisor/volume_row.h"
#include "hypervisor/volume_server.h"
#include "hypervisor/worker.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lrms/process.h"

#define SECOND UINT64_C(1000000)

/* For how long VMs of a daemon before us may come back. */
#define CLAIM_US (65 * SECOND)

/* How often the controllers hear how much room there is. */
#define STORE_US (60 * SECOND)

#define DOCUMENT_MAX (16 << 20)

struct server {
	struct volume_server *server;
	struct cloud *volumes;
	bool wanted; /* by what was heard last */
	struct server *next;
};

/* Something that takes a while. */
struct task {
	struct worker_job job; /* first: a job is its task */
	struct cloud *volumes;
	enum { TASK_MAKE, TASK_GROW, TASK_REMOVE } kind;
	char id[UUID_TEXT_SIZE], source[UUID_TEXT_SIZE];
	uint64_t bytes;
	struct volume_owner owner;
	int result;
	struct error err;
	struct task *next;
};

struct cloud {
	struct hypervisor *hypervisor;
	struct volume_uses *uses;
	sd_event_source *claims;
	char boot[PROCESS_BOOT_ID_MAX];
	/* Of a node that keeps some: */
	int directory; /* -1: it does not */
	char *keys;
	struct worker *worker;
	struct task *tasks;
	struct server *servers;
	uint64_t store_us;            /* when the room was told last */
	json_t *made, *gone, *served; /* to be told */
};

static const char *const task_words[] = {
	[TASK_MAKE] = "making", [TASK_GROW] = "growing", [TASK_REMOVE] = "deleting"};

static void change(struct cloud *v)
{
	liaison_note_volumes(v->hypervisor->liaison);
}

static bool parse_row(json_t *json, struct volume_row *ret)
{
	struct error err = {0};

	if (volume_row_parse(json, ret, &err) == 0)
		return true;
	log_warning("what the site says of a volume is not understood: %s, ignoring", err.text);
	return false;
}

static bool is_ours(const struct cloud *v, const char *node)
{
	const char *name = liaison_node(v->hypervisor->liaison);

	return name && streq(name, node);
}

/* Making, growing, removing: */

static void on_work(struct worker_job *job)
{
	struct task *t = (struct task *)(void *)job;
	int directory = t->volumes->directory;

	if (t->kind == TASK_REMOVE)
		t->result = volume_data_remove(directory, t->id, &t->err);
	else if (t->kind == TASK_GROW)
		t->result = volume_data_grow(directory, t->id, t->bytes, &t->owner, &t->err);
	else if (t->source[0])
		t->result = volume_data_copy(directory, t->id, t->source, &t->err);
	else
		t->result = volume_data_make(directory, t->id, t->bytes, &t->owner, &t->err);
}

static void tell_made(struct cloud *v, const char *id, const char *why)
{
	uint64_t bytes = 0;

	volume_data_size(v->directory, id, &bytes);
	json_array_append_new(v->made, json_pack("{s:s, s:I, s:s*}", "id", id, "size_bytes",
					       (json_int_t)bytes, "error", why));
	change(v);
}

/* While somebody uses it, it waits: what is to be done is heard again. */
static void on_done(struct worker_job *job, bool cancelled)
{
	struct task *t = (struct task *)(void *)job, **at = &t->volumes->tasks;
	struct cloud *v = t->volumes;

	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	if (!cancelled && t->result != -EBUSY) {
		if (t->result < 0)
			log_warning("a volume could not be %s: %s",
				t->kind == TASK_MAKE   ? "made"
				: t->kind == TASK_GROW ? "made larger"
						       : "removed",
				t->err.text);
		if (t->kind != TASK_REMOVE)
			tell_made(v, t->id, t->result < 0 ? t->err.text : NULL);
		else if (t->result == 0)
			json_array_append_new(v->gone, json_string(t->id));
		change(v);
	}
	free(t);
}

static void start_task(struct cloud *v, const struct volume_row *row)
{
	struct task *t;
	size_t kind = 0;

	while (kind < ARRAY_SIZE(task_words) && !streq(task_words[kind], row->state))
		kind++;
	for (t = v->tasks; t; t = t->next)
		if (streq(t->id, row->id))
			return;
	if (kind == ARRAY_SIZE(task_words))
		return;
	if (kind != TASK_REMOVE && !row->has_owner) {
		tell_made(v, row->id, "its owner has no account on the node");
		return;
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		return;
	*t = (struct task){.volumes = v,
		.kind = (int)kind,
		.bytes = row->size_bytes,
		.owner = {(uid_t)row->uid, (gid_t)row->gid},
		.next = v->tasks};
	t->job.work = on_work;
	t->job.done = on_done;
	memcpy(t->id, row->id, sizeof(t->id));
	memcpy(t->source, row->source, sizeof(t->source));
	v->tasks = t;
	worker_add(v->worker, &t->job);
}

/* Serving: */

static void server_remove(struct cloud *v, struct server *s)
{
	struct server **at = &v->servers;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	volume_server_free(s->server);
	free(s);
}

static void on_server_gone(struct volume_server *server, void *userdata)
{
	struct server *s = userdata;
	struct cloud *v = s->volumes;

	server_remove(v, s);
	change(v);
}

static void tell_served(
	struct cloud *v, const struct volume_row *row, uint64_t port, const char *why)
{
	if (streq(row->state, "attached") && row->port == port && !why)
		return;
	if (streq(row->state, "failed"))
		return;
	json_array_append_new(v->served,
		json_pack("{s:s, s:I, s:I, s:s*}", "id", row->id, "generation",
			(json_int_t)row->generation, "port", (json_int_t)port, "error", why));
	change(v);
}

/* Opens the data for an attachment, whose turn it is now. Returns the descriptor; -EBUSY, while
 * another has it; or another negative errno. */
static int open_data(struct cloud *v, const struct volume_row *row, struct error *err)
{
	autoclose int fd = volume_data_open(v->directory, row->volume, row->read_only, err);
	int r = fd < 0           ? fd
		: row->read_only ? 0
				 : volume_data_begin(v->directory, row->volume, row->generation,
					   v->boot, err);

	return r < 0 ? r : TAKE_FD(fd);
}

static int start_server(struct cloud *v, const struct volume_row *row, int fd, struct error *err)
{
	struct server *s = calloc(1, sizeof(*s));
	struct volume_export export = {.generation = row->generation,
		.port = row->port,
		.read_only = row->read_only,
		.owner = {(uid_t)row->uid, (gid_t)row->gid}};
	int r;

	if (!s) {
		base_close(fd);
		return fail(err, -ENOMEM, "out of memory");
	}
	memcpy(export.id, row->id, sizeof(export.id));
	memcpy(export.volume, row->volume, sizeof(export.volume));
	memcpy(export.key, row->key, sizeof(export.key));
	r = volume_server_start(v->hypervisor->event, &export, fd, v->keys,
		v->hypervisor->settings.node_volume_port, on_server_gone, s, &s->server, err);
	if (r < 0) {
		free(s);
		return r;
	}
	s->volumes = v;
	s->wanted = true;
	s->next = v->servers;
	v->servers = s;
	tell_served(v, row, volume_server_port(s->server), NULL);
	return 0;
}

/* One that is not served yet. Whoever is not over yet has its lock; then it is tried again. */
static void serve(struct cloud *v, const struct volume_row *row)
{
	struct error err = {0};
	int r;

	if (streq(row->state, "failed"))
		return;
	r = row->has_owner ? open_data(v, row, &err)
			   : fail(&err, -ENOENT, "the volume's owner has no account on its node");
	if (r >= 0)
		r = start_server(v, row, r, &err);
	if (r >= 0 || r == -EBUSY)
		return;
	log_warning("a volume is not served: %s", err.text);
	tell_served(v, row, row->port, err.text);
}

static struct server *find_server(const struct cloud *v, const struct volume_row *row)
{
	for (struct server *s = v->servers; s; s = s->next) {
		const struct volume_export *e = volume_server_export(s->server);

		if (streq(e->id, row->id) && e->generation == row->generation)
			return s;
	}
	return NULL;
}

/* First all that is over ends, then the next begins. */
static void hear_served(struct cloud *v, json_t *rows)
{
	struct server *next;
	struct volume_row row;
	json_t *json;
	size_t i;

	for (struct server *s = v->servers; s; s = s->next)
		s->wanted = false;
	json_array_foreach(rows, i, json)
	{
		struct server *s = parse_row(json, &row) ? find_server(v, &row) : NULL;

		if (s)
			s->wanted = true;
	}
	for (struct server *s = v->servers; s; s = next) {
		next = s->next;
		if (!s->wanted)
			server_remove(v, s);
	}
	json_array_foreach(rows, i, json)
	{
		struct server *s;

		if (!parse_row(json, &row) || is_ours(v, row.node))
			continue;
		s = find_server(v, &row);
		if (s)
			tell_served(v, &row, volume_server_port(s->server), NULL);
		else
			serve(v, &row);
	}
}

static void hear_volumes(struct cloud *v, json_t *rows)
{
	struct volume_row row;
	json_t *json;
	size_t i;

	json_array_foreach(rows, i, json) if (parse_row(json, &row)) start_task(v, &row);
}

/* Using: */

static int lend(json_t *json, struct volume_offer *ret, void *userdata, struct error *err)
{
	static struct volume_row row; /* what the offer points to, until it was told */
	struct cloud *v = userdata;
	int fd;

	if (!parse_row(json, &row))
		return fail(err, -EPROTO, "what the site says of the volume is not understood");
	if (!is_ours(v, row.node)) {
		ret->address = row.address;
		ret->key = row.key;
		ret->port = row.port;
		return streq(row.state, "attached") && row.port > 0;
	}
	if (v->directory < 0)
		return fail(err, -ENOENT, "this node keeps no volumes any more ([node] volumes)");
	fd = open_data(v, &row, err);
	if (fd == -EBUSY)
		return 0;
	if (fd < 0)
		return fd;
	ret->fd = fd;
	tell_served(v, &row, 0, NULL);
	return 1;
}

int cloud_attach(struct cloud *v, const struct volume_wish *wish, volume_use_fn done,
	void *userdata, struct error *err)
{
	int r;

	if (!liaison_node(v->hypervisor->liaison))
		return fail(err, -ENOENT,
			"volumes are the site's, and this node is of none (wnodes node join)");
	r = volume_uses_add(v->uses, wish, done, userdata, err);
	if (r == 0)
		change(v);
	return r;
}

void cloud_claim(struct cloud *v, const char *vm)
{
	volume_uses_claim(v->uses, vm);
}

void cloud_end(struct cloud *v, const char *vm)
{
	volume_uses_end(v->uses, vm);
	if (volume_uses_are_pending(v->uses))
		change(v);
}

static json_t *store_to_json(struct cloud *v)
{
	const char *address = v->hypervisor->settings.node_volume_address;
	struct statvfs fs;
	uint64_t room;

	if (v->directory < 0 || fstatvfs(v->directory, &fs) < 0 ||
		(v->store_us > 0 && clock_now_us() - v->store_us < STORE_US))
		return NULL;
	v->store_us = clock_now_us();
	if (!address || !address[0])
		address = liaison_node(v->hypervisor->liaison);
	room = (uint64_t)fs.f_bavail * fs.f_frsize;
	return json_pack("{s:s*, s:I}", "address", address, "free_bytes", (json_int_t)room);
}

json_t *cloud_ask(struct cloud *v)
{
	json_t *attach = json_array(), *detach = json_array(), *store = store_to_json(v), *tell;
	bool nothing;

	volume_uses_ask(v->uses, attach, detach);
	nothing = !store && json_array_size(attach) + json_array_size(detach) +
					    json_array_size(v->made) + json_array_size(v->gone) +
					    json_array_size(v->served) ==
				    0;
	tell = json_pack("{s:o, s:o, s:O, s:O, s:O, s:o*}", "attach", attach, "detach", detach,
		"made", v->made, "gone", v->gone, "served", v->served, "store", store);
	if (nothing) {
		json_decref(tell);
		tell = NULL;
	}
	return json_pack("{s:b, s:o*}", "poll",
		v->directory >= 0 || volume_uses_are_pending(v->uses), "tell", tell);
}

/* All that was told is known by now; what is not done is seen again. */
static void forget_told(struct cloud *v)
{
	json_decref(v->made);
	json_decref(v->gone);
	json_decref(v->served);
	v->made = json_array();
	v->gone = json_array();
	v->served = json_array();
}

int cloud_hear(struct cloud *v, int fd, struct error *err)
{
	json_t *document = NULL;
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size <= DOCUMENT_MAX &&
		lseek(fd, 0, SEEK_SET) == 0)
		document = json_loadfd(fd, 0, NULL);
	if (!json_is_array(json_object_get(document, "attachments")) ||
		!json_is_array(json_object_get(document, "served"))) {
		json_decref(document);
		return fail(err, -EINVAL, "what the site says of volumes is not understood");
	}
	forget_told(v);
	if (v->directory >= 0) {
		hear_volumes(v, json_object_get(document, "volumes"));
		hear_served(v, json_object_get(document, "served"));
	}
	volume_uses_hear(v->uses, json_object_get(document, "attachments"),
		json_object_get(document, "refused"), lend, v);
	json_decref(document);
	return 0;
}

static int on_claims_end(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct cloud *v = userdata;

	volume_uses_end_unclaimed(v->uses);
	if (volume_uses_are_pending(v->uses))
		change(v);
	return 0;
}

/* A directory that is not there is a disk that is not mounted: no volume is made elsewhere. */
static int open_store(struct cloud *v, const char *socket, struct error *err)
{
	const char *path = v->hypervisor->settings.node_volumes;
	autofree char *copy = strdup(socket);
	struct stat st;

	if (!path || !path[0])
		return 0;
	v->keys = copy ? path_format("%s/volume-keys", dirname(copy)) : NULL;
	if (!v->keys)
		return fail(err, -ENOMEM, "out of memory");
	v->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (v->directory < 0)
		return fail_errno(err, -errno,
			"cannot keep volumes in '%s'; make that directory, for root alone", path);
	if (fstat(v->directory, &st) < 0 || (st.st_mode & 077) != 0)
		return fail(err, -EPERM,
			"'%s', with the data of volumes, is open to others; chmod 700 it", path);
	if (file_lock(v->directory, true, false) < 0)
		return fail(err, -EBUSY, "another daemon keeps volumes in '%s'", path);
	file_remove_tree(AT_FDCWD, v->keys);
	if (file_make_dirs(v->keys, 0711) < 0)
		return fail_errno(err, -errno, "cannot make '%s'", v->keys);
	volume_data_sweep(v->directory);
	return worker_new(v->hypervisor->event, &v->worker, err);
}

int cloud_new(struct hypervisor *h, const char *socket, struct cloud **ret, struct error *err)
{
	struct cloud *v AUTO(cloud_freep) = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return fail(err, -ENOMEM, "out of memory");
	v->hypervisor = h;
	v->directory = -1;
	forget_told(v);
	r = process_boot_id(v->boot);
	if (r < 0)
		return fail_errno(err, r, "cannot read the id of this boot");
	r = volume_uses_new(h->state, &v->uses, err);
	if (r == 0)
		r = open_store(v, socket, err);
	if (r < 0)
		return r;
	r = sd_event_add_time_relative(
		h->event, &v->claims, CLOCK_MONOTONIC, CLAIM_US, 0, on_claims_end, v);
	if (r < 0)
		return fail_errno(err, r, "cannot set a timer");
	*ret = TAKE_PTR(v);
	return 0;
}

struct cloud *cloud_free(struct cloud *v)
{
	if (!v)
		return NULL;
	sd_event_source_disable_unref(v->claims);
	worker_free(v->worker);
	while (v->servers)
		server_remove(v, v->servers);
	volume_uses_free(v->uses);
	base_close(v->directory);
	free(v->keys);
	json_decref(v->made);
	json_decref(v->gone);
	json_decref(v->served);
	free(v);
	return NULL;
}

json_t *cloud_to_json(const struct cloud *v)
{
	json_t *served = json_array(), *used = v ? volume_uses_to_json(v->uses) : NULL;

	for (const struct server *s = v ? v->servers : NULL; s; s = s->next) {
		const struct volume_export *e = volume_server_export(s->server);

		json_array_append_new(
			served, json_pack("{s:s, s:s, s:I, s:I}", "id", e->id, "volume", e->volume,
					"generation", (json_int_t)e->generation, "port",
					(json_int_t)volume_server_port(s->server)));
	}
	if (v && (v->directory >= 0 || json_array_size(used) > 0))
		return json_pack("{s:b, s:o, s:o}", "keeps", v->directory >= 0, "served", served,
			"used", used);
	json_decref(served);
	json_decref(used);
	return NULL;
}
