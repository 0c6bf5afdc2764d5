#include "hypervisor/outbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "engine/record.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "lib/path.h"

#define OUTBOX_DIRECTORY "site/outbox"
#define OUTBOX_CURSOR    "site/delivered"
#define OUTBOX_REFUSED   "records-refused.jsonl"

struct outbox {
	char *directory, *records, *cursor, *refused;
	uint64_t last; /* number of the newest; 0: there is none */
	bool failing;  /* it has been said */
};

static char *file_path(const struct outbox *o, uint64_t number)
{
	return path_format("%s/%llu", o->directory, (unsigned long long)number);
}

/* The least number that is at least `from`, and the greatest of all; 0: none. */
static void look(const struct outbox *o, uint64_t from, uint64_t *ret_next, uint64_t *ret_last)
{
	DIR *dir = opendir(o->directory);
	struct dirent *entry;
	uint64_t number;

	*ret_next = *ret_last = 0;
	while (dir && (entry = readdir(dir))) {
		if (parse_number(entry->d_name, 1, INT64_MAX, &number, NULL) < 0)
			continue;
		*ret_last = MAX_OF(*ret_last, number);
		if (number >= from && (*ret_next == 0 || number < *ret_next))
			*ret_next = number;
	}
	if (dir)
		closedir(dir);
}

int outbox_new(const char *state, struct outbox **ret, struct error *err)
{
	struct outbox *o AUTO(outbox_freep) = calloc(1, sizeof(*o));
	uint64_t next;
	int r;

	if (!o)
		return fail(err, -ENOMEM, "out of memory");
	o->directory = path_format("%s/" OUTBOX_DIRECTORY, state);
	o->records = path_format("%s/" RECORD_FILE, state);
	o->cursor = path_format("%s/" OUTBOX_CURSOR, state);
	o->refused = path_format("%s/" OUTBOX_REFUSED, state);
	if (!o->directory || !o->records || !o->cursor || !o->refused)
		return fail(err, -ENOMEM, "out of memory");
	r = file_make_dirs(o->directory, 0755);
	if (r < 0)
		return fail_errno(err, r, "cannot make '%s'", o->directory);
	look(o, 0, &next, &o->last);
	outbox_sweep(o);
	*ret = TAKE_PTR(o);
	return 0;
}

struct outbox *outbox_free(struct outbox *o)
{
	if (!o)
		return NULL;
	free(o->directory);
	free(o->records);
	free(o->cursor);
	free(o->refused);
	free(o);
	return NULL;
}

static bool same_file(const char *one, const char *other)
{
	struct stat a, b;

	return stat(one, &a) == 0 && stat(other, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

static int name_next(struct outbox *o)
{
	autofree char *path = file_path(o, o->last + 1);

	if (!path)
		return -ENOMEM;
	if (link(o->records, path) < 0)
		return -errno;
	o->last++;
	return 0;
}

void outbox_sweep(struct outbox *o)
{
	autofree char *last = o->last > 0 ? file_path(o, o->last) : NULL;
	int r = (last && same_file(last, o->records)) ? 0 : name_next(o);

	r = r == -ENOENT ? 0 : r; /* there are no records yet */
	if (r < 0 && !o->failing)
		log_warning(
			"usage records that are rotated away may not reach the site: cannot link "
			"'%s' into '%s': %s",
			o->records, o->directory, strerror(-r));
	o->failing = r < 0;
}

int outbox_open(struct outbox *o, uint64_t from, uint64_t *ret_number, struct error *err)
{
	autofree char *path = NULL;
	uint64_t last;
	int fd;

	outbox_sweep(o);
	look(o, from, ret_number, &last);
	if (*ret_number == 0)
		return -ENOENT;
	path = file_path(o, *ret_number);
	fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -ENOMEM;
	return fd < 0 ? fail_errno(err, path ? -errno : fd, "cannot open '%s'", path ? path : "")
		      : fd;
}

void outbox_drop_before(struct outbox *o, uint64_t number)
{
	uint64_t next, last;

	for (;;) {
		autofree char *path = NULL;

		look(o, 0, &next, &last);
		if (next == 0 || next >= number || next == last)
			return;
		path = file_path(o, next);
		if (!path || unlink(path) < 0) {
			log_warning("cannot remove '%s': %s, ignoring", path ? path : o->directory,
				strerror(errno));
			return;
		}
	}
}

int outbox_open_cursor(struct outbox *o, struct error *err)
{
	int fd = open(o->cursor, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	return fd < 0 ? fail_errno(err, -errno, "cannot open '%s'", o->cursor) : fd;
}

int outbox_open_refused(struct outbox *o, struct error *err)
{
	int fd = open(o->refused, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);

	return fd < 0 ? fail_errno(err, -errno, "cannot open '%s'", o->refused) : fd;
}
