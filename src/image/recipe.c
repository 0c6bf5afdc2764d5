/* What a recipe may have, as tables; recipe_parse.c reads it, recipe_check.c judges it. */
#include "image/recipe.h"

#include <errno.h>

#define GIB           (UINT64_C(1) << 30)
#define CHECK_TIME    "1m"
#define CHECK_MAX_US  (UINT64_C(3600) * 1000000)
#define CHECK_MIN_US  UINT64_C(1000000)
#define STATUS_MAX    255
#define SUITE_DEFAULT "bookworm"

#define IMAGE(section, key, type, member, ...)                                         \
	{                                                                              \
		section, key, type, offsetof(struct recipe_image, member), __VA_ARGS__ \
	}

const struct conf_setting recipe_image_table[] = {
	IMAGE("image", "suite", CONF_STRING, suite, SUITE_DEFAULT, .help = "Debian's release."),
	IMAGE("image", "mirror", CONF_STRINGS, mirrors, NULL,
		.help = "Where packages come from: a URL, or a whole line of sources.list. By "
			"default what the host uses for the suite, else deb.debian.org."),
	IMAGE("image", "packages", CONF_WORDS, packages, NULL,
		.help = "Packages beside those that every image has. May be repeated."),
	IMAGE("image", "size", CONF_SIZE, size, "10G", GIB, 8192 * GIB,
		.help = "Size of the root disk as the VM sees it."),
	IMAGE("image", "init", CONF_CHOICE, init, "wnodes", .choices = "wnodes|systemd",
		.help = "What starts as the first process: WNoDeS's own agent, or systemd."),
	IMAGE("image", "modules", CONF_WORDS, modules, NULL,
		.help = "Kernel modules that are loaded at each start. What a program or a mount "
			"asks for needs no line here."),
	IMAGE("image", "syslog", CONF_STRING, syslog, NULL,
		.help = "Where the VM's log goes as well, by rsyslog: tcp://HOST[:PORT] or "
			"udp://HOST[:PORT]. Needs init = systemd."),
	IMAGE("image", "script", CONF_STRING, script, NULL,
		.help = "File of a program or shell script that is run in the image at the end, "
			"as root."),
	IMAGE("image", "run", CONF_STRING, run, NULL,
		.help = "The same, as text in the recipe: lines that begin with '|'."),
	IMAGE("image", "run_base64", CONF_STRING, run_base64, NULL,
		.help = "The same, in base64: what a program of script becomes in the recipe that "
			"is kept with the image."),
	IMAGE("services", "enable", CONF_WORDS, enable, NULL,
		.help = "Units of systemd that are started at each boot. Needs init = systemd."),
	IMAGE("services", "disable", CONF_WORDS, disable, NULL,
		.help = "Units of systemd that are not. Needs init = systemd."),
	{.key = NULL},
};

static const struct conf_setting file_table[] = {
	{"file", "content", CONF_STRING, offsetof(struct recipe_file, content), NULL,
		.help = "What it has: a line, or lines that begin with '|'."},
	{"file", "source", CONF_STRING, offsetof(struct recipe_file, source), NULL,
		.help = "File of the host that it is a copy of; a relative path counts from the "
			"recipe's directory."},
	{"file", "base64", CONF_STRING, offsetof(struct recipe_file, base64), NULL,
		.help = "What it has, in base64: what a source that is no text becomes in the "
			"recipe that is kept with the image."},
	{"file", "mode", CONF_STRING, offsetof(struct recipe_file, mode), "0644",
		.help = "Its mode, in octal."},
	{"file", "owner", CONF_STRING, offsetof(struct recipe_file, owner), "root:root",
		.help = "USER[:GROUP] of the image, as names or numbers."},
	{.key = NULL},
};

static const struct conf_setting edit_table[] = {
	{"edit", "append", CONF_STRINGS, offsetof(struct recipe_edit, append), NULL,
		.help = "A line that is added at the end, unless the file has it. May be repeated."},
	{"edit", "replace", CONF_STRINGS, offsetof(struct recipe_edit, replace), NULL,
		.help = "/EXPRESSION/TEXT/[gI], as the s command of sed -E takes it: an extended "
			"regular expression, and what stands for it in each line that has it, "
			"which must be one at least. Another character may stand for '/'. May be "
			"repeated."},
	{.key = NULL},
};

static const struct conf_setting check_table[] = {
	{"check", "command", CONF_STRING, offsetof(struct recipe_check, command), NULL,
		.help = "What the shell runs, as root: a line, or lines that begin with '|'."},
	{"check", "status", CONF_NUMBER, offsetof(struct recipe_check, status), "0", 0, STATUS_MAX,
		.help = "The exit status that it must have."},
	{"check", "timeout", CONF_DURATION, offsetof(struct recipe_check, timeout), CHECK_TIME,
		CHECK_MIN_US, CHECK_MAX_US, .help = "When it has failed if it has not ended."},
	{.key = NULL},
};

static const struct conf_list lists[RECIPE_LISTS] = {
	[RECIPE_FILES] = {"file", file_table, sizeof(struct recipe_file),
		.help = "A file that is written, with its directories, in the place of what there "
			"is of that name."},
	[RECIPE_EDITS] = {"edit", edit_table, sizeof(struct recipe_edit),
		.help = "A file that is there when all packages are installed, and is changed. All "
			"[file ...] come first, then all [edit ...]."},
	[RECIPE_CHECKS] = {"check", check_table, sizeof(struct recipe_check),
		.help = "A command by which wnodes image check and wnodes image refresh try the "
			"image, in a VM."},
};

int recipe_new(struct recipe **ret, struct error *err)
{
	struct recipe *r AUTO(recipe_freep) = calloc(1, sizeof(*r));
	int e;

	if (!r)
		return fail(err, -ENOMEM, "out of memory");
	memcpy(r->lists, lists, sizeof(lists));
	e = conf_init(recipe_image_table, &r->image, err);
	if (e == 0)
		*ret = TAKE_PTR(r);
	return e;
}

struct recipe *recipe_free(struct recipe *r)
{
	if (!r)
		return NULL;
	conf_done(recipe_image_table, &r->image);
	for (size_t i = 0; i < RECIPE_LISTS; i++)
		conf_list_done(&r->lists[i]);
	free(r->origin);
	free(r->text);
	free(r);
	return NULL;
}

bool recipe_has(const struct recipe *r, const char *key)
{
	for (size_t i = 0; recipe_image_table[i].key; i++)
		if (streq(recipe_image_table[i].key, key))
			return r->given >> i & 1;
	return false;
}

void recipe_print_man(FILE *out)
{
	conf_print_man(recipe_image_table, out);
	for (size_t i = 0; i < RECIPE_LISTS; i++)
		conf_print_list_man(&lists[i], out);
}
