/* A request of a client, and the tables of those that there are. */
#pragma once

#include "sftp/server.h"

struct request {
	struct server *server;
	uint32_t id;
	struct packet in; /* behind the id */
};

/* What a handler returns beside a negative errno and 0, of which a status tells the client. */
#define REQUEST_ANSWERED 1

struct request_entry {
	int (*handle)(struct request *r);
	bool changes; /* is refused where the directory is shared for reading only */
};

/* The requests by their type, and those that go by a name. NULL: there is none. */
const struct request_entry *request_find(unsigned int type);
const struct request_entry *request_find_extended(const char *name);

/* The names and versions of the latter, for a client to know. */
void request_put_extensions(struct buffer *out);

/* Read a path; -EBADMSG for what is none. */
int request_get_path(struct request *r, char ret[PACKET_PATH_MAX]);

/* The answer to what asks for a file's attributes. Returns REQUEST_ANSWERED or negative errno. */
int request_answer_attributes(struct request *r, int fd);

/* One name, without attributes. */
int request_answer_name(struct request *r, const char *name);

/* Takes `number`, or passes on its negative errno. */
int request_answer_handle(struct request *r, int64_t number);

/* The handlers: of what is open, */
int request_on_open(struct request *r);
int request_on_opendir(struct request *r);
int request_on_close(struct request *r);
int request_on_read(struct request *r);
int request_on_write(struct request *r);
int request_on_readdir(struct request *r);
int request_on_fstat(struct request *r);
int request_on_fsetstat(struct request *r);
int request_on_fsync(struct request *r);

/* and of names. */
int request_on_stat(struct request *r);
int request_on_setstat(struct request *r);
int request_on_statvfs(struct request *r);
int request_on_realpath(struct request *r);
int request_on_readlink(struct request *r);
int request_on_remove(struct request *r);
int request_on_rmdir(struct request *r);
int request_on_mkdir(struct request *r);
int request_on_symlink(struct request *r);
int request_on_hardlink(struct request *r);
int request_on_rename(struct request *r);
int request_on_replace(struct request *r);
