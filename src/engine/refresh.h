/* The next version of an image of one's own: upgraded by a VM that has a copy of its disk, or built
 * again from its recipe; then tried in a VM, and only then given a name. */
#pragma once

#include <signal.h>

#include "engine/imagecheck.h"
#include "engine/settings.h"
#include "image/store.h"

struct refresh_request {
	const struct image *image; /* of the store */
	const struct settings *settings;
	bool rebuild;
	const char *const *mirrors; /* as apt_sources() takes them; NULL: what the image has */
	const char *tag;            /* of the next version; the name stays */
	void (*on_step)(const char *what, void *userdata);
	void *userdata;
	const volatile sig_atomic_t *cancel;
};

struct refresh_result {
	bool changed; /* else there was nothing to upgrade, and the rest is empty */
	char digest[DIGEST_HEX_SIZE];
	struct manifest *manifest;
	char *changes; /* lines of "PACKAGE OLD NEW"; NULL for one that was built again */
	struct imagecheck checks;
	char *log_path; /* of what did not pass; else NULL */
};

/* Returns 0, or negative errno: -EBADMSG where a check has failed (see the result's checks and
 * log), and nothing got a name. refresh_done() is due in both cases. */
int refresh_image(struct store *s, const struct refresh_request *request,
	struct refresh_result *ret, struct error *err);
void refresh_done(struct refresh_result *r);
