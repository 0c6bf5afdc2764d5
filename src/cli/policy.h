/* What the verbs of `wnodes policy` share. */
#pragma once

#include <jansson.h>

#include "cli/verb.h"
#include "engine/policy.h"

/* One value as JSON (sizes in bytes, lists as arrays), or for people ("8 GiB"; the caller frees).
 * NULL when out of memory. */
json_t *policy_value_to_json(const struct policy_values *v, enum policy_key key);
char *policy_value_to_text(const struct policy_values *v, enum policy_key key);

/* Adds "image": "el9", ... for all that are given. */
void policy_values_to_json(const struct policy_values *values, json_t *object);

/* Reads the site's policies, or those of `path` if it is not NULL, and the settings beside them.
 * `ret_settings` is zeroed memory, and for settings_done() also after a failure. Returns 0 or
 * negative errno. */
int policy_read(
	const char *path, struct policies *ret, struct settings *ret_settings, struct error *err);

extern const struct verb verb_policy_list, verb_policy_test;
