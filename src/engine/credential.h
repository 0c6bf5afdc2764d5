/* What the node shows to controllers and to other nodes: its key, its certificate, and the
 * authority that it believes in. They come as descriptors from the daemon and stay in memory: no
 * file of ours has them. */
#pragma once

#include "lib/error.h"

#define CREDENTIAL_PATH_MAX 32

struct credential {
	char *key, *certificate, *ca; /* PEM */
	int fds[3];
	/* The same as files of this process, for libcurl. */
	char key_path[CREDENTIAL_PATH_MAX], certificate_path[CREDENTIAL_PATH_MAX],
		ca_path[CREDENTIAL_PATH_MAX];
	uint64_t begins_us, ends_us; /* since the epoch */
};

#define CREDENTIAL_INIT               \
	{                             \
		.fds = { -1, -1, -1 } \
	}

/* Reads them; the descriptors stay the caller's. Returns 0, -EINVAL with what is wrong with one of
 * them, or another negative errno. */
int credential_load(
	struct credential *c, int key_fd, int certificate_fd, int ca_fd, struct error *err);
void credential_done(struct credential *c);

/* When it is time for another certificate: when two thirds of its life are over. Since the epoch.
 */
uint64_t credential_renewal_us(const struct credential *c);

/* Is this certificate (PEM) for our key and `name`, from our authority, and does it live longer?
 * Returns 0 or -EINVAL with what is wrong. */
int credential_check(
	const struct credential *c, const char *certificate, const char *name, struct error *err);
