/* Each step is sent when the one before is answered. What is saved is a guest that runs: it is QEMU
 * that stops it, and lets it go on by itself when it has loaded the state. So a clone needs two
 * commands; QEMU reads them byte by byte, and each byte costs microseconds. */
#include "vm/migration.h"

#include <errno.h>

#define MIGRATION_FD_NAME "state"

struct migration {
	struct qmp *qmp;
	int fd;
	const struct step *step;
	migration_fn done;
	void *userdata;
};

/* One command; NULL ends the list. */
struct step {
	int (*send)(struct migration *m, qmp_reply_fn reply);
};

static void migration_next(struct migration *m);

static void migration_end(struct migration *m, const char *error)
{
	migration_fn done = m->done;

	if (!done)
		return;
	m->done = NULL;
	done(error, m->userdata);
}

static int set_capability(struct migration *m, const char *name, qmp_reply_fn reply)
{
	json_t *list =
		json_pack("{s:[{s:s, s:b}]}", "capabilities", "capability", name, "state", true);

	return qmp_execute(m->qmp, "migrate-set-capabilities", list, reply, m);
}

static int send_ignore_shared(struct migration *m, qmp_reply_fn reply)
{
	return set_capability(m, "x-ignore-shared", reply);
}

/* By which QEMU says when it has saved all. */
static int send_events(struct migration *m, qmp_reply_fn reply)
{
	return set_capability(m, "events", reply);
}

static int send_fd(struct migration *m, qmp_reply_fn reply)
{
	return qmp_give_fd(m->qmp, MIGRATION_FD_NAME, m->fd, reply, m);
}

static int send_save(struct migration *m, qmp_reply_fn reply)
{
	json_t *uri = json_pack("{s:s}", "uri", "fd:" MIGRATION_FD_NAME);

	return qmp_execute(m->qmp, "migrate", uri, reply, m);
}

static int send_load(struct migration *m, qmp_reply_fn reply)
{
	json_t *uri = json_pack("{s:o}", "uri", json_sprintf("fd:%d", m->fd));

	return qmp_execute(m->qmp, "migrate-incoming", uri, reply, m);
}

static const struct step save_steps[] = {
	{send_ignore_shared}, {send_events}, {send_fd}, {send_save}, {NULL}};
static const struct step load_steps[] = {{send_ignore_shared}, {send_load}, {NULL}};

static void on_step(json_t *result, const char *error, void *userdata)
{
	struct migration *m = userdata;

	if (!result)
		migration_end(m, error);
	else if (m->done && m->step->send && (++m->step)->send)
		migration_next(m);
}

static void migration_next(struct migration *m)
{
	int r = m->step->send(m, on_step);

	if (r < 0)
		migration_end(m, strerror(-r));
}

void migration_on_event(struct migration *m, const char *name, json_t *data)
{
	const char *status = json_string_value(json_object_get(data, "status"));
	bool moved = streq(name, "MIGRATION") && status;

	if (streq(name, "RESUME") || (moved && streq(status, "completed")))
		migration_end(m, NULL);
	else if (moved && (streq(status, "failed") || streq(status, "cancelled")))
		migration_end(m, "QEMU could not save the devices' state");
}

static int migration_start(const struct migration *start, struct migration **ret)
{
	struct migration *m = malloc(sizeof(*m));

	if (!m)
		return -ENOMEM;
	*m = *start;
	*ret = m;
	migration_next(m);
	return 0;
}

int migration_save(
	struct qmp *qmp, int fd, migration_fn done, void *userdata, struct migration **ret)
{
	const struct migration start = {
		.qmp = qmp, .fd = fd, .step = save_steps, .done = done, .userdata = userdata};

	return migration_start(&start, ret);
}

int migration_load(
	struct qmp *qmp, int fd, migration_fn done, void *userdata, struct migration **ret)
{
	const struct migration start = {
		.qmp = qmp, .fd = fd, .step = load_steps, .done = done, .userdata = userdata};

	return migration_start(&start, ret);
}

struct migration *migration_free(struct migration *m)
{
	free(m);
	return NULL;
}
