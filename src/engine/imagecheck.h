/* Is an image good? A VM of it is asked: by the checks of its recipe, and for what no image that
 * others get may have. */
#pragma once

#include "engine/settings.h"
#include "image/manifest.h"
#include "lib/strv.h"

struct imagecheck_result {
	char *name;
	bool is_policy; /* not of the recipe */
	bool passed;
	char *why; /* of one that failed; else empty */
};

struct imagecheck {
	struct imagecheck_result *results;
	size_t count, failures;
	struct strv packages; /* "NAME VERSION", as the image has them installed */
};

/* The image's parts, open for reading. */
struct imagecheck_parts {
	const char *image; /* for messages */
	const struct manifest *manifest;
	int disk_fd, kernel_fd, initrd_fd; /* -1: none */
};

/* Starts a VM and fills `ret`. What the commands write goes to `log_fd`. Returns 0 if all has been
 * tried, however it ended (see failures), or negative errno; imagecheck_done() is due in both
 * cases. */
int imagecheck_run(const struct imagecheck_parts *parts, const struct settings *settings,
	int log_fd, struct imagecheck *ret, struct error *err);
void imagecheck_done(struct imagecheck *c);

/* The script, and what it writes (hostile bytes), for tests. */
char *imagecheck_script(const char *recipe, struct error *err);
int imagecheck_parse(char *text, struct imagecheck *ret, struct error *err);
