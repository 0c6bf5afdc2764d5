/* Volumes: disks that stay when their VM ends, of a user each. A node has the data; what may be
 * using it is a row of the table of attachments. The table decides who is next, and the node with
 * the data enforces it: it serves an attachment when all that it has served before and that is not
 * in the table any more cannot write. */
#pragma once

#include "controller/body.h"
#include "controller/route.h"
#include "lib/uuid.h"

#define VOLUME_SIZE_MIN      (UINT64_C(1) << 20)
#define VOLUME_SIZE_MAX      (UINT64_C(1) << 46)
#define VOLUME_REFERENCE_MAX (BODY_NAME_MAX + CALLER_NAME_MAX)

/* Finds a volume by what people write: its id, "NAME" for one of `user`'s own, "OWNER/NAME". *ret
 * is a new object. Returns 1, 0 if there is none, or negative errno. */
int volume_find(
	struct sql *db, const char *user, const char *reference, json_t **ret, struct error *err);

/* Adds an event about a volume, which its owner sees. `detail` is taken. */
int volume_tell(struct sql *db, uint64_t now_us, const char *kind, json_t *volume,
	const char *actor, json_t *detail, struct error *err);

/* What a VM wants of a volume. */
struct volume_wish {
	char id[UUID_TEXT_SIZE]; /* of the attachment, the node's choice */
	char volume[VOLUME_REFERENCE_MAX], user[CALLER_NAME_MAX], vm[UUID_TEXT_SIZE];
	bool read_only;
};

/* Gives a volume to a VM of the calling node: to one for writing, or to any number for reading. The
 * same wish again changes nothing. Returns 0, the status with the reason in `err`, or negative
 * errno. */
int volume_attach(
	struct exchange *x, struct sql *db, const struct volume_wish *w, struct error *err);

/* An attachment of this id is over; `node` (NULL: anyone's) is whose it must be. Returns 1, 0 if it
 * is not there, or negative errno. */
int volume_detach(struct sql *db, uint64_t now_us, const char *id, const char *node,
	const char *actor, const char *reason, struct error *err);

/* What nodes had that have been lost since before `before_us`, or are not of the site any more, is
 * over. Returns how many, VOLUME_SWEEP_MAX at most, or negative errno. */
#define VOLUME_SWEEP_MAX 100
int volume_sweep(struct sql *db, uint64_t now_us, uint64_t before_us, struct error *err);

extern const struct listing volume_listing, attachment_listing;
extern const struct route volume_routes[];
extern const struct route volume_attach_routes[];
extern const struct route volume_node_routes[];
