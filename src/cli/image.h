/* The verbs of `wnodes image`. */
#pragma once

#include "cli/verb.h"

extern const struct verb verb_image_build, verb_image_import, verb_image_list, verb_image_show,
	verb_image_tag, verb_image_fetch, verb_image_publish, verb_image_remove, verb_image_gc,
	verb_image_verify;

/* A recipe, and the next version. */
extern const struct verb verb_image_check, verb_image_refresh, verb_image_customize;

/* The site's. */
extern const struct verb verb_image_endorse, verb_image_approve, verb_image_expire,
	verb_image_revoke, verb_image_history, verb_image_stage;
