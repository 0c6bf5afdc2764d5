#include "hypervisor/loan_disks.h"

#include "hypervisor/hypervisor.h"

/* An overlay holds what the disk holds, its tables, and clusters that are freed and not used yet.
 */
#define OVERLAY_SPARE (UINT64_C(1) << 30)

bool loan_disks_want_volume(
	const struct loan_disks *d, const struct hypervisor *h, uint64_t scratch_bytes)
{
	const char *kind = h->settings.node_scratch;

	return h->volumes && scratch_bytes > 0 && !d->volume && !d->without_volume &&
	       (streq(kind, "auto") || streq(kind, "lvm"));
}

static int make_scratch(struct loan_disks *d, const struct hypervisor *h, uid_t uid, gid_t gid,
	uint64_t bytes, struct error *err)
{
	int r;

	if (bytes == 0 || d->volume)
		return 0;
	r = loan_file_open(&d->scratch, h->instances, uid, gid, bytes, bytes, err);
	if (r == 0 && streq(h->settings.node_scratch, "preallocated"))
		r = loan_file_allocate(&d->scratch, err);
	return r;
}

int loan_disks_make(struct loan_disks *d, const struct hypervisor *h, uid_t uid, gid_t gid,
	uint64_t disk_bytes, uint64_t scratch_bytes, struct error *err)
{
	uint64_t most = h->settings.node_vm_disk;
	uint64_t limit = disk_bytes + disk_bytes / 16 + OVERLAY_SPARE;
	int r = 0;

	if (most > 0)
		limit = MIN_OF(limit, most);
	if (!d->root)
		r = loan_file_open(&d->overlay, h->instances, uid, gid, 0, limit, err);
	return r < 0 ? r : make_scratch(d, h, uid, gid, scratch_bytes, err);
}

int loan_disks_scratch_fd(const struct loan_disks *d)
{
	return d->volume ? volume_fd(d->volume) : d->scratch.fd;
}

bool loan_disks_trim(struct loan_disks *d)
{
	bool overlay = loan_file_trim(&d->overlay);

	return loan_file_trim(&d->scratch) || overlay;
}

void loan_disks_close(struct loan_disks *d, const struct hypervisor *h)
{
	loan_file_close(&d->overlay, h->ending);
	loan_file_close(&d->scratch, h->ending);
	if (d->volume && !h->ending)
		volumes_return(h->volumes, d->volume);
	if (d->root && !h->ending)
		volumes_return(h->volumes, d->root);
	*d = (struct loan_disks)LOAN_DISKS_INIT;
}
