/* What the controller gives up before it hears anybody. It needs no rights: root's, if root has
 * started it, go first. */
#pragma once

#include "controller/settings.h"

/* Its directories are made where they are missing. Called before there are threads. Returns 0 or
 * negative errno. */
int privileges_drop(const struct controller_settings *s, struct error *err);
