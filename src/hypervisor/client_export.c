/* Directories that a VM has by the node's NFS server. The client, which is the user, has opened
 * them: the daemon looks for no path, and never at what is in them. */
#include <arpa/inet.h>
#include <errno.h>

#include "hypervisor/client_private.h"
#include "hypervisor/exports.h"

static void on_exported(const char *path, const char *why, void *userdata)
{
	struct client *c = userdata;
	char text[INET_ADDRSTRLEN];
	struct in_addr own, node;
	struct error err = {0};

	c->asking_export = false;
	if (!why && tap_get_path(c->card.tap, &own, &node, &err) < 0)
		why = err.text;
	if (why) {
		client_refuse(c, why);
		return;
	}
	inet_ntop(AF_INET, &node, text, sizeof(text));
	client_answer(
		c, json_pack("{s:{s:s, s:s}}", "export", "address", text, "path", path), NULL, 0);
}

/* What is root's is not served: the NFS server knows the VM by its address alone. */
static int check(const struct client *c, const struct call *call, struct error *err)
{
	if (c->state != CLIENT_LENT || c->asking_export || call->given_fds[0] < 0)
		return fail(
			err, -EINVAL, "directories are served to a VM alone, one after the other");
	if (c->peer.uid == 0)
		return fail(err, -EPERM,
			"VMs of root have no directories by NFS; use another gateway, or another user");
	if (!c->hypervisor->exports)
		return fail(err, -EOPNOTSUPP,
			"this node serves no directories to VMs by NFS; the administrator has it do so "
			"by [node] nfs = yes in wnodes.conf");
	if (!c->card.tap)
		return fail(err, -ENETUNREACH,
			"the VM is on none of the node's networks, where its address is checked; ask "
			"for one with --network NAME");
	return 0;
}

void client_on_export(struct client *c, const struct call *call)
{
	struct export_wish wish = {.vm = c->tally.record_id,
		.fd = call->given_fds[0],
		.uid = c->peer.uid,
		.gid = c->peer.gid,
		.read_only = call->read_only};
	struct in_addr node;
	struct error err = {0};
	int r = check(c, call, &err);

	if (r == 0)
		r = tap_get_path(c->card.tap, &wish.address, &node, &err);
	if (r == 0)
		r = exports_add(c->hypervisor->exports, &wish, on_exported, c, &err);
	if (r < 0)
		client_refuse(c, err.text);
	else
		c->asking_export = true;
}

void client_end_exports(struct client *c)
{
	if (c->card.tap && !c->hypervisor->ending)
		exports_end(c->hypervisor->exports, c->tally.record_id);
}
