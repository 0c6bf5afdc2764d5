#include "cli/imagelist_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "cli/image_progress.h"
#include "image/download.h"
#include "image/import.h"
#include "lib/file.h"
#include "lib/parse.h"
#include "lib/path.h"

/* Of whom a reference is. */
enum owner { OWNER_NOBODY, OWNER_OURS, OWNER_OTHER };

/* Is the disk of this image the very file that the list names? */
static bool is_same_content(
	struct store *store, const struct image *found, const struct imagelist_image *image)
{
	const struct image_part *disk =
		found->manifest ? manifest_part(found->manifest, IMAGE_DISK) : NULL;
	char sha512[DIGEST_SHA512_HEX_SIZE];
	autoclose int fd = -1;

	if (!disk || disk->size != image->size)
		return false;
	fd = store_open_part(store, disk, NULL);
	return fd >= 0 && digest_file_sha512(fd, sha512) == 0 && streq(sha512, image->sha512);
}

/* Who was killed between an import and noting it has left an image that came from the same place.
 */
static enum owner find_owner(const struct imagelist_image *image,
	const struct subscription_image *known, const struct image *found)
{
	autofree char *source = subscription_public_source(image->uri);
	autofree char *origin = source ? manifest_clean_text(source) : NULL;

	if (!found)
		return OWNER_NOBODY;
	if (known && streq(known->digest, found->digest))
		return OWNER_OURS;
	if (origin && found->manifest && found->manifest->origin &&
		streq(found->manifest->origin, origin))
		return OWNER_OURS;
	return OWNER_OTHER;
}

/* Makes the reference stand for an image that may still be in the store without it. First the tag,
 * so that the garbage collector does not take the image meanwhile. Returns 1, or 0 if it is not
 * there. */
static int tag_again(struct store *store, const char *digest, const char *reference)
{
	struct image image = {0};
	autofree char *name = NULL, *tag = NULL;

	snprintf(image.digest, sizeof(image.digest), "%s", digest);
	if (store_parse_reference(reference, &name, &tag, NULL) < 0 ||
		store_tag(store, digest, name, tag, NULL) < 0)
		return 0;
	if (store_verify(store, &image, NULL) == 0)
		return 1;
	store_untag(store, name, tag, NULL);
	return 0;
}

static int check_download(
	int fd, const char *path, const struct imagelist_image *image, struct error *err)
{
	char sha512[DIGEST_SHA512_HEX_SIZE];
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return fail_errno(err, -errno, "cannot read '%s'", path);
	if ((uint64_t)st.st_size != image->size)
		return fail(err, -EBADMSG, "it has %llu bytes, and the list says %llu",
			(unsigned long long)st.st_size, (unsigned long long)image->size);
	r = digest_file_sha512(fd, sha512);
	if (r < 0)
		return fail_errno(err, r, "cannot read '%s'", path);
	if (!streq(sha512, image->sha512))
		return fail(err, -EBADMSG,
			"it has the SHA-512 %.16s..., and the list says %.16s...", sha512,
			image->sha512);
	return 0;
}

/* What is there of an earlier download is of the same file: it is named by its SHA-512. */
static int fetch(int fd, const struct imagelist_image *image, const char *step, struct error *err)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return fail_errno(err, -errno, "cannot look at the download");
	if ((uint64_t)st.st_size == image->size)
		return 0;
	if ((uint64_t)st.st_size > image->size && ftruncate(fd, 0) < 0)
		return fail_errno(err, -errno, "cannot begin the download anew");
	image_progress_step(step, NULL);
	r = download_rest(image->uri, fd, image->size, image_progress_bytes, NULL, err);
	return r == -EFBIG
		       ? fail(err, -EBADMSG, "it has more than the %llu bytes that the list says",
				 (unsigned long long)image->size)
		       : r;
}

static int import(const struct imagelist_store *s, const struct imagelist_image *image,
	const char *path, const char *reference, char ret_digest[DIGEST_HEX_SIZE],
	struct error *err)
{
	struct image *added AUTO(image_freep) = NULL;
	autofree char *name = NULL, *tag = NULL, *origin = subscription_public_source(image->uri);
	autofree char *os = path_format(
		"%s %s", image->os_name ? image->os_name : image->os, image->os_version);
	struct import_request request = {
		.source = path,
		.max_bytes = image->size,
		.origin = origin,
		.os = os,
		.on_step = image_progress_step,
		.on_bytes = image_progress_bytes,
	};
	int r = origin && os ? store_parse_reference(reference, &name, &tag, err)
			     : fail(err, -ENOMEM, "out of memory");

	request.name = name;
	request.tag = tag;
	if (r == 0)
		r = import_image(s->store, &request, &added, err);
	if (r == 0)
		memcpy(ret_digest, added->digest, DIGEST_HEX_SIZE);
	return r;
}

static int fetch_and_import(const struct imagelist_store *s, const struct imagelist_image *image,
	const char *path, const char *reference, char ret_digest[DIGEST_HEX_SIZE],
	struct error *err)
{
	autoclose int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	char size[FORMAT_MAX];
	autofree char *step =
		path_format("downloading %s, %s", reference, format_size(image->size, size));
	int r;

	if (fd < 0)
		return fail_errno(err, -errno, "cannot write '%s'", path);
	r = step ? fetch(fd, image, step, err) : fail(err, -ENOMEM, "out of memory");
	if (r == 0) {
		image_progress_step("checking", NULL);
		r = check_download(fd, path, image, err);
	}
	if (r == 0)
		r = import(s, image, path, reference, ret_digest, err);
	/* What is cut off may be gone on with; what is wrong, or cannot be imported, never. */
	if (r == 0 || r == -EBADMSG || r == -EINVAL)
		unlink(path);
	image_progress_stop();
	return r;
}

static int check_source(const struct imagelist_image *image, struct error *err)
{
	if (!str_after(image->uri, "http://") && !str_after(image->uri, "https://"))
		return fail(err, -EINVAL, "its address is neither http nor https: '%.200s'",
			image->uri);
	return 0;
}

int imagelist_store_bring(const struct imagelist_store *s, const struct imagelist_image *image,
	const struct subscription_image *known, const char *reference,
	char ret_digest[DIGEST_HEX_SIZE], struct error *err)
{
	struct image *found AUTO(image_freep) = NULL;
	autofree char *path = path_format("%s/%s", s->partial, image->sha512);
	enum owner owner;
	int r;

	store_find(s->store, reference, &found, NULL);
	owner = find_owner(image, known, found);
	if (found && is_same_content(s->store, found, image)) {
		memcpy(ret_digest, found->digest, DIGEST_HEX_SIZE);
		return 0;
	}
	if (owner == OWNER_OTHER)
		return fail(err, -EEXIST,
			"'%s' is another image already; give this one another name: wnodes imagelist "
			"subscribe --replace --image %s=NAME",
			reference, image->identifier);
	if (known && streq(known->sha512, image->sha512) &&
		tag_again(s->store, known->digest, reference)) {
		snprintf(ret_digest, DIGEST_HEX_SIZE, "%s", known->digest);
		return 0;
	}
	r = path ? check_source(image, err) : fail(err, -ENOMEM, "out of memory");
	if (r == 0 && (r = file_make_dirs(s->partial, 0700)) < 0)
		fail_errno(err, r, "cannot make '%s'", s->partial);
	return r < 0 ? r : fetch_and_import(s, image, path, reference, ret_digest, err);
}

int imagelist_store_keep(
	const struct imagelist_store *s, const struct subscription_image *known, struct error *err)
{
	struct image *found AUTO(image_freep) = NULL;
	int r = store_find(s->store, known->reference, &found, NULL);

	if (r == 0 && !streq(found->digest, known->digest))
		return fail(err, -EEXIST, "'%s' is another image now, which is left alone",
			known->reference);
	return r == 0 ? 1 : tag_again(s->store, known->digest, known->reference);
}

int imagelist_store_drop(
	const struct imagelist_store *s, const struct subscription_image *known, struct error *err)
{
	struct image *found AUTO(image_freep) = NULL;
	autofree char *name = NULL, *tag = NULL;
	int r;

	if (store_find(s->store, known->reference, &found, NULL) < 0 ||
		!streq(found->digest, known->digest))
		return 0;
	r = store_parse_reference(known->reference, &name, &tag, err);
	if (r == 0)
		r = store_untag(s->store, name, tag, err);
	return r == -ENOENT ? 0 : r;
}

void imagelist_store_sweep(const struct imagelist_store *s, const struct imagelist *list)
{
	DIR *dir = opendir(s->partial);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		bool wanted = entry->d_name[0] == '.';

		for (size_t i = 0; i < list->image_count && !wanted; i++)
			wanted = streq(list->images[i].sha512, entry->d_name);
		if (!wanted)
			unlinkat(dirfd(dir), entry->d_name, 0);
	}
	if (dir)
		closedir(dir);
}
