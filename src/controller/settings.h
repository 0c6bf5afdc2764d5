/* The settings of controller.conf: one table gives parsing, defaults, ranges and the manual page.
 */
#pragma once

#include "lib/conf.h"

struct controller_settings {
	/* [controller] */
	char **listen;           /* "ADDRESS:PORT" */
	char *socket;            /* for users of this machine; "none": none */
	char *database;          /* as sql_open() */
	char *state;             /* directory */
	char *user;              /* account to become when started as root */
	char *certificate, *key; /* files; NULL: made from the site's own authority */
	char **names;            /* of the certificate that is made */
	char *depot;             /* directory; "auto": in `state`; "none" */
	uint64_t depot_slots;    /* answers at a time */
	uint64_t threads;        /* 0: by the machine */
	uint64_t connections, address_connections, user_connections;
	uint64_t streams, user_streams;
	uint64_t request_time, idle_time; /* us */
	/* What a reload takes over, too: */
	uint64_t user_tokens, failures;
	uint64_t lost_after, lease_grace;      /* us */
	char **administrators, **endorsers;    /* users and @groups */
	uint64_t private_images, private_size; /* of a user; bytes */
	uint64_t volumes, volume_size;         /* of a user; bytes */
	bool four_eyes;
	uint64_t depot_keep; /* us */
	char *munge;         /* "auto", "none" or munged's socket */
	bool metrics_open;
	char *log_format;                   /* "text" or "json" */
	char *log_level;                    /* "error", "warning", "info" or "debug" */
	struct controller_settings *before; /* of the reload before; see controller.h */
};

extern const struct conf_setting controller_settings_table[];

/* The system's file, /etc/wnodes/controller.conf. */
const char *controller_settings_file(void);

/* From this file, which must be there; NULL: from the system's, if it is there. Returns 0 or
 * negative errno. */
int controller_settings_load(struct controller_settings *ret, const char *path, struct error *err);

/* At a reload: what cannot be changed while the program runs stays as it is `old`; where that makes
 * a difference, the log says so. On failure `fresh` is done. Returns 0 or negative errno. */
int controller_settings_keep(struct controller_settings *fresh,
	const struct controller_settings *old, struct error *err);

/* Prints an example with all of them, or the manual page controller.conf(5). */
void controller_settings_print(bool man, FILE *out);

void controller_settings_done(struct controller_settings *s);
