/* One script does all of it in one VM. On its standard output it has lines
 *
 *   check NAME             the recipe's command NAME begins
 *   policy NAME            a look at what every image must be begins
 *   ok | failed WHY        how it ended
 *   package NAME VERSION
 *   end
 *
 * and everything else goes to the log. */
#include "engine/imagecheck.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

#include "engine/errand.h"
#include "image/recipe.h"
#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/path.h"
#include "lib/printable.h"

/* What a guest may say, in a file that cannot grow. */
#define OUTPUT_MAX   (4 * 1024 * 1024)
#define RESULTS_MAX  1024
#define PACKAGES_MAX 65536

/* For the looks, and beside each check's own time. */
#define CHECK_TIME_US UINT64_C(300000000)

static const char prologue[] =
	"exec 3>&1 >&2\n"
	"run() {\n"
	"	echo \"check $1\" >&3\n"
	"	echo \"wnodes: check $1\"\n"
	"	timeout -k 10 \"$3\" sh -c \"$4\" </dev/null 3>&-\n"
	"	status=$?\n"
	"	if [ $status -eq \"$2\" ]; then echo ok >&3\n"
	"	elif [ $status -eq 124 ]; then echo \"failed it did not end within $3 s\" >&3\n"
	"	else echo \"failed exit status $status instead of $2\" >&3; fi\n"
	"}\n";

/* What HEPiX's policy for images wants of those who endorse them: whoever gets the image must not
 * get into others' machines by it, and it must tell what is installed. A host key is found by its
 * time: one of this very VM is newer than its start. */
static const char epilogue[] =
	"policy() {\n"
	"	echo \"policy $1\" >&3\n"
	"	found=$(tr '\\n' ' ')\n"
	"	if [ -z \"$found\" ]; then echo ok >&3; else echo \"failed $2: $found\" >&3; fi\n"
	"}\n"
	"started=$(sed -n 's/^btime //p' /proc/stat)\n"
	"find /root /home /etc/ssh /var/lib -xdev -type f -name 'authorized_keys*' -size +0 "
	"2>/dev/null | policy authorized-keys 'keys that let someone in'\n"
	"for f in /etc/passwd /etc/shadow; do\n"
	"	awk -F: '$2 ~ /[$_]/ || $2 ~ /^[A-Za-z0-9.\\/]{13}$/ || $2 == \"\" { print $1 }' $f\n"
	"done 2>/dev/null | policy passwords 'accounts with a password, or that need none'\n"
	"find /etc/ssh -type f -name 'ssh_host_*_key' -size +0 ! -newermt \"@$started\" "
	"2>/dev/null | policy host-keys 'keys of a host'\n"
	"if command -v dpkg-query >/dev/null; then\n"
	"	dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\\n' |\n"
	"		sed -n 's/^ii *\\([^ ]* [^ ]*\\)$/package \\1/p' >/tmp/wnodes-packages\n"
	"elif command -v rpm >/dev/null; then\n"
	"	rpm -qa --qf 'package %{NAME} %{VERSION}-%{RELEASE}\\n' >/tmp/wnodes-packages\n"
	"fi\n"
	"{ [ -s /tmp/wnodes-packages ] || echo none; } | policy package-list 'no list of packages'\n"
	"cat /tmp/wnodes-packages >&3 2>/dev/null\n"
	"echo end >&3\n";

static int append(struct buffer *b, const char *text)
{
	return buffer_append(b, text, strlen(text));
}

static int append_quoted(struct buffer *b, const char *text)
{
	int r = append(b, " '");

	while (r == 0 && *text) {
		size_t n = strcspn(text, "'");

		r = buffer_append(b, text, n);
		text += n;
		if (r == 0 && *text)
			r = append(b, "'\\''");
		text += *text != '\0';
	}
	return r < 0 ? r : append(b, "'");
}

static int add_checks(struct buffer *b, const struct recipe *recipe)
{
	const struct conf_list *list = &recipe->lists[RECIPE_CHECKS];
	int r = 0;

	for (size_t i = 0; i < list->count && r == 0; i++) {
		const struct recipe_check *c = list->items[i].settings;
		autofree char *numbers = path_format(" %llu %llu", (unsigned long long)c->status,
			(unsigned long long)(c->timeout / 1000000));

		r = append(b, "run");
		if (r == 0)
			r = append_quoted(b, list->items[i].name);
		if (r == 0)
			r = numbers ? append(b, numbers) : -ENOMEM;
		if (r == 0)
			r = append_quoted(b, c->command);
		if (r == 0)
			r = append(b, "\n");
	}
	return r;
}

static int parse_recipe(const char *text, struct recipe **ret, struct error *err)
{
	text = text ? text : "";
	return recipe_parse(text, strlen(text), "the image's recipe", NULL, ret, err);
}

char *imagecheck_script(const char *recipe, struct error *err)
{
	struct recipe *parsed AUTO(recipe_freep) = NULL;
	struct buffer text AUTO(buffer_done) = {0};
	int r = parse_recipe(recipe, &parsed, err);

	if (r < 0)
		return NULL;
	r = append(&text, prologue);
	if (r == 0)
		r = add_checks(&text, parsed);
	if (r == 0)
		r = append(&text, epilogue);
	if (r == 0)
		r = buffer_append(&text, "", 1);
	if (r < 0) {
		fail(err, r, "out of memory");
		return NULL;
	}
	return strdup((const char *)buffer_head(&text));
}

static uint64_t time_needed(const char *text)
{
	struct recipe *recipe AUTO(recipe_freep) = NULL;
	uint64_t sum = CHECK_TIME_US;

	if (parse_recipe(text, &recipe, NULL) < 0)
		return sum;
	for (size_t i = 0; i < recipe->lists[RECIPE_CHECKS].count; i++) {
		const struct recipe_check *c = recipe->lists[RECIPE_CHECKS].items[i].settings;

		sum += c->timeout;
	}
	return sum;
}

static int add_result(struct imagecheck *c, const char *name, bool is_policy)
{
	struct imagecheck_result *grown;

	if (c->count == RESULTS_MAX)
		return -EPROTO;
	grown = reallocarray(c->results, c->count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	c->results = grown;
	grown[c->count] = (struct imagecheck_result){
		.name = strdup(name), .is_policy = is_policy, .why = strdup("it did not end")};
	c->count++;
	c->failures++;
	return grown[c->count - 1].name && grown[c->count - 1].why ? 0 : -ENOMEM;
}

static int end_result(struct imagecheck *c, bool passed, const char *why)
{
	struct imagecheck_result *last = c->count > 0 ? &c->results[c->count - 1] : NULL;

	if (!last || last->passed)
		return -EPROTO;
	free(last->why);
	last->why = strdup(why);
	last->passed = passed;
	c->failures -= passed;
	return last->why ? 0 : -ENOMEM;
}

/* Returns 1 for the last line. */
static int parse_line(struct imagecheck *c, char *line)
{
	const char *rest;

	printable_make_line(line, strlen(line));
	if ((rest = str_after(line, "check ")))
		return add_result(c, rest, false);
	if ((rest = str_after(line, "policy ")))
		return add_result(c, rest, true);
	if ((rest = str_after(line, "failed ")))
		return end_result(c, false, rest);
	if (streq(line, "ok"))
		return end_result(c, true, "");
	if ((rest = str_after(line, "package "))) {
		if (c->packages.count == PACKAGES_MAX)
			return -EPROTO;
		strv_add(&c->packages, rest);
		return c->packages.failed ? -ENOMEM : 0;
	}
	return streq(line, "end") ? 1 : -EPROTO;
}

int imagecheck_parse(char *text, struct imagecheck *ret, struct error *err)
{
	char *save = NULL;
	int r = 0;

	for (char *line = strtok_r(text, "\n", &save); line && r == 0;
		line = strtok_r(NULL, "\n", &save))
		r = parse_line(ret, line);
	if (r == -ENOMEM)
		return fail(err, r, "out of memory");
	return r == 1 ? 0
		      : fail(err, -EPROTO,
				"the image's checks did not come to their end in the VM");
}

/* A file of a fixed size, so that a guest cannot fill our memory. */
static int open_output(struct error *err)
{
	autoclose int fd = memfd_create("checks", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, OUTPUT_MAX) < 0 ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) < 0)
		return fail_errno(err, -errno, "cannot make a file in memory");
	return TAKE_FD(fd);
}

static int read_output(int fd, struct imagecheck *ret, struct error *err)
{
	autofree char *text = calloc(1, OUTPUT_MAX + 1);
	ssize_t n = text ? pread(fd, text, OUTPUT_MAX, 0) : -1;

	if (n < 0)
		return fail(err, -ENOMEM, "out of memory");
	return imagecheck_parse(text, ret, err);
}

int imagecheck_run(const struct imagecheck_parts *parts, const struct settings *settings,
	int log_fd, struct imagecheck *ret, struct error *err)
{
	const struct request_parts given = {.manifest = parts->manifest,
		.disk_fd = parts->disk_fd,
		.kernel_fd = parts->kernel_fd,
		.initrd_fd = parts->initrd_fd};
	autofree char *script = imagecheck_script(parts->manifest->recipe, err);
	autoclose int output = script ? open_output(err) : -1;
	struct errand errand = {
		.image = parts->image,
		.settings = settings,
		.parts = &given,
		.streams = {-1, output, log_fd},
		.script = script,
		.network = VM_NETWORK_USER,
		.timeout_us = time_needed(parts->manifest->recipe),
	};
	int r;

	if (output < 0)
		return err->code;
	r = errand_run(&errand, err);
	if (r < 0)
		return r;
	return read_output(output, ret, err);
}

void imagecheck_done(struct imagecheck *c)
{
	for (size_t i = 0; i < c->count; i++) {
		free(c->results[i].name);
		free(c->results[i].why);
	}
	free(c->results);
	strv_done(&c->packages);
	*c = (struct imagecheck){0};
}
