/* Usage records: what a VM has used and for whom, one for each VM, as lines of JSON in a file that
 * only grows. What the lines say: docs/records.md.
 *
 * A record that record_append() has returned 0 for is on the disk. Any number of processes may
 * append at the same time, and any of them may be killed: a line that was cut off by that is left
 * behind by those who write and read later. */
#pragma once

#include <jansson.h>

#include "engine/phase.h"
#include "lib/error.h"
#include "lib/uuid.h"

#define RECORD_VERSION 1

/* The usual name of the file. */
#define RECORD_FILE "records.jsonl"

/* The longest line, and so the most that a reader allocates. */
#define RECORD_LINE_MAX 65536

/* Bytes that are kept of a text. */
#define RECORD_TEXT_MAX 512

/* Who tells of a VM. */
#define RECORD_BY_USER  "user"  /* the program that ran it, alone */
#define RECORD_BY_BOTH  "both"  /* that program, and the node's daemon what it knows better */
#define RECORD_BY_NODE  "node"  /* the daemon alone: the program was killed */
#define RECORD_BY_SPOOL "spool" /* the program, to a daemon that knew nothing of the VM */

/* Of a number that is not known. */
#define RECORD_UNKNOWN UINT64_MAX

/* Texts that are NULL and numbers that are RECORD_UNKNOWN become null; of a text 512 bytes are
 * kept.
 */
struct record {
	const char *id; /* of the record: uuid_new() */
	const char *vm; /* the VM's name */
	const char *node;
	struct {
		const char *system; /* "slurm", "local"; NULL: no batch system */
		const char *id;
		const char *step;
		const char *name;
		const char *partition;
		const char *account;
		bool verified; /* the kernel says so, not the job's environment */
	} job;
	const char *user;
	uid_t uid;
	gid_t gid;
	const char *image_name, *image_tag, *image_digest;
	const char *policy; /* the rule that decided */
	/* The shape. */
	const char *accel;
	uint64_t cpus, memory_bytes, scratch_bytes;
	const char *network;
	/* Its life. */
	const char *start;                /* "boot" or "clone" */
	uint64_t started_us, ended_us;    /* since the epoch */
	uint64_t lent_us;                 /* when the node's daemon lent it; 0: it did not */
	const struct phase_clock *phases; /* NULL: none */
	bool has_exit_status;
	int exit_status;
	const char *reason; /* why it failed */
	const char *source; /* who tells: one of RECORD_BY_... */
	/* What it used. CPU and memory are those of the VM's processes on the host. */
	uint64_t cpu_user_us, cpu_system_us, memory_peak_bytes;
	uint64_t guest_oom_kills;
	uint64_t disk_read_bytes, disk_written_bytes;
	uint64_t network_received_bytes, network_sent_bytes;
};

/* All numbers unknown. */
#define RECORD_INIT                                                                             \
	{                                                                                       \
		.scratch_bytes = RECORD_UNKNOWN, .cpus = RECORD_UNKNOWN,                        \
		.memory_bytes = RECORD_UNKNOWN, .cpu_user_us = RECORD_UNKNOWN,                  \
		.cpu_system_us = RECORD_UNKNOWN, .memory_peak_bytes = RECORD_UNKNOWN,           \
		.guest_oom_kills = RECORD_UNKNOWN, .disk_read_bytes = RECORD_UNKNOWN,           \
		.disk_written_bytes = RECORD_UNKNOWN, .network_received_bytes = RECORD_UNKNOWN, \
		.network_sent_bytes = RECORD_UNKNOWN                                            \
	}

/* Returns a new object, or NULL when out of memory. */
json_t *record_to_json(const struct record *r);

/* Appends one record, on the disk when this returns. The file is opened, and made if it is missing
 * (mode 0640 less the umask), for each record, so that it may be renamed away at any time. Waits
 * some seconds for other writers at most. Returns 0 or negative errno; nothing is then left of the
 * record, but for what a full disk may keep of it, which is no line. */
int record_append(const char *path, const struct record *r, struct error *err);

/* The same for any number of them at once, all or none; they are borrowed. */
int record_append_json(const char *path, json_t *const *records, size_t count, struct error *err);

/* Checks what somebody else tells and makes a record of it: of the keys that there are, each of its
 * kind and within its bounds; what is missing is null. Returns a new object, or NULL with what is
 * wrong. */
json_t *record_check(const json_t *told, struct error *err);

/* The records that ended in [from_us, until_us). */
struct record_filter {
	uint64_t from_us, until_us; /* since the epoch; 0 and UINT64_MAX: all */
};

struct record_reader;

/* Reads a file from its beginning; what is appended while it is read may be seen or not. Returns 0
 * or negative errno. */
int record_reader_open(const char *path, const struct record_filter *filter,
	struct record_reader **ret, struct error *err);
/* Only what the last `bytes` of the file hold; to be called before the first record is read. */
void record_reader_seek_tail(struct record_reader *reader, uint64_t bytes);
struct record_reader *record_reader_free(struct record_reader *reader);
DEFINE_CLEANUP(struct record_reader *, record_reader_free)

/* The next record, for json_decref(). A record has at least an id and the time when it ended.
 * Returns 1, 0 at the end of the file, or negative errno. */
int record_reader_next(struct record_reader *reader, json_t **ret, struct error *err);

/* How many lines so far are no records. */
uint64_t record_reader_damaged(const struct record_reader *reader);
