#include "image/recipe_script.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>

#include "image/runner.h"
#include "lib/path.h"

#define BASE64_LINE_DATA 54
#define HERE_END         "WNODES_END"

/* A file is made beside the old one and renamed, so that a link is replaced, not followed. What
 * `replace` changes is found by sed itself: its branch is taken if any line has the expression. */
static const char prologue[] =
	"#!/bin/sh\n"
	"# What a recipe of wnodes says, in this order: files, edits, log, modules, services, script.\n"
	"export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C\n"
	"umask 022\n"
	"begin() {\n"
	"	what=$1\n"
	"	echo '" RUNNER_BEGIN "'\"$what\"\n"
	"}\n"
	"die() {\n"
	"	printf '\\n" RUNNER_FAILED "%s: %s\\n' \"$what\" \"$1\"\n"
	"	exit 1\n"
	"}\n"
	"write() {\n"
	"	[ ! -d \"$1\" ] || die 'is a directory'\n"
	"	mkdir -p \"${1%/*}/\" || die 'its directory cannot be made'\n"
	"	new=$1.wnodes~\n"
	"	base64 -d >\"$new\" && chown \"$3\" \"$new\" && chmod \"$2\" \"$new\" &&\n"
	"		mv -f \"$new\" \"$1\" || die 'cannot be written'\n"
	"}\n"
	"append() {\n"
	"	[ -f \"$1\" ] || die 'there is no such file; [file ...] makes one'\n"
	"	grep -qxF -e \"$2\" \"$1\" && return\n"
	"	[ -z \"$(tail -c 1 \"$1\")\" ] || echo >>\"$1\"\n"
	"	printf '%s\\n' \"$2\" >>\"$1\" || die 'cannot be written'\n"
	"}\n"
	"replace() {\n"
	"	[ -f \"$1\" ] || die 'there is no such file; [file ...] makes one'\n"
	"	sed -nE -e \"s$2\" -e 't found' -e b -e ':found' -e 'q 9' \"$1\" >/dev/null\n"
	"	case $? in\n"
	"	9) sed -i -E -e \"s$2\" \"$1\" || die 'cannot be written' ;;\n"
	"	0) die \"no line has the expression of $2\" ;;\n"
	"	*) die \"sed does not take $2\" ;;\n"
	"	esac\n"
	"}\n"
	"units() {\n"
	"	command -v systemctl >/dev/null || die 'there is no systemd'\n"
	"	systemctl \"$@\" || die 'systemctl failed'\n"
	"}\n";

struct script {
	struct buffer *out;
	bool failed;
};

static void put(struct script *s, const char *text)
{
	s->failed |= buffer_append(s->out, text, strlen(text)) < 0;
}

static void put_quoted(struct script *s, const char *text)
{
	put(s, "'");
	while (*text) {
		size_t n = strcspn(text, "'");

		s->failed |= buffer_append(s->out, text, n) < 0;
		text += n;
		if (*text)
			put(s, "'\\''");
		text += *text != '\0';
	}
	put(s, "'");
}

/* "VERB 'A' 'B'", without the line's end. */
static void put_call(struct script *s, const char *verb, const char *a, const char *b)
{
	put(s, verb);
	put(s, " ");
	put_quoted(s, a);
	if (b) {
		put(s, " ");
		put_quoted(s, b);
	}
}

static void put_begin(struct script *s, const char *kind, const char *name)
{
	autofree char *what = name ? path_format("[%s %s]", kind, name) : strdup(kind);

	if (!what) {
		s->failed = true;
		return;
	}
	put_call(s, "begin", what, NULL);
	put(s, "\n");
}

static void put_base64(struct script *s, const char *text)
{
	size_t length = strlen(text);

	while (length > 0) {
		size_t n = MIN_OF(length, (size_t)BASE64_LINE_DATA);
		char line[BASE64_LINE_DATA / 3 * 4 + 1];

		EVP_EncodeBlock((unsigned char *)line, (const unsigned char *)text, (int)n);
		put(s, line);
		put(s, "\n");
		text += n;
		length -= n;
	}
}

/* A file's content comes in base64, so that no line of it can end it. */
static void put_content(struct script *s, const char *content, const char *base64)
{
	size_t n = content ? strlen(content) : 0;

	put(s, " <<'" HERE_END "'\n");
	if (base64) {
		put(s, base64);
		if (!*base64 || base64[strlen(base64) - 1] != '\n')
			put(s, "\n");
	} else if (n > 0 && content[n - 1] != '\n') {
		autofree char *line = path_format("%s\n", content);

		s->failed |= !line;
		put_base64(s, line ? line : "");
	} else {
		put_base64(s, content);
	}
	put(s, HERE_END "\n");
}

static void put_files(struct script *s, const struct conf_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct recipe_file *f = list->items[i].settings;

		put_begin(s, list->kind, list->items[i].name);
		put_call(s, "write", list->items[i].name, f->mode);
		put_call(s, "", f->owner, NULL);
		put_content(s, f->content, f->base64);
	}
}

static void put_edits(struct script *s, const struct conf_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct recipe_edit *e = list->items[i].settings;

		put_begin(s, list->kind, list->items[i].name);
		for (size_t j = 0; e->replace[j]; j++) {
			put_call(s, "replace", list->items[i].name, e->replace[j]);
			put(s, "\n");
		}
		for (size_t j = 0; e->append[j]; j++) {
			put_call(s, "append", list->items[i].name, e->append[j]);
			put(s, "\n");
		}
	}
}

static int put_syslog(struct script *s, const char *syslog, struct error *err)
{
	autofree char *host = NULL;
	autofree char *rule = NULL;
	uint64_t port;
	bool tcp;
	int r = recipe_parse_syslog(syslog, &tcp, &host, &port, err);

	if (r < 0)
		return r;
	/* The VM ends with its job, so what cannot be sent at once is tried again, not kept. */
	rule = path_format("*.* action(type=\"omfwd\" target=\"%s\" port=\"%llu\" protocol=\"%s\""
			   " queue.type=\"LinkedList\" action.resumeRetryCount=\"-1\")",
		host, (unsigned long long)port, tcp ? "tcp" : "udp");
	if (!rule)
		return fail(err, -ENOMEM, "out of memory");
	put_begin(s, "syslog", NULL);
	put_call(s, "write", "/etc/rsyslog.d/90-wnodes.conf", "0644");
	put(s, " root:root");
	put_content(s, rule, NULL);
	return 0;
}

static int put_modules(struct script *s, char *const *modules, struct error *err)
{
	struct buffer text AUTO(buffer_done) = {0};
	int r = 0;

	if (!modules[0])
		return 0;
	for (; *modules && r == 0; modules++) {
		r = buffer_append(&text, *modules, strlen(*modules));
		if (r == 0)
			r = buffer_append(&text, "\n", 1);
	}
	if (r == 0)
		r = buffer_append(&text, "", 1);
	if (r < 0)
		return fail(err, r, "out of memory");
	put_begin(s, "modules", NULL);
	put_call(s, "write", "/etc/modules-load.d/wnodes.conf", "0644");
	put(s, " root:root");
	put_content(s, (const char *)buffer_head(&text), NULL);
	return 0;
}

static void put_services(struct script *s, char *const *units, const char *what)
{
	for (; *units; units++) {
		put_begin(s, what, *units);
		put_call(s, "units", what, *units);
		put(s, "\n");
	}
}

static void put_run(struct script *s, const struct recipe_image *image)
{
	bool shell = image->run && !str_after(image->run, "#!");
	autofree char *text = path_format("%s%s", shell ? "#!/bin/sh\n" : "", image->run);

	s->failed |= !text;
	put_begin(s, "the script", NULL);
	put(s, "write /wnodes-script 0700 root:root");
	put_content(s, image->run ? text ? text : "" : NULL, image->run_base64);
	put(s, "( cd / && /wnodes-script ) </dev/null || { status=$?; rm -f /wnodes-script; "
	       "printf '\\n" RUNNER_FAILED "the script failed with status %s\\n' \"$status\"; "
	       "exit 1; }\n"
	       "rm -f /wnodes-script\n");
}

bool recipe_script_is_empty(const struct recipe *r, enum recipe_target target)
{
	const struct recipe_image *image = &r->image;

	return r->lists[RECIPE_FILES].count + r->lists[RECIPE_EDITS].count == 0 && !image->syslog &&
	       !image->enable[0] && !image->disable[0] && !image->run && !image->run_base64 &&
	       (target == RECIPE_BUILT || !image->modules[0]);
}

int recipe_script(
	const struct recipe *r, enum recipe_target target, struct buffer *ret, struct error *err)
{
	const struct recipe_image *image = &r->image;
	struct script s = {.out = ret};
	int e = 0;

	put(&s, prologue);
	put_files(&s, &r->lists[RECIPE_FILES]);
	put_edits(&s, &r->lists[RECIPE_EDITS]);
	if (image->syslog)
		e = put_syslog(&s, image->syslog, err);
	if (e == 0 && target == RECIPE_FOREIGN)
		e = put_modules(&s, image->modules, err);
	put_services(&s, image->enable, "enable");
	put_services(&s, image->disable, "disable");
	if (image->run || image->run_base64)
		put_run(&s, image);
	put(&s, "exit 0\n");
	if (e < 0)
		return e;
	return s.failed ? fail(err, -ENOMEM, "out of memory") : 0;
}
