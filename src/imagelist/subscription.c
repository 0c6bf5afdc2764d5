#include "imagelist/subscription.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "imagelist/member.h"
#include "lib/file.h"
#include "lib/path.h"

#define FILE_NAME      "subscription.json"
#define LOCK_NAME      "lock"
#define FILE_BYTES_MAX (64 * 1024 * 1024)
#define TEXT_MAX       4096
#define NAME_CHARS_MAX 32

#define ROW(type, member, kind, required)                                 \
	{                                                                 \
#member, kind, offsetof(type, member), TEXT_MAX, required \
	}
#define MAIN(...)     ROW(struct subscription, __VA_ARGS__)
#define ENDORSER(...) ROW(struct subscription_endorser, __VA_ARGS__)
#define CHOICE(...)   ROW(struct subscription_choice, __VA_ARGS__)
#define IMAGE(...)    ROW(struct subscription_image, __VA_ARGS__)

static const struct member main_rows[] = {
	MAIN(name, MEMBER_LINE, true),
	MAIN(source, MEMBER_LINE, true),
	MAIN(ca, MEMBER_LINE, true),
	MAIN(no_crl, MEMBER_LINE, false),
	MAIN(site, MEMBER_LINE, false),
	MAIN(tag, MEMBER_LINE, true),
	MAIN(identifier, MEMBER_LINE, false),
	MAIN(version, MEMBER_LINE, false),
	MAIN(title, MEMBER_LINE, false),
	MAIN(signer_dn, MEMBER_LINE, false),
	MAIN(signer_ca, MEMBER_LINE, false),
	MAIN(created_us, MEMBER_TIME, false),
	MAIN(expires_us, MEMBER_TIME, false),
	MAIN(updated_us, MEMBER_TIME, false),
	MAIN(failure, MEMBER_LINE, false),
	{.key = NULL},
};

static const struct member endorser_rows[] = {
	ENDORSER(dn, MEMBER_LINE, true),
	ENDORSER(ca, MEMBER_LINE, true),
	{.key = NULL},
};

static const struct member choice_rows[] = {
	CHOICE(identifier, MEMBER_LINE, true),
	CHOICE(reference, MEMBER_LINE, false),
	{.key = NULL},
};

static const struct member image_rows[] = {
	IMAGE(identifier, MEMBER_LINE, true),
	IMAGE(reference, MEMBER_LINE, true),
	IMAGE(title, MEMBER_LINE, true),
	IMAGE(version, MEMBER_LINE, true),
	IMAGE(sha512, MEMBER_SHA512, true),
	IMAGE(digest, MEMBER_LINE, true),
	IMAGE(gone, MEMBER_LINE, false),
	IMAGE(since_us, MEMBER_TIME, false),
	IMAGE(expires_us, MEMBER_TIME, false),
	IMAGE(site_digest, MEMBER_LINE, false),
	IMAGE(site_expires_us, MEMBER_TIME, false),
	{.key = NULL},
};

/* The lists in it: arrays of structs that have a table each. */
static const struct array {
	const char *key;
	const struct member *rows;
	size_t size, items, count; /* of an item; offsets in the struct */
} arrays[] = {
	{"endorsers", endorser_rows, sizeof(struct subscription_endorser),
		offsetof(struct subscription, endorsers),
		offsetof(struct subscription, endorser_count)},
	{"choices", choice_rows, sizeof(struct subscription_choice),
		offsetof(struct subscription, choices),
		offsetof(struct subscription, choice_count)},
	{"images", image_rows, sizeof(struct subscription_image),
		offsetof(struct subscription, images), offsetof(struct subscription, image_count)},
};

enum { ARRAY_ENDORSERS, ARRAY_CHOICES, ARRAY_IMAGES };

static size_t array_count(const struct subscription *s, const struct array *a)
{
	return *(const size_t *)((const char *)s + a->count);
}

static char *array_item(const struct subscription *s, const struct array *a, size_t i)
{
	return *(char *const *)((const char *)s + a->items) + i * a->size;
}

/* A new zeroed item at the end, or NULL. */
static void *array_add(struct subscription *s, const struct array *a)
{
	size_t *count = (size_t *)((char *)s + a->count);
	void **items = (void **)((char *)s + a->items);
	void *more = realloc(*items, (*count + 1) * a->size);

	if (!more)
		return NULL;
	*items = more;
	memset((char *)more + *count * a->size, 0, a->size);
	return (char *)more + (*count)++ * a->size;
}

struct subscription *subscription_free(struct subscription *s)
{
	if (!s)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(arrays); i++) {
		for (size_t k = 0; k < array_count(s, &arrays[i]); k++)
			members_done(arrays[i].rows, array_item(s, &arrays[i], k));
		free(*(void **)((char *)s + arrays[i].items));
	}
	members_done(main_rows, s);
	free(s);
	return NULL;
}

int subscription_add_endorser(struct subscription *s, const char *dn, const char *ca)
{
	struct subscription_endorser *e = array_add(s, &arrays[ARRAY_ENDORSERS]);

	if (!e)
		return -ENOMEM;
	e->dn = strdup(dn);
	e->ca = strdup(ca);
	return e->dn && e->ca ? 0 : -ENOMEM;
}

int subscription_add_choice(struct subscription *s, const char *identifier, const char *reference)
{
	struct subscription_choice *c = array_add(s, &arrays[ARRAY_CHOICES]);

	if (!c)
		return -ENOMEM;
	c->identifier = strdup(identifier);
	c->reference = reference ? strdup(reference) : NULL;
	return c->identifier && (c->reference || !reference) ? 0 : -ENOMEM;
}

struct subscription_image *subscription_add_image(struct subscription *s)
{
	return array_add(s, &arrays[ARRAY_IMAGES]);
}

bool subscription_has_endorser(const struct subscription *s, const char *dn, const char *ca)
{
	for (size_t i = 0; i < s->endorser_count; i++)
		if (streq(s->endorsers[i].dn, dn) && streq(s->endorsers[i].ca, ca))
			return true;
	return false;
}

struct subscription_image *subscription_find_image(
	const struct subscription *s, const char *identifier)
{
	for (size_t i = 0; i < s->image_count; i++)
		if (streq(s->images[i].identifier, identifier))
			return &s->images[i];
	return NULL;
}

char *subscription_directory(void)
{
	autofree char *state = path_state();

	return state ? path_format("%s/imagelists", state) : NULL;
}

char *subscription_file(const char *directory, const char *name, const char *file)
{
	return path_format("%s/%s/%s", directory, name, file);
}

int subscription_check_name(const char *name, struct error *err)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t n = strlen(name);

	if (n == 0 || n > NAME_CHARS_MAX || strchr("._-", name[0]) || strspn(name, letters) != n)
		return fail(err, -EINVAL,
			"'%.100s' is not a name for a subscription: at most %d of a-z 0-9 . _ - and "
			"beginning with a letter or digit",
			name, NAME_CHARS_MAX);
	return 0;
}

static int fail_missing(const char *directory, const char *name, struct error *err)
{
	struct strv names AUTO(strv_done) = {0};
	char list[512] = "";

	subscription_names(directory, &names, NULL);
	for (size_t i = 0; i < names.count; i++) {
		size_t n = strlen(list);

		snprintf(list + n, sizeof(list) - n, "%s%s", n > 0 ? ", " : "", names.items[i]);
	}
	return fail(err, -ENOENT, "no subscription '%s'; %s%s", name,
		list[0] ? "there are: " : "wnodes imagelist subscribe makes one", list);
}

/* Is this still the file of that name? Who had the lock may have removed the directory. */
static bool lock_is_current(int fd, const char *path)
{
	struct stat ours, there;

	return fstat(fd, &ours) == 0 && stat(path, &there) == 0 && ours.st_ino == there.st_ino &&
	       ours.st_dev == there.st_dev;
}

static int take_lock(int fd, void (*on_wait)(void))
{
	int r = file_lock(fd, true, false);

	if (r != -EWOULDBLOCK)
		return r;
	if (on_wait)
		on_wait();
	return file_lock(fd, true, true);
}

int subscription_lock(const char *directory, const char *name, bool make, void (*on_wait)(void),
	struct error *err)
{
	autofree char *place = path_format("%s/%s", directory, name);
	autofree char *path = subscription_file(directory, name, LOCK_NAME);
	int r = subscription_check_name(name, err);

	if (r < 0 || !place || !path)
		return r < 0 ? r : fail(err, -ENOMEM, "out of memory");
	for (;;) {
		autoclose int fd = -1;

		if (make && (r = file_make_dirs(place, 0700)) < 0)
			return fail_errno(err, r, "cannot make '%s'", place);
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0 && errno == ENOENT && !make)
			return fail_missing(directory, name, err);
		if (fd < 0 && errno != ENOENT)
			return fail_errno(err, -errno, "cannot open '%s'", path);
		r = fd < 0 ? -EAGAIN : take_lock(fd, on_wait);
		if (r < 0 && fd >= 0)
			return fail_errno(err, r, "cannot lock '%s'", path);
		if (r == 0 && lock_is_current(fd, path))
			return TAKE_FD(fd);
	}
}

static int load_array(
	const json_t *root, const struct array *a, struct subscription *s, struct error *err)
{
	const json_t *list = json_object_get(root, a->key);

	for (size_t i = 0; i < json_array_size(list); i++) {
		void *item = array_add(s, a);
		int r = item ? members_parse(a->rows, json_array_get(list, i), item, err) : -ENOMEM;

		if (r < 0)
			return r;
	}
	return 0;
}

static int load(const json_t *root, struct subscription *s, struct error *err)
{
	int r = members_parse(main_rows, root, s, err);

	for (size_t i = 0; i < ARRAY_SIZE(arrays) && r == 0; i++)
		r = load_array(root, &arrays[i], s, err);
	return r;
}

int subscription_load(
	const char *directory, const char *name, struct subscription **ret, struct error *err)
{
	struct subscription *s AUTO(subscription_freep) = calloc(1, sizeof(*s));
	autofree char *path = subscription_file(directory, name, FILE_NAME), *text = NULL;
	json_error_t why;
	json_t *root;
	size_t length;
	int r = subscription_check_name(name, err);

	if (r < 0 || !s || !path)
		return r < 0 ? r : fail(err, -ENOMEM, "out of memory");
	r = file_read(AT_FDCWD, path, FILE_BYTES_MAX, &text, &length);
	if (r == -ENOENT)
		return fail_missing(directory, name, err);
	if (r < 0)
		return fail_errno(err, r, "cannot read '%s'", path);
	root = json_loadb(text, length, 0, &why);
	r = root ? load(root, s, err) : fail(err, -EINVAL, "it is not JSON: %s", why.text);
	json_decref(root);
	if (r < 0)
		return fail_within(err, "'%s' is damaged", path);
	*ret = TAKE_PTR(s);
	return 0;
}

static json_t *format_array(const struct subscription *s, const struct array *a)
{
	json_t *list = json_array();

	for (size_t i = 0; i < array_count(s, a); i++)
		json_array_append_new(list, members_format(a->rows, array_item(s, a, i)));
	return list;
}

static int replace(const char *directory, const char *name, const char *file, const void *data,
	size_t length, struct error *err)
{
	autofree char *path = subscription_file(directory, name, file);
	int r = path ? file_replace(AT_FDCWD, path, data, length, 0600) : -ENOMEM;

	return r < 0 ? fail_errno(err, r, "cannot write '%s'", path ? path : file) : 0;
}

int subscription_save(const char *directory, const struct subscription *s, struct error *err)
{
	json_t *root = members_format(main_rows, s);
	autofree char *text = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(arrays); i++)
		json_object_set_new(root, arrays[i].key, format_array(s, &arrays[i]));
	text = root ? json_dumps(root, JSON_INDENT(1) | JSON_PRESERVE_ORDER) : NULL;
	json_decref(root);
	if (!text)
		return fail(err, -ENOMEM, "out of memory");
	return replace(directory, s->name, FILE_NAME, text, strlen(text), err);
}

int subscription_save_list(const char *directory, const char *name, const void *message,
	size_t length, struct error *err)
{
	return replace(directory, name, SUBSCRIPTION_LIST, message, length, err);
}

int subscription_remove(const char *directory, const char *name, struct error *err)
{
	autofree char *path = subscription_file(directory, name, FILE_NAME);
	autofree char *place = path_format("%s/%s", directory, name);
	int r;

	if (!path || !place)
		return fail(err, -ENOMEM, "out of memory");
	/* First what makes it a subscription: half a directory is none. */
	if (unlink(path) < 0 && errno != ENOENT)
		return fail_errno(err, -errno, "cannot remove '%s'", path);
	r = file_remove_tree(AT_FDCWD, place);
	return r < 0 ? fail_errno(err, r, "cannot remove '%s'", place) : 0;
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int subscription_names(const char *directory, struct strv *ret, struct error *err)
{
	DIR *dir = opendir(directory);
	const struct dirent *entry;

	if (!dir)
		return errno == ENOENT ? 0 : fail_errno(err, -errno, "cannot read '%s'", directory);
	while ((entry = readdir(dir))) {
		autofree char *path = subscription_file(directory, entry->d_name, FILE_NAME);

		if (subscription_check_name(entry->d_name, NULL) == 0 && path &&
			access(path, F_OK) == 0)
			strv_add(ret, entry->d_name);
	}
	closedir(dir);
	if (ret->count > 0)
		qsort(ret->items, ret->count, sizeof(char *), compare_texts);
	return ret->failed ? fail(err, -ENOMEM, "out of memory") : 0;
}

char *subscription_public_source(const char *source)
{
	const char *scheme = strstr(source, "://");
	const char *host = scheme ? scheme + 3 : source;
	size_t n = strcspn(host, "/?#");
	const char *at = scheme ? memrchr(host, '@', n) : NULL;

	if (!at)
		return strdup(source);
	return path_format("%.*s%s", (int)(host - source), source, at + 1);
}
