#include "fetch/errand.h"

#include <errno.h>
#include <fcntl.h>

#include "fetch/report.h"
#include "image/locate.h"
#include "lib/clock.h"
#include "lib/file.h"

static int read_release(struct errand *e, struct error *err)
{
	autofree char *text = NULL;
	size_t length;
	int r = file_read(AT_FDCWD, e->release_file, RELEASE_BYTES_MAX, &text, &length);

	if (r < 0)
		return fail_errno(err, r, "cannot read the release '%s'", e->release_file);
	r = release_parse(text, length, &e->release, err);
	if (r < 0)
		return fail_within(err, "the release '%s'", e->release_file);
	if (e->digest && !streq(e->digest, e->release->digest))
		return fail(err, -EINVAL, "the release '%s' is of the image %.12s, not of %.12s",
			e->release_file, e->release->digest, e->digest);
	return 0;
}

static int check_name(const struct errand *e, struct error *err)
{
	autofree char *name = NULL, *tag = NULL;
	int r;

	if (!e->image_name)
		return fail(err, -EINVAL, "give the image a name that it is to have here: --name");
	r = store_parse_reference(e->image_name, &name, &tag, err);
	if (r < 0)
		return r;
	if (strchr(e->image_name, ':'))
		return fail(err, -EINVAL, "'%s' is more than a name; give the tag with --tag",
			e->image_name);
	return 0;
}

int errand_open(struct errand *e, struct error *err)
{
	int r = 0;

	if (e->digest && !digest_is_hex(e->digest))
		return fail(err, -EINVAL,
			"'%s' is no image's digest, which has 64 hexadecimal digits", e->digest);
	if (e->release_file)
		r = read_release(e, err);
	else if (!e->digest)
		r = fail(err, -EINVAL, "say which image: its digest, or --release FILE");
	if (r < 0)
		return r;
	e->image = e->release ? e->release->digest : e->digest;
	e->image_name = e->name ? e->name : e->release ? e->release->name : NULL;
	e->tag = e->tag ? e->tag : STORE_TAG_DEFAULT;
	r = check_name(e, err);
	return r < 0 ? r : locate_own_store(&e->store, err);
}

int errand_run(struct errand *e, struct error *err)
{
	const struct fetch_request request = {.store = e->store,
		.digest = e->image,
		.release = e->release,
		.name = e->image_name,
		.tag = e->tag,
		.origins = e->origins,
		.patience_us = e->timeout_ms * 1000,
		.on_step = report_step,
		.on_progress = report_progress};
	struct fetch_result result = {0};
	uint64_t began = clock_now_us();
	int r;

	report_start(e->verbose);
	r = fetch_image(&request, &result, err);
	report_stop();
	if (r == 0)
		r = report_result(e, &result, clock_now_us() - began);
	fetch_result_done(&result);
	return r;
}

void errand_done(struct errand *e)
{
	release_free(e->release);
	store_free(e->store);
}
