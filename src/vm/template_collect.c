/* Listing and removing templates. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/file.h"
#include "vm/template_private.h"

/* Who lists the templates locks each for a moment; that alone is no use of it. */
#define REMOVE_WAIT_MS 200

/* Returns 0, -EWOULDBLOCK if it is locked for `wait_ms`, -ENOENT, or another negative errno. */
static int remove_entry(
	int parent_fd, const char *name, int wait_ms, bool dry_run, uint64_t *ret_bytes)
{
	autoclose int fd = template_lock(parent_fd, name, true, wait_ms);

	*ret_bytes = 0;
	if (fd == -ENOTDIR)
		return dry_run ? 0 : file_remove_tree(parent_fd, name);
	if (fd < 0)
		return fd;
	*ret_bytes = template_bytes(fd);
	return dry_run ? 0 : template_remove_locked(parent_fd, name);
}

int template_remove(const char *directory, const char *key, struct error *err)
{
	autoclose int parent_fd = template_directory_open(directory, false, err);
	uint64_t bytes;
	int r;

	if (parent_fd < 0)
		return parent_fd;
	if (!digest_is_hex(key))
		return fail(err, -EINVAL, "'%.100s' is not the key of a template", key);
	r = remove_entry(parent_fd, key, REMOVE_WAIT_MS, false, &bytes);
	if (r == -EWOULDBLOCK)
		return fail(err, -EBUSY, "the template %.12s is in use", key);
	if (r == -ENOENT)
		return fail(err, -ENOENT, "there is no template %.12s", key);
	return r < 0 ? fail_errno(err, r, "cannot remove the template %.12s", key) : 0;
}

struct listing {
	struct template_info *items;
	size_t count;
	struct error *err;
};

static struct template_info *listing_grow(struct listing *l)
{
	struct template_info *grown =
		reallocarray(l->items, l->count + 1, sizeof(struct template_info));

	if (!grown)
		return NULL;
	l->items = grown;
	return &grown[l->count++];
}

static uint64_t bytes_of(int parent_fd, const char *key)
{
	autoclose int fd = openat(parent_fd, key, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? 0 : template_bytes(fd);
}

static int list_entry(int parent_fd, const char *name, void *userdata)
{
	struct template *t AUTO(template_closep) = NULL;
	struct listing *l = userdata;
	struct template_info *info;
	struct error err = {0};
	int r;

	if (!digest_is_hex(name))
		return 0;
	r = template_open_at(parent_fd, name, geteuid(), &t, &err);
	if (r == -ENOENT || r == -EBUSY) /* being removed */
		return 0;
	if (r < 0 && r != -EBADMSG)
		return fail(l->err, r, "%s", err.text);
	info = listing_grow(l);
	if (!info)
		return fail(l->err, -ENOMEM, "out of memory");
	if (t) {
		*info = t->info;
		return 0;
	}
	*info = (struct template_info){.bytes = bytes_of(parent_fd, name)};
	memcpy(info->key, name, sizeof(info->key));
	snprintf(info->damaged, sizeof(info->damaged), "%.*s", TEMPLATE_REASON_MAX - 1, err.text);
	return 0;
}

static uint64_t last_time(const struct template_info *info)
{
	return info->last_used ? info->last_used : info->created;
}

/* The newest first, the damaged ones last. */
static int compare_infos(const void *a, const void *b)
{
	const struct template_info *x = a, *y = b;

	if (!x->damaged[0] != !y->damaged[0])
		return x->damaged[0] ? 1 : -1;
	if (last_time(x) != last_time(y))
		return last_time(x) < last_time(y) ? 1 : -1;
	return strcmp(x->key, y->key);
}

static int listing_load(struct listing *l, int parent_fd)
{
	int r = template_each_entry(parent_fd, list_entry, l);

	if (r >= 0 && l->count > 0)
		qsort(l->items, l->count, sizeof(*l->items), compare_infos);
	return r;
}

int template_list(const char *directory,
	int (*each)(const struct template_info *info, void *userdata), void *userdata,
	struct error *err)
{
	autoclose int parent_fd = template_directory_open(directory, false, err);
	struct listing l = {.err = err};
	int r;

	if (parent_fd < 0)
		return parent_fd == -ENOENT ? 0 : parent_fd;
	r = listing_load(&l, parent_fd);
	for (size_t i = 0; i < l.count && r == 0; i++)
		r = each(&l.items[i], userdata);
	free(l.items);
	return r;
}

struct collector {
	int parent_fd;
	bool dry_run;
	uint64_t count, bytes;
	int result; /* of the first that could not be removed, which stops nothing */
};

/* Returns whether it is gone, or would be. */
static bool collect(struct collector *c, const char *name, uint64_t *ret_bytes)
{
	int r = remove_entry(c->parent_fd, name, 0, c->dry_run, ret_bytes);

	if (r < 0 && r != -EWOULDBLOCK && r != -ENOENT && c->result == 0)
		c->result = r;
	if (r < 0)
		return r == -ENOENT;
	c->count++;
	c->bytes += *ret_bytes;
	return true;
}

/* What is locked has a living maker, or users who have it open still. */
static int sweep_entry(int parent_fd, const char *name, void *userdata)
{
	struct collector *c = userdata;
	size_t n = strlen(name), suffix = strlen(TEMPLATE_FAILED);
	uint64_t bytes;
	struct stat st;

	if (str_after(name, TEMPLATE_MAKING) || str_after(name, TEMPLATE_DEAD))
		(void)collect(c, name, &bytes);
	else if (n > suffix && streq(name + n - suffix, TEMPLATE_FAILED) && !c->dry_run &&
		 fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		 !template_failure_counts(&st))
		unlinkat(parent_fd, name, 0);
	return 0;
}

static void collect_templates(struct collector *c, const struct listing *l, uint64_t budget_bytes)
{
	uint64_t total = 0, bytes;

	for (size_t i = 0; i < l->count; i++)
		total += l->items[i].bytes;
	for (size_t i = l->count; i > 0; i--) {
		const struct template_info *info = &l->items[i - 1];

		if ((info->damaged[0] || total > budget_bytes) && collect(c, info->key, &bytes))
			total -= MIN_OF(info->bytes, total);
	}
}

int template_gc(const char *directory, uint64_t budget_bytes, bool dry_run, uint64_t *ret_count,
	uint64_t *ret_bytes, struct error *err)
{
	struct collector c = {.dry_run = dry_run};
	autoclose int parent_fd = template_directory_open(directory, false, err);
	struct listing l = {.err = err};
	int r = parent_fd == -ENOENT ? 0 : parent_fd;

	c.parent_fd = parent_fd;
	if (parent_fd >= 0)
		r = template_each_entry(parent_fd, sweep_entry, &c);
	if (parent_fd >= 0 && r >= 0)
		r = listing_load(&l, parent_fd);
	if (r >= 0)
		collect_templates(&c, &l, budget_bytes);
	free(l.items);
	if (ret_count)
		*ret_count = c.count;
	if (ret_bytes)
		*ret_bytes = c.bytes;
	if (r < 0)
		return r;
	return c.result < 0 ? fail_errno(err, c.result, "cannot remove a template") : 0;
}
