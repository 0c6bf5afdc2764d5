/* The site's controller: one pointer a concern, made and ended in order. */
#pragma once

#include <systemd/sd-event.h>

#include "controller/settings.h"
#include "lib/error.h"

struct controller {
	sd_event *event; /* of the main thread: signals and what is done every some seconds */
	_Atomic(struct controller_settings *) settings; /* see controller_get_settings() */
	struct writer *writer;
};

/* Those in force. A reload makes new ones; those from before stay until the end, as somebody may be
 * reading them. */
static inline const struct controller_settings *controller_get_settings(const struct controller *c)
{
	return c->settings;
}
