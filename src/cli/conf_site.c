/* wnodes config show, set and edit: the settings that the site's controllers give to nodes. */
#include <errno.h>
#include <fcntl.h>

#include "cli/conf_editor.h"
#include "cli/site.h"
#include "cli/site_verb.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"

#define TEXT_MAX 262144

struct scope_options {
	bool json, site, joined;
	const char *group, *node;
};

#define SCOPE_OPTIONS                                                                          \
	{"site", 0, OPTION_FLAG, offsetof(struct scope_options, site),                         \
		.help = "That of all nodes; so it is without --group and --node"},             \
		{"group", 0, OPTION_STRING, offsetof(struct scope_options, group), "NAME",     \
			.help = "That of this host group, which holds over the site's",        \
			.complete = "group"},                                                  \
	{                                                                                      \
		"node", 0, OPTION_STRING, offsetof(struct scope_options, node), "NAME",        \
			.help = "That of this node, which holds over both", .complete = "node" \
	}

static const struct verb_option show_rows[] = {
	SCOPE_OPTIONS,
	{"joined", 0, OPTION_FLAG, offsetof(struct scope_options, joined),
		.help = "With --node: what the node has of all three, one text"},
	SITE_JSON_OPTION(struct scope_options),
	{.name = NULL},
};

static const struct verb_option rows[] = {
	SCOPE_OPTIONS,
	SITE_JSON_OPTION(struct scope_options),
	{.name = NULL},
};

/* "site", "group:gpu" or "node:wn017"; NULL after saying what is wrong. The caller frees. */
static char *scope_of(const struct scope_options *o)
{
	char *scope;

	if (o->site + (o->group != NULL) + (o->node != NULL) > 1) {
		log_error("--site, --group and --node exclude each other");
		return NULL;
	}
	scope = o->group  ? path_format("group:%s", o->group)
		: o->node ? path_format("node:%s", o->node)
			  : strdup("site");
	if (!scope)
		log_error("out of memory");
	return scope;
}

static int print_text(const struct scope_options *o, json_t *row)
{
	const char *text = json_string_value(json_object_get(row, "text"));
	size_t length = text ? strlen(text) : 0;

	if (o->json)
		return site_verb_tell(true, row, "%s", "");
	fputs(text ? text : "", stdout);
	if (length > 0 && text[length - 1] != '\n')
		putchar('\n');
	json_decref(row);
	return EXIT_SUCCESS;
}

static int run_show(const void *options, int arg_count, const char *const *args)
{
	const struct scope_options *o = options;
	struct site_path path AUTO(site_path_done) = {0};
	autofree char *scope = scope_of(o);
	struct error err = {0};
	json_t *row = NULL;
	int r;

	if (!scope)
		return EXIT_WNODES;
	if (o->joined && !o->node)
		return site_verb_fail("--joined needs --node, as each has another text");
	if (o->joined)
		site_path_init(&path, "nodes", o->node, "configuration", NULL);
	else
		site_path_init(&path, "configuration", scope, NULL);
	r = site_call_ask("GET", &path, NULL, NULL, &row, &err);
	if (r == -ENOENT && !o->joined)
		return site_verb_fail(
			"nothing is set for '%s', or you may not see it; `wnodes config "
			"edit` and `wnodes config set` store settings",
			scope);
	return r < 0 ? site_verb_fail("%s", err.text) : print_text(o, row);
}

static int tell_stored(const struct scope_options *o, const char *scope, json_t *answer)
{
	return site_verb_tell(o->json, answer,
		"the configuration of '%s' is stored; nodes take it with their next heartbeat",
		scope);
}

static int run_set(const void *options, int arg_count, const char *const *args)
{
	const struct scope_options *o = options;
	struct site_path path AUTO(site_path_done) = {0};
	const char *file = streq(args[0], "-") ? "/dev/stdin" : args[0];
	autofree char *scope = scope_of(o), *text = NULL;
	json_t *answer = NULL, *body;
	size_t length;
	int r = scope ? file_read(AT_FDCWD, file, TEXT_MAX, &text, &length) : 0, status;

	if (!scope)
		return EXIT_WNODES;
	if (r < 0)
		return site_verb_fail("cannot read '%s': %s", args[0], strerror(-r));
	body = json_pack("{s:s}", "text", text);
	if (!body)
		return site_verb_fail("'%s' is no text (UTF-8)", args[0]);
	site_path_init(&path, "configuration", scope, NULL);
	status = site_verb_change("PUT", &path, body, "*", &answer);
	return status ? status : tell_stored(o, scope, answer);
}

/* What is there now: the text, "" if there is none, and its revision, NULL if there is none. */
static int get_current(struct site_path *path, char **ret_text, char **ret_revision)
{
	struct error err = {0};
	json_t *row = NULL;
	const char *text;
	int r = site_call_ask("GET", path, NULL, NULL, &row, &err);

	if (r < 0 && r != -ENOENT)
		return site_verb_fail("%s", err.text);
	text = json_string_value(json_object_get(row, "text"));
	*ret_text = strdup(text ? text : "");
	if (r == 0)
		*ret_revision = path_format("%" JSON_INTEGER_FORMAT,
			json_integer_value(json_object_get(row, "revision")));
	json_decref(row);
	return !*ret_text || (r == 0 && !*ret_revision) ? site_verb_fail("out of memory")
							: EXIT_SUCCESS;
}

/* Edits and stores until it is taken, or given up. */
static int edit(const struct scope_options *o, const char *scope, struct site_path *path,
	struct conf_editor *editor, const char *revision)
{
	struct error err = {0};

	for (;;) {
		json_t *answer = NULL, *body;
		int r = conf_editor_run(editor, &err);

		if (r < 0)
			return site_verb_fail("%s", err.text);
		if (r == 0) {
			conf_editor_remove(editor);
			return site_verb_tell(false, NULL, "nothing was changed");
		}
		body = json_pack("{s:s}", "text", editor->text);
		r = body ? site_call_ask("PUT", path, body, revision, &answer, &err)
			 : fail(&err, -EINVAL, "that is no text (UTF-8)");
		json_decref(body);
		if (r == 0) {
			conf_editor_remove(editor);
			return tell_stored(o, scope, answer);
		}
		log_error("%s", err.text);
		if (r == -ESTALE || !conf_editor_ask(editor, "Edit it again?"))
			return site_verb_fail("your text is in %s", editor->path);
	}
}

static int run_edit(const void *options, int arg_count, const char *const *args)
{
	const struct scope_options *o = options;
	struct site_path path AUTO(site_path_done) = {0};
	struct conf_editor editor AUTO(conf_editor_done) = {0};
	autofree char *scope = scope_of(o), *text = NULL, *revision = NULL;
	struct error err = {0};
	int status;

	if (!scope)
		return EXIT_WNODES;
	site_path_init(&path, "configuration", scope, NULL);
	status = get_current(&path, &text, &revision);
	if (status)
		return status;
	if (conf_editor_init(&editor, text, &err) < 0)
		return site_verb_fail("%s", err.text);
	return edit(o, scope, &path, &editor, revision);
}

const struct verb verb_config_show = {
	.name = "config show",
	.synopsis = "[options]",
	.summary = "Show the settings that nodes get from the site",
	.about =
		"Nodes read settings that the site's controllers have for them: the site's, over them "
		"those of their host group, over them their own; what the node's own wnodes.conf says "
		"holds over all. Without a choice, the site's are shown.",
	.examples = "wnodes config show\n"
		    "wnodes config show --group gpu\n"
		    "# All that a node is given\n"
		    "wnodes config show --node wn017 --joined\n",
	.options = show_rows,
	.options_size = sizeof(struct scope_options),
	.run = run_show,
};

const struct verb verb_config_edit = {
	.name = "config edit",
	.synopsis = "[options]",
	.summary = "Change the settings that nodes get from the site",
	.about =
		"Opens the text in your editor ($VISUAL, $EDITOR, else vi), and stores it if it was "
		"changed. A text with a mistake is refused with its line, and may be edited again; so "
		"is one that somebody else has changed meanwhile. Nodes take it with their next "
		"heartbeat. A host group's is for its administrators, the site's for those of the "
		"site.",
	.examples = "wnodes config edit\n"
		    "wnodes config edit --node wn017\n",
	.options = rows,
	.options_size = sizeof(struct scope_options),
	.run = run_edit,
};

const struct verb verb_config_set = {
	.name = "config set",
	.synopsis = "[options] FILE",
	.summary = "Replace the settings that nodes get from the site",
	.about =
		"Stores the text of a file (- is stdin) in place of what is there, whoever has changed "
		"that. A text with a mistake is refused with its line.",
	.examples = "wnodes config set site.conf\n"
		    "printf '[node]\\nvms = 8\\n' | wnodes config set --group gpu -\n",
	.options = rows,
	.options_size = sizeof(struct scope_options),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "file",
	.run = run_set,
};
