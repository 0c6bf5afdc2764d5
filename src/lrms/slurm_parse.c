#include "lrms/slurm_parse.h"

#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>

#include "lib/json.h"
#include "lib/parse.h"

#define MIB UINT64_C(1048576)

/* Of a comment: sites' databases have room for a few kilobytes. */
#define COMMENT_MAX 2048

#define RECORD_COLUMNS 13

struct state_word {
	const char *word;
	enum lrms_state state;
	const char *reason; /* NULL: the word says it already */
};

/* All others are failures, and the word is the reason. */
static const struct state_word state_words[] = {
	{"PENDING", LRMS_QUEUED},
	{"CONFIGURING", LRMS_QUEUED},
	{"REQUEUED", LRMS_QUEUED},
	{"REQUEUE_FED", LRMS_QUEUED},
	{"REQUEUE_HOLD", LRMS_QUEUED},
	{"RESV_DEL_HOLD", LRMS_QUEUED},
	{"SPECIAL_EXIT", LRMS_QUEUED},
	{"RUNNING", LRMS_RUNNING},
	{"COMPLETING", LRMS_RUNNING},
	{"SUSPENDED", LRMS_RUNNING, "suspended"},
	{"STOPPED", LRMS_RUNNING, "stopped"},
	{"RESIZING", LRMS_RUNNING},
	{"SIGNALING", LRMS_RUNNING},
	{"STAGE_OUT", LRMS_RUNNING},
	{"COMPLETED", LRMS_DONE},
	{"CANCELLED", LRMS_CANCELLED, "cancelled"},
	{"TIMEOUT", LRMS_TIMEOUT, "its time limit ran out"},
	{"DEADLINE", LRMS_TIMEOUT, "its deadline was reached"},
	{"FAILED", LRMS_FAILED},
	{"NODE_FAIL", LRMS_FAILED, "its node failed"},
	{"BOOT_FAIL", LRMS_FAILED, "its node did not boot"},
	{"OUT_OF_MEMORY", LRMS_FAILED, "out of memory"},
	{"PREEMPTED", LRMS_FAILED, "preempted"},
	{"REVOKED", LRMS_CANCELLED, "revoked"},
};

static char *copy(const char *text)
{
	return text && *text ? strdup(text) : NULL;
}

/* Words may go on: "CANCELLED by 1000". */
static void job_set_state(struct lrms_job *job, const char *word, const char *reason)
{
	for (size_t i = 0; i < ARRAY_SIZE(state_words); i++) {
		const char *rest = str_after(word, state_words[i].word);

		if (!rest || (*rest && *rest != ' '))
			continue;
		job->state = state_words[i].state;
		job->reason = copy(state_words[i].reason ? state_words[i].reason : reason);
		return;
	}
	job->state = LRMS_FAILED;
	job->reason = copy(word);
}

/* What slurm_comment() wrote; whatever else users write into comments is theirs. */
static void job_set_comment(struct lrms_job *job, const char *text)
{
	json_t *root = text ? json_loads(text, 0, NULL) : NULL;
	json_t *ours = json_object_get(root, "wnodes"), *argv = json_object_get(ours, "argv");
	json_t *word;
	size_t i;

	job->image = copy(json_string_value(json_object_get(ours, "image")));
	json_array_foreach(argv, i, word) if (json_is_string(word))
		strv_add(&job->argv, json_string_value(word));
	json_decref(root);
}

/* 5, or from Slurm 23 on {"set": true, "infinite": false, "number": 5}. Missing: 0. */
static int64_t get_number(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (json_is_object(value))
		value = json_is_false(json_object_get(value, "set"))
				? NULL
				: json_object_get(value, "number");
	return json_is_integer(value) ? json_integer_value(value) : 0;
}

/* "RUNNING", or from Slurm 23 on ["RUNNING", ...]. */
static const char *get_word(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return json_string_value(json_is_array(value) ? json_array_get(value, 0) : value);
}

/* A wait status, or from Slurm 23 on an object with its parts. */
static int get_exit_status(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	int64_t signo = get_number(json_object_get(value, "signal"), "id"), status;

	if (json_is_object(value) && json_object_get(value, "return_code"))
		return signo > 0 ? 128 + (int)signo : (int)get_number(value, "return_code") & 0xff;
	status = get_number(object, key);
	if (WIFSIGNALED((int)status))
		return 128 + WTERMSIG((int)status);
	return WEXITSTATUS((int)status);
}

/* Memory is asked for by node or by CPU. */
static uint64_t get_memory(const json_t *job, uint64_t cpus)
{
	int64_t by_node = get_number(job, "memory_per_node");
	int64_t by_cpu = get_number(job, "memory_per_cpu");
	int64_t mib = by_node > 0 ? by_node : by_cpu * (int64_t)cpus;

	return mib > 0 && mib < INT64_MAX / (int64_t)MIB ? (uint64_t)mib * MIB : 0;
}

static int64_t get_time_us(const json_t *job, const char *key)
{
	int64_t seconds = get_number(job, key);

	return seconds > 0 && seconds < INT64_MAX / 1000000 ? seconds * 1000000 : 0;
}

/* Times that lie ahead are estimates. */
static void job_drop_estimates(struct lrms_job *job)
{
	if (job->state == LRMS_QUEUED)
		job->started_us = 0;
	if (!lrms_state_is_end(job->state)) {
		job->ended_us = 0;
		job->exit_status = -1;
	}
}

static int job_from_json(const json_t *object, struct lrms_job *ret)
{
	const char *word = get_word(object, "job_state");
	const char *reason = get_word(object, "state_reason");
	int64_t id = get_number(object, "job_id"), cpus = get_number(object, "cpus");

	if (id <= 0 || !word)
		return -EPROTO;
	snprintf(ret->id, sizeof(ret->id), "%lld", (long long)id);
	job_set_state(ret, word, reason && !streq(reason, "None") ? reason : NULL);
	ret->name = copy(json_string_value(json_object_get(object, "name")));
	ret->user = copy(json_string_value(json_object_get(object, "user_name")));
	ret->cluster = copy(json_string_value(json_object_get(object, "cluster")));
	ret->node = copy(json_string_value(json_object_get(object, "nodes")));
	ret->directory =
		copy(json_string_value(json_object_get(object, "current_working_directory")));
	ret->cpus = cpus > 0 ? (uint64_t)cpus : 0;
	ret->memory_bytes = get_memory(object, ret->cpus);
	ret->submitted_us = get_time_us(object, "submit_time");
	ret->started_us = get_time_us(object, "start_time");
	ret->ended_us = get_time_us(object, "end_time");
	ret->exit_status = get_exit_status(object, "exit_code");
	job_set_comment(ret, json_string_value(json_object_get(object, "comment")));
	job_drop_estimates(ret);
	return ret->argv.failed ? -ENOMEM : 0;
}

int slurm_parse_queue(const char *text, int (*each)(struct lrms_job *job, void *userdata),
	void *userdata, struct error *err)
{
	json_t *root = json_loads(text, 0, NULL), *jobs = json_object_get(root, "jobs"), *object;
	int r = json_is_array(jobs) ? 0 : -EPROTO;
	size_t i;

	json_array_foreach(jobs, i, object)
	{
		struct lrms_job job = {0};

		r = job_from_json(object, &job);
		if (r == 0)
			r = each(&job, userdata);
		lrms_job_done(&job);
		if (r != 0)
			break;
	}
	json_decref(root);
	if (r == -EPROTO)
		return fail(err, r, "squeue --json gave no list of jobs that this WNoDeS knows");
	return r == -ENOMEM ? fail(err, r, "out of memory") : r;
}

/* "4000M", "4Gn", "2Gc" (by CPU). */
static uint64_t parse_memory(const char *text, uint64_t cpus)
{
	size_t n = strlen(text);
	bool by_cpu = n > 0 && text[n - 1] == 'c', by_node = n > 0 && text[n - 1] == 'n';
	autofree char *size = strndup(text, n - (by_cpu || by_node));
	uint64_t bytes = 0;

	if (!size || parse_size(size, &bytes, NULL) < 0)
		return 0;
	return by_cpu && __builtin_mul_overflow(bytes, cpus, &bytes) ? 0 : bytes;
}

/* "Unknown", or seconds since the epoch. */
static int64_t parse_time_us(const char *text)
{
	uint64_t seconds;

	if (parse_number(text, 1, INT64_MAX / 1000000, &seconds, NULL) < 0)
		return 0;
	return (int64_t)seconds * 1000000;
}

/* A line's columns are those of SLURM_RECORD_FIELDS. */
static int job_from_record(char *line, struct lrms_job *ret)
{
	char *columns[RECORD_COLUMNS];
	unsigned int status, signo;
	uint64_t id;
	int n = 0;

	/* The last one, a name, may have whatever it likes in it. */
	for (; line && n < RECORD_COLUMNS - 1; n++)
		columns[n] = strsep(&line, SLURM_RECORD_DELIMITER);
	if (line)
		columns[n++] = line;
	if (n < RECORD_COLUMNS || parse_number(columns[0], 1, INT64_MAX, &id, NULL) < 0 ||
		sscanf(columns[2], "%3u:%3u", &status, &signo) != 2)
		return -EPROTO;
	snprintf(ret->id, sizeof(ret->id), "%s", columns[0]);
	job_set_state(ret, columns[1], NULL);
	ret->exit_status = signo > 0 ? 128 + (int)(signo & 0x7f) : (int)(status & 0xff);
	ret->user = copy(columns[3]);
	ret->submitted_us = parse_time_us(columns[4]);
	ret->started_us = parse_time_us(columns[5]);
	ret->ended_us = parse_time_us(columns[6]);
	parse_number(columns[7], 0, UINT32_MAX, &ret->cpus, NULL);
	ret->memory_bytes = parse_memory(columns[8], ret->cpus);
	ret->node = streq(columns[9], "None assigned") ? NULL : copy(columns[9]);
	ret->directory = copy(columns[10]);
	job_set_comment(ret, columns[11]);
	ret->name = copy(columns[12]);
	job_drop_estimates(ret);
	return ret->argv.failed ? -ENOMEM : 0;
}

int slurm_parse_records(char *text, int (*each)(struct lrms_job *job, void *userdata),
	void *userdata, struct error *err)
{
	char *line;
	int r = 0;

	while (r == 0 && (line = strsep(&text, "\n"))) {
		struct lrms_job job = {0};

		if (!*line)
			continue;
		r = job_from_record(line, &job);
		if (r == 0)
			r = each(&job, userdata);
		lrms_job_done(&job);
	}
	if (r == -EPROTO)
		return fail(err, r, "sacct gave no list of jobs that this WNoDeS knows");
	return r == -ENOMEM ? fail(err, r, "out of memory") : r;
}

int slurm_parse_submitted(const char *text, char ret_id[LRMS_ID_MAX], struct error *err)
{
	size_t n = strspn(text, "0123456789");

	if (n == 0 || n >= LRMS_ID_MAX || !strchr(";\n", text[n]))
		return fail(err, -EPROTO, "sbatch gave no job id: '%.100s'", text);
	snprintf(ret_id, LRMS_ID_MAX, "%.*s", (int)n, text);
	return 0;
}

/* For sh: nothing within single quotes means anything, but for the quote itself. */
static void quote(FILE *out, const char *word)
{
	fputs(" '", out);
	for (; *word; word++)
		if (*word == '\'')
			fputs("'\\''", out);
		else
			putc(*word, out);
	putc('\'', out);
}

char *slurm_script(const char *const *command)
{
	char *script = NULL;
	size_t size;
	FILE *out = open_memstream(&script, &size);

	if (!out)
		return NULL;
	fputs("#!/bin/sh\nexec", out);
	for (; *command; command++)
		quote(out, *command);
	putc('\n', out);
	if (fclose(out) == 0)
		return script;
	free(script);
	return NULL;
}

char *slurm_comment(const struct lrms_submission *submission)
{
	json_t *root = json_pack("{s:{s:s*, s:o*}}", "wnodes", "image", submission->image, "argv",
		json_from_strings(submission->argv));
	char *text = json_dumps(root, JSON_COMPACT);

	if (root && (!text || strlen(text) > COMMENT_MAX)) {
		free(text);
		json_object_del(json_object_get(root, "wnodes"), "argv");
		text = json_dumps(root, JSON_COMPACT);
	}
	json_decref(root);
	return text;
}
