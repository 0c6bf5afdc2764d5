/* wnodes config: the settings, from the table that reads them. */
#include "cli/conf.h"

#include "config.h"
#include "engine/network.h"
#include "engine/policy.h"
#include "engine/sharing.h"
#include "image/recipe.h"

struct config_options {
	bool man, recipe_man;
};

static const struct verb_option options[] = {
	{"man", 0, OPTION_FLAG, offsetof(struct config_options, man),
		.help = "Prints the manual page wnodes.conf(5) instead"},
	{"recipe-man", 0, OPTION_FLAG, offsetof(struct config_options, recipe_man),
		.help = "Prints the manual page wnodes.recipe(5), on recipes of images, instead"},
	{.name = NULL},
};

static void print_man(FILE *out)
{
	fprintf(out,
		".TH WNODES.CONF 5 \"\" \"WNoDeS %s\" \"WNoDeS Manual\"\n"
		".SH NAME\n"
		"wnodes.conf \\- settings of wnodes\n"
		".SH DESCRIPTION\n"
		"Settings are read from %s/wnodes.conf and then from\n"
		"~/.config/wnodes/wnodes.conf, which wins; options of the command line win over\n"
		"both. Sections stand in brackets, a setting is a line\n"
		"\\fIkey\\fR = \\fIvalue\\fR, and # begins a comment. A key that does not exist is\n"
		"an error. Sections whose names begin with network, policy or share are only\n"
		"for the system's file.\n"
		".SH SETTINGS\n",
		WNODES_VERSION, WNODES_SYSCONFDIR);
	conf_print_man(settings_table, out);
	conf_print_list_man(&network_section, out);
	conf_print_list_man(&policy_section, out);
	conf_print_list_man(&share_section, out);
	fprintf(out, ".SH SEE ALSO\n.BR wnodes\\-run (1),\n.BR wnodes\\-policy\\-test (1)\n");
}

static void print_recipe_man(FILE *out)
{
	fprintf(out,
		".TH WNODES.RECIPE 5 \"\" \"WNoDeS %s\" \"WNoDeS Manual\"\n"
		".SH NAME\n"
		"wnodes.recipe \\- what an image of wnodes is made of\n"
		".SH DESCRIPTION\n"
		"A recipe says what an image has beyond its distribution. It is applied\n"
		"once, when the image is made, and kept with it. Sections stand in brackets, a\n"
		"value is a line \\fIkey\\fR = \\fIvalue\\fR, and # begins a comment. A line\n"
		"that begins with | adds a line to the value before it, as it stands behind the\n"
		"bar. Lists may be repeated. A key that does not exist is an error.\n"
		".SH SECTIONS\n",
		WNODES_VERSION);
	recipe_print_man(out);
	fprintf(out,
		".SH SEE ALSO\n.BR wnodes\\-image\\-build (1),\n.BR wnodes\\-image\\-check (1),\n"
		".BR wnodes\\-image\\-refresh (1),\n.BR wnodes\\-image\\-customize (1)\n");
}

static void print_example(FILE *out)
{
	conf_print_example(settings_table, out);
	conf_print_list_example(&network_section, out);
	conf_print_list_example(&policy_section, out);
	conf_print_list_example(&share_section, out);
}

static int run_config(const void *options_struct, int arg_count, const char *const *args)
{
	const struct config_options *o = options_struct;

	if (o->man)
		print_man(stdout);
	else if (o->recipe_man)
		print_recipe_man(stdout);
	else
		print_example(stdout);
	return EXIT_SUCCESS;
}

const struct verb verb_config = {
	.name = "config",
	.synopsis = "[options]",
	.summary = "Print a configuration file with all settings",
	.about =
		"Prints a commented configuration file in which every setting stands with its "
		"default, to be changed and put into ~/.config/wnodes/wnodes.conf or "
		"/etc/wnodes/wnodes.conf. The settings that nodes get from the site's controllers: "
		"wnodes config show, edit and set.",
	.examples = "wnodes config >~/.config/wnodes/wnodes.conf\n",
	.options = options,
	.options_size = sizeof(struct config_options),
	.args_complete = "=show|edit|set",
	.run = run_config,
};
