/* Where the states of jobs' VMs are kept: a file for each VM in the user's state directory, whose
 * home is usually that of all nodes and of the hosts where jobs are submitted.
 *
 *   $XDG_STATE_HOME/wnodes/jobs/CLUSTER/JOB.STEP.RESTART-NODE
 *
 * Files are replaced whole, and not forced to the disk: what they tell is for people who look now,
 * and lost with the host. In between lies whatever the user has put there. */
#pragma once

#include "engine/status.h"

/* A file that a VM's starter keeps. */
struct status_file {
	int directory_fd;
	char *name; /* NULL until the first writing */
	bool failed;
};

#define STATUS_FILE_INIT \
	{                \
		-1       \
	}

/* Writes it, under a name of its own: a job may have several VMs that are called the same. After a
 * failure nothing more is tried. Returns 0 or negative errno. */
int status_file_write(struct status_file *f, const struct status *s);

/* Writes that there was no VM for this job, and why. Returns 0 or negative errno. */
int status_file_note_refusal(const struct status_job *job, const char *image, const char *reason);

/* Removes from the file's directory, at most once an hour, what was not changed for `keep_us`. VMs
 * that may still run are kept a year. Takes some milliseconds at most. */
void status_file_sweep(const struct status_file *f, uint64_t keep_us);

void status_file_done(struct status_file *f);

/* Which files are read; and who is given what is in them. */
struct status_reader {
	bool (*wanted)(const char *cluster, const char *job, void *userdata); /* NULL: all */
	int (*each)(const struct status *s, void *userdata);
	void *userdata;
};

/* Calls `each` for every status of the caller's jobs, sorted by the files' names, until it returns
 * non-zero, which is then returned. What is none is passed over. Returns 0 or negative errno;
 * without a directory there is none. */
int status_file_list(const struct status_reader *reader, struct error *err);
