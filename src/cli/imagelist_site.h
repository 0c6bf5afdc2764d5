/* The site's catalogue follows a subscription: its images are published there as endorsed, until
 * their or their list's time is over, and expire when they leave the list. */
#pragma once

#include <jansson.h>

#include "image/store.h"
#include "imagelist/subscription.h"

/* Tells the site what it does not know yet; what was told is noted in `s`, so that what fails is
 * done by the next update. Each change is a row in `ret`: "reference", "digest", "action"
 * (published, limited, expired, failed), "reason". Returns 0, or negative errno of the first that
 * failed; the others are told all the same. */
int imagelist_site_tell(const char *directory, struct subscription *s, struct store *store,
	json_t *ret, struct error *err);
