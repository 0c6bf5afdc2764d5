/* The program wnodes-call: one request to the site's controllers, for those that have no HTTP
 * inside of them.
 *
 *   wnodes-call [--list] METHOD PATH [--if-match ETAG] [--controller ADDRESS]
 *   wnodes-call --bytes METHOD PATH
 *
 * The body is on stdin, JSON (nothing: none), or with --bytes anything; of GET and DELETE it is not
 * read. The answer is on stdout; of --list, all pages, a line for each item. Exit status 0: done;
 * 1: refused, with
 * {"error":"...","status":n} as the last line of stdout; 3: no controller answers, with the reason
 * on stderr; 125: anything else, likewise. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "call/call.h"
#include "config.h"
#include "lib/argument.h"
#include "lib/buffer.h"
#include "lib/exit.h"
#include "lib/file.h"
#include "lib/log.h"

#define BODY_MAX  (16U << 20)
#define BYTES_MAX (64U << 20)

/* Returns -1 to go on, else the exit status. */
static int parse(struct call *c, int argc, char **argv)
{
	const struct argument table[] = {
		{"bytes", .is = &c->bytes},
		{"list", .is = &c->list},
		{"controller", .text = &c->controller},
		{"if-match", .text = &c->if_match},
		{.name = NULL},
	};
	int status = argument_parse(table, "wnodes-call", NULL, argc, argv);

	if (status >= 0)
		return status;
	if (argc - optind != 2 || (c->list && !streq(argv[optind], "GET"))) {
		log_error("use: wnodes-call [--list] METHOD PATH [--if-match ETAG]; a list is got");
		return EXIT_WNODES;
	}
	c->method = argv[optind];
	c->path = argv[optind + 1];
	return -1;
}

static int read_all(int fd, size_t max, struct buffer *ret, struct error *err)
{
	ssize_t n;

	do {
		n = buffer_read(ret, fd, 65536);
		if (n == -EINTR)
			n = 1;
	} while (n > 0 && ret->len <= max);
	if (n < 0)
		return fail_errno(err, (int)n, "cannot read the body");
	return n > 0 ? fail(err, -EFBIG, "the body has more than %zu MiB", max >> 20) : 0;
}

/* *ret is NULL where there is none. */
static int read_body(const struct call *c, json_t **ret, struct error *err)
{
	struct buffer text AUTO(buffer_done) = {0};
	json_error_t where;
	int r;

	*ret = NULL;
	if (streq(c->method, "GET") || streq(c->method, "DELETE"))
		return 0;
	r = read_all(STDIN_FILENO, BODY_MAX, &text, err);
	if (r < 0 || text.len == 0)
		return r;
	*ret = json_loadb(
		(const char *)buffer_head(&text), text.len, JSON_REJECT_DUPLICATES, &where);
	if (!*ret)
		return fail(err, -EINVAL, "the body is no JSON: %s", where.text);
	return 0;
}

static int send_bytes(struct call *c, struct error *err)
{
	struct buffer data AUTO(buffer_done) = {0};
	int r = read_all(STDIN_FILENO, BYTES_MAX, &data, err);

	if (r == 0)
		r = call_open(c, err);
	return r < 0 ? r : call_send(c, &data, err);
}

static int ask(struct call *c, struct error *err)
{
	json_t *body = NULL;
	int r = read_body(c, &body, err);

	if (r == 0)
		r = call_open(c, err);
	if (r == 0)
		r = call_run(c, body, err);
	json_decref(body);
	return r;
}

int main(int argc, char **argv)
{
	struct call c AUTO(call_done) = {0};
	struct error err = {0};
	int r;

	log_set("wnodes-call", LOG_LEVEL_WARNING);
	signal(SIGPIPE, SIG_IGN);
	r = file_open_stdio() < 0 ? EXIT_WNODES : parse(&c, argc, argv);
	if (r >= 0)
		return r;
	r = c.bytes ? send_bytes(&c, &err) : ask(&c, &err);
	if (r >= 0)
		return r;
	log_error("%s", err.text[0] ? err.text : strerror(-r));
	return r == -ENOTCONN ? CALL_UNREACHABLE : EXIT_WNODES;
}
