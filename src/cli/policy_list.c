/* wnodes policy list: the site's rules, in the order in which they are looked at. */
#include <errno.h>
#include <stdio.h>

#include "cli/policy.h"
#include "cli/table.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lib/strv.h"

struct list_options {
	const char *file;
	bool json, quiet;
};

static const struct verb_option options[] = {
	{"file", 0, OPTION_STRING, offsetof(struct list_options, file), .argument = "FILE",
		.complete = "file",
		.help = "Reads this file instead of the system's, for example one that is to "
			"become it"},
	{"json", 0, OPTION_FLAG, offsetof(struct list_options, json), .help = "Prints JSON"},
	{"quiet", 'q', OPTION_FLAG, offsetof(struct list_options, quiet),
		.help = "Prints the names only, a line each"},
	{.name = NULL},
};

static const struct table_column columns[] = {
	{"name", "POLICY", TABLE_TEXT},
	{"line", "LINE", TABLE_NUMBER},
	{"conditions_text", "FOR", TABLE_TEXT},
	{"vm", "VM", TABLE_TEXT},
	{"values_text", "WITH", TABLE_TEXT},
	{.key = NULL},
};

static const char *const condition_keys[] = {
	[POLICY_PARTITION] = "partition",
	[POLICY_ACCOUNT] = "account",
	[POLICY_GROUP] = "group",
	[POLICY_USER] = "user",
	[POLICY_JOB_NAME] = "job-name",
};

/* Adds "partition=a,b" for each list, and the lists to `object`. */
static void fill_conditions(const struct policy *rule, json_t *object, struct strv *text)
{
	for (int i = 0; i < POLICY_JOB_NAME; i++) {
		char **list = rule->lists[i];

		if (!list[0])
			continue;
		json_object_set_new(
			object, condition_keys[i], json_from_strings((const char *const *)list));
		for (size_t n = 0; list[n]; n++)
			strv_add_format(text, "%s=%s", condition_keys[i], list[n]);
	}
	if (rule->job_name) {
		json_object_set_new(object, condition_keys[POLICY_JOB_NAME],
			json_string(pattern_text(rule->job_name)));
		strv_add_format(text, "%s=%s", condition_keys[POLICY_JOB_NAME],
			pattern_text(rule->job_name));
	}
}

static void fill_values(const struct policy *rule, struct strv *text)
{
	for (int key = 0; key < POLICY_KEY_COUNT; key++) {
		autofree char *value = policy_has(&rule->values, key)
					       ? policy_value_to_text(&rule->values, key)
					       : NULL;

		if (value)
			strv_add_format(text, "%s=%s%s", policy_key_name(key), value,
				rule->locked & (1u << key) ? " (locked)" : "");
	}
	if (rule->message)
		strv_add_format(text, "message=%s", rule->message);
}

static json_t *joined(const struct strv *v)
{
	json_t *list = v->count ? json_from_strings(strv_list(v)) : json_string("-");

	return list;
}

static json_t *policy_row(const struct policy *rule)
{
	struct strv conditions AUTO(strv_done) = {0}, values AUTO(strv_done) = {0};
	json_t *when = json_object(), *with = json_object();
	json_t *row = json_pack("{s:s, s:i, s:s, s:o, s:o, s:o}", "name", rule->name, "line",
		rule->line, "vm", rule->vm_word, "conditions", when, "values", with, "locked",
		json_from_strings((const char *const *)rule->locked_words));

	if (!row)
		return NULL;
	fill_conditions(rule, when, &conditions);
	policy_values_to_json(&rule->values, with);
	fill_values(rule, &values);
	if (rule->message)
		json_object_set_new(row, "message", json_string(rule->message));
	json_object_set_new(row, "conditions_text", joined(&conditions));
	json_object_set_new(row, "values_text", joined(&values));
	return row;
}

static int fill_table(const struct list_options *o, struct table *table, struct error *err)
{
	struct settings settings AUTO(settings_done) = {0};
	struct policies policies AUTO(policies_done) = {policy_section};
	int r = policy_read(o->file, &policies, &settings, err);

	for (size_t i = 0; i < policies_count(&policies) && r == 0; i++)
		r = table_add(table, policy_row(policies_get(&policies, i)));
	return r;
}

static int run_list(const void *options_struct, int arg_count, const char *const *args)
{
	const struct list_options *o = options_struct;
	struct table *table AUTO(table_freep) = table_new(columns);
	struct error err = {.text = "out of memory"};
	int r = table ? fill_table(o, table, &err) : -ENOMEM;

	if (r >= 0 && o->quiet)
		table_print_member(table, "name", stdout);
	else if (r >= 0)
		r = o->json ? table_print_json(table, stdout) : table_print(table, stdout);
	if (r < 0)
		log_error("%s", err.text);
	return r < 0 ? EXIT_WNODES : EXIT_SUCCESS;
}

const struct verb verb_policy_list = {
	.name = "policy list",
	.synopsis = "[options]",
	.summary = "List the site's policies for batch jobs",
	.about = "Lists the rules by which a job of the batch system gets a VM, or gets none: the "
		 "sections [policy NAME] of the system's wnodes.conf, in the order in which they "
		 "are looked at. The first that fits a job decides; wnodes policy test says which "
		 "that is.",
	.examples = "wnodes policy list\n"
		    "# Rules that are not in force yet\n"
		    "wnodes policy list --file ./wnodes.conf\n",
	.options = options,
	.options_size = sizeof(struct list_options),
	.run = run_list,
};
