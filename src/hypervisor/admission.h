/* Which images VMs may start from on this node: what the site's catalogue says of them, and
 * [images] local_images of those that it does not know. The last catalogue is kept on the disk, and
 * holds with its times as long as there is no other. A node without a site lets start what it has.
 */
#pragma once

#include <jansson.h>

#include "engine/settings.h"
#include "hypervisor/catalogue.h"

struct admission;

int admission_new(const struct settings *settings, const char *state, struct admission **ret,
	struct error *err);
struct admission *admission_free(struct admission *a);
DEFINE_CLEANUP(struct admission *, admission_free)

/* `changed` is called when another catalogue is in force; `before` (may be NULL) was until now, and
 * goes then. */
typedef void (*admission_fn)(const struct catalogue *before, void *userdata);
void admission_watch(struct admission *a, admission_fn changed, void *userdata);

/* The node has a site, or none any more. */
void admission_set_site(struct admission *a, bool has_site);
bool admission_has_site(const struct admission *a);

/* Takes a catalogue that somebody has written to this file. Returns 0, or negative errno with the
 * reason; then the one from before holds. */
int admission_take(struct admission *a, int fd, struct error *err);

/* The site has a catalogue that did not come to us, and the one from before holds; `why` NULL: it
 * has come, or is the one that we have. */
void admission_note_failure(struct admission *a, const char *why);

/* The one in force; NULL: there is none. It goes with the next. */
const struct catalogue *admission_catalogue(const struct admission *a);

/* May a VM of this user (NULL: not known) start from it now? `image` is NULL for one that the
 * catalogue does not know. Returns 0, or -EPERM with why not and what to do. */
int admission_decide(const struct admission *a, const struct catalogue_image *image,
	const char *called, const char *user, struct error *err);

/* Remembers that somebody was refused, for `wnodes node show`. */
void admission_note_refusal(struct admission *a, uid_t uid, const char *image, const char *why);

/* New lists and objects: what was refused of this user's, or all; the catalogue in short, or NULL.
 */
json_t *admission_refusals_to_json(const struct admission *a, uid_t uid, bool all);
json_t *admission_to_json(const struct admission *a);
