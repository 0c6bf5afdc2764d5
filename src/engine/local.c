#include "engine/local.h"

#include <errno.h>

#include "image/locate.h"
#include "image/seed.h"
#include "lib/file.h"
#include "lib/path.h"
#include "vm/overlay.h"
#include "vm/scratch.h"

static int open_part(struct store *store, const struct manifest *m, enum image_part_kind kind,
	int *ret_fd, struct error *err)
{
	const struct image_part *part = manifest_part(m, kind);

	if (!part)
		return fail(err, -EBADMSG, "the image's manifest names no %s",
			kind == IMAGE_DISK     ? "disk"
			: kind == IMAGE_KERNEL ? "kernel"
					       : "initrd");
	*ret_fd = store_open_part(store, part, err);
	return MIN_OF(*ret_fd, 0);
}

static int open_parts(struct store *store, struct resources *r, struct error *err)
{
	const struct manifest *m = r->manifest;
	int ret = open_part(store, m, IMAGE_DISK, &r->disk_fd, err);

	if (ret == 0 && m->boot == IMAGE_BOOT_KERNEL)
		ret = open_part(store, m, IMAGE_KERNEL, &r->kernel_fd, err);
	if (ret == 0 && m->boot == IMAGE_BOOT_KERNEL)
		ret = open_part(store, m, IMAGE_INITRD, &r->initrd_fd, err);
	if (ret == 0 && m->agent == IMAGE_AGENT_SEED) {
		r->seed_fd = seed_open(err);
		ret = MIN_OF(r->seed_fd, 0);
	}
	return ret;
}

static int check_shape(const struct request *request, const struct manifest *m, struct error *err)
{
	if (request->memory_mib < m->min_memory_mib)
		return fail(err, -EINVAL,
			"%llu MiB of memory are too little for the image '%s': it needs %llu MiB; "
			"give more with --memory",
			(unsigned long long)request->memory_mib, request->image,
			(unsigned long long)m->min_memory_mib);
	if (request->cpus < m->min_cpus)
		return fail(err, -EINVAL, "the image '%s' needs %llu CPUs; give more with --cpus",
			request->image, (unsigned long long)m->min_cpus);
	return 0;
}

/* An import whose abilities were never looked at gets the benefit of the doubt. */
static int check_gateways(
	const struct request *request, const struct manifest *m, struct error *err)
{
	for (size_t i = 0; i < request->shares.count && m->gateways; i++) {
		const struct vm_share *share = &request->shares.items[i];
		if (!manifest_has_gateway(m, share->gateway->filesystem))
			return fail(err, -EOPNOTSUPP,
				"the image '%s' cannot mount '%s': its kernel has no %s; run "
				"without host directories (--mount none) or use another image",
				request->image, share->source, share->gateway->filesystem);
	}
	return 0;
}

static int find_image(const struct request *request, struct resources *r, struct error *err)
{
	struct store *store AUTO(store_freep) = NULL;
	struct image *image AUTO(image_freep) = NULL;
	int ret = locate_image(request->image, &store, &image, err);

	if (ret < 0)
		return ret;
	r->manifest = TAKE_PTR(image->manifest);
	r->image_name = TAKE_PTR(image->name);
	r->image_tag = TAKE_PTR(image->tag);
	memcpy(r->image_digest, image->digest, sizeof(r->image_digest));
	ret = check_shape(request, r->manifest, err);
	if (ret == 0)
		ret = check_gateways(request, r->manifest, err);
	return ret < 0 ? ret : open_parts(store, r, err);
}

/* Overlays and scratch disks are on disk, in the cache: /tmp may be memory. */
static char *disk_directory(const struct request *request)
{
	const char *set = request->settings->directory;

	return set && set[0] ? strdup(set) : path_cache();
}

static int make_disks(const struct request *request, struct resources *r, struct error *err)
{
	autofree char *directory = disk_directory(request);
	int ret;

	if (!directory)
		return fail(err, -ENOMEM, "out of memory");
	ret = file_make_dirs(directory, 0700);
	if (ret < 0)
		return fail_errno(err, ret, "cannot make '%s'", directory);
	r->overlay_fd = overlay_open(directory, r->manifest->disk_size, err);
	if (r->overlay_fd < 0 || request->scratch_bytes == 0)
		return MIN_OF(r->overlay_fd, 0);
	r->scratch_fd = scratch_open(directory, request->scratch_bytes, err);
	return MIN_OF(r->scratch_fd, 0);
}

int local_open(const struct request *request, struct resources *ret, struct error *err)
{
	int r = find_image(request, ret, err);

	return r < 0 ? r : make_disks(request, ret, err);
}

int local_renew(struct resources *r, struct error *err)
{
	if (ftruncate(r->overlay_fd, 0) < 0)
		return fail_errno(err, -errno, "cannot empty the overlay");
	return overlay_write(r->overlay_fd, r->manifest->disk_size, err);
}

void local_close(struct resources *r)
{
	manifest_free(r->manifest);
	free(r->image_name);
	free(r->image_tag);
	base_close(r->kernel_fd);
	base_close(r->initrd_fd);
	base_close(r->disk_fd);
	base_close(r->overlay_fd);
	base_close(r->scratch_fd);
	base_close(r->seed_fd);
	*r = (struct resources)RESOURCES_INIT;
}
