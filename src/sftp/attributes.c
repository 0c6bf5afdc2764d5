#include "sftp/attributes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

void attributes_get(struct packet *p, struct attributes *ret)
{
	*ret = (struct attributes){.flags = packet_get_u32(p)};
	if (ret->flags & ATTRIBUTES_SIZE)
		ret->size = packet_get_u64(p);
	if (ret->flags & ATTRIBUTES_OWNER) {
		ret->uid = packet_get_u32(p);
		ret->gid = packet_get_u32(p);
	}
	if (ret->flags & ATTRIBUTES_MODE)
		ret->mode = packet_get_u32(p);
	if (ret->flags & ATTRIBUTES_TIMES) {
		ret->atime = packet_get_u32(p);
		ret->mtime = packet_get_u32(p);
	}
	/* What extensions of others follow is nothing that we know. */
}

void attributes_put(struct buffer *out, const struct stat *st)
{
	packet_put_u32(
		out, ATTRIBUTES_SIZE | ATTRIBUTES_OWNER | ATTRIBUTES_MODE | ATTRIBUTES_TIMES);
	packet_put_u64(out, (uint64_t)st->st_size);
	packet_put_u32(out, st->st_uid);
	packet_put_u32(out, st->st_gid);
	packet_put_u32(out, st->st_mode);
	packet_put_u32(out, (uint32_t)st->st_atime);
	packet_put_u32(out, (uint32_t)st->st_mtime);
}

/* fchmod(2) takes no descriptor of a path, and a name may be another file's by now. */
static int attributes_set_mode(int fd, mode_t mode)
{
	char path[40];
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode))
		return -EOPNOTSUPP;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return chmod(path, mode & 07777) < 0 ? -errno : 0;
}

int attributes_apply(const struct attributes *a, int fd)
{
	const struct timespec times[] = {{.tv_sec = a->atime}, {.tv_sec = a->mtime}};

	/* First, as a change of the owner takes set-uid bits away. */
	if (a->flags & ATTRIBUTES_OWNER && fchownat(fd, "", a->uid, a->gid, AT_EMPTY_PATH) < 0)
		return -errno;
	if (a->flags & ATTRIBUTES_TIMES && utimensat(fd, "", times, AT_EMPTY_PATH) < 0)
		return -errno;
	return a->flags & ATTRIBUTES_MODE ? attributes_set_mode(fd, a->mode) : 0;
}
