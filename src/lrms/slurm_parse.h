/* What Slurm's commands print, and what sbatch reads. Everything is checked: other versions print
 * other things. */
#pragma once

#include "lrms/lrms.h"

/* What `sacct --format` is to be given for slurm_parse_records(), with this delimiter, and
 * SLURM_TIME_FORMAT=%s. */
#define SLURM_RECORD_FIELDS                                                                        \
	"JobIDRaw,State,ExitCode,User,Submit,Start,End,AllocCPUS,ReqMem,NodeList,WorkDir,Comment," \
	"JobName"
#define SLURM_RECORD_DELIMITER "\x1f"

/* Calls `each` for every job of `squeue --json` (of Slurm 22.05 to 24.11), until it returns
 * non-zero, which is then returned. The job is valid during the call; it may be taken by clearing
 * it. Returns 0, -EPROTO for what is no such list, or -ENOMEM. */
int slurm_parse_queue(const char *text, int (*each)(struct lrms_job *job, void *userdata),
	void *userdata, struct error *err);

/* The same for `sacct --parsable2 --noheader`. Changes `text`. */
int slurm_parse_records(char *text, int (*each)(struct lrms_job *job, void *userdata),
	void *userdata, struct error *err);

/* "123" or "123;cluster", as `sbatch --parsable` prints it. Returns 0 or -EPROTO. */
int slurm_parse_submitted(const char *text, char ret_id[LRMS_ID_MAX], struct error *err);

/* A batch script that becomes this command. The caller frees; NULL when out of memory. */
char *slurm_script(const char *const *command);

/* The job's comment, by which lists later know its image and command line. A long command line is
 * left out. The caller frees; NULL when out of memory. */
char *slurm_comment(const struct lrms_submission *submission);
