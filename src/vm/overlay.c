#include "vm/overlay.h"

#include <endian.h>
#include <errno.h>

#include "lib/file.h"

#define QCOW2_MAGIC         0x514649fbu /* "QFI\xfb" */
#define QCOW2_VERSION       3
#define QCOW2_CLUSTER_BITS  16
#define QCOW2_CLUSTER       (1u << QCOW2_CLUSTER_BITS)
#define QCOW2_REFCOUNT_BITS 4 /* as a power of two: 16 bits an entry */
#define QCOW2_SECTOR        512

/* Two clusters of the level-1 table: 16,384 entries of 512 MiB each. */
#define OVERLAY_L1_CLUSTERS 2
#define OVERLAY_L1_REACH    (QCOW2_CLUSTER * (uint64_t)(QCOW2_CLUSTER / 8))
#define OVERLAY_SIZE_MAX    (OVERLAY_L1_REACH * OVERLAY_L1_CLUSTERS * (QCOW2_CLUSTER / 8))

/* The clusters of an empty image; the level-1 table takes as many as it needs. */
enum {
	CLUSTER_HEADER,
	CLUSTER_REFCOUNT_TABLE,
	CLUSTER_REFCOUNT_BLOCK,
	CLUSTER_L1,
	CLUSTERS_MAX = CLUSTER_L1 + OVERLAY_L1_CLUSTERS
};

/* All fields are big endian. */
struct qcow2_header {
	uint32_t magic, version;
	uint64_t backing_file_offset;
	uint32_t backing_file_size, cluster_bits;
	uint64_t size;
	uint32_t crypt_method, l1_size;
	uint64_t l1_table_offset, refcount_table_offset;
	uint32_t refcount_table_clusters, nb_snapshots;
	uint64_t snapshots_offset;
	uint64_t incompatible_features, compatible_features, autoclear_features;
	uint32_t refcount_order, header_length;
} __attribute__((packed));

static uint64_t overlay_l1_entries(uint64_t virtual_size)
{
	return (virtual_size + OVERLAY_L1_REACH - 1) / OVERLAY_L1_REACH;
}

static size_t overlay_clusters(uint64_t virtual_size)
{
	uint64_t l1_bytes = overlay_l1_entries(virtual_size) * 8;

	return CLUSTER_L1 + (size_t)((l1_bytes + QCOW2_CLUSTER - 1) / QCOW2_CLUSTER);
}

static struct qcow2_header overlay_header(uint64_t virtual_size)
{
	return (struct qcow2_header){
		.magic = htobe32(QCOW2_MAGIC),
		.version = htobe32(QCOW2_VERSION),
		.cluster_bits = htobe32(QCOW2_CLUSTER_BITS),
		.size = htobe64(virtual_size),
		.l1_size = htobe32((uint32_t)overlay_l1_entries(virtual_size)),
		.l1_table_offset = htobe64((uint64_t)CLUSTER_L1 * QCOW2_CLUSTER),
		.refcount_table_offset = htobe64((uint64_t)CLUSTER_REFCOUNT_TABLE * QCOW2_CLUSTER),
		.refcount_table_clusters = htobe32(1),
		.refcount_order = htobe32(QCOW2_REFCOUNT_BITS),
		.header_length = htobe32(sizeof(struct qcow2_header)),
	};
}

static int write_at(int fd, const void *data, size_t length, uint64_t cluster)
{
	ssize_t n = pwrite(fd, data, length, (off_t)(cluster * QCOW2_CLUSTER));

	if (n < 0)
		return -errno;
	return (size_t)n == length ? 0 : -ENOSPC;
}

int overlay_write(int fd, uint64_t virtual_size, struct error *err)
{
	/* QEMU counts in sectors, and sees the last one of a base as whole. */
	uint64_t whole = (virtual_size + QCOW2_SECTOR - 1) / QCOW2_SECTOR * QCOW2_SECTOR;
	struct qcow2_header header = overlay_header(whole);
	uint64_t table = htobe64((uint64_t)CLUSTER_REFCOUNT_BLOCK * QCOW2_CLUSTER);
	size_t clusters = overlay_clusters(whole);
	uint16_t counts[CLUSTERS_MAX];
	int r;

	if (virtual_size == 0 || virtual_size > OVERLAY_SIZE_MAX)
		return fail(err, -EINVAL, "a disk of %llu bytes cannot have an overlay",
			(unsigned long long)virtual_size);
	for (size_t i = 0; i < clusters; i++)
		counts[i] = htobe16(1);
	r = write_at(fd, &header, sizeof(header), CLUSTER_HEADER);
	if (r == 0)
		r = write_at(fd, &table, sizeof(table), CLUSTER_REFCOUNT_TABLE);
	if (r == 0)
		r = write_at(fd, counts, clusters * sizeof(counts[0]), CLUSTER_REFCOUNT_BLOCK);
	if (r == 0 && ftruncate(fd, (off_t)(clusters * QCOW2_CLUSTER)) < 0)
		r = -errno;
	return r < 0 ? fail_errno(err, r, "cannot write the overlay") : 0;
}

int overlay_open(const char *directory, uint64_t virtual_size, struct error *err)
{
	autoclose int fd = file_open_temporary(directory);
	int r;

	if (fd < 0)
		return fail_errno(err, fd, "cannot make an overlay in '%s'", directory);
	r = overlay_write(fd, virtual_size, err);
	if (r < 0)
		return fail_within(err, "overlay in '%s'", directory);
	return TAKE_FD(fd);
}
