/* Requests about names in the shared directory. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>

#include "sftp/attributes.h"
#include "sftp/request.h"

int request_answer_attributes(struct request *r, int fd)
{
	struct buffer *out = &r->server->out;
	struct stat st;
	size_t begin;

	if (fstat(fd, &st) < 0)
		return -errno;
	begin = packet_begin(out, PACKET_ATTRS, r->id);
	attributes_put(out, &st);
	packet_end(out, begin);
	return REQUEST_ANSWERED;
}

/* Opens what the request is about, for looking at it. */
static int find(struct request *r, char path[PACKET_PATH_MAX])
{
	int result = request_get_path(r, path);

	return result < 0 ? result : tree_find(&r->server->tree, path);
}

int request_on_stat(struct request *r)
{
	char path[PACKET_PATH_MAX];
	autoclose int fd = find(r, path);

	return fd < 0 ? fd : request_answer_attributes(r, fd);
}

static int set_size(const struct tree *t, const char *path, uint64_t size)
{
	autoclose int fd = tree_open(t, path, O_WRONLY, 0);

	if (fd < 0)
		return fd;
	return ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
}

int request_on_setstat(struct request *r)
{
	char path[PACKET_PATH_MAX];
	autoclose int fd = find(r, path);
	struct attributes a;
	int result = 0;

	attributes_get(&r->in, &a);
	if (r->in.bad)
		return -EBADMSG;
	if (fd < 0)
		return fd;
	if (a.flags & ATTRIBUTES_SIZE)
		result = set_size(&r->server->tree, path, a.size);
	return result < 0 ? result : attributes_apply(&a, fd);
}

int request_on_statvfs(struct request *r)
{
	struct buffer *out = &r->server->out;
	char path[PACKET_PATH_MAX];
	autoclose int fd = find(r, path);
	struct statvfs fs;
	size_t begin;

	if (fd < 0)
		return fd;
	if (fstatvfs(fd, &fs) < 0)
		return -errno;
	begin = packet_begin(out, PACKET_EXTENDED_REPLY, r->id);
	packet_put_u64(out, fs.f_bsize);
	packet_put_u64(out, fs.f_frsize);
	packet_put_u64(out, fs.f_blocks);
	packet_put_u64(out, fs.f_bfree);
	packet_put_u64(out, fs.f_bavail);
	packet_put_u64(out, fs.f_files);
	packet_put_u64(out, fs.f_ffree);
	packet_put_u64(out, fs.f_favail);
	packet_put_u64(out, fs.f_fsid);
	packet_put_u64(out, r->server->tree.read_only || fs.f_flag & ST_RDONLY ? 1 : 0);
	packet_put_u64(out, fs.f_namemax);
	packet_end(out, begin);
	return REQUEST_ANSWERED;
}

int request_on_realpath(struct request *r)
{
	char path[PACKET_PATH_MAX];
	int result = request_get_path(r, path);

	return result < 0 ? result : request_answer_name(r, path[0] ? path : ".");
}

int request_on_readlink(struct request *r)
{
	char path[PACKET_PATH_MAX], target[PACKET_PATH_MAX];
	autoclose int fd = find(r, path);
	ssize_t n = fd < 0 ? 0 : readlinkat(fd, "", target, sizeof(target) - 1);

	if (fd < 0)
		return fd;
	if (n < 0)
		return -errno;
	target[n] = '\0';
	return request_answer_name(r, target);
}

static int remove_name(struct request *r, int flags)
{
	char path[PACKET_PATH_MAX];
	int result = request_get_path(r, path);
	struct tree_name at;

	if (result == 0)
		result = tree_open_parent(&r->server->tree, path, &at);
	if (result < 0)
		return result;
	result = unlinkat(at.fd, at.name, flags) < 0 ? -errno : 0;
	close(at.fd);
	return result;
}

int request_on_remove(struct request *r)
{
	return remove_name(r, 0);
}

int request_on_rmdir(struct request *r)
{
	return remove_name(r, AT_REMOVEDIR);
}

int request_on_mkdir(struct request *r)
{
	char path[PACKET_PATH_MAX];
	int result = request_get_path(r, path);
	struct attributes a;
	struct tree_name at;

	attributes_get(&r->in, &a);
	if (result < 0 || r->in.bad)
		return -EBADMSG;
	result = tree_open_parent(&r->server->tree, path, &at);
	if (result < 0)
		return result;
	result = mkdirat(at.fd, at.name, a.flags & ATTRIBUTES_MODE ? a.mode & 07777 : 0777) < 0
			 ? -errno
			 : 0;
	close(at.fd);
	return result;
}

/* OpenSSH has the arguments in this order, against the draft, and so has everybody. What a link
 * leads to is text: it is the client that follows it. */
int request_on_symlink(struct request *r)
{
	char target[PACKET_PATH_MAX], path[PACKET_PATH_MAX];
	int result = request_get_path(r, target);
	struct tree_name at;

	if (result == 0)
		result = request_get_path(r, path);
	if (result == 0)
		result = tree_open_parent(&r->server->tree, path, &at);
	if (result < 0)
		return result;
	result = symlinkat(target, at.fd, at.name) < 0 ? -errno : 0;
	close(at.fd);
	return result;
}

/* What takes two names in the tree. */
static int with_names(
	struct request *r, int (*act)(const struct tree_name *from, const struct tree_name *to))
{
	char path[PACKET_PATH_MAX], other[PACKET_PATH_MAX];
	struct tree_name from = {.fd = -1}, to = {.fd = -1};
	int result = request_get_path(r, path);

	if (result == 0)
		result = request_get_path(r, other);
	if (result == 0)
		result = tree_open_parent(&r->server->tree, path, &from);
	if (result == 0)
		result = tree_open_parent(&r->server->tree, other, &to);
	if (result == 0 && act(&from, &to) < 0)
		result = -errno;
	base_close(from.fd);
	base_close(to.fd);
	return result;
}

static int link_names(const struct tree_name *from, const struct tree_name *to)
{
	return linkat(from->fd, from->name, to->fd, to->name, 0);
}

int request_on_hardlink(struct request *r)
{
	return with_names(r, link_names);
}

static int rename_names(const struct tree_name *from, const struct tree_name *to)
{
	return renameat2(from->fd, from->name, to->fd, to->name, RENAME_NOREPLACE);
}

int request_on_rename(struct request *r)
{
	return with_names(r, rename_names);
}

static int replace_names(const struct tree_name *from, const struct tree_name *to)
{
	return renameat(from->fd, from->name, to->fd, to->name);
}

int request_on_replace(struct request *r)
{
	return with_names(r, replace_names);
}
