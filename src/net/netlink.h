/* Questions to the kernel's rtnetlink, one after the other: each is sent and its answer waited for.
 *
 * Messages are libnl's; answers are read here, as libnl's own way of waiting loses the kernel's
 * errno and the sentence that comes with it. */
#pragma once

#include <netlink/msg.h>

#include "lib/error.h"

struct netlink;

int netlink_open(struct netlink **ret, struct error *err);
struct netlink *netlink_free(struct netlink *n);
DEFINE_CLEANUP(struct netlink *, netlink_free)

/* A request that begins with `header` (struct ifinfomsg and the like). Never NULL: who cannot have
 * a page of memory cannot go on. */
struct nl_msg *netlink_message(int type, int flags, const void *header, size_t length);

/* Adds an attribute; all that is ever put into one message fits. */
void netlink_put(struct nl_msg *message, int type, const void *data, size_t length);
void netlink_put_u32(struct nl_msg *message, int type, uint32_t value);
void netlink_put_text(struct nl_msg *message, int type, const char *text);
struct nlattr *netlink_nest(struct nl_msg *message, int type);
void netlink_end_nest(struct nl_msg *message, struct nlattr *nest);

/* What comes before the end of an answer. Returning other than 0 ends the call with that, after the
 * answer has been read. */
typedef int (*netlink_fn)(const struct nlmsghdr *header, void *userdata);

/* Sends `message`, which it takes, and waits for the kernel's answer. Returns 0 or negative errno;
 * `each` may be NULL. */
int netlink_call(struct netlink *n, struct nl_msg *message, netlink_fn each, void *userdata);

/* Hears from now on of every change of a device (RTM_NEWLINK, RTM_DELLINK); such a one is asked
 * nothing. */
int netlink_watch_links(struct netlink **ret, struct error *err);
int netlink_descriptor(const struct netlink *n);

/* Calls `each` with what has come; what it returns does not matter. Returns 0, -ENOBUFS if some of
 * it was lost, or another negative errno. */
int netlink_hear(struct netlink *n, netlink_fn each, void *userdata);

/* As fail_errno(), of the last call, with what the kernel has said beside its errno. */
int netlink_fail(const struct netlink *n, int code, struct error *err, const char *format, ...)
	PRINTF(4, 5);
