#include "depot/origin.h"

#include <errno.h>
#include <fcntl.h>
#include <strings.h>
#include <sys/stat.h>

#include "lib/path.h"

#define REST_MIN_US UINT64_C(250000)
#define REST_MAX_US UINT64_C(8000000)
#define BAD_MAX     8

static int origin_open(struct origin *o, const char *text, struct error *err)
{
	const char *directory = str_after(text, "file://");
	size_t length = strlen(text);

	o->text = strdup(text);
	if (!o->text)
		return fail(err, -ENOMEM, "out of memory");
	if (strncasecmp(text, "http://", 7) == 0 || strncasecmp(text, "https://", 8) == 0) {
		while (length > 0 && text[length - 1] == '/')
			length--;
		o->url = path_format("%.*s", (int)length, text);
		return o->url ? 0 : fail(err, -ENOMEM, "out of memory");
	}
	directory = directory ? directory : text;
	if (strstr(directory, "://"))
		return fail(err, -EINVAL,
			"'%s' is no place for images; give a directory, or a URL of http or https",
			text);
	o->dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return o->dir_fd < 0 ? fail_errno(err, -errno, "cannot open the depot '%s'", directory) : 0;
}

int origins_open(struct origins *o, const char *const *texts, struct error *err)
{
	*o = (struct origins){0};
	for (; texts && *texts; texts++) {
		struct origin *item = &o->items[o->count];
		int r;

		if (o->count == ORIGINS_MAX)
			return fail(err, -EINVAL, "there may be %d origins at most", ORIGINS_MAX);
		item->dir_fd = -1;
		o->count++;
		r = origin_open(item, *texts, err);
		if (r < 0)
			return r;
		o->have_url = o->have_url || item->url;
	}
	return 0;
}

void origins_done(struct origins *o)
{
	for (size_t i = 0; i < o->count; i++) {
		base_close(o->items[i].dir_fd);
		free(o->items[i].text);
		free(o->items[i].url);
	}
	o->count = 0;
}

/* The size is looked at first, and a file that grows meanwhile is cut there. */
int origin_read(const struct origin *o, const char *path, size_t max, struct buffer *ret)
{
	autoclose int fd = openat(o->dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if ((uint64_t)st.st_size > max)
		return -EFBIG;
	for (size_t left = (size_t)st.st_size; left > 0;) {
		ssize_t n = buffer_read(ret, fd, left);

		if (n <= 0)
			return n < 0 ? (int)n : 0;
		left -= (size_t)n;
	}
	return 0;
}

int origin_get(const struct origin *o, struct http *h, const char *path, size_t max,
	uint32_t timeout_ms, http_fn done, void *userdata)
{
	autofree char *url = path_format("%s/%s", o->url, path);

	return url ? http_get(h, url, max, timeout_ms, done, userdata) : -ENOMEM;
}

void origin_set_good(struct origin *o)
{
	o->failures = 0;
	o->rest_until_us = 0;
}

void origin_set_failed(
	struct origin *o, const struct error *err, uint64_t now_us, uint64_t patience_us)
{
	o->reason = *err;
	if (now_us < o->rest_until_us)
		return; /* of those that were asked before that */
	if (o->failures == 0)
		o->failing_since_us = now_us;
	o->rest_until_us = now_us + MIN_OF(REST_MIN_US << MIN_OF(o->failures, 10U), REST_MAX_US);
	o->failures++;
	o->given_up = err->code == -EKEYREJECTED || err->code == -EACCES ||
		      now_us - o->failing_since_us >= patience_us;
}

void origin_set_bad(struct origin *o, const struct error *err)
{
	o->reason = *err;
	o->bad++;
	o->given_up = o->given_up || (o->bad >= BAD_MAX && o->bad > o->chunks);
}

bool origin_is_ready(const struct origin *o, uint64_t now_us)
{
	return !o->given_up && now_us >= o->rest_until_us;
}

bool origin_is_to_blame(const struct error *err)
{
	return err->code == -EBUSY || err->code == -EPROTO || err->code == -ETIMEDOUT ||
	       err->code == -ENOTCONN || err->code == -EKEYREJECTED || err->code == -EACCES;
}
