/* Tags: small files in names/<name>/ that say which image a reference stands for now. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "image/store_private.h"
#include "lib/file.h"
#include "lib/path.h"

int store_read_tag(struct store *s, const char *name, const char *tag,
	char ret_digest[DIGEST_HEX_SIZE], struct error *err)
{
	autofree char *path = path_format(STORE_NAMES "/%s/%s", name, tag);
	autofree char *line = NULL;
	size_t length;
	int r = path ? file_read(s->dir_fd, path, DIGEST_HEX_SIZE, &line, &length) : -ENOMEM;

	if (r < 0)
		return fail_errno(err, r, "cannot read '%s/%s'", s->directory, path);
	line[strcspn(line, "\n")] = '\0';
	if (!digest_is_hex(line))
		return fail(
			err, -EBADMSG, "'%s/%s' is damaged: no digest in it", s->directory, path);
	memcpy(ret_digest, line, DIGEST_HEX_SIZE);
	return 0;
}

static int is_word(const struct dirent *entry)
{
	return reference_word_is_valid(entry->d_name);
}

/* Lists the valid names in a directory, sorted by bytes. Missing: none. */
static int list_words(int dir_fd, const char *path, struct dirent ***ret)
{
	int n = scandirat(dir_fd, path, ret, is_word, alphasort);

	if (n < 0)
		*ret = NULL;
	return n < 0 && (errno == ENOENT || errno == ENOTDIR) ? 0 : n < 0 ? -errno : n;
}

static void free_words(struct dirent **words, int count)
{
	for (int i = 0; i < count; i++)
		free(words[i]);
	free(words);
}

static int each_tag_of(
	struct store *s, const char *name, tag_fn each, void *userdata, struct error *err)
{
	autofree char *path = path_format(STORE_NAMES "/%s", name);
	struct dirent **tags;
	int n = path ? list_words(s->dir_fd, path, &tags) : -ENOMEM;
	int r = 0;

	if (n < 0)
		return fail_errno(
			err, n, "cannot list '%s/" STORE_NAMES "/%s'", s->directory, name);
	for (int i = 0; i < n && r == 0; i++)
		r = each(s, name, tags[i]->d_name, userdata, err);
	free_words(tags, n);
	return r;
}

int store_each_tag(struct store *s, tag_fn each, void *userdata, struct error *err)
{
	struct dirent **names;
	int n = list_words(s->dir_fd, STORE_NAMES, &names);
	int r = 0;

	if (n < 0)
		return fail_errno(err, n, "cannot list '%s/" STORE_NAMES "'", s->directory);
	for (int i = 0; i < n && r == 0; i++)
		r = each_tag_of(s, names[i]->d_name, each, userdata, err);
	free_words(names, n);
	return r;
}

int store_load_image(
	struct store *s, const char *name, const char *tag, struct image **ret, struct error *err)
{
	struct image *image AUTO(image_freep) = calloc(1, sizeof(*image));
	int r;

	if (!image)
		return fail(err, -ENOMEM, "out of memory");
	image->name = strdup(name);
	image->tag = strdup(tag);
	if (!image->name || !image->tag)
		return fail(err, -ENOMEM, "out of memory");
	r = store_read_tag(s, name, tag, image->digest, err);
	if (r < 0)
		return r;
	r = store_load_manifest(s, image->digest, &image->manifest, err);
	*ret = TAKE_PTR(image);
	return r;
}

int store_load_digest(struct store *s, const char *digest, struct image **ret, struct error *err)
{
	struct image *image AUTO(image_freep) = calloc(1, sizeof(*image));
	int r;

	if (!image)
		return fail(err, -ENOMEM, "out of memory");
	memcpy(image->digest, digest, DIGEST_HEX_SIZE);
	r = store_load_manifest(s, digest, &image->manifest, err);
	if (r == 0)
		*ret = TAKE_PTR(image);
	return r;
}

struct lister {
	int (*each)(const struct image *image, void *userdata);
	void *userdata;
};

static int list_tag(
	struct store *s, const char *name, const char *tag, void *userdata, struct error *err)
{
	const struct lister *lister = userdata;
	struct image *image AUTO(image_freep) = NULL;
	struct error why;
	int r = store_load_image(s, name, tag, &image, &why);

	if (r == -ENOENT && !image)
		return 0; /* removed since the directory was read */
	if (!image)
		return fail(err, r, "%s", why.text);
	return lister->each(image, lister->userdata);
}

int store_list(struct store *s, int (*each)(const struct image *image, void *userdata),
	void *userdata, struct error *err)
{
	struct lister lister = {.each = each, .userdata = userdata};

	return store_each_tag(s, list_tag, &lister, err);
}

static int write_tag(struct store *s, const char *digest, const char *name, const char *tag)
{
	autofree char *directory = path_format(STORE_NAMES "/%s", name);
	autofree char *path = path_format(STORE_NAMES "/%s/%s", name, tag);
	autofree char *line = path_format("%s\n", digest);
	int r = -ENOENT;

	if (!directory || !path || !line)
		return -ENOMEM;
	/* Whoever removes the last tag of a name removes the directory, perhaps between these two.
	 */
	for (int tries = 0; tries < 10 && r == -ENOENT; tries++) {
		if (mkdirat(s->dir_fd, directory, 0755) < 0 && errno != EEXIST)
			return -errno;
		r = file_replace(s->dir_fd, path, line, strlen(line), 0644);
	}
	return r;
}

int store_tag(
	struct store *s, const char *digest, const char *name, const char *tag, struct error *err)
{
	struct manifest *m AUTO(manifest_freep) = NULL;
	bool was_held = s->held;
	int r;

	if (!reference_word_is_valid(name) || !reference_word_is_valid(tag))
		return fail(err, -EINVAL, "'%.64s:%.64s' is not an image's name", name, tag);
	r = store_hold(s, err);
	if (r < 0)
		return r;
	r = store_load_manifest(s, digest, &m, err);
	if (r >= 0) {
		r = write_tag(s, digest, name, tag);
		if (r < 0)
			fail_errno(err, r, "cannot write '%s/" STORE_NAMES "/%s/%s'", s->directory,
				name, tag);
	}
	if (!was_held)
		store_release(s);
	return r;
}

static int remove_tag(struct store *s, const char *name, const char *tag)
{
	autofree char *directory = path_format(STORE_NAMES "/%s", name);
	autoclose int dir_fd = -1;

	if (!directory)
		return -ENOMEM;
	dir_fd = openat(s->dir_fd, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0 || unlinkat(dir_fd, tag, 0) < 0 || fsync(dir_fd) < 0)
		return -errno;
	unlinkat(s->dir_fd, directory, AT_REMOVEDIR); /* fails, as it should, if tags are left */
	return 0;
}

int store_untag(struct store *s, const char *name, const char *tag, struct error *err)
{
	autofree char *reference = path_format("%s:%s", name, tag);
	struct buffer list AUTO(buffer_done) = {0};
	int r;

	if (!reference)
		return fail(err, -ENOMEM, "out of memory");
	if (!reference_word_is_valid(name) || !reference_word_is_valid(tag))
		return fail(err, -EINVAL, "'%.130s' is not an image's name", reference);
	r = remove_tag(s, name, tag);
	if (r == -ENOENT) {
		store_describe(s, &list);
		return reference_not_found(reference, &list, err);
	}
	return r < 0 ? fail_errno(err, r, "cannot remove '%s' from '%s'", reference, s->directory)
		     : 0;
}
