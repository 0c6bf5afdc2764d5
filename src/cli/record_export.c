/* wnodes record export: usage records for other programs. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "cli/record.h"
#include "cli/record_apel.h"
#include "cli/record_csv.h"
#include "cli/record_queue.h"
#include "cli/record_source.h"
#include "engine/settings.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lib/timestamp.h"

/* Of seconds, as in the records' own files. */
#define REAL_DIGITS 15

/* How many records that cannot be told to APEL are told one by one. */
#define REFUSALS_SHOWN 10

#define OUTPUT_MODE 0640

struct export_options {
	struct record_source source;
	const char *format, *output;
	const char *site_name, *benchmark, *benchmark_value;
};

static const struct verb_option options[] = {
	{"format", 0, OPTION_CHOICE, offsetof(struct export_options, format), "FORMAT",
		"csv|jsonl|apel-job|apel-cloud",
		.help = "csv (the default), jsonl (the records as they are, one a line), or messages "
			"for APEL: apel-job (individual jobs, v0.3), apel-cloud (virtual machines, "
			"v0.4)"},
	{"output", 'o', OPTION_STRING, offsetof(struct export_options, output), "FILE|DIR",
		.help = "Where to write instead of stdout: a file, which is replaced as a whole; for "
			"APEL a directory queue, from which ssmsend sends",
		.complete = "file"},
	RECORD_SOURCE_OPTIONS(struct export_options, source),
	{"site-name", 0, OPTION_STRING, offsetof(struct export_options, site_name), "NAME",
		.help = "Name of the site for APEL, instead of [record] site"},
	{"benchmark", 0, OPTION_CHOICE, offsetof(struct export_options, benchmark), "KIND",
		SETTINGS_BENCHMARKS, .help = "Benchmark for APEL, instead of [record] benchmark"},
	{"benchmark-value", 0, OPTION_STRING, offsetof(struct export_options, benchmark_value), "N",
		.help = "Speed of one CPU in it, instead of [record] benchmark_value"},
	{.name = NULL},
};

enum format { FORMAT_CSV, FORMAT_JSONL, FORMAT_APEL_JOB, FORMAT_APEL_CLOUD };

static const char *const format_names[] = {"csv", "jsonl", "apel-job", "apel-cloud"};

struct export
{
	const struct export_options *options;
	enum format format;
	enum record_apel_kind kind; /* of the last two */
	struct settings settings;
	struct record_apel_site site;
	uint64_t now_us;
	FILE *out;       /* stdout, the file, or the message that is being made */
	char *temporary; /* the file until it has its name; NULL: none */
	char *message;   /* its text, once it is flushed */
	size_t length;
	size_t in_message;                /* records */
	uint64_t told, refused, messages; /* to APEL */
	struct error *err;
};

static bool is_apel(const struct export *e)
{
	return e->format == FORMAT_APEL_JOB || e->format == FORMAT_APEL_CLOUD;
}

static bool is_queue(const struct export *e)
{
	return is_apel(e) && e->options->output;
}

static void export_done(struct export *e)
{
	if (e->out && e->out != stdout)
		fclose(e->out);
	if (e->temporary)
		unlink(e->temporary);
	free(e->temporary);
	free(e->message);
	settings_done(&e->settings);
}

static const char *first_of(const char *one, const char *other)
{
	return one ? one : other;
}

/* Makes NULL what is not known. */
static int export_know_benchmark(struct record_apel_site *site, struct error *err)
{
	const char *value = site->benchmark_value;

	if (settings_check_benchmark(value, err) < 0)
		return -EINVAL;
	if (strspn(value, "0.") == strlen(value))
		site->benchmark_value = NULL;
	if (streq(site->benchmark, "none"))
		site->benchmark = NULL;
	if (!site->benchmark != !site->benchmark_value)
		return fail(err, -EINVAL,
			"APEL takes a benchmark and its value, or neither: %s is missing",
			site->benchmark ? "the value" : "the benchmark");
	return 0;
}

/* What the messages say of the site. */
static int export_know_site(struct export *e, struct error *err)
{
	const struct export_options *o = e->options;
	const struct settings *s = &e->settings;
	int r = settings_load(&e->settings, err);

	if (r < 0)
		return r;
	e->site = (struct record_apel_site){
		.name = first_of(o->site_name, s->record_site),
		.submit_host = s->record_submit_host,
		.infrastructure = s->record_infrastructure,
		.infrastructure_type = s->record_infrastructure_type,
		.cloud_service = s->record_cloud_service,
		.benchmark = first_of(o->benchmark, s->record_benchmark),
		.benchmark_value = first_of(o->benchmark_value, s->record_benchmark_value),
	};
	if (!e->site.name || !*e->site.name)
		return fail(err, -EINVAL,
			"APEL takes no record without the name of its site: set [record] site in "
			"wnodes.conf, or give --site-name");
	return export_know_benchmark(&e->site, err);
}

/* A file that is to be replaced when it is whole; what is no file, /dev/null for example, is
 * written to. */
static int export_open_file(struct export *e, struct error *err)
{
	const char *path = e->options->output;
	struct stat st;
	bool exists = stat(path, &st) == 0;
	int fd;

	if (exists && S_ISDIR(st.st_mode))
		return fail(err, -EISDIR, "'%s' is a directory; give the name of a file", path);
	if (!exists || S_ISREG(st.st_mode))
		e->temporary = path_format("%s.%d.tmp", path, (int)getpid());
	fd = e->temporary ? open(e->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, OUTPUT_MODE)
			  : open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0) {
		int r = -errno;

		free(TAKE_PTR(e->temporary));
		return fail_errno(err, r, "cannot write '%s'", path);
	}
	e->out = fdopen(fd, "w");
	if (!e->out)
		close(fd);
	return e->out ? 0 : fail(err, -ENOMEM, "out of memory");
}

static int export_open(struct export *e, struct error *err)
{
	int r = is_apel(e) ? export_know_site(e, err) : 0;

	if (r < 0 || is_queue(e))
		return r;
	if (e->options->output)
		r = export_open_file(e, err);
	else
		e->out = stdout;
	if (r == 0 && e->format == FORMAT_CSV)
		record_csv_print_titles(e->out);
	return r;
}

/* Messages begin with their first record, so that none is empty. */
static int export_begin_message(struct export *e)
{
	if (e->in_message > 0)
		return 0;
	if (is_queue(e))
		e->out = open_memstream(&e->message, &e->length);
	if (!e->out)
		return -ENOMEM;
	fputs(record_apel_header(e->kind), e->out);
	return 0;
}

/* Puts the message into the queue. */
static int export_end_message(struct export *e, struct error *err)
{
	bool failed;
	int r;

	if (!is_queue(e) || e->in_message == 0)
		return 0;
	failed = fclose(TAKE_PTR(e->out)) != 0;
	r = failed ? fail(err, -ENOMEM, "out of memory")
		   : record_queue_add(e->options->output, e->message, e->length, err);
	free(TAKE_PTR(e->message));
	e->told += e->in_message;
	e->messages++;
	e->in_message = 0;
	return r;
}

static int export_add_apel(struct export *e, const json_t *record)
{
	struct error why = {0};

	if (record_apel_check(e->kind, record, e->now_us, &why) < 0) {
		if (e->refused++ < REFUSALS_SHOWN)
			log_warning("%s, passing over it", why.text);
		return 0;
	}
	if (export_begin_message(e) < 0)
		return -ENOMEM;
	record_apel_print(e->kind, record, &e->site, e->out);
	e->in_message++;
	return e->in_message == RECORD_APEL_MESSAGE_MAX ? export_end_message(e, e->err) : 0;
}

/* Takes `record`. */
static int export_add(json_t *record, void *userdata)
{
	struct export *e = userdata;
	int r = 0;

	if (is_apel(e))
		r = export_add_apel(e, record);
	else if (e->format == FORMAT_CSV)
		record_csv_print(record, e->out);
	else if (json_dumpf(record, e->out,
			 JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(REAL_DIGITS)) < 0)
		r = fail_errno(e->err, -EIO, "cannot write the records");
	else
		putc('\n', e->out);
	json_decref(record);
	return r;
}

static int export_close_file(struct export *e, struct error *err)
{
	const char *path = e->options->output;
	FILE *out = TAKE_PTR(e->out);
	int r = fflush(out) != 0 || ferror(out) ? -EIO : 0;

	if (r == 0 && e->temporary && fsync(fileno(out)) < 0)
		r = -errno;
	if (fclose(out) != 0 && r == 0)
		r = -errno;
	if (r == 0 && e->temporary && rename(e->temporary, path) < 0)
		r = -errno;
	if (r < 0)
		return fail_errno(err, r, "cannot write '%s'", path);
	free(TAKE_PTR(e->temporary));
	return 0;
}

static int export_close(struct export *e, struct error *err)
{
	if (is_queue(e))
		return export_end_message(e, err);
	return e->options->output ? export_close_file(e, err) : 0;
}

/* To who looks at the terminal; scripts have the status and the files. */
static void export_report(const struct export *e)
{
	if (e->refused > 0)
		log_warning(
			"%llu records could not be told to APEL", (unsigned long long)e->refused);
	if (is_queue(e))
		log_notice("%llu records in %llu messages are in '%s'; ssmsend sends them",
			(unsigned long long)e->told, (unsigned long long)e->messages,
			e->options->output);
}

static int export_run(struct export *e, struct error *err)
{
	int from_site = record_source_is_site(&e->options->source, true, err), r;

	if (from_site < 0)
		return from_site;
	e->err = err;
	r = export_open(e, err);
	if (r == 0)
		r = record_source_read(&e->options->source, from_site, export_add, e, err);
	return r < 0 ? r : export_close(e, err);
}

static int run_export(const void *options_struct, int arg_count, const char *const *args)
{
	const struct export_options *o = options_struct;
	struct export e AUTO(export_done) = {.options = o, .now_us = timestamp_now_us()};
	struct error err = {0};

	for (size_t i = 0; o->format && i < ARRAY_SIZE(format_names); i++)
		if (streq(o->format, format_names[i]))
			e.format = (enum format)i;
	e.kind = e.format == FORMAT_APEL_JOB ? RECORD_APEL_JOB : RECORD_APEL_CLOUD;
	if (export_run(&e, &err) < 0) {
		log_error("%s", err.text);
		return EXIT_WNODES;
	}
	export_report(&e);
	return EXIT_SUCCESS;
}

const struct verb verb_record_export = {
	.name = "record export",
	.synopsis = "[options]",
	.summary = "Write usage records for other programs, and for APEL",
	.about =
		"Writes the usage records of VMs, those of the site where wnodes.conf names its "
		"controllers, else those of this machine's files.\n"
		"\n"
		"CSV has a first line with the names of the columns; its lines end with a line feed "
		"alone, and texts are as users chose them, also those that begin with = + - or @, "
		"which a spreadsheet may take for formulas. What is not known is empty.\n"
		"\n"
		"For APEL, --output names a directory queue (/var/spool/apel/outgoing is the usual "
		"one), which gets messages of at most 1000 records, each written whole; to stdout "
		"goes one message. Records that APEL would not take are passed over and told. A "
		"record that is exported again replaces itself at APEL.",
	.examples = "wnodes record export --since 2026-11-01 --until 2026-12-01 -o november.csv\n"
		    "# For EGI's accounting, each day\n"
		    "wnodes record export --since 48h --format apel-cloud \\\n"
		    "    --output /var/spool/apel/outgoing\n"
		    "# From a file of another machine\n"
		    "wnodes record export --file records.jsonl.1 --format jsonl\n",
	.options = options,
	.options_size = sizeof(struct export_options),
	.run = run_export,
};
