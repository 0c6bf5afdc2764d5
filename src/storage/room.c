#include "storage/room.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdio.h>
#include <sys/ioctl.h>

#define CONTROL "/dev/mapper/control"

/* A pool's status is a line of some 100 characters. */
#define STATUS_MAX 1024

#define SECTOR_BYTES 512

int room_parse(const char *status, uint64_t bytes, struct volume_room *ret)
{
	unsigned long long transaction, tables, tables_all, data, data_all;

	if (sscanf(status, "%llu %llu/%llu %llu/%llu ", &transaction, &tables, &tables_all, &data,
		    &data_all) != 5 ||
		tables_all == 0 || data_all == 0)
		return -EPROTO;
	*ret = (struct volume_room){.bytes = bytes,
		.data_percent = 100.0 * (double)data / (double)data_all,
		.tables_percent = 100.0 * (double)tables / (double)tables_all};
	return 0;
}

/* The whole one is GROUP-POOL-tpool: GROUP-POOL is for others not to use it. */
static int fill_question(struct dm_ioctl *io, size_t size, const char *device)
{
	*io = (struct dm_ioctl){.version = {DM_VERSION_MAJOR, 0, 0},
		.data_size = (uint32_t)size,
		.data_start = sizeof(*io),
		.flags = DM_NOFLUSH_FLAG};
	return (size_t)snprintf(io->name, sizeof(io->name), "%s-tpool", device) < sizeof(io->name)
		       ? 0
		       : -ENAMETOOLONG;
}

int room_ask(const char *device, struct volume_room *ret)
{
	union {
		struct dm_ioctl io;
		char all[sizeof(struct dm_ioctl) + sizeof(struct dm_target_spec) + STATUS_MAX];
	} u = {.all = {0}};
	autoclose int fd = open(CONTROL, O_RDWR | O_CLOEXEC);
	const struct dm_target_spec *target;
	int r = fill_question(&u.io, sizeof(u), device);

	if (fd < 0 || r < 0)
		return fd < 0 ? -errno : r;
	if (ioctl(fd, DM_TABLE_STATUS, &u) < 0)
		return -errno;
	if (u.io.target_count != 1 || (u.io.flags & DM_BUFFER_FULL_FLAG) ||
		u.io.data_start > sizeof(struct dm_ioctl))
		return -EPROTO;
	target = (const struct dm_target_spec *)(const void *)(u.all + u.io.data_start);
	u.all[sizeof(u.all) - 1] = '\0';
	if (strcmp(target->target_type, "thin-pool") != 0)
		return -EPROTO;
	return room_parse((const char *)(target + 1), target->length * SECTOR_BYTES, ret);
}
