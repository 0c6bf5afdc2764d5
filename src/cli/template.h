/* The verbs of `wnodes template`, and `wnodes image warm`, which makes one. */
#pragma once

#include "cli/verb.h"

extern const struct verb verb_template_list, verb_template_create, verb_template_remove,
	verb_template_gc, verb_image_warm;
