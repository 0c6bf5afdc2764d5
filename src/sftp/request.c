#include "sftp/request.h"

#include <errno.h>

static const struct request_entry entries[PACKET_REQUESTS_END] = {
	[PACKET_OPEN] = {request_on_open, false}, /* it looks itself what it is opened for */
	[PACKET_CLOSE] = {request_on_close, false},
	[PACKET_READ] = {request_on_read, false},
	[PACKET_WRITE] = {request_on_write, true},
	[PACKET_LSTAT] = {request_on_stat, false},
	[PACKET_FSTAT] = {request_on_fstat, false},
	[PACKET_SETSTAT] = {request_on_setstat, true},
	[PACKET_FSETSTAT] = {request_on_fsetstat, true},
	[PACKET_OPENDIR] = {request_on_opendir, false},
	[PACKET_READDIR] = {request_on_readdir, false},
	[PACKET_REMOVE] = {request_on_remove, true},
	[PACKET_MKDIR] = {request_on_mkdir, true},
	[PACKET_RMDIR] = {request_on_rmdir, true},
	[PACKET_REALPATH] = {request_on_realpath, false},
	[PACKET_STAT] = {request_on_stat, false},
	[PACKET_RENAME] = {request_on_rename, true},
	[PACKET_READLINK] = {request_on_readlink, false},
	[PACKET_SYMLINK] = {request_on_symlink, true},
};

/* OpenSSH's. Source: its file PROTOCOL, section 4. */
static const struct {
	const char *name, *version;
	struct request_entry entry;
} extensions[] = {
	{"posix-rename@openssh.com", "1", {request_on_replace, true}},
	{"statvfs@openssh.com", "2", {request_on_statvfs, false}},
	{"hardlink@openssh.com", "1", {request_on_hardlink, true}},
	{"fsync@openssh.com", "1", {request_on_fsync, false}},
};

const struct request_entry *request_find(unsigned int type)
{
	return type < PACKET_REQUESTS_END && entries[type].handle ? &entries[type] : NULL;
}

const struct request_entry *request_find_extended(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(extensions); i++)
		if (streq(extensions[i].name, name))
			return &extensions[i].entry;
	return NULL;
}

void request_put_extensions(struct buffer *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(extensions); i++) {
		packet_put_string(out, extensions[i].name);
		packet_put_string(out, extensions[i].version);
	}
}

int request_get_path(struct request *r, char ret[PACKET_PATH_MAX])
{
	packet_get_string(&r->in, ret, PACKET_PATH_MAX);
	return r->in.bad ? -EBADMSG : 0;
}

int request_answer_name(struct request *r, const char *name)
{
	struct buffer *out = &r->server->out;
	size_t begin = packet_begin(out, PACKET_NAME, r->id);

	packet_put_u32(out, 1);
	packet_put_string(out, name);
	packet_put_string(out, name);
	packet_put_u32(out, 0);
	packet_end(out, begin);
	return REQUEST_ANSWERED;
}

int request_answer_handle(struct request *r, int64_t number)
{
	struct buffer *out = &r->server->out;
	size_t begin;

	if (number < 0)
		return (int)number;
	begin = packet_begin(out, PACKET_HANDLE, r->id);
	packet_put_u32(out, sizeof(uint64_t));
	packet_put_u64(out, (uint64_t)number);
	packet_end(out, begin);
	return REQUEST_ANSWERED;
}
