#include "depot/document.h"

#include <errno.h>
#include <stdio.h>

#include "lib/clock.h"

#define WAIT_MS 500

struct asking {
	struct buffer *bytes;
	struct error err;
	bool done;
};

static void on_answer(struct buffer *body, const struct error *err, void *userdata)
{
	struct asking *a = userdata;

	a->done = true;
	a->err = *err;
	*a->bytes = *body;
	*body = (struct buffer){0};
}

static int ask(const struct document *d, struct origin *o, struct http *http, struct buffer *ret,
	struct error *err)
{
	struct asking a = {.bytes = ret};
	int r;

	if (!o->url) {
		r = origin_read(o, d->path, d->max, ret);
		return r < 0 ? fail_errno(err, r, "cannot read '%s'", d->path) : 0;
	}
	r = origin_get(o, http, d->path, d->max, d->timeout_ms, on_answer, &a);
	while (r == 0 && !a.done)
		r = http_run(http, WAIT_MS);
	if (r < 0)
		return fail_errno(err, r, "cannot ask it");
	*err = a.err;
	return a.err.code;
}

/* Asks one origin. Returns 0 or negative errno; -EAGAIN if it may be asked again later. */
static int try_one(
	const struct document *d, struct origin *o, struct http *http, struct buffer *ret)
{
	struct error err = {0};
	int r = ask(d, o, http, ret, &err);

	if (r == 0) {
		origin_set_good(o);
		r = d->check(ret, d->userdata, &err);
	}
	if (r == 0)
		return 0;
	buffer_done(ret);
	o->reason = err;
	if (!o->url || !origin_is_to_blame(&err))
		return r;
	origin_set_failed(o, &err, clock_now_us(), d->patience_us);
	return o->given_up ? r : -EAGAIN;
}

static int fail_all(const struct document *d, const struct origins *o, struct error *err)
{
	fail(err, -ENODATA, "cannot get '%s':", d->path);
	for (size_t i = 0; i < o->count; i++) {
		size_t used = strlen(err->text);

		if (o->items[i].reason.code)
			snprintf(err->text + used, sizeof(err->text) - used, " '%s': %s;",
				o->items[i].text, o->items[i].reason.text);
	}
	err->text[strlen(err->text) - 1] = '\0';
	return err->code;
}

int document_get(const struct document *d, struct origins *origins, struct http *http,
	struct buffer *ret, size_t *ret_origin, struct error *err)
{
	uint32_t skip = d->skip;
	bool again = true;

	while (again) {
		again = false;
		for (size_t i = 0; i < origins->count; i++) {
			struct origin *o = &origins->items[i];
			int r = -EAGAIN;

			if (o->given_up || (skip >> i & 1))
				continue;
			if (origin_is_ready(o, clock_now_us()))
				r = try_one(d, o, http, ret);
			if (r == 0) {
				*ret_origin = i;
				return 0;
			}
			if (r == -EAGAIN)
				again = true;
			else
				skip |= 1U << i;
		}
		if (again && http_run(http, WAIT_MS / 2) < 0)
			again = false;
	}
	return fail_all(d, origins, err);
}
