/* The host's side of the protocol, for the tests of the agent. */
#pragma once

#include "lib/message.h"

struct host {
	int fd;
	pid_t agent;
	struct buffer in;
	size_t consume; /* bytes of the frame that host_recv() gave last */
	char root[64];  /* a fresh directory, the agent's root file system */
};

/* What a command has left. */
struct result {
	struct reply reply;
	char reason[256];
	struct exit_status status;
	bool ended;
	struct buffer out, err;
};

/* Starts an agent in a child process. host_start() also exchanges hellos. */
void host_fork(struct host *h);
void host_start(struct host *h);

/* Closes the link, removes the root and returns how guest_run() ended in the agent: a negative
 * errno; or -255 if the agent did not end by itself. */
int host_stop(struct host *h);

void host_write(struct host *h, const void *data, size_t length);
void host_send(struct host *h, enum frame_type type, uint32_t id, enum frame_channel channel,
	const struct message_field *fields, const void *message);
void host_send_data(struct host *h, uint32_t id, const void *data, size_t length);
void host_send_credit(struct host *h, uint32_t id, enum frame_channel channel, uint32_t bytes);
void host_say_hello(struct host *h);

/* Waits for one frame; false if none comes within `ms` or the link ends. */
bool host_recv(struct host *h, struct frame *ret, int ms);

/* Has the agent closed the link, or does it within two seconds? */
bool host_is_gone(struct host *h);

/* Sends a call and fills the reply; its reason and body are good until the next frame. */
void host_call(struct host *h, enum frame_type type, const struct message_field *fields,
	const void *message, struct reply *ret);

/* The usual EXEC of `sh -c script`, as the user who runs the test. */
struct exec_request host_shell(const char *const argv[4]);
void host_exec(struct host *h, uint32_t id, const struct exec_request *request);

/* Receives until stream `id` has ended, granting credit as it goes. Frames of other streams fail
 * the test. */
void host_collect(struct host *h, uint32_t id, struct result *ret);
void result_done(struct result *r);

/* Runs `check` as root of a child with users, mounts and a network of its own. False if this
 * machine allows that to nobody, or not to us. */
bool host_in_namespace(void (*check)(void));

/* The three above for a shell command; stdin as given, NULL for none. */
void host_run(struct host *h, const char *script, const char *input, struct result *ret);
