/* The Debian package that built images contain from us: the agent and its systemd unit. It stands
 * in for initramfs-tools too, which every kernel package asks for: our images start from an initial
 * file system of our own, and making the usual one costs 10 s and 30 MiB. */
#pragma once

#include "image/runner.h"
#include "lib/error.h"

/* Writes the package to `path`, using the new directory `scratch`. `libexec` has the agent and its
 * unit; the unit is only needed, and enabled, with `systemd`. Returns 0 or negative errno. */
int package_write(const struct runner *runner, const char *path, const char *scratch,
	const char *libexec, bool systemd, struct error *err);
