/* QMP, QEMU's control protocol: one JSON object a line, over a socket pair made before QEMU starts.
 * Source: QEMU docs/interop/qmp-spec.txt. */
#pragma once

#include <jansson.h>
#include <systemd/sd-event.h>

#include "lib/error.h"

struct qmp;

/* QEMU's version from its greeting. */
struct qmp_version {
	int major, minor, micro;
};

struct qmp_callbacks {
	/* The greeting arrived and capabilities are negotiated. */
	void (*on_ready)(const struct qmp_version *version, void *userdata);
	/* `data` is borrowed and may be NULL. */
	void (*on_event)(const char *name, json_t *data, void *userdata);
	/* The connection ended: 0 at end of file, else negative errno. Called once, last. */
	void (*on_closed)(int error, void *userdata);
};

/* Called once with the answer (borrowed), or with NULL and the reason. */
typedef void (*qmp_reply_fn)(json_t *result, const char *error, void *userdata);

/* Takes `fd`. */
int qmp_open(sd_event *event, int fd, const struct qmp_callbacks *callbacks, void *userdata,
	struct qmp **ret);
struct qmp *qmp_free(struct qmp *q);
DEFINE_CLEANUP(struct qmp *, qmp_free)

/* Sends a command; `arguments` (may be NULL) is taken. `reply` may be NULL. Returns 0 or -errno. */
int qmp_execute(
	struct qmp *q, const char *command, json_t *arguments, qmp_reply_fn reply, void *userdata);

/* Gives QEMU a descriptor, by the command "getfd"; `fd` stays the caller's. Returns 0 or -errno. */
int qmp_give_fd(struct qmp *q, const char *name, int fd, qmp_reply_fn reply, void *userdata);

/* Handles what has arrived, without waiting: QEMU's last events after it ended. */
void qmp_drain(struct qmp *q);

/* One line of QMP, taken apart; exposed for tests and fuzzing. */
enum qmp_kind { QMP_GREETING, QMP_EVENT, QMP_RETURN, QMP_ERROR };

struct qmp_line {
	enum qmp_kind kind;
	struct qmp_version version; /* of a greeting */
	const char *event;          /* points into root */
	const char *error;          /* likewise: the description */
	uint64_t id;                /* of an answer */
	json_t *data; /* event's data or the return value; borrowed from root, may be NULL */
	json_t *root; /* to be released by the caller: json_decref */
};

/* Returns 0 or -EPROTO. */
int qmp_parse(const char *text, size_t length, struct qmp_line *ret);
