/* The texts of a central configuration: as wnodes.conf, for the site, a host group or a node. What
 * a narrower scope says holds over a wider one. */
#pragma once

#include "lib/digest.h"
#include "lib/error.h"

#define CONFIGURATION_TEXT_MAX 65536

/* From the widest to the narrowest. */
enum configuration_scope {
	CONFIGURATION_SITE,
	CONFIGURATION_GROUP,
	CONFIGURATION_NODE,
	CONFIGURATION_SCOPES
};

/* Checks a text with the table of settings and the policies' own rules; no file that it names is
 * looked at. `by_site`: of an administrator of the site; others must not set what gives rights on a
 * node. Returns 0, or -EINVAL with the line and what is wrong. */
int configuration_check(const char *text, bool by_site, struct error *err);

/* Joins checked texts (NULL: none) into one that a node can read: each key once, as the narrowest
 * scope has it; of policies those of the narrowest first, each name once. Comments are left out.
 * Returns 0 with *ret for free(), or -ENOMEM. */
int configuration_merge(
	const char *const texts[CONFIGURATION_SCOPES], char **ret, struct error *err);

/* The revision of a joined text: its SHA-256. Returns 0 or negative errno. */
int configuration_revision(const char *text, char ret[DIGEST_HEX_SIZE], struct error *err);
