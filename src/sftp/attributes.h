/* Attributes of a file as the protocol has them. */
#pragma once

#include <sys/stat.h>

#include "sftp/packet.h"

enum attributes_flag {
	ATTRIBUTES_SIZE = 1 << 0,
	ATTRIBUTES_OWNER = 1 << 1,
	ATTRIBUTES_MODE = 1 << 2,
	ATTRIBUTES_TIMES = 1 << 3,
};

struct attributes {
	uint32_t flags; /* which of the following there are */
	uint64_t size;
	uint32_t uid, gid, mode, atime, mtime;
};

void attributes_get(struct packet *p, struct attributes *ret);
void attributes_put(struct buffer *out, const struct stat *st);

/* Changes all but the size of the file that `fd` is of, which may be open with O_PATH. Returns 0 or
 * negative errno. */
int attributes_apply(const struct attributes *a, int fd);
