/* The batch system (LRMS), seen from a user: jobs are submitted, listed, cancelled and waited for.
 *
 * One interface with two implementations: `local`, a queue of the user's own for one machine, and
 * `slurm`, which runs Slurm's commands. A job is a command line; nothing here knows of VMs but for
 * the image's name, which lists show.
 */
#pragma once

#include "lib/error.h"
#include "lib/strv.h"

#define LRMS_ID_MAX 32

enum lrms_state {
	LRMS_QUEUED,
	LRMS_RUNNING,
	LRMS_DONE,      /* exit status 0 */
	LRMS_FAILED,    /* another one, or none: then there is a reason */
	LRMS_CANCELLED, /* at the user's word */
	LRMS_TIMEOUT,   /* it ran into its time limit */
};

struct lrms_job {
	char id[LRMS_ID_MAX];
	char *name, *user;
	char *cluster;   /* NULL: not known, or there is but one */
	char *image;     /* NULL: a plain job, without a VM */
	char *node;      /* that it runs or ran on; NULL: not known (yet) */
	char *reason;    /* why it is in its state; NULL: nothing to say */
	char *directory; /* that it starts in; NULL: not known */
	struct strv argv;
	enum lrms_state state;
	int exit_status; /* as a shell's: 128+N for signal N; -1: it has none (yet) */
	uint64_t cpus, memory_bytes;
	int64_t submitted_us, started_us, ended_us; /* since the epoch; 0: not yet */
};

void lrms_job_done(struct lrms_job *job);

/* "queued", "running", "done", "failed", "cancelled", "timeout". */
const char *lrms_state_name(enum lrms_state state);

/* Returns 0, or -EINVAL for a word that is no state. */
int lrms_state_parse(const char *name, enum lrms_state *ret);

bool lrms_state_is_end(enum lrms_state state);

/* The exit status of `wnodes wait` for a job that has ended: its own, but never 0 for one that is
 * not done: 124 after its time limit, 143 (as by SIGTERM) when cancelled, else 125. */
int lrms_job_status(const struct lrms_job *job);

/* What to run, and as what. All strings are the caller's. */
struct lrms_submission {
	const char *name;
	const char *image;              /* NULL: a plain job */
	const char *const *argv;        /* what the user wrote, for lists */
	const char *const *command;     /* what is executed */
	const char *const *environment; /* of the command */
	const char *directory;          /* absolute; the command starts there */
	const char *output, *error;     /* files; %j is the job's id; relative to `directory` */
	uint64_t cpus, memory_bytes;
	uint64_t overhead_bytes; /* what a VM takes of the host beside its memory */
	uint64_t timeout_us; /* 0: none. The command keeps to it by itself if there is an image */
	mode_t umask;
};

/* Which jobs are listed. */
struct lrms_filter {
	bool all;         /* also those that have ended */
	const char *user; /* NULL: the caller's */
};

struct lrms;

/* An implementation. Every function returns 0 or negative errno with the reason. */
struct lrms_operations {
	const char *name;
	/* Fills ret_id. The job may run before this returns. */
	int (*submit)(struct lrms *lrms, const struct lrms_submission *submission,
		char ret_id[LRMS_ID_MAX], struct error *err);
	/* Calls `each` for every job, in the order of submission, until it returns non-zero, which
	 * is then returned. The job is valid during the call. */
	int (*list)(struct lrms *lrms, const struct lrms_filter *filter,
		int (*each)(const struct lrms_job *job, void *userdata), void *userdata,
		struct error *err);
	/* Ends a job, running or not: SIGTERM, after a grace SIGKILL. With `signo` > 0 only sends
	 * that signal. -ENOENT: no such job; -ESRCH: it has ended, or is not there to be sent a
	 * signal. Returns before the job has ended. */
	int (*cancel)(struct lrms *lrms, const char *id, int signo, struct error *err);
	/* Waits for a job's end, until `deadline` (see lib/deadline.h). `ret` is for
	 * lrms_job_done(). -ENOENT: no such job; -ETIMEDOUT. */
	int (*wait)(struct lrms *lrms, const char *id, uint64_t deadline, struct lrms_job *ret,
		struct error *err);
	/* Puts a running job of one's own back into the queue, from which it starts anew. The batch
	 * system ends what runs of it. NULL: it knows no such thing. */
	int (*requeue)(struct lrms *lrms, const char *id, struct error *err);
	struct lrms *(*free)(struct lrms *lrms);
};

struct lrms {
	const struct lrms_operations *operations;
};

struct lrms_options {
	const char *type;           /* "auto", "local" or "slurm" */
	uint64_t cpus;              /* slots of the local queue; 0: the machine's */
	uint64_t memory_bytes;      /* 0: nine tenths of the machine's */
	uint64_t grace_us;          /* from SIGTERM to SIGKILL */
	uint64_t keep_us;           /* how long ended jobs are remembered */
	const char *const *program; /* of the runner; NULL: our own, with the verb `runner` */
};

/* Opens the batch system that the options name. "auto" is Slurm where SLURM_CONF is set or a
 * controller answers within two seconds, else the local queue. `options` must stay valid. */
int lrms_open(const struct lrms_options *options, struct lrms **ret, struct error *err);
struct lrms *lrms_free(struct lrms *lrms);
DEFINE_CLEANUP(struct lrms *, lrms_free)

/* The implementations, for lrms_open() and tests. */
int lrms_local_open(const struct lrms_options *options, struct lrms **ret, struct error *err);
int lrms_slurm_open(const struct lrms_options *options, struct lrms **ret, struct error *err);

/* Replaces "%j" by the id, and "%%" by "%". The caller frees; NULL when out of memory. */
char *lrms_expand(const char *text, const char *id);

/* Microseconds since the epoch. */
int64_t lrms_now_us(void);
