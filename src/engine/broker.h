/* Resources from the node's daemon, wnodes-hypervisor: a slot on the node, the machine's image,
 * files to write to, templates that all users' clones start from. The connection is the VM's as
 * long as it lives; if the daemon is started anew meanwhile, it is told of the VM. What is said on
 * the connection stands in hypervisor/call.h. */
#pragma once

#include <jansson.h>

#include "engine/resources.h"
#include "engine/shape.h"

#define BROKER_SOCKET "/run/wnodes/hypervisor"

struct broker;

/* As resources_open(), and -ENOENT without a reason where there is no daemon and none is needed. */
int broker_open(sd_event *event, const struct request *request, struct resources *ret,
	resources_fn done, void *userdata, struct error *err);

/* Gives all back, by ending the connection. */
struct broker *broker_free(struct broker *b);
DEFINE_CLEANUP(struct broker *, broker_free)

/* Does it keep the templates of this VM's image? Else they are the user's own. */
bool broker_has_templates(const struct broker *b);

/* Borrows a template. Returns 0 and *ret for template_close(), -ENOENT if there is none, or another
 * negative errno. */
int broker_open_template(struct broker *b, const char *key, uint64_t memory_mib,
	struct template **ret, struct error *err);

/* These are told to the daemon and need no answer. Each does nothing without a broker. */
void broker_tell_template_failed(struct broker *b, const char *key);
void broker_tell_used(struct broker *b, const char *key, uint64_t start_us);
void broker_tell_wish(struct broker *b, const struct shape *shape, const char *key);
void broker_tell_started(struct broker *b);
void broker_tell_failed(struct broker *b, const char *reason);

/* Has the user been told that the VM waits for a place on the node, or for its image? */
bool broker_has_told_place(const struct broker *b);

/* How far the image is that the VM waits for; NULL: it waits for none. */
#define BROKER_WAITING_MAX 256
const char *broker_get_waiting(const struct broker *b);

/* Has the daemon map the user's groups in the user namespace of `pid`, a child of ours. Returns 0
 * or negative errno, which is no reason to give up; without a broker -ENOENT. */
int broker_map_groups(struct broker *b, pid_t pid);

/* Has the daemon serve the open directory to the VM by the node's NFS server. Returns 0 and the
 * answer, for json_decref(), or negative errno with what to do. */
int broker_export(
	struct broker *b, int directory_fd, bool read_only, json_t **ret, struct error *err);

/* By which process a daemon that is started anew knows that the VM lives, and its name. */
void broker_set_vm(struct broker *b, pid_t qemu, const char *name);

/* The id of the VM's usage record if the daemon keeps one, else NULL. */
const char *broker_record_id(const struct broker *b);

/* Has the daemon write the VM's usage record, or leaves it in the spool for the next daemon. It is
 * on the disk when this returns 0, else negative errno. `record` is borrowed. */
int broker_send_record(struct broker *b, json_t *record, struct error *err);

/* One question to the daemon of `settings`, or of the usual socket: for `wnodes node`. *ret is for
 * json_decref(). Returns 0 or negative errno. */
int broker_ask(const char *broker, json_t *question, json_t **ret, struct error *err);
