#include "image/renewal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "image/bootparts.h"
#include "image/disk.h"
#include "image/package.h"
#include "image/recipe.h"
#include "lib/file.h"
#include "lib/path.h"

/* Names in the working directory. */
#define RENEWAL_ARCHIVE "parts.tar"
#define RENEWAL_TREE    "tree"
#define RENEWAL_AGENT   "wnodes-image.deb"

#define CHANGES_MAX (1024 * 1024)

/* e2fsck: 1 is "errors were corrected", such as files that were removed while they were open. */
static const char check_script[] = "e2fsck -f -p \"$1\" || [ $? -eq 1 ]";

int renewal_disk(const struct renewal *r)
{
	return store_upload_fd(r->disk);
}

void renewal_done(struct renewal *r)
{
	r->disk = store_upload_free(r->disk);
	r->kernel_fd = base_close(r->kernel_fd);
	r->initrd_fd = base_close(r->initrd_fd);
	r->archive_fd = base_close(r->archive_fd);
	r->manifest = manifest_free(r->manifest);
	free(TAKE_PTR(r->changes));
	workshop_done(&r->shop);
}

static int copy_disk(struct renewal *r, struct error *err)
{
	const struct manifest *m = r->old->manifest;
	autoclose int from = store_open_part(r->store, manifest_part(m, IMAGE_DISK), err);
	int e = from < 0 ? from : store_upload_open(r->store, &r->disk, err);

	if (e < 0)
		return e;
	e = file_copy(from, renewal_disk(r), NULL, NULL);
	if (e >= 0 && ftruncate(renewal_disk(r), (off_t)m->disk_size) < 0)
		e = -errno;
	return e < 0 ? fail_errno(err, e, "cannot copy the image's disk") : 0;
}

static int open_parts(struct renewal *r, struct error *err)
{
	const struct manifest *m = r->old->manifest;

	r->kernel_fd = store_open_part(r->store, manifest_part(m, IMAGE_KERNEL), err);
	if (r->kernel_fd < 0)
		return r->kernel_fd;
	r->initrd_fd = store_open_part(r->store, manifest_part(m, IMAGE_INITRD), err);
	return MIN_OF(r->initrd_fd, 0);
}

static int copy_manifest(struct renewal *r, struct error *err)
{
	autofree char *text = manifest_format(r->old->manifest);

	return text ? manifest_parse(text, strlen(text), &r->manifest, err)
		    : fail(err, -ENOMEM, "out of memory");
}

int renewal_open(struct store *s, const struct image *old, const volatile sig_atomic_t *cancel,
	struct renewal *ret, struct error *err)
{
	struct renewal *r = ret;
	int e;

	r->store = s;
	r->old = old;
	if (old->manifest->boot != IMAGE_BOOT_KERNEL || !streq(old->manifest->format, "raw"))
		return fail(err, -EOPNOTSUPP,
			"'%s' was not built by WNoDeS; import a newer version of it", old->name);
	e = workshop_open(s, "refresh", old->name, old->tag, cancel, &r->shop, err);
	if (e >= 0)
		e = copy_manifest(r, err);
	if (e >= 0)
		e = open_parts(r, err);
	if (e >= 0)
		e = copy_disk(r, err);
	if (e < 0)
		return e;
	r->archive_fd = openat(
		r->shop.work->fd, RENEWAL_ARCHIVE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return r->archive_fd < 0 ? fail_errno(err, -errno, "cannot write to the store") : 0;
}

static bool has_systemd(const struct manifest *m)
{
	return strstr(m->command_line, " wnodes.init=");
}

int renewal_open_agent(struct renewal *r, struct error *err)
{
	autofree char *path = workdir_file(r->shop.work, RENEWAL_AGENT);
	autofree char *scratch = workdir_file(r->shop.work, "package");
	int e, fd;

	if (!path || !scratch)
		return fail(err, -ENOMEM, "out of memory");
	e = package_write(
		&r->shop.runner, path, scratch, path_libexec(), has_systemd(r->manifest), err);
	if (e < 0)
		return e;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? fail_errno(err, -errno, "cannot open '%s'", path) : fd;
}

static struct image_part *find_part(struct manifest *m, enum image_part_kind kind)
{
	size_t i = 0;

	while (m->parts[i].kind != kind) /* manifest_parse() has seen to it that it is there */
		i++;
	return &m->parts[i];
}

static int finish_disk(struct renewal *r, struct error *err)
{
	const char *const argv[] = {
		"sh", "-c", check_script, "sh", store_upload_path(r->disk), NULL};
	struct image_part *part = find_part(r->manifest, IMAGE_DISK);
	int e = runner_run(&r->shop.runner, argv, err);

	if (e < 0)
		return fail_within(err, "the upgraded file system is damaged");
	e = disk_trim(renewal_disk(r));
	if (e < 0)
		return fail_errno(err, e, "cannot write the disk");
	return store_upload_commit(r->disk, part, err);
}

static int unpack_archive(struct renewal *r, struct error *err)
{
	const char *const argv[] = {"tar", "--extract", "--file", RENEWAL_ARCHIVE, "--directory",
		RENEWAL_TREE, "--no-same-owner", "--no-same-permissions", "--exclude", "./boot/*",
		NULL};

	if (mkdirat(r->shop.work->fd, RENEWAL_TREE, 0700) < 0)
		return fail_errno(err, -errno, "cannot write to the store");
	return runner_run(&r->shop.runner, argv, err);
}

static int read_changes(struct renewal *r, struct error *err)
{
	size_t length;
	int e = file_read(
		r->shop.work->fd, RENEWAL_TREE "/changes", CHANGES_MAX, &r->changes, &length);

	return e < 0 ? fail_errno(err, e, "the VM does not say what it has changed") : 0;
}

static bool has_modules(const struct renewal *r)
{
	return faccessat(r->shop.work->fd, RENEWAL_TREE "/lib/modules", F_OK, 0) == 0;
}

/* Takes the parts of `from` for those of the same kind. */
static void take_part(struct manifest *m, const struct manifest *from, enum image_part_kind kind)
{
	const struct image_part *part = &from->parts[kind];

	if (part->size > 0)
		*find_part(m, kind) = *part;
}

/* Modules that the recipe wants at each start. */
static int parse_recipe(const struct manifest *m, struct recipe **ret, struct error *err)
{
	const char *text = m->recipe ? m->recipe : "";

	return recipe_parse(text, strlen(text), "the image's recipe", NULL, ret, err);
}

static int add_boot_parts(struct renewal *r, const struct rootfs *rootfs, struct error *err)
{
	struct recipe *recipe AUTO(recipe_freep) = NULL;
	struct manifest made = {0}; /* has parts only, by their kind */
	struct stat st;
	int e = parse_recipe(r->manifest, &recipe, err);

	if (e < 0)
		return e;
	if (fstat(rootfs->kernel_fd, &st) < 0)
		return fail_errno(err, -errno, "cannot look at the kernel");
	if (st.st_size > 0)
		e = bootparts_add_kernel(r->store, rootfs, &made, err);
	if (e >= 0)
		e = bootparts_add_initrd(
			r->store, rootfs, (const char *const *)recipe->image.modules, &made, err);
	if (e < 0)
		return e;
	take_part(r->manifest, &made, IMAGE_KERNEL);
	take_part(r->manifest, &made, IMAGE_INITRD);
	free(r->manifest->agent_version);
	r->manifest->agent_version = bootparts_agent_version(err);
	return r->manifest->agent_version ? 0 : -EIO;
}

int renewal_finish(struct renewal *r, struct error *err)
{
	struct rootfs *rootfs AUTO(rootfs_freep) = NULL;
	int e = unpack_archive(r, err);

	if (e >= 0)
		e = read_changes(r, err);
	if (e >= 0)
		e = finish_disk(r, err);
	if (e >= 0 && has_modules(r)) {
		e = rootfs_open(&r->shop.runner, RENEWAL_ARCHIVE, r->shop.work->path, &rootfs, err);
		if (e >= 0)
			e = add_boot_parts(r, rootfs, err);
	}
	r->manifest->created = (uint64_t)time(NULL);
	return e;
}
