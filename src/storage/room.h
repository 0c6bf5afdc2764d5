/* How full a thin pool is, as the kernel says: without a program, in no time. */
#pragma once

#include "lib/error.h"

struct volume_room {
	uint64_t bytes;
	double data_percent, tables_percent;
};

/* Asks for the pool of this device-mapper name, "GROUP-POOL". Returns 0, or negative errno where it
 * cannot be told (no right, no such pool, one that has failed): LVM is to be asked then. */
int room_ask(const char *device, struct volume_room *ret);

/* Reads the status of a pool of so many bytes. Source: Linux,
 * Documentation/admin-guide/device-mapper/thin-provisioning.rst. Returns 0 or -EPROTO. */
int room_parse(const char *status, uint64_t bytes, struct volume_room *ret);
