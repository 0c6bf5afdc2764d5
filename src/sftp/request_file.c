/* Requests about what a client has open. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>

#include "sftp/attributes.h"
#include "sftp/request.h"

/* Of one answer to READDIR. */
#define READDIR_BYTES (60 * 1024)

enum open_flag {
	OPEN_READ = 1 << 0,
	OPEN_WRITE = 1 << 1,
	OPEN_APPEND = 1 << 2,
	OPEN_CREATE = 1 << 3,
	OPEN_TRUNCATE = 1 << 4,
	OPEN_EXCLUSIVE = 1 << 5,
};

static uint64_t get_handle(struct request *r)
{
	struct packet bytes = packet_get_bytes(&r->in);
	uint64_t number = packet_get_u64(&bytes);

	return bytes.bad || bytes.length > 0 ? UINT64_MAX : number;
}

static int open_flags(uint32_t flags)
{
	int access = !(flags & OPEN_WRITE) ? O_RDONLY : flags & OPEN_READ ? O_RDWR : O_WRONLY;

	return access | (flags & OPEN_APPEND ? O_APPEND : 0) | (flags & OPEN_CREATE ? O_CREAT : 0) |
	       (flags & OPEN_TRUNCATE ? O_TRUNC : 0) |
	       (flags & OPEN_EXCLUSIVE && flags & OPEN_CREATE ? O_EXCL : 0);
}

int request_on_open(struct request *r)
{
	const struct tree *tree = &r->server->tree;
	struct attributes a;
	char path[PACKET_PATH_MAX];
	int result = request_get_path(r, path), fd;
	uint32_t flags = packet_get_u32(&r->in);

	attributes_get(&r->in, &a);
	if (result < 0 || r->in.bad)
		return -EBADMSG;
	if (tree->read_only && (flags & ~(uint32_t)OPEN_READ))
		return -EROFS;
	fd = tree_open(tree, path, open_flags(flags), a.flags & ATTRIBUTES_MODE ? a.mode : 0666);
	return request_answer_handle(r, fd < 0 ? fd : handle_add_file(&r->server->handles, fd));
}

int request_on_opendir(struct request *r)
{
	char path[PACKET_PATH_MAX];
	int result = request_get_path(r, path), fd;

	if (result < 0)
		return result;
	fd = tree_open_directory(&r->server->tree, path);
	return request_answer_handle(
		r, fd < 0 ? fd : handle_add_directory(&r->server->handles, fd));
}

int request_on_close(struct request *r)
{
	struct handle *handle = handle_find(&r->server->handles, get_handle(r));

	return handle ? handle_remove(&r->server->handles, handle) : -EBADF;
}

int request_on_read(struct request *r)
{
	struct handle *handle = handle_find_file(&r->server->handles, get_handle(r));
	struct buffer *out = &r->server->out;
	uint64_t offset = packet_get_u64(&r->in);
	size_t length = packet_get_u32(&r->in), begin;
	uint32_t got;
	uint8_t *room;
	ssize_t n;

	if (r->in.bad || offset > INT64_MAX)
		return -EBADMSG;
	if (!handle)
		return -EBADF;
	length = MIN_OF(length, (size_t)PACKET_DATA_MAX);
	begin = packet_begin(out, PACKET_DATA, r->id);
	room = buffer_reserve(out, sizeof(got) + length);
	n = room ? pread(handle->fd, room + sizeof(got), length, (off_t)offset) : -1;
	if (n <= 0) {
		out->len = begin;
		return !room ? -ENOMEM : n < 0 ? -errno : -ENODATA;
	}
	got = htobe32((uint32_t)n);
	memcpy(room, &got, sizeof(got));
	buffer_commit(out, sizeof(got) + (size_t)n);
	packet_end(out, begin);
	return REQUEST_ANSWERED;
}

int request_on_write(struct request *r)
{
	struct handle *handle = handle_find_file(&r->server->handles, get_handle(r));
	uint64_t offset = packet_get_u64(&r->in);
	struct packet data = packet_get_bytes(&r->in);
	ssize_t n;

	if (r->in.bad || offset > INT64_MAX)
		return -EBADMSG;
	if (!handle)
		return -EBADF;
	for (size_t done = 0; done < data.length; done += (size_t)n) {
		n = pwrite(
			handle->fd, data.data + done, data.length - done, (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			n = 0;
		else if (n <= 0)
			return n < 0 ? -errno : -EIO;
	}
	return 0;
}

static void put_entry(struct buffer *out, int fd, const char *name)
{
	struct stat st = {0};

	packet_put_string(out, name);
	packet_put_string(out, ""); /* a line for people */
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		attributes_put(out, &st);
	else
		packet_put_u32(out, 0);
}

int request_on_readdir(struct request *r)
{
	struct handle *handle = handle_find_directory(&r->server->handles, get_handle(r));
	struct buffer *out = &r->server->out;
	size_t begin = out->len, at;
	const struct dirent *entry;
	uint32_t count = 0;

	if (!handle)
		return -EBADF;
	packet_begin(out, PACKET_NAME, r->id);
	at = out->len;
	packet_put_u32(out, 0);
	while (out->len - begin < READDIR_BYTES && (entry = readdir(handle->dir))) {
		put_entry(out, handle->fd, entry->d_name);
		count++;
	}
	if (count == 0) {
		out->len = begin;
		return -ENODATA;
	}
	count = htobe32(count);
	memcpy(out->data + out->start + at, &count, sizeof(count));
	packet_end(out, begin);
	return REQUEST_ANSWERED;
}

int request_on_fstat(struct request *r)
{
	struct handle *handle = handle_find(&r->server->handles, get_handle(r));

	return handle ? request_answer_attributes(r, handle->fd) : -EBADF;
}

int request_on_fsetstat(struct request *r)
{
	struct handle *handle = handle_find(&r->server->handles, get_handle(r));
	struct attributes a;

	attributes_get(&r->in, &a);
	if (r->in.bad)
		return -EBADMSG;
	if (!handle)
		return -EBADF;
	if (a.flags & ATTRIBUTES_SIZE && ftruncate(handle->fd, (off_t)a.size) < 0)
		return -errno;
	return attributes_apply(&a, handle->fd);
}

int request_on_fsync(struct request *r)
{
	struct handle *handle = handle_find(&r->server->handles, get_handle(r));

	if (!handle)
		return -EBADF;
	return fsync(handle->fd) < 0 ? -errno : 0;
}
