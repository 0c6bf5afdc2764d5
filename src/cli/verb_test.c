/* The real verbs are tested through the program; here is a table that has one of each. */
#include "cli/verb.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "lib/child.h"
#include "lib/file.h"
#include "lib/path.h"

#define PATIENCE_MS 20000

struct sample_options {
	const char *image, *network, *workdir;
	uint64_t cpus, memory, timeout;
	struct verb_list mounts;
	bool tty, timeout_given;
};

#define OPTION(name, letter, type, member, ...)                                                   \
	{                                                                                         \
		name, letter, OPTION_##type, offsetof(struct sample_options, member), __VA_ARGS__ \
	}

static const struct verb_option options[] = {
	OPTION("image", 'i', STRING, image, "NAME[:TAG]", NULL, "image",
		"Image to start from; see wnodes image list"),
	OPTION("cpus", 'c', NUMBER, cpus, "N", NULL, NULL, "Virtual CPUs", .min = 1, .max = 64),
	OPTION("memory", 'm', SIZE, memory, "SIZE", NULL, NULL, "Memory of the VM"),
	OPTION("timeout", 0, DURATION, timeout, "DURATION", NULL, NULL, "Time limit",
		.given = offsetof(struct sample_options, timeout_given)),
	OPTION("mount", 'v', LIST, mounts, "HOST[:GUEST][:ro]", NULL, "dir",
		"Shows the host directory HOST in the VM, at the same path or at GUEST. May be "
		"repeated. .dots and 'quotes' and back\\slashes stay what they are."),
	OPTION("network", 0, CHOICE, network, "KIND", "none|user", NULL, "Kind of network"),
	OPTION("workdir", 'w', STRING, workdir, "DIR", NULL, "dir", "Where to start"),
	OPTION("tty", 't', FLAG, tty, NULL, NULL, NULL, "Gives the command a terminal"),
	{.name = NULL},
};

/* What the last verb was run with. */
static struct {
	const struct verb *verb;
	struct sample_options options;
	int arg_count;
	char args[256];
} ran;

static int sample_run(const struct verb *verb, const void *o, int count, const char *const *args)
{
	memset(&ran, 0, sizeof(ran));
	ran.verb = verb;
	if (o)
		memcpy(&ran.options, o, sizeof(ran.options));
	ran.arg_count = count;
	for (int i = 0; i < count; i++)
		strcat(strcat(ran.args, i ? " " : ""), args[i]);
	return args[count] ? 1 : 42;
}

static const struct verb run_verb, exec_verb, build_verb, list_verb, import_verb;

static int run_run(const void *o, int count, const char *const *args)
{
	return sample_run(&run_verb, o, count, args);
}

static int exec_run(const void *o, int count, const char *const *args)
{
	return sample_run(&exec_verb, o, count, args);
}

static int build_run(const void *o, int count, const char *const *args)
{
	return sample_run(&build_verb, o, count, args);
}

static int list_run(const void *o, int count, const char *const *args)
{
	return sample_run(&list_verb, NULL, count, args);
}

static int import_run(const void *o, int count, const char *const *args)
{
	return sample_run(&import_verb, NULL, count, args);
}

static const struct verb run_verb = {
	.name = "run",
	.synopsis = "[options] -- COMMAND [ARG...]",
	.summary = "Run a command in a fresh VM",
	.about =
		"Starts a VM from an image, runs COMMAND in it as you, with your current directory "
		"and your home directory at their own paths, and ends the VM.\n"
		"\n"
		".second 'paragraph' with --options and a\\backslash.",
	.examples = "# A program of another system\n"
		    "wnodes run --image debian -- python3 analyse.py\n"
		    ".dotted command\n"
		    "# A shell\n"
		    "wnodes run --tty -- bash\n",
	.options = options,
	.options_size = sizeof(struct sample_options),
	.min_args = 1,
	.max_args = -1,
	.args_complete = "command",
	.run = run_run,
};
static const struct verb exec_verb = {
	.name = "vm exec",
	.synopsis = "[options] VM -- COMMAND [ARG...]",
	.summary = "Run a command in a VM that runs",
	.options = options,
	.options_size = sizeof(struct sample_options),
	.min_args = 2,
	.max_args = -1,
	.args_complete = "vm",
	.run = exec_run,
};
static const struct verb build_verb = {
	.name = "image build",
	.synopsis = "[options] RECIPE",
	.summary = "Build an image",
	.options = options,
	.options_size = sizeof(struct sample_options),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "file",
	.run = build_run,
};
static const struct verb list_verb = {
	.name = "image list",
	.synopsis = "[IMAGE...]",
	.summary = "List the images that are here",
	.max_args = -1,
	.args_complete = "image",
	.run = list_run,
};
static const struct verb import_verb = {
	.name = "import",
	.synopsis = "",
	.summary = "A verb without options and arguments",
	.run = import_run,
};

const struct verb *const verbs[] = {&run_verb, &build_verb, &list_verb, &exec_verb, &import_verb,
	&verb_help, &verb_completion, NULL};

#define WORDS_MAX 16

/* Splits at blanks; the array is NULL-terminated. */
static int split(char *line, const char **words)
{
	int n = 0;

	for (char *save, *w = strtok_r(line, " ", &save); w; w = strtok_r(NULL, " ", &save))
		words[n++] = w;
	words[n] = NULL;
	assert_true(n < WORDS_MAX);
	return n;
}

/* Runs "wnodes LINE" with stderr captured in `complaint`. */
static int dispatch(const char *line, char complaint[512])
{
	static char copy[512]; /* the verb's options point into it */
	const char *words[WORDS_MAX] = {"wnodes"};
	int file = file_open_temporary("/tmp"), saved = dup(2), status, count;
	ssize_t n;

	snprintf(copy, sizeof(copy), "%s", line);
	count = 1 + split(copy, words + 1);
	fflush(stderr);
	dup2(file, 2);
	status = verb_dispatch(count, words);
	fflush(stderr);
	dup2(saved, 2);
	n = pread(file, complaint, 511, 0);
	complaint[n > 0 ? n : 0] = '\0';
	close(saved);
	close(file);
	return status;
}

static void works(const char *line, const struct verb *verb, const char *args)
{
	char complaint[512];

	assert_int_equal(dispatch(line, complaint), 42);
	assert_string_equal(complaint, "");
	assert_ptr_equal(ran.verb, verb);
	assert_string_equal(ran.args, args);
}

static void fails(const char *line, const char *message)
{
	char complaint[512];

	ran.verb = NULL;
	assert_int_equal(dispatch(line, complaint), EXIT_WNODES);
	assert_string_equal(complaint, message);
	assert_null(ran.verb);
}

static void options_reach_the_verb(void **state)
{
	works("run -i el9:1 --cpus=4 --memory 2G --timeout 1h30m --network user -t -- a -b",
		&run_verb, "a -b");
	assert_string_equal(ran.options.image, "el9:1");
	assert_int_equal(ran.options.cpus, 4);
	assert_true(ran.options.memory == 2ull << 30);
	assert_true(ran.options.timeout == 5400000000);
	assert_string_equal(ran.options.network, "user");
	assert_true(ran.options.tty);
	works("run -tc4 x", &run_verb, "x");
	assert_true(ran.options.tty);
	assert_int_equal(ran.options.cpus, 4);
	works("run x", &run_verb, "x");
	assert_int_equal(ran.options.cpus, 0);
	assert_null(ran.options.image);
	works("import", &import_verb, "");
}

static void zero_is_told_from_an_option_that_is_not_given(void **state)
{
	works("run --timeout 0 x", &run_verb, "x");
	assert_true(ran.options.timeout_given);
	assert_true(ran.options.timeout == 0);
	works("run x", &run_verb, "x");
	assert_false(ran.options.timeout_given);
}

static void list_option_keeps_all_values_in_order(void **state)
{
	struct sample_options o = {0};
	const char *argv[] = {"--mount", "/a", "-v/b", "--mount=/c:ro", "--", "x", NULL};
	bool help;

	assert_int_equal(verb_parse(&run_verb, 6, argv, &o, &help, NULL), 5);
	assert_false(help);
	assert_int_equal(o.mounts.count, 3);
	assert_string_equal(o.mounts.items[0], "/a");
	assert_string_equal(o.mounts.items[1], "/b");
	assert_string_equal(o.mounts.items[2], "/c:ro");
	assert_null(o.mounts.items[3]);
	verb_release(&run_verb, &o);
	assert_null(o.mounts.items);
}

static void command_keeps_its_own_options_and_dashes(void **state)
{
	works("run ls -l --help", &run_verb, "ls -l --help");
	works("run -- ls -- x", &run_verb, "ls -- x");
	works("run ls -- x", &run_verb, "ls -- x");
	works("run -- -- x", &run_verb, "-- x");
	works("vm exec v1 -- ls --help", &exec_verb, "v1 ls --help");
	works("vm exec -t v1 -- ls -- x", &exec_verb, "v1 ls -- x");
	works("vm exec v1 ls -- x", &exec_verb, "v1 ls -- x");
	works("vm exec -- v1 -- ls", &exec_verb, "v1 ls");
	works("vm exec v1 -- -- ls", &exec_verb, "v1 -- ls");
}

static void options_may_follow_arguments_of_other_verbs(void **state)
{
	works("image build recipe --cpus 2", &build_verb, "recipe");
	assert_int_equal(ran.options.cpus, 2);
	works("image build --cpus 3 -- --recipe", &build_verb, "--recipe");
	works("image list a b c", &list_verb, "a b c");
}

static void mistakes_in_options_are_told(void **state)
{
	fails("run --memory 12Q -- x",
		"wnodes run: --memory: '12Q' is no size; write for example 512M or 2G\n");
	fails("run --cpus 65 x", "wnodes run: --cpus: '65' is no whole number from 1 to 64\n");
	fails("run -c 0 x", "wnodes run: --cpus: '0' is no whole number from 1 to 64\n");
	fails("run --network bridge x",
		"wnodes run: --network: 'bridge' is not one of none|user\n");
	fails("run --memry 2G x", "wnodes run: unknown option --memry; did you mean --memory?\n");
	fails("run --memry=2G x", "wnodes run: unknown option --memry; did you mean --memory?\n");
	fails("run --frobnicate x",
		"wnodes run: unknown option --frobnicate; see wnodes run --help\n");
	fails("run -tx y", "wnodes run: unknown option -x; see wnodes run --help\n");
	fails("run --tty=yes x", "wnodes run: --tty takes no value\n");
	fails("run --image", "wnodes run: --image needs a value: --image NAME[:TAG]\n");
	fails("run -i", "wnodes run: --image needs a value: --image NAME[:TAG]\n");
	fails("run --network", "wnodes run: --network needs a value: --network none|user\n");
	fails("image list --json",
		"wnodes image list: unknown option --json; see wnodes image list "
		"--help\n");
}

static void mistakes_in_arguments_are_told(void **state)
{
	fails("run", "wnodes run: too few arguments; write: wnodes run [options] -- COMMAND "
		     "[ARG...]\n");
	fails("run --", "wnodes run: too few arguments; write: wnodes run [options] -- COMMAND "
			"[ARG...]\n");
	fails("vm exec -t", "wnodes vm exec: too few arguments; write: wnodes vm exec [options] VM "
			    "-- COMMAND [ARG...]\n");
	fails("vm exec v1 --", "wnodes vm exec: too few arguments; write: wnodes vm exec [options] "
			       "VM -- COMMAND [ARG...]\n");
	fails("image build a b", "wnodes image build: unexpected argument 'b'; write: wnodes image "
				 "build [options] RECIPE\n");
	fails("import x", "wnodes import: unexpected argument 'x'; write: wnodes import\n");
}

static void unknown_verbs_are_told_with_the_nearest(void **state)
{
	char complaint[512];

	fails("rum x", "wnodes: unknown verb 'rum'; did you mean 'run'?\n");
	fails("image biuld", "wnodes: unknown verb 'image biuld'; did you mean 'image build'?\n");
	fails("image frobnicate",
		"wnodes: unknown verb 'image frobnicate'; see wnodes image --help\n");
	fails("frobnicate", "wnodes: unknown verb 'frobnicate'; see wnodes --help\n");
	fails("--frobnicate", "wnodes: unknown option --frobnicate; see wnodes --help\n");
	fails("help frobnicate", "wnodes: unknown verb 'frobnicate'; see wnodes --help\n");
	assert_int_equal(dispatch("", complaint), EXIT_WNODES);
	assert_non_null(strstr(complaint, "image build"));
	assert_int_equal(dispatch("image", complaint), EXIT_WNODES);
	assert_non_null(strstr(complaint, "image build"));
	assert_null(strstr(complaint, "vm exec"));
}

static void help_needs_no_arguments(void **state)
{
	struct sample_options o = {0};
	const char *argv[] = {"--help", NULL}, *letter[] = {"-t", "-h", NULL};
	bool help = false;

	assert_int_equal(verb_parse(&run_verb, 1, argv, &o, &help, NULL), 0);
	assert_true(help);
	assert_int_equal(verb_parse(&run_verb, 2, letter, &o, &help, NULL), 0);
	assert_true(help);
}

static void verb_of_two_words_is_found(void **state)
{
	const char *const argv[] = {"image", "build", "x", NULL};
	int words;

	assert_ptr_equal(verb_find(3, argv, &words), &build_verb);
	assert_int_equal(words, 2);
	assert_null(verb_find(1, argv, &words));
	assert_null(verb_find(0, argv, &words));
}

/* Prints into fresh memory. */
static void printed(void (*print)(const struct verb *, FILE *), const struct verb *verb, char **ret)
{
	size_t length = 0;
	FILE *out = open_memstream(ret, &length);

	assert_non_null(out);
	print(verb, out);
	fclose(out);
}

static void overview_print(const struct verb *verb, FILE *out)
{
	verb_print_overview(NULL, out);
}

static void overview_man_print(const struct verb *verb, FILE *out)
{
	verb_print_overview_man(out);
}

static void completion_print(const struct verb *verb, FILE *out)
{
	verb_print_completion(out);
}

static void lines_fit(const char *text)
{
	for (; *text; text += strcspn(text, "\n"), text += *text == '\n') {
		size_t n = strcspn(text, "\n");

		assert_true(n < 80);
		assert_true(n == 0 || text[n - 1] != ' ');
	}
}

static void help_fits_and_names_every_option(void **state)
{
	autofree char *overview = NULL;

	for (size_t i = 0; verbs[i]; i++) {
		autofree char *text = NULL;

		printed(verb_print_help, verbs[i], &text);
		lines_fit(text);
		assert_non_null(strstr(text, "--help"));
		for (const struct verb_option *o = verbs[i]->options; o && o->name; o++) {
			autofree char *name = path_format("--%s", o->name);

			assert_non_null(strstr(text, name));
		}
	}
	printed(overview_print, NULL, &overview);
	lines_fit(overview);
	for (size_t i = 0; verbs[i]; i++)
		assert_non_null(strstr(overview, verbs[i]->name));
}

static void help_shows_usage_first_paragraph_and_examples(void **state)
{
	autofree char *text = NULL;

	printed(verb_print_help, &run_verb, &text);
	assert_non_null(
		str_after(text, "Usage: wnodes run [options] -- COMMAND [ARG...]\n\nStarts"));
	assert_non_null(strstr(text, "\n  -i, --image NAME[:TAG]    Image to start from"));
	assert_non_null(strstr(text, "\n      --network none|user "));
	assert_non_null(strstr(text, "\n  wnodes run --tty -- bash\n"));
	assert_non_null(strstr(text, "man wnodes-run\n"));
	assert_null(strstr(text, "second"));
}

static int shell(const char *directory, const char *script, char **ret, struct error *err)
{
	const char *const argv[] = {"bash", "--norc", "-c", script, NULL};
	struct child_spec spec = CHILD_SPEC_INIT;

	spec.argv = argv;
	spec.workdir = directory;
	return child_output(&spec, PATIENCE_MS, 100000, ret, err);
}

static void lint(const char *page)
{
	char directory[] = "/tmp/wnodes-verb-test-XXXXXX";
	struct error err = {0};
	char *complaints = NULL;

	assert_non_null(mkdtemp(directory));
	assert_int_equal(chdir(directory), 0);
	assert_int_equal(file_replace(AT_FDCWD, "page.1", page, strlen(page), 0644), 0);
	/* The one thing not to be told of: a link to a page that is not installed. */
	if (shell(directory,
		    "{ command -v man >/dev/null && man --warnings -E UTF-8 -l -Z page.1 2>&1 "
		    ">/dev/null; command -v mandoc >/dev/null && mandoc -T lint -W style page.1; } | "
		    "grep -v 'referenced manual not found'; true",
		    &complaints, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(complaints, "");
	free(complaints);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(file_remove_tree(AT_FDCWD, directory), 0);
}

static void manual_pages_have_no_faults(void **state)
{
	autofree char *overview = NULL, *tools = NULL;

	if (shell("/", "command -v man mandoc || true", &tools, NULL) < 0 || !*tools)
		skip();
	for (size_t i = 0; verbs[i]; i++) {
		autofree char *page = NULL;

		printed(verb_print_man, verbs[i], &page);
		lint(page);
	}
	printed(overview_man_print, NULL, &overview);
	lint(overview);
}

static void manual_has_all_sections_and_is_reproducible(void **state)
{
	static const char *const sections[] = {"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS",
		"EXIT STATUS", "EXAMPLES", "SEE ALSO"};
	autofree char *page = NULL;
	const char *at;

	setenv("SOURCE_DATE_EPOCH", "1700000000", 1);
	printed(verb_print_man, &run_verb, &page);
	unsetenv("SOURCE_DATE_EPOCH");
	at = page;
	assert_non_null(str_after(page, ".TH WNODES\\-RUN 1 2023-11-14 "));
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
		autofree char *heading = path_format("\n.SH %s\n", sections[i]);

		at = strstr(at, heading);
		assert_non_null(at);
	}
	assert_non_null(strstr(page, "\nwnodes\\-run \\- Run a command in a fresh VM\n"));
	assert_non_null(strstr(page,
		"\\fBwnodes run\\fR [\\fIoptions\\fR] \\fB\\-\\-\\fR \\fICOMMAND\\fR [\\fIARG\\fR...]"));
	assert_non_null(strstr(page, "\n\\&.second \\(aqparagraph\\(aq"));
	assert_non_null(strstr(page, "\\fBwnodes\\-import\\fR(1)"));
}

/* A directory with the completion script, some files, and a `wnodes` that lists images and VMs. */
static char completion_dir[] = "/tmp/wnodes-completion-test-XXXXXX";

static int completion_setup(void **state)
{
	static const char fake[] =
		"#!/bin/sh\n"
		"case \"$*\" in\n"
		"'image list --quiet') printf 'debian:latest\\nel9:1\\nel9:2\\n';;\n"
		"'vm list --quiet') printf 'vm-one\\nvm-two\\n';;\n"
		"*) exit 1;;\n"
		"esac\n";
	autofree char *script = NULL;

	printed(completion_print, NULL, &script);
	if (!mkdtemp(completion_dir) || chdir(completion_dir) < 0)
		return -1;
	return file_replace(AT_FDCWD, "wnodes", fake, sizeof(fake) - 1, 0755) < 0 ||
	       file_replace(AT_FDCWD, "script", script, strlen(script), 0644) < 0 ||
	       file_make_dirs("some dir", 0755) < 0 ||
	       file_replace(AT_FDCWD, "some file", "", 0, 0644) < 0 || chdir("/") < 0;
}

static int completion_teardown(void **state)
{
	return file_remove_tree(AT_FDCWD, completion_dir);
}

/* What bash offers, sorted and joined by blanks, when the line up to the cursor is "./wnodes LINE".
 * The words are split as readline does, by COMP_WORDBREAKS; bash shows only what is behind the last
 * break, so that is what it is offered. */
static const char driver[] = ". ./script\n"
			     "complete -p wnodes >/dev/null || exit 9\n"
			     "COMP_POINT=$((9 + ${#1})) COMP_WORDS=()\n"
			     "COMP_LINE=\"./wnodes $1\"\n"
			     "rest=$COMP_LINE\n"
			     "while [[ $rest ]]; do\n"
			     "  case $rest in\n"
			     "  ' '*) rest=${rest# };;\n"
			     "  [=:]*) COMP_WORDS+=(\"${rest:0:1}\"); rest=${rest:1};;\n"
			     "  *) w=${rest%%[ =:]*}; COMP_WORDS+=(\"$w\"); rest=${rest#\"$w\"};;\n"
			     "  esac\n"
			     "done\n"
			     "[[ $COMP_LINE == *[\\ =:] ]] && COMP_WORDS+=('')\n"
			     "COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
			     "_wnodes\n"
			     "printf '%s\\n' \"${COMPREPLY[@]}\" | sort -u | paste -sd,\n";

static void offers(const char *line, const char *expected)
{
	autofree char *text = NULL;
	const char *const argv[] = {"bash", "--norc", "-c", driver, "bash", line, NULL};
	struct child_spec spec = CHILD_SPEC_INIT;
	struct error err = {0};

	spec.argv = argv;
	spec.workdir = completion_dir;
	if (child_output(&spec, PATIENCE_MS, 1000000, &text, &err) < 0)
		fail_msg("%s", err.text);
	text[strcspn(text, "\n")] = '\0';
	if (!streq(text, expected))
		fail_msg("'wnodes %s' offers '%s' instead of '%s'", line, text, expected);
}

static void completion_offers_verbs(void **state)
{
	offers("", "completion,help,image,import,run,vm");
	offers("im", "image,import");
	offers("-", "--help,--version");
	offers("image ", "build,list");
	offers("image b", "build");
	offers("vm ", "exec");
	offers("help image ", "build,list");
	offers("help r", "run");
	offers("frobnicate ", "");
}

static void completion_offers_options_and_their_values(void **state)
{
	offers("run --",
		"--cpus,--help,--image,--memory,--mount,--network,--timeout,--tty,--workdir");
	offers("run --m", "--memory,--mount");
	offers("run --network ", "none,user");
	offers("run --network=u", "user");
	offers("run --cpus ", "");
	offers("image build --i", "--image");
	offers("image list --", "--help");
}

static void completion_offers_images_and_vms(void **state)
{
	offers("run --image ", "debian:latest,el9:1,el9:2");
	offers("run -i d", "debian:latest");
	offers("run -ti d", "debian:latest");
	offers("run --image el9:", "1,2");
	offers("run --image=el9:2", "2");
	offers("image list e", "el9:1,el9:2");
	offers("vm exec ", "vm-one,vm-two");
	offers("vm exec --tty vm-t", "vm-two");
	offers("vm exec -i debian:latest vm-", "vm-one,vm-two");
}

static void completion_offers_files_directories_and_commands(void **state)
{
	offers("image build so", "some dir,some file");
	offers("run --workdir so", "some dir");
	offers("run -- mkfif", "mkfifo");
	offers("run mkfif", "mkfifo");
	offers("run --tty -- mkfif", "mkfifo");
	offers("run -- cat so", "some dir,some file");
	offers("run -- cat --image ", "script,some dir,some file,wnodes");
	offers("vm exec vm-one ", "--");
	offers("vm exec vm-one -- mkfif", "mkfifo");
	offers("vm exec vm-one -- cat so", "some dir,some file");
}

static void options_as_words_are_read_back_the_same(void **state)
{
	static const char *const lines[][12] = {
		{NULL},
		{"--image=it's", "--cpus=7", "--memory=1.5G", "--mount", "/a b:/c:ro", "-v", "",
			NULL},
		{"-t", "--timeout=1h0.000001s", "--network", "none", "--workdir=", NULL},
		{"--timeout", "0", NULL},
		{"--timeout=99999h", "--memory=16383P", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct sample_options first = {0}, second = {0};
		struct strv words AUTO(strv_done) = {0};
		struct error err = {0};
		const char *copy[12];
		int n = 0;
		bool help;

		for (; lines[i][n]; n++)
			copy[n] = lines[i][n];
		copy[n] = "x";
		copy[n + 1] = NULL;
		/* Some of these are not allowed at all. */
		if (verb_parse(&run_verb, n + 1, copy, &first, &help, &err) >= 0) {
			assert_int_equal(verb_unparse(options, &first, &words), 0);
			strv_add(&words, "x");
			if (verb_parse(&run_verb, (int)words.count,
				    (const char **)(uintptr_t)words.items, &second, &help,
				    &err) < 0)
				fail_msg("%s", err.text);
			assert_int_equal(first.mounts.count, second.mounts.count);
			for (size_t m = 0; m < first.mounts.count; m++)
				assert_string_equal(first.mounts.items[m], second.mounts.items[m]);
			assert_int_equal(first.cpus, second.cpus);
			assert_int_equal(first.memory, second.memory);
			assert_int_equal(first.timeout, second.timeout);
			assert_int_equal(first.timeout_given, second.timeout_given);
			assert_int_equal(first.tty, second.tty);
			assert_int_equal(!first.image, !second.image);
			assert_int_equal(!first.workdir, !second.workdir);
			if (first.image)
				assert_string_equal(first.image, second.image);
			verb_release(&run_verb, &second);
		} else {
			assert_int_equal(i, 4);
		}
		verb_release(&run_verb, &first);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_as_words_are_read_back_the_same),
		cmocka_unit_test(options_reach_the_verb),
		cmocka_unit_test(zero_is_told_from_an_option_that_is_not_given),
		cmocka_unit_test(list_option_keeps_all_values_in_order),
		cmocka_unit_test(command_keeps_its_own_options_and_dashes),
		cmocka_unit_test(options_may_follow_arguments_of_other_verbs),
		cmocka_unit_test(mistakes_in_options_are_told),
		cmocka_unit_test(mistakes_in_arguments_are_told),
		cmocka_unit_test(unknown_verbs_are_told_with_the_nearest),
		cmocka_unit_test(help_needs_no_arguments),
		cmocka_unit_test(verb_of_two_words_is_found),
		cmocka_unit_test(help_fits_and_names_every_option),
		cmocka_unit_test(help_shows_usage_first_paragraph_and_examples),
		cmocka_unit_test(manual_pages_have_no_faults),
		cmocka_unit_test(manual_has_all_sections_and_is_reproducible),
		cmocka_unit_test(completion_offers_verbs),
		cmocka_unit_test(completion_offers_options_and_their_values),
		cmocka_unit_test(completion_offers_images_and_vms),
		cmocka_unit_test(completion_offers_files_directories_and_commands),
	};
	return cmocka_run_group_tests(tests, completion_setup, completion_teardown);
}
