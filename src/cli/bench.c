/* wnodes bench: measures this machine, and VMs on it. */
#include "cli/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "bench/outcome.h"
#include "bench/plot.h"
#include "engine/settings.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"
#include "vm/qemu.h"

#define MIB              UINT64_C(1048576)
#define IMAGE_DEFAULT    "bench"
#define REPORT_BYTES_MAX (64 << 20)

struct bench_options {
	const char *image, *directory, *output, *compare;
	uint64_t cpus, memory, runs;
	struct verb_list only, places, gateways, networks;
	bool quick, json, verbose;
};

#define OPTION(name, letter, type, member, argument, help, ...)                                   \
	{                                                                                         \
		name, letter, type, offsetof(struct bench_options, member), argument, NULL, NULL, \
			help, __VA_ARGS__                                                         \
	}

static const struct verb_option options[] = {
	OPTION("quick", 'q', OPTION_FLAG, quick, NULL,
		"Small sizes: a few minutes instead of hours; good for a first look only"),
	OPTION("runs", 'n', OPTION_NUMBER, runs, "N",
		"Rounds, of which medians are shown; 3 by default", 1, RESULT_RUNS_MAX),
	OPTION("only", 'o', OPTION_LIST, only, "NAME[,NAME...]",
		"Measures these only: start, checksum, hep, hpcc, memory, disk, bonnie, gromacs, share, "
		"network"),
	OPTION("places", 'p', OPTION_LIST, places, "NAME[,NAME...]",
		"Where: bare (this host itself), boot (a VM that boots), clone (one from a template); all "
		"of them by default"),
	OPTION("gateways", 'g', OPTION_LIST, gateways, "NAME[,NAME...]",
		"Ways to share a directory; 9p, virtiofs, sshfs by default; none"),
	OPTION("networks", 0, OPTION_LIST, networks, "NAME=ADDRESS[,...]",
		"Networks of VMs, and this host's address in each; user by default; none"),
	OPTION("image", 'i', OPTION_STRING, image, "NAME[:TAG]",
		"Image with the programs, made from bench.recipe; bench by default"),
	OPTION("cpus", 'c', OPTION_NUMBER, cpus, "N", "CPUs of VMs; by default all of this host", 1,
		256),
	OPTION("memory", 'm', OPTION_SIZE, memory, "SIZE", "Memory of VMs; 2G by default", 64 * MIB,
		64 * MIB * MIB),
	OPTION("directory", 'd', OPTION_STRING, directory, "DIR",
		"Directory of this host that is measured as its disk, and shared; /var/tmp by default"),
	OPTION("output", 0, OPTION_STRING, output, "DIR",
		"Writes report.json, report.txt and a plot for each trial (SVG) there"),
	OPTION("compare", 0, OPTION_STRING, compare, "FILE",
		"Shows beside it what is in this report.json of before"),
	OPTION("json", 0, OPTION_FLAG, json, NULL, "Prints the report as JSON"),
	OPTION("verbose", 0, OPTION_FLAG, verbose, NULL, "Says what the programs print"),
	{.name = NULL},
};

/* Calls `take` for each word of "a,b,c" in a copy that lives as long as the process; "none" is no
 * word.
 */
static int each_word(const struct verb_list *list, const char *fallback,
	int (*take)(struct campaign *c, char *word, struct error *err), struct campaign *c,
	struct error *err)
{
	const char *const one[] = {fallback};
	const char *const *items = list->count ? (const char *const *)list->items : one;
	size_t count = list->count ? list->count : 1;
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		char *rest = strdup(items[i]), *word;

		while (r == 0 && (word = strsep(&rest, ",")))
			if (word[0] && !streq(word, "none"))
				r = take(c, word, err);
	}
	return r;
}

static int take_trial(struct campaign *c, char *word, struct error *err)
{
	const struct trial *t = trial_find(word);

	if (!t)
		return fail(err, -EINVAL,
			"'%s' is nothing that is measured; see wnodes bench --help", word);
	if (c->trial_count < CAMPAIGN_TRIALS_MAX)
		c->trials[c->trial_count++] = t;
	return 0;
}

static int add_place(struct campaign *c, const struct place *p, struct error *err)
{
	if (c->place_count == PLACES_MAX)
		return fail(err, -E2BIG, "more than %d places to measure in", PLACES_MAX);
	c->places[c->place_count++] = *p;
	return 0;
}

static int take_place(struct campaign *c, char *word, struct error *err)
{
	struct place p;
	int r = place_parse_local(word, &p, err);

	return r < 0 ? r : add_place(c, &p, err);
}

static int take_gateway(struct campaign *c, char *word, struct error *err)
{
	const struct place p = {PLACE_GATEWAY, word, NULL};

	return add_place(c, &p, err);
}

static int take_network(struct campaign *c, char *word, struct error *err)
{
	struct place p;
	int r = place_parse_network(word, &p, err);

	return r < 0 ? r : add_place(c, &p, err);
}

static int fill(struct campaign *c, const struct bench_options *o, struct error *err)
{
	int r = o->only.count ? each_word(&o->only, "", take_trial, c, err) : 0;

	for (const struct trial *t = trials; t->name && o->only.count == 0; t++)
		c->trials[c->trial_count++] = t;
	if (r == 0)
		r = each_word(&o->places, "bare,boot,clone", take_place, c, err);
	if (r == 0)
		r = each_word(&o->gateways, "9p,virtiofs,sshfs", take_gateway, c, err);
	if (r == 0)
		r = each_word(&o->networks, "user", take_network, c, err);
	c->quick = o->quick;
	c->verbose = o->verbose;
	c->runs = o->runs ? o->runs : 3;
	return r;
}

/* A disk for a file of twice the memory, and its file system. */
static void fill_vm(struct campaign *c, const struct bench_options *o)
{
	c->vm.image = o->image ? o->image : IMAGE_DEFAULT;
	c->vm.cpus = o->cpus ? o->cpus : (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
	c->vm.memory_mib = (o->memory ? o->memory : 2048 * MIB) / MIB;
	c->vm.scratch_bytes = (c->quick ? 1024 : c->vm.memory_mib * 3 + 1024) * MIB;
}

static void on_run(const struct trial *t, const struct place *p, uint64_t round, void *userdata)
{
	const struct campaign *c = userdata;

	if (isatty(STDERR_FILENO) || c->verbose)
		fprintf(stderr, "round %llu of %llu: %s, %s\n", (unsigned long long)round,
			(unsigned long long)c->runs, t->title, p->name);
}

static int write_plots(json_t *report, const char *directory, struct error *err)
{
	for (const struct trial *t = trials; t->name; t++) {
		autofree char *path = path_format("%s/%s.svg", directory, t->name);
		FILE *file = path ? fopen(path, "we") : NULL;
		size_t bars;

		if (!file)
			return fail_errno(err, -errno, "cannot write '%s'", path);
		bars = plot_write(report, t->name, file);
		if (fclose(file) != 0)
			return fail_errno(err, -errno, "cannot write '%s'", path);
		if (bars == 0)
			unlink(path);
	}
	return 0;
}

static int write_tables(json_t *report, const char *directory, struct error *err)
{
	autofree char *path = path_format("%s/report.txt", directory);
	FILE *file = path ? fopen(path, "we") : NULL;
	int r = file ? bench_print(report, file) : -errno;

	if (file && fclose(file) != 0)
		r = -errno;
	return r < 0 ? fail_errno(err, r, "cannot write '%s'", path) : 0;
}

static int write_output(json_t *report, const char *directory, struct error *err)
{
	autofree char *path = path_format("%s/report.json", directory);
	autofree char *text = json_dumps(report, JSON_INDENT(2));
	int r = path && text ? file_make_dirs(directory, 0755) : -ENOMEM;

	if (r == 0)
		r = file_replace(AT_FDCWD, path, text, strlen(text), 0644);
	if (r < 0)
		return fail_errno(err, r, "cannot write '%s'", path);
	r = write_tables(report, directory, err);
	return r < 0 ? r : write_plots(report, directory, err);
}

/* Before anything is measured: hours later would be late to hear of it. */
static int load_old(const char *path, json_t **ret, struct error *err)
{
	autofree char *text = NULL;
	json_error_t why;
	size_t length;
	int r;

	if (!path)
		return 0;
	r = file_read(AT_FDCWD, path, REPORT_BYTES_MAX, &text, &length);
	if (r < 0)
		return fail_errno(err, r, "cannot read the report '%s'", path);
	*ret = json_loadb(text, length, 0, &why);
	return *ret ? 0 : fail(err, -EINVAL, "'%s' is no report: %s", path, why.text);
}

static int finish(const struct bench_options *o, json_t *report, json_t *old, struct error *err)
{
	int r = report ? 0 : fail(err, -ENOMEM, "out of memory");

	if (r == 0 && old)
		r = outcome_check_comparable(old, report, err);
	if (r == 0 && old && outcome_compare(old, report) < 0)
		r = fail(err, -ENOMEM, "out of memory");
	/* What was measured is kept, also if it is like nothing before. */
	if (report && o->output && write_output(report, o->output, r < 0 ? NULL : err) < 0 &&
		r == 0)
		r = err->code;
	if (r < 0)
		return r;
	if (!o->json)
		return bench_print(report, stdout);
	r = json_dumpf(report, stdout, JSON_INDENT(2)) < 0 ? -EIO : 0;
	putchar('\n');
	return r;
}

static int measure(const struct bench_options *o, struct campaign *c, struct error *err)
{
	struct settings settings AUTO(settings_done) = {0};
	autofree char *directory = path_absolute(o->directory ? o->directory : "/var/tmp");
	autofree char *program = realpath("/proc/self/exe", NULL);
	json_t *old = NULL, *report = NULL;
	int r = settings_load(&settings, err);

	if (r == 0)
		r = fill(c, o, err);
	if (r == 0)
		r = load_old(o->compare, &old, err);
	if (r == 0 && (!directory || !program))
		r = fail(err, -ENOMEM, "out of memory");
	if (r == 0) {
		c->qemu = settings.qemu ? settings.qemu : QEMU_PROGRAM;
		c->vm.directory = directory;
		c->vm.program = program;
		fill_vm(c, o);
		r = campaign_run(c, err);
	}
	if (r == 0) {
		report = outcome_to_json(c);
		r = finish(o, report, old, err);
	}
	json_decref(report);
	json_decref(old);
	return r;
}

static int run_bench(const void *options_struct, int arg_count, const char *const *args)
{
	const struct bench_options *o = options_struct;
	autofree struct campaign *c = calloc(1, sizeof(*c));
	struct error err = {0};
	int r = c ? 0 : fail(&err, -ENOMEM, "out of memory");

	if (o->verbose)
		log_set("wnodes", LOG_LEVEL_INFO);
	if (r == 0) {
		c->on_run = on_run;
		c->userdata = c;
		r = measure(o, c, &err);
		campaign_done(c);
	}
	if (r >= 0)
		return EXIT_SUCCESS;
	log_error("%s", err.text[0] ? err.text : strerror(-r));
	return EXIT_WNODES;
}

const struct verb verb_bench = {
	.name = "bench",
	.synopsis = "[options]",
	.summary = "Measure what VMs cost on this machine",
	.about =
		"Runs the same programs on the host itself, in a VM that boots and in one that is cloned, "
		"through each gateway for shared directories and over each network, and prints tables; "
		"with --output also plots and JSON. The programs are Debian's: hpcc, fio, bonnie++, mbw, "
		"iperf3, sockperf, GROMACS; what is not installed is said, and left out. On the host they "
		"have to be installed as well for a comparison, in the same versions.\n"
		"\n"
		"Rounds go through all places in turn, so that what else the machine does meets all alike. "
		"Figures of other versions, other sizes or other machines are shown without a ratio, and "
		"reports of machines or VMs that are not alike are not compared.\n"
		"\n"
		"While networks are measured, iperf3 and sockperf listen on the loopback address, or on "
		"all addresses if a network of others is among them.",
	.examples =
		"# The image, once, and the same programs on the host\n"
		"wnodes image build --recipe /usr/share/doc/wnodes/examples/bench.recipe bench\n"
		"apt install fio bonnie++ mbw hpcc iperf3 sockperf gromacs python3\n"
		"# A first look, then all of it\n"
		"wnodes bench --quick --runs 1\n"
		"wnodes bench --output results\n"
		"# Only the disk, and the same after a change\n"
		"wnodes bench --only disk --output before\n"
		"wnodes bench --only disk --compare before/report.json\n",
	.options = options,
	.options_size = sizeof(struct bench_options),
	.max_args = 0,
	.run = run_bench,
};
