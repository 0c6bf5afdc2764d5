/* What the files of images on their way share: pull.c has those that are wanted and by whom,
 * pull_task.c what is done on the disk for them, in a thread. */
#pragma once

#include "hypervisor/pull.h"

enum pull_part_state {
	PULL_PART_WANTED,
	PULL_PART_CHECKING,
	PULL_PART_READY, /* or in the store */
};

enum pull_state {
	PULL_LOOKING, /* what of it is there already */
	PULL_FETCHING,
	PULL_TAKING, /* into the store */
	PULL_FAILED, /* is tried again later, if it is still wanted */
};

struct pull {
	struct pulls *pulls;
	char digest[DIGEST_HEX_SIZE];
	char called[160];
	bool is_private;
	unsigned int soon;  /* enum pull_cause: wanted without anybody waiting */
	unsigned int looks; /* in vain, for room */
	bool busy;          /* a task is done for it */
	bool ending;        /* when the task is done */
	enum pull_state state;
	struct catalogue_part parts[MANIFEST_PARTS_MAX];
	enum pull_part_state part_states[MANIFEST_PARTS_MAX];
	size_t part_count;
	char *manifest; /* its text; NULL: it has not come yet */
	struct pull_progress progress;
	uint64_t since_us, moved_us, retry_us; /* clock_now_us() */
	char failure[PULL_REASON_MAX];
	struct pull_waiter *waiters;
	struct pull *next;
};

enum pull_task_kind { PULL_LOOK, PULL_CHECK, PULL_TAKE };

/* Work for one image; all that it needs is its own. */
struct pull_task {
	struct worker_job job; /* first */
	enum pull_task_kind kind;
	struct pull *pull; /* the loop's */
	struct store *store;
	char *state;
	char digest[DIGEST_HEX_SIZE];
	bool is_private;
	struct catalogue_part parts[MANIFEST_PARTS_MAX];
	size_t part_count;
	size_t part;    /* of a check */
	char *manifest; /* of a take; of a look: found */
	bool ready[MANIFEST_PARTS_MAX];
	uint64_t wanted_bytes, free_bytes; /* of a look */
	int result;
	struct error err;
	/* Of a check: */
	void (*done)(const char *why, void *userdata);
	void *userdata;
};

void pull_task_work(struct worker_job *job);
struct pull_task *pull_task_free(struct pull_task *t);

/* fetch/NAME.SUFFIX below the state, or index/; for free(). NULL when out of memory. */
char *pull_path(const char *state, const char *name, const char *suffix);
char *pull_index_path(const char *state, const char *blob);
