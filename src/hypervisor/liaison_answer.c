/* What the courier asks, and is answered. It speaks with the network: all that it says is checked,
 * as from anyone. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

#include "config.h"
#include "engine/credential.h"
#include "engine/packet.h"
#include "hypervisor/admission.h"
#include "hypervisor/client.h"
#include "hypervisor/cloud.h"
#include "hypervisor/envoy.h"
#include "hypervisor/liaison_private.h"
#include "hypervisor/listener.h"
#include "hypervisor/node.h"
#include "lib/fields.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "lib/path.h"
#include "lib/timestamp.h"

#define SECOND UINT64_C(1000000)

#define REVISION_FILE LIAISON_DIRECTORY "/revision"
#define WISH_FILE     LIAISON_DIRECTORY "/wish"
#define KEPT_FILE     LIAISON_DIRECTORY "/leases-kept" /* seconds */

/* So that it fits into a packet, whatever has to be escaped. */
#define CONFIGURATION_MAX 65536
#define CERTIFICATE_MAX   32768

static const char *const wishes[] = {
	[WISH_NONE] = "none", [WISH_DRAINED] = "drained", [WISH_UP] = "up"};

/* What the courier says; what it does not name is 0, "" or NULL. */
struct question {
	char op[24], reason[256], revision[72], controller[256];
	uint64_t from, needed, leases_kept_s;
	bool drained, has_drained;
	json_t *given, *taken, *leases_unknown, *leases_unlisted;
	const char *text, *certificate;
	int fd; /* that came with it; -1: none */
};

#define AT(member) offsetof(struct question, member)

static const struct field fields[] = {
	{"op", FIELD_TEXT, AT(op), 0, sizeof(((struct question *)0)->op), true},
	{"reason", FIELD_TEXT, AT(reason), 0, sizeof(((struct question *)0)->reason)},
	{"revision", FIELD_TEXT, AT(revision), 0, sizeof(((struct question *)0)->revision)},
	{"controller", FIELD_TEXT, AT(controller), 0, sizeof(((struct question *)0)->controller)},
	{"from", FIELD_NUMBER, AT(from), 0, INT64_MAX},
	{"needed", FIELD_NUMBER, AT(needed), 0, INT64_MAX},
	{"drained", FIELD_BOOL, AT(drained), .given = AT(has_drained)},
	{"given", FIELD_LIST, AT(given), 0, BLOCK_BATCH_MAX},
	{"taken", FIELD_LIST, AT(taken), 0, BLOCK_BATCH_MAX},
	{"leases_unknown", FIELD_LIST, AT(leases_unknown)},
	{"leases_unlisted", FIELD_LIST, AT(leases_unlisted)},
	{"leases_kept_s", FIELD_NUMBER, AT(leases_kept_s), 0, INT32_MAX},
	{"text", FIELD_LINES, AT(text), 0, CONFIGURATION_MAX},
	{"certificate", FIELD_LINES, AT(certificate), 0, CERTIFICATE_MAX},
	{.name = NULL},
};

static void answer(struct liaison *l, json_t *json, const int *fds, size_t count)
{
	envoy_answer(l->courier, json, fds, count);
}

static void refuse(struct liaison *l, const char *why)
{
	answer(l, json_pack("{s:s}", "error", why), NULL, 0);
}

struct handed {
	json_t *names;
	int fds[PACKET_FDS_MAX];
	size_t count;
};

static void hand(struct handed *h, const char *name, int fd)
{
	if (fd < 0)
		return;
	json_array_append_new(h->names, json_string(name));
	h->fds[h->count++] = fd;
}

static int open_file(const struct liaison *l, const char *name, struct error *err)
{
	autofree char *path = liaison_path(l, name);
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;

	return fd < 0 ? fail_errno(err, path ? -errno : -ENOMEM, "cannot open '%s'", name) : fd;
}

static json_t *controllers_to_json(const struct liaison *l)
{
	json_t *list = json_array();

	for (char **i = l->hypervisor->settings.site_controllers; i && *i; i++)
		if (str_after(*i, "https://"))
			json_array_append_new(list, json_string(*i));
	return list;
}

static void on_hello(struct liaison *l, const struct question *q)
{
	const struct catalogue *catalogue = admission_catalogue(l->hypervisor->admission);
	struct handed h = {.names = json_array()};
	struct error err = {0};

	hand(&h, "key", open_file(l, LIAISON_KEY, &err));
	hand(&h, "certificate", open_file(l, LIAISON_CERTIFICATE, &err));
	hand(&h, "ca", open_file(l, LIAISON_CA, &err));
	hand(&h, "cursor", outbox_open_cursor(l->outbox, &err));
	hand(&h, "refused", outbox_open_refused(l->outbox, &err));
	if (err.code < 0) {
		json_decref(h.names);
		refuse(l, err.text);
	} else {
		answer(l,
			json_pack("{s:s, s:o, s:I, s:s*, s:o}", "node", l->name, "controllers",
				controllers_to_json(l), "heartbeat_us",
				(json_int_t)l->hypervisor->settings.site_heartbeat, "catalogue",
				catalogue ? catalogue->revision : NULL, "descriptors", h.names),
			h.fds, h.count);
	}
	for (size_t i = 0; i < h.count; i++)
		close(h.fds[i]);
}

static void add_vm(struct client *c, void *userdata)
{
	json_t *vm = client_to_site_json(c);

	if (vm)
		json_array_append_new(userdata, vm);
}

/* Thousands of VMs do not fit into a packet. */
static int write_vms(const struct liaison *l, struct error *err)
{
	autoclose int fd = memfd_create("vms", MFD_CLOEXEC);
	json_t *vms = json_array();
	autofree char *text = NULL;
	int r = fd < 0 ? -errno : 0;

	listener_each(l->hypervisor->listener, add_vm, vms);
	text = json_dumps(vms, JSON_COMPACT);
	json_decref(vms);
	if (r == 0)
		r = text ? file_write_all(fd, text, strlen(text)) : -ENOMEM;
	return r < 0 ? fail_errno(err, r, "cannot list the VMs") : TAKE_FD(fd);
}

static json_t *state_to_json(struct liaison *l)
{
	const struct hypervisor *h = l->hypervisor;
	const char *drained = drain_reason(h->drain);
	json_t *site = liaison_to_json(l);
	json_t *since = json_object_get(site, "autonomous_since");
	json_t *state = json_pack(
		"{s:s, s:I, s:s, s:s, s:s, s:I, s:I, s:o*, s:s, s:O*, s:o, s:[s]}", "boot", l->boot,
		"sequence", (json_int_t)++l->sequence, "state", drained ? "drained" : "up",
		"reason", drained ? drained : "", "version", WNODES_VERSION, "cpus",
		(json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "memory_bytes",
		(json_int_t)sysconf(_SC_PHYS_PAGES) * (json_int_t)sysconf(_SC_PAGESIZE), "status",
		node_status_to_json(h), "configuration", l->revision, "autonomous_since", since,
		"leases", block_ids(l->block), "descriptors", "vms");

	json_decref(site);
	return state;
}

static void on_state(struct liaison *l, const struct question *q)
{
	struct error err = {0};
	autoclose int fd = write_vms(l, &err);

	l->told_change = false;
	l->asked = autonomy_read_clock();
	if (fd < 0)
		refuse(l, err.text);
	else
		answer(l, state_to_json(l), &fd, 1);
}

static void remember(const struct liaison *l, const char *file, const char *text)
{
	autofree char *path = liaison_path(l, file);
	int r = path ? file_replace_soon(path, text, strlen(text), 0600) : -ENOMEM;

	if (r < 0)
		log_warning("cannot write '%s': %s, ignoring", file, strerror(-r));
}

/* A wish is heard with each heartbeat, and done once: who is there may overrule it. */
static void follow_wish(struct liaison *l, const struct question *q)
{
	enum liaison_wish wish = !q->has_drained ? WISH_NONE : q->drained ? WISH_DRAINED : WISH_UP;
	enum liaison_wish before = l->wish;
	char reason[LIAISON_TEXT_MAX];
	struct error err = {0};
	int r = 0;

	if (wish == before)
		return;
	l->wish = wish;
	remember(l, WISH_FILE, wishes[wish]);
	snprintf(reason, sizeof(reason), "%s", q->reason[0] ? q->reason : "the site wants it so");
	if (wish == WISH_DRAINED)
		r = drain_set(l->hypervisor->drain, reason, 0, &err);
	else if (wish == WISH_UP || before == WISH_DRAINED)
		r = drain_clear(l->hypervisor->drain, &err);
	if (r < 0)
		log_warning("%s, ignoring", err.text);
}

/* Those that are ours are so since before the controller knew of us, which is safe. */
static void note_leases(struct liaison *l, const struct question *q)
{
	uint64_t kept_us = q->leases_kept_s * SECOND;
	char text[32];
	json_t *id;
	size_t i;

	json_array_foreach(q->leases_unknown, i, id) if (json_is_string(id))
		block_forget(l->block, json_string_value(id));
	json_array_foreach(q->leases_unlisted, i, id) if (json_is_string(id))
		block_disown(l->block, json_string_value(id));
	if (kept_us == 0 || l->asked.boot_us == 0)
		return;
	if (kept_us != l->leases_kept_us) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)q->leases_kept_s);
		remember(l, KEPT_FILE, text);
	}
	l->leases_kept_us = kept_us;
	autonomy_note_answer(&l->leases, &l->asked);
}

static void on_answered(struct liaison *l, const struct question *q)
{
	const struct autonomy_clock now = autonomy_read_clock();

	autonomy_note_answer(&l->autonomy, &now);
	l->heard = true;
	l->failure[0] = '\0';
	snprintf(l->controller, sizeof(l->controller), "%s", q->controller);
	liaison_look(l);
	follow_wish(l, q);
	note_leases(l, q);
	answer(l, json_object(), NULL, 0);
}

static void on_unanswered(struct liaison *l, const struct question *q)
{
	l->heard = true;
	snprintf(l->failure, sizeof(l->failure), "%s", q->reason);
	liaison_look(l);
	answer(l, json_object(), NULL, 0);
}

/* None is as one that says nothing. */
static bool is_in_force(const struct liaison *l, const char *text)
{
	autofree char *path = liaison_path(l, SETTINGS_PUSHED), *now = NULL;
	size_t length;

	if (!path || file_read(AT_FDCWD, path, CONFIGURATION_MAX, &now, &length) < 0)
		return text[0] == '\0';
	return streq(now, text);
}

/* Would we start with it? It is written only then; so the last good one stays. */
static int write_configuration(const struct liaison *l, const char *text, struct error *err)
{
	autofree char *path = liaison_path(l, SETTINGS_PUSHED);
	autofree char *fresh = liaison_path(l, SETTINGS_PUSHED ".checked");
	struct settings settings;
	int r = path && fresh ? file_replace_soon(fresh, text, strlen(text), 0600) : -ENOMEM;

	if (r < 0)
		return fail_errno(err, r, "cannot write the site's configuration");
	r = settings_load_from(&settings, fresh, l->hypervisor->config, err);
	unlink(fresh);
	if (r < 0)
		return r;
	settings_done(&settings);
	r = file_replace(AT_FDCWD, path, text, strlen(text), 0644);
	return r < 0 ? fail_errno(err, r, "cannot write '%s'", path) : 0;
}

static void on_configuration(struct liaison *l, const struct question *q)
{
	struct error err = {0};
	bool same;

	if (!q->text || !q->revision[0]) {
		refuse(l, "a configuration has a revision and a text");
		return;
	}
	same = is_in_force(l, q->text);
	if (write_configuration(l, q->text, &err) < 0) {
		log_warning("the site's configuration is not taken: %s; the one from before holds",
			err.text);
		refuse(l, err.text);
		return;
	}
	memcpy(l->revision, q->revision, sizeof(l->revision));
	remember(l, REVISION_FILE, l->revision);
	answer(l, json_object(), NULL, 0);
	if (same)
		return;
	log_info("the site's configuration %.12s is in force", l->revision);
	/* The courier is started anew, as it may be for other controllers. */
	hypervisor_reload(l->hypervisor);
}

static void on_records(struct liaison *l, const struct question *q)
{
	struct error err = {0};
	uint64_t number;
	autoclose int fd = -1;

	outbox_drop_before(l->outbox, q->needed);
	fd = outbox_open(l->outbox, q->from, &number, &err);
	if (fd >= 0)
		answer(l,
			json_pack("{s:I, s:[s]}", "file", (json_int_t)number, "descriptors",
				"records"),
			&fd, 1);
	else if (fd == -ENOENT)
		answer(l, json_object(), NULL, 0);
	else
		refuse(l, err.text);
}

static void on_leases(struct liaison *l, const struct question *q)
{
	json_t *ask = block_ask(l->block);

	answer(l, ask ? ask : json_object(), NULL, 0);
}

static void on_leased(struct liaison *l, const struct question *q)
{
	json_t *count = json_integer((json_int_t)block_hear(l->block, q->given, q->taken));

	answer(l, json_pack("{s:o}", "taken_in", count), NULL, 0);
}

/* Would the next courier be known by it? The one from before is gone once it is written. */
static int check_certificate(const struct liaison *l, const char *text, struct error *err)
{
	autoclose int key = open_file(l, LIAISON_KEY, err);
	autoclose int certificate = open_file(l, LIAISON_CERTIFICATE, err);
	autoclose int ca = open_file(l, LIAISON_CA, err);
	struct credential now AUTO(credential_done) = CREDENTIAL_INIT;
	int r = key < 0 || certificate < 0 || ca < 0
			? err->code
			: credential_load(&now, key, certificate, ca, err);

	return r < 0 ? r : credential_check(&now, text, l->name, err);
}

static void on_certificate(struct liaison *l, const struct question *q)
{
	autofree char *path = liaison_path(l, LIAISON_CERTIFICATE);
	struct error err = {0};
	int r;

	if (!q->certificate || check_certificate(l, q->certificate, &err) < 0) {
		refuse(l, q->certificate ? err.text : "there is no certificate");
		return;
	}
	r = path ? file_replace(AT_FDCWD, path, q->certificate, strlen(q->certificate), 0644)
		 : -ENOMEM;
	if (r < 0) {
		refuse(l, "the certificate cannot be written");
		return;
	}
	log_info("the node's certificate was renewed");
	answer(l, json_object(), NULL, 0);
}

static void on_catalogue(struct liaison *l, const struct question *q)
{
	struct error err = {0};
	struct admission *admission = l->hypervisor->admission;
	int r = 0;

	if (q->fd >= 0)
		r = admission_take(admission, q->fd, &err);
	else
		admission_note_failure(admission, q->reason[0] ? q->reason : NULL);
	if (r < 0)
		refuse(l, err.text);
	else
		answer(l, json_object(), NULL, 0);
}

static void on_volumes(struct liaison *l, const struct question *q)
{
	l->told_volumes = false;
	answer(l, cloud_ask(l->hypervisor->cloud), NULL, 0);
}

static void on_volumed(struct liaison *l, const struct question *q)
{
	struct error err = {0};

	if (cloud_hear(l->hypervisor->cloud, q->fd, &err) < 0)
		refuse(l, err.text);
	else
		answer(l, json_object(), NULL, 0);
}

static const struct {
	const char *op;
	void (*handle)(struct liaison *l, const struct question *q);
} handlers[] = {
	{"hello", on_hello},
	{"state", on_state},
	{"answered", on_answered},
	{"unanswered", on_unanswered},
	{"configuration", on_configuration},
	{"records", on_records},
	{"leases", on_leases},
	{"leased", on_leased},
	{"certificate", on_certificate},
	{"volumes", on_volumes},
	{"volumed", on_volumed},
	{"catalogue", on_catalogue},
};

void liaison_answer(struct liaison *l, json_t *question, int fd)
{
	struct question q = {.op = "", .fd = fd};
	struct error err = {0};

	if (fields_parse(fields, question, &q, &err) < 0) {
		refuse(l, err.text);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
		if (streq(handlers[i].op, q.op)) {
			handlers[i].handle(l, &q);
			return;
		}
	refuse(l, "no such operation");
}

static char *recall(const struct liaison *l, const char *file)
{
	autofree char *path = liaison_path(l, file);
	char *text = NULL;
	size_t length;

	if (!path || file_read(AT_FDCWD, path, sizeof(l->revision) - 1, &text, &length) < 0)
		return NULL;
	text[strcspn(text, "\n")] = '\0';
	return text;
}

void liaison_answer_load(struct liaison *l)
{
	autofree char *wish = recall(l, WISH_FILE), *revision = recall(l, REVISION_FILE);
	autofree char *pushed = liaison_path(l, SETTINGS_PUSHED), *kept = recall(l, KEPT_FILE);
	uint64_t kept_s = 0;

	if (kept && parse_number(kept, 0, INT32_MAX, &kept_s, NULL) < 0)
		kept_s = 0;
	l->leases_kept_us = kept_s * SECOND;

	/* Whoever removes the file wants it again. */
	snprintf(l->revision, sizeof(l->revision), "%s",
		revision && pushed && access(pushed, F_OK) == 0 ? revision : "");
	l->wish = WISH_NONE;
	for (size_t i = 0; wish && i < ARRAY_SIZE(wishes); i++)
		if (streq(wishes[i], wish))
			l->wish = (enum liaison_wish)i;
}
