/* What an image can do, learned by starting it once. */
#pragma once

#include "engine/settings.h"
#include "lib/message.h"
#include "lib/strv.h"

struct probe_result {
	struct strv filesystems; /* those among the gateways' that its kernel can mount */
	char *os;                /* for people, "Debian GNU/Linux 12 (bookworm)" */
	char *agent_version;
};

/* Boots the image without network and shares, and asks its agent. What goes wrong is printed as a
 * run's failure is. Returns 0 or -EIO. */
int probe_image(const char *reference, const struct settings *settings, struct probe_result *ret);
void probe_done(struct probe_result *p);

/* Fills the result from the agent's answer. Returns 0, or negative errno. */
int probe_fill(const struct reply *reply, struct probe_result *ret);
