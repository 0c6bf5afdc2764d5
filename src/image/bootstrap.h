/* Debian's root file system as a tar archive, by mmdebstrap: as root, or as a user by user
 * namespaces (/etc/subuid), or else by fakechroot. */
#pragma once

#include "image/runner.h"
#include "lib/error.h"

struct bootstrap {
	const char *suite;
	const char *const *mirrors;  /* as apt_sources() takes them; may be NULL */
	const char *const *packages; /* the user's; may be NULL */
	bool systemd;
	/* Names in the runner's working directory, free of anything that must be quoted: */
	const char *package; /* our .deb, installed first */
	const char *script;  /* run in the root file system at the end, says itself by runner.h's
			      * lines how it failed; NULL: none */
	const char *output;  /* the archive */
};

/* Adds the whole command line, program first. Returns 0 or negative errno. */
int bootstrap_command(const struct bootstrap *b, struct strv *ret_argv, struct error *err);

/* Makes the archive. Returns 0 or negative errno. */
int bootstrap_run(const struct bootstrap *b, const struct runner *runner, struct error *err);

/* Shell commands that remove, below the current directory, what makes one machine different from
 * another, and what was only needed to build. */
extern const char bootstrap_clean[];
