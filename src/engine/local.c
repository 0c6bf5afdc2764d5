#include "engine/local.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "engine/overhead.h"
#include "engine/share_choice.h"
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

static int check_shape(const char *image, uint64_t cpus, uint64_t memory_mib,
	const struct manifest *m, struct error *err)
{
	if (memory_mib < m->min_memory_mib)
		return fail(err, -EINVAL,
			"%llu MiB of memory are too little for the image '%s': it needs %llu MiB; "
			"give more with --memory",
			(unsigned long long)memory_mib, image,
			(unsigned long long)m->min_memory_mib);
	if (cpus < m->min_cpus)
		return fail(err, -EINVAL, "the image '%s' needs %llu CPUs; give more with --cpus",
			image, (unsigned long long)m->min_cpus);
	return 0;
}

static void take_image(struct resources *ret, struct image *image)
{
	ret->manifest = TAKE_PTR(image->manifest);
	ret->image_name = TAKE_PTR(image->name);
	ret->image_tag = TAKE_PTR(image->tag);
	memcpy(ret->image_digest, image->digest, sizeof(ret->image_digest));
}

int local_open_image(const char *reference, uint64_t cpus, uint64_t memory_mib,
	struct resources *ret, struct error *err)
{
	struct store *store AUTO(store_freep) = NULL;
	struct image *image AUTO(image_freep) = NULL;
	int r = locate_image(reference, &store, &image, err);

	if (r < 0)
		return r;
	take_image(ret, image);
	r = check_shape(reference, cpus, memory_mib, ret->manifest, err);
	return r < 0 ? r : open_parts(store, ret, err);
}

int local_check(const struct request *request, const struct manifest *m, struct error *err)
{
	const struct overhead_shape shape = overhead_shape_of(request);
	uint64_t fits;
	int r = 0;

	/* Who was given memory for a job is told what to ask for, with all that the VM takes. */
	if (request->allocation_mib > 0)
		r = overhead_fit_guest(
			&shape, request->allocation_mib << 20, m->min_memory_mib, &fits, err);
	if (r == 0)
		r = check_shape(request->image, request->cpus, request->memory_mib, m, err);
	return r < 0 ? r : share_choice_check(&request->shares, request->image, m, err);
}

int local_open_own_image(const struct request *request, struct resources *ret, struct error *err)
{
	struct store *store AUTO(store_freep) = NULL;
	struct image *image AUTO(image_freep) = NULL;
	int r = locate_own_image(request->image, &store, &image, err);

	if (r < 0)
		return r;
	ret->own_image = true;
	take_image(ret, image);
	r = local_check(request, ret->manifest, err);
	return r < 0 ? r : open_parts(store, ret, err);
}

/* A home directory may be shared by many hosts, but locks are not, and not every host's processor
 * is the same. */
static void host_name(char *ret, size_t size)
{
	autofree char *id = NULL;
	size_t length;

	if (file_read(AT_FDCWD, "/etc/machine-id", 64, &id, &length) == 0 && length >= 32)
		snprintf(ret, size, "%.32s", id);
	else if (gethostname(ret, size - 1) < 0)
		snprintf(ret, size, "host");
	ret[size - 1] = '\0';
	for (char *p = ret; *p; p++)
		*p = *p == '/' ? '_' : *p;
}

char *local_templates(void)
{
	autofree char *cache = path_cache();
	char host[65];

	host_name(host, sizeof(host));
	return cache ? path_format("%s/templates-%s", cache, host) : NULL;
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
	if (!request->parts || !request->parts->keep) {
		r->overlay_fd = overlay_open(directory, r->manifest->disk_size, err);
		if (r->overlay_fd < 0)
			return r->overlay_fd;
	}
	if (request->scratch_bytes == 0)
		return 0;
	r->scratch_fd = scratch_open(directory, request->scratch_bytes,
		streq(request->settings->node_scratch, "preallocated"), err);
	return MIN_OF(r->scratch_fd, 0);
}

static int copy_manifest(const struct manifest *m, struct manifest **ret, struct error *err)
{
	autofree char *text = manifest_format(m);

	return text ? manifest_parse(text, strlen(text), ret, err)
		    : fail(err, -ENOMEM, "out of memory");
}

/* A part is the caller's, so it is opened again: not the descriptor copied, as QEMU's locks on the
 * file would last as long as the caller's. */
static int open_again(int fd, int flags, int *ret, struct error *err)
{
	char path[40];

	if (fd < 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	*ret = open(path, flags | O_CLOEXEC);
	return *ret < 0 ? fail_errno(err, -errno, "cannot open a part of the image again") : 0;
}

static int open_given(const struct request_parts *parts, struct resources *ret, struct error *err)
{
	int r = copy_manifest(parts->manifest, &ret->manifest, err);

	if (r == 0)
		r = open_again(parts->disk_fd, parts->keep ? O_RDWR : O_RDONLY, &ret->disk_fd, err);
	if (r == 0)
		r = open_again(parts->kernel_fd, O_RDONLY, &ret->kernel_fd, err);
	if (r == 0)
		r = open_again(parts->initrd_fd, O_RDONLY, &ret->initrd_fd, err);
	if (r == 0 && ret->manifest->agent == IMAGE_AGENT_SEED) {
		ret->seed_fd = seed_open(err);
		r = MIN_OF(ret->seed_fd, 0);
	}
	return r;
}

int local_open(const struct request *request, struct resources *ret, struct error *err)
{
	int r;

	if (request->root_lvm && !request->parts)
		return fail(err, -EHOSTDOWN,
			"a root disk on a volume is lent by the node's daemon, wnodes-hypervisor, which "
			"does not run here; use --root overlay");
	if (request->network == VM_NETWORK_TAP)
		return fail(err, -ENETUNREACH,
			"the network '%s' is the node's, and no daemon, wnodes-hypervisor, is there to "
			"connect it; use --network user, or none",
			request->network_name);
	r = request->parts ? open_given(request->parts, ret, err)
			   : local_open_image(
				     request->image, request->cpus, request->memory_mib, ret, err);

	if (r == 0)
		r = share_choice_check(&request->shares, request->image, ret->manifest, err);
	return r < 0 ? r : make_disks(request, ret, err);
}

int local_renew(struct resources *r, struct error *err)
{
	/* What did not get as far as its agent has written next to nothing to a disk of its own,
	 * and whose it is looks at its file system in the end. */
	if (r->overlay_fd < 0)
		return 0;
	if (ftruncate(r->overlay_fd, 0) < 0)
		return fail_errno(err, -errno, "cannot empty the overlay");
	return overlay_write(r->overlay_fd, r->manifest->disk_size, err);
}

void local_close(struct resources *r)
{
	manifest_free(r->manifest);
	free(r->image_name);
	free(r->image_tag);
	free(r->hostname);
	base_close(r->kernel_fd);
	base_close(r->initrd_fd);
	base_close(r->disk_fd);
	base_close(r->overlay_fd);
	base_close(r->scratch_fd);
	base_close(r->seed_fd);
	base_close(r->memory_fd);
	vm_tap_done(&r->tap);
	template_close(r->template);
	for (size_t i = 0; i < r->volume_count; i++)
		volume_lent_done(&r->volumes[i]);
	*r = (struct resources)RESOURCES_INIT;
}
