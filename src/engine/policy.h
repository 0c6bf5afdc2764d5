/* The site's policy: which jobs get a VM, or must not have one, and from which image, of which
 * shape and with what. The sections "[policy NAME]" of the system's wnodes.conf, in the order of
 * the file; the first whose conditions all hold decides.
 *
 * This and what it uses (src/lib, libinih) is all that a batch system's plugin needs to link. */
#pragma once

#include "engine/settings.h"
#include "lib/pattern.h"

/* What a rule, a job's flags and a decision have values for. */
enum policy_key {
	POLICY_IMAGE,
	POLICY_CPUS,
	POLICY_MEMORY,
	POLICY_SCRATCH,
	POLICY_MOUNT,
	POLICY_NETWORK,
	POLICY_START,
	POLICY_ENV,
	POLICY_MPI,
	POLICY_KEY_COUNT
};

/* The word of this key in wnodes.conf: "image". */
const char *policy_key_name(enum policy_key key);

struct policy_values {
	unsigned int given; /* bits: 1 << key */
	const char *image;
	uint64_t cpus;
	uint64_t memory;    /* bytes */
	uint64_t scratch;   /* bytes; 0: none */
	const char **mount; /* as --mount; NULL-terminated */
	const char *network;
	const char *start;
	const char **env; /* as --env; NULL-terminated */
	const char *mpi;  /* as --vm-mpi */
};

static inline bool policy_has(const struct policy_values *v, enum policy_key key)
{
	return v->given & (1u << key);
}

/* Is what a job asks for about its VM? Who starts its ranks is not. */
static inline bool policy_wants_vm(const struct policy_values *asked)
{
	return asked->given & ~(1u << POLICY_MPI);
}

/* What a rule asks of a job. All that a rule names must hold. */
enum policy_condition {
	POLICY_PARTITION,
	POLICY_ACCOUNT,
	POLICY_GROUP,
	POLICY_USER,
	POLICY_JOB_NAME,
	POLICY_CONDITION_COUNT /* all hold */
};

enum policy_vm {
	POLICY_ALLOW,  /* a job that asks for a VM gets one */
	POLICY_FORCE,  /* every job gets one */
	POLICY_FORBID, /* a job that asks for one is refused */
};

/* One rule. `name` and `line` are those of its section. */
struct policy {
	const char *name;
	int line;
	/* Conditions: lists of globs (fnmatch(3)), of which one must match; empty or NULL: not
	 * asked. */
	char **lists[POLICY_JOB_NAME];
	struct pattern *job_name;
	char *vm_word; /* "allow", "force" or "forbid" */
	enum policy_vm vm;
	char *message; /* for who is refused; NULL: none */
	char **locked_words;
	unsigned int locked; /* bits: 1 << key */
	struct policy_values values;
};

struct policies {
	struct conf_list list; /* of struct policy */
};

/* Checks what no single line can tell, and fills what the table does not. Returns 0 or -EINVAL
 * with "FILE:LINE: ..." in the message. */
int policies_check(const struct policies *p, const char *path, struct error *err);

/* Reads the site's file, `path`: its policies, and its settings, which are laid over those in
 * `settings` (NULL: they are only checked). A file that is not there has no policies. Returns 0, or
 * negative errno with "FILE:LINE: ..." in the message; `ret` is then empty. */
int policies_load(
	struct policies *ret, struct settings *settings, const char *path, struct error *err);
void policies_done(struct policies *p);

/* The same for two files: what `path` says comes first. Of the settings its values hold, of the
 * policies its own are asked before those of `pushed`, and stand for those of the same name. That
 * file is what the site's controllers have pushed: settings_pushed_file(). */
int policies_load_over(struct policies *ret, struct settings *settings, const char *pushed,
	const char *path, struct error *err);

/* For the example file and the manual page; without items. A file of a user is read with this: the
 * section is known there, and refused. */
extern const struct conf_list policy_section, policy_section_refused;

static inline size_t policies_count(const struct policies *p)
{
	return p->list.count;
}
const struct policy *policies_get(const struct policies *p, size_t index);

/* Whose job it is. What is NULL is not known: a rule that asks for it does not match. */
struct policy_subject {
	const char *user, *partition, *account, *job_name;
	const char *const *groups; /* names, NULL-terminated */
};

/* Returns the first condition that does not hold, or POLICY_CONDITION_COUNT if the rule matches. */
enum policy_condition policy_match(const struct policy *rule, const struct policy_subject *subject);

/* Says why a condition does not hold: "partition 'long' is none of short, debug-*". Returns `text`.
 */
#define POLICY_TEXT_MAX 256
const char *policy_explain(const struct policy *rule, const struct policy_subject *subject,
	enum policy_condition condition, char text[POLICY_TEXT_MAX]);

enum policy_outcome {
	POLICY_BARE,    /* on the node itself, without a VM */
	POLICY_IN_VM,   /* in a VM, made of `values` */
	POLICY_REFUSED, /* not at all, for `reason` */
};

/* Where a value of a decision comes from. */
enum policy_origin {
	POLICY_FROM_NOBODY, /* it has none: the job's allocation or the site's default counts */
	POLICY_FROM_JOB,
	POLICY_FROM_RULE,
	POLICY_FROM_BOTH, /* lists: the rule's, then the job's */
};

struct policy_decision {
	enum policy_outcome outcome;
	const struct policy *rule;   /* that matched; NULL: none did */
	struct policy_values values; /* of POLICY_IN_VM; owned */
	enum policy_origin origin[POLICY_KEY_COUNT];
	unsigned int overruled; /* bits: what the job asked for and the rule's lock took away */
	char reason[ERROR_TEXT_MAX];
};

/* Decides. `wants_vm`: the job asks for a VM, by naming an image or otherwise; `asked`: the values
 * of its flags. A rule's value counts where the job gives none or the rule locks the key; mounts
 * and environment are added up. Returns 0 or -ENOMEM. */
int policy_decide(const struct policies *policies, const struct policy_subject *subject,
	bool wants_vm, const struct policy_values *asked, struct policy_decision *ret,
	struct error *err);
void policy_decision_done(struct policy_decision *d);
