/* An entry of the local queue: one row of its database, and the changes of state that it knows.
 *
 *   queued --claim--> running --end--> done, failed, cancelled, timeout
 *      \--cancel, refuse--> cancelled, failed
 *
 * Each change is one statement that asks for the state before, so that of two who try one wins, and
 * no entry goes back. Times are given by the caller, in microseconds since the epoch.
 */
#pragma once

#include "lrms/database.h"
#include "lrms/lrms.h"
#include "lrms/process.h"

/* Of a mark: "WNODES_JOB_MARK=" and 32 hex digits. */
#define ENTRY_MARK_NAME "WNODES_JOB_MARK"
#define ENTRY_MARK_MAX  64

/* Who looks after a running job. */
struct entry_keeper {
	struct process process;
	char boot[PROCESS_BOOT_ID_MAX];
};

struct entry {
	int64_t id;
	struct lrms_job job;
	struct strv command, environment; /* only from entry_find(), and only until the job's end */
	char *output, *error;
	mode_t umask;
	uint64_t timeout_us;
	char mark[ENTRY_MARK_MAX];
	struct entry_keeper keeper; /* of a running job */
	bool cancelled;             /* somebody wants its end */
};

void entry_done(struct entry *entry);

/* "12" to 12. Returns 0, or -EINVAL with what an id looks like. */
int entry_parse_id(const char *text, int64_t *ret, struct error *err);

/* Adds a queued job. Returns 0 or negative errno. */
int entry_add(struct database *db, const struct lrms_submission *submission, const char *user,
	const char *node, int64_t now_us, int64_t *ret_id, struct error *err);

/* Returns 0, -ENOENT, or another negative errno. */
int entry_find(struct database *db, int64_t id, struct entry *ret, struct error *err);

enum entry_selection { ENTRY_ALL, ENTRY_ACTIVE, ENTRY_QUEUED, ENTRY_RUNNING };

/* Calls `each` in the order of submission until it returns non-zero, which is then returned; else 0
 * or negative errno. The entry is valid during the call. */
int entry_list(struct database *db, enum entry_selection selection,
	int (*each)(const struct entry *entry, void *userdata), void *userdata, struct error *err);

/* queued -> running, in the care of `keeper`; `pid` is the command's. Returns 1, 0 if the job is
 * not queued any more, or negative errno. */
int entry_claim(struct database *db, int64_t id, const struct entry_keeper *keeper, pid_t pid,
	int64_t now_us, struct error *err);

/* running -> its end, by its keeper or who has found that dead. Exit status -1: it has none. The
 * same results as entry_claim(). */
int entry_end(struct database *db, int64_t id, const struct entry_keeper *keeper,
	enum lrms_state state, int exit_status, const char *reason, int64_t now_us,
	struct error *err);

/* queued -> failed, for a job that cannot be started. The same results. */
int entry_refuse(struct database *db, int64_t id, int exit_status, const char *reason,
	int64_t now_us, struct error *err);

/* queued -> cancelled. The same results. */
int entry_cancel(struct database *db, int64_t id, int64_t now_us, struct error *err);

/* Notes that a running job's end is wanted. The same results: 0 if it does not run. */
int entry_want_end(struct database *db, int64_t id, struct error *err);

/* Forgets jobs that ended before this time. Returns how many, or negative errno. */
int entry_forget(struct database *db, int64_t before_us, struct error *err);

/* Is the keeper of a running job alive, or has at least not been seen dead? */
bool entry_is_kept(const struct entry *entry);

/* Gives a running job whose keeper is dead its end: what is left of it is killed, and it has
 * failed, as nobody saw how it ended. Returns 1 if it did that, 0 if there was nothing to do (it is
 * kept, or has ended meanwhile), or negative errno. */
int entry_settle(struct database *db, const struct entry *entry, int64_t now_us, struct error *err);
