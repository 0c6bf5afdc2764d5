/* The verbs of `wnodes imagelist`. */
#pragma once

#include "cli/verb.h"

extern const struct verb verb_imagelist_subscribe, verb_imagelist_unsubscribe, verb_imagelist_list,
	verb_imagelist_show, verb_imagelist_update, verb_imagelist_publish;
