/* The site's controller: one pointer a concern, made and ended in order. */
#pragma once

#include <systemd/sd-event.h>

#include "controller/credential.h"
#include "controller/settings.h"
#include "lib/error.h"

/* How often it is looked whether the certificate is near its end. */
#define CONTROLLER_CREDENTIAL_US (3600 * UINT64_C(1000000))

struct controller {
	sd_event *event;    /* of the main thread: signals and what is done every some seconds */
	const char *config; /* file of the settings; NULL: the usual */
	_Atomic(struct controller_settings *) settings; /* see controller_get_settings() */
	struct credential credential;                   /* the main thread's */
	struct writer *writer;
	struct worker *worker;
	struct depot *depot;       /* NULL: none; the worker's, but for reading */
	struct stocks *stocks;     /* what is given of it; for all threads */
	struct editions *editions; /* of the catalogue; for all threads */
	struct rosters *rosters;   /* who has an image; for all threads */
	struct budget *budget;     /* the worker's */
	char *depot_temporary;     /* directory in it */
	struct identity *identity; /* for all threads */
	struct connections *connections;
	struct requests *requests;
	struct guesses *guesses;
	struct metrics *metrics;
	struct streams *streams;
	struct server *server;
	struct housekeeping *housekeeping;
};

/* Those in force. A reload makes new ones; those from before stay until the end, as somebody may be
 * reading them. */
static inline const struct controller_settings *controller_get_settings(const struct controller *c)
{
	return c->settings;
}

/* Starts all of it from this file of settings (NULL: the usual). Returns 0 or negative errno;
 * -EINTR: it was told to end meanwhile. */
int controller_open(struct controller *c, const char *config, struct error *err);

/* Serves until it is told to end. Returns 0 or negative errno. */
int controller_run(struct controller *c);

/* What was begun is done, within some seconds. */
void controller_close(struct controller *c);

/* Takes over what can be from the file of settings; after a mistake in it, all stays as it was. */
void controller_reload(struct controller *c);

/* Shows another certificate if this one is near its end, or was changed. */
void controller_renew_credential(struct controller *c);

/* Are the settings good, is the database reached, and are its tables ours? Says so. Returns 0 or
 * negative errno. */
int controller_check(const char *config, struct error *err);
