/* What a file of the site's may have beside settings: policies, networks and directories to share.
 * Whoever reads one kind of section reads and checks all, so that a mistake in another is told too.
 */
#pragma once

#include "engine/network.h"
#include "engine/policy.h"
#include "engine/settings.h"
#include "engine/sharing.h"

struct site_file {
	struct policies policies;
	struct networks networks;
	struct sharing sharing;
};

/* Reads `path`; its settings are laid over those in `settings` (NULL: they are only checked). A
 * file that is not there has nothing. Returns 0, or negative errno with "FILE:LINE: ..." in the
 * message; `ret` is then empty. */
int site_file_load(
	struct site_file *ret, struct settings *settings, const char *path, struct error *err);

/* The same for two files: what `path` says comes first, and stands for what `pushed` says of the
 * same name. `pushed` is what the site's controllers have given the node. */
int site_file_load_over(struct site_file *ret, struct settings *settings, const char *pushed,
	const char *path, struct error *err);

/* Reads a user's file over `settings`: such sections are known there, and refused. One that is not
 * there says nothing. Returns 0 or negative errno, as above. */
int site_file_load_user(struct settings *settings, const char *path, struct error *err);

void site_file_done(struct site_file *f);
