/* Images on their way to this node. Each is fetched once, however many jobs wait for it; what has
 * come of it stays on the disk, so that whoever is killed costs nothing but the time.
 *
 *   fetch/<sha256>.part, .have   a part that is being written, by wnodes-porter; .have is its own
 *   fetch/<sha256>.caibx         the part's index
 *   fetch/<sha256>.ready         a part that was taken from it: nobody has it open for writing any
 *                                more (the kernel says so), all of it was hashed, it is on the disk
 *   fetch/<digest>.manifest      the image's manifest, checked
 *   index/<sha256>               of parts that the store has: by it they are given to others
 *
 * With all of them ready the store takes the image in at once. */
#pragma once

#include <jansson.h>
#include <systemd/sd-event.h>

#include "hypervisor/admission.h"
#include "hypervisor/worker.h"
#include "image/store.h"

#define PULL_DIRECTORY  "fetch"
#define PULL_INDEXES    "index"
#define PULL_REASON_MAX 256

struct pulls;
struct pull;

/* One who waits for an image. All is borrowed until `done` was called or pulls_forget(). */
struct pull_waiter {
	void (*moved)(const char *reason, void *userdata); /* how far it is, for people */
	void (*done)(const char *why, void *userdata);     /* NULL: the image is there */
	void *userdata;
	char said[PULL_REASON_MAX]; /* last */
	struct pull *pull;          /* NULL: it does not wait */
	struct pull_waiter *next;
};

struct pulls_events {
	void (*work_changed)(void *userdata); /* wnodes-porter is to ask for its work */
	void (*arrived)(void *userdata);      /* the store has one more */
	/* Room is wanted for so many bytes more, before the worker is given its next job. */
	void (*need_room)(uint64_t bytes, void *userdata);
	void *userdata;
};

/* `worker` is for long work, and `store` is its alone; `state` has it, fetch/ and index/. */
int pulls_new(sd_event *event, struct worker *worker, struct store *store, const char *state,
	struct admission *admission, const struct pulls_events *events, struct pulls **ret,
	struct error *err);
/* Waiters hear nothing any more. The worker has ended. */
struct pulls *pulls_free(struct pulls *p);
DEFINE_CLEANUP(struct pulls *, pulls_free)

/* Wants an image of the catalogue, that the store does not have, for one who waits. Returns 0 or
 * -ENOMEM. */
int pulls_want(struct pulls *p, const struct catalogue_image *image, const char *called,
	struct pull_waiter *waiter);
void pulls_forget(struct pulls *p, struct pull_waiter *waiter);

/* Wants one that nobody waits for: it is staged, which pulls_follow() ends, or a tag that an image
 * of this node had stands for it now, which is so as long as a tag does. */
enum pull_cause { PULL_STAGED = 1, PULL_MOVED = 2 };
int pulls_want_soon(struct pulls *p, const struct catalogue_image *image, enum pull_cause cause);

/* The catalogue has changed: what may not start any more is not fetched. */
void pulls_follow(struct pulls *p);

/* Wnodes-porter can do nothing: those who wait are told why. */
void pulls_fail_all(struct pulls *p, const char *why);

bool pulls_has(const struct pulls *p, const char *digest);
bool pulls_are_wanted(const struct pulls *p);

/* What wnodes-porter asks and tells; each returns 0 or negative errno with the reason. */

/* A new list of what is to be fetched, the most urgent first. */
json_t *pulls_work_to_json(const struct pulls *p);
int pulls_take_manifest(struct pulls *p, const char *digest, const char *text, struct error *err);

struct pull_files {
	int partial_fd, have_fd, index_fd;
};
void pull_files_done(struct pull_files *f);
int pulls_open_part(struct pulls *p, const char *digest, const char *blob, struct pull_files *ret,
	struct error *err);

/* Calls `done` when the part was taken, or with why not; never before it returns 0. */
int pulls_take_part(struct pulls *p, const char *digest, const char *blob,
	void (*done)(const char *why, void *userdata), void *userdata, struct error *err);

struct pull_progress {
	uint64_t bytes, total, reused, from_peers, from_origin, rate; /* the last a second */
};
int pulls_note_progress(struct pulls *p, const char *digest, const struct pull_progress *progress,
	struct error *err);
int pulls_note_failure(struct pulls *p, const char *digest, const char *reason, struct error *err);

/* Opens a part that was taken and is not in the store yet, with its index. Returns 0 or -ENOENT. */
int pulls_open_ready(struct pulls *p, const char *blob, int *ret_fd, int *ret_index_fd);

/* A new list for `wnodes node show`. */
json_t *pulls_to_json(const struct pulls *p);
