/* Where Debian's packages come from: the site's mirrors where the host uses some, else Debian's. */
#pragma once

#include "lib/error.h"
#include "lib/strv.h"

/* Adds the "deb ..." lines for `suite`, with updates and security where the suite is a release.
 *
 * `mirrors` (NULL-terminated, may be NULL) are URLs of the main archive, or whole "deb ..." lines,
 * which are then all there is. Without any, what the host itself uses for the suite is taken.
 * Returns 0, -EINVAL for a suite or mirror that cannot be one, -ENOMEM. */
int apt_sources(
	const char *suite, const char *const *mirrors, struct strv *ret_lines, struct error *err);

/* Sets http_proxy and https_proxy in `env` to what apt on this host uses, unless they are set. */
void apt_proxy(struct strv *env);

/* The pure part: finds the repository of `release` in lines of "ORIGIN|RELEASE|COMPONENT|URI" that
 * is Debian's own, over http or https. Returns its URI for the caller to free, or NULL. */
char *apt_find_repository(const char *targets, const char *release);

/* Is this a package as apt-get install takes it: NAME[:ARCH][=VERSION][/SUITE]? */
bool apt_package_is_valid(const char *text);
