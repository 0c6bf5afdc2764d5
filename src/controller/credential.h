/* What a controller shows to its clients: a certificate with its key, and the authority by which
 * nodes are known. */
#pragma once

#include "controller/settings.h"
#include "sql/sql.h"

struct credential {
	char *certificate, *key, *ca; /* PEM */
};

/* The files of the settings; else those in the state directory (mode 0600), which are made from the
 * site's authority where they are missing, near their end, or for other names. `db` is NULL while
 * the database is not reached: what is in the state directory serves as long as it is valid. To be
 * called again from time to time; what it gives may then be another one. Returns 0, -EAGAIN if the
 * database is needed and not reached, or another negative errno. */
int credential_load(const struct controller_settings *settings, struct sql *db, uint64_t now_us,
	struct credential *ret, struct error *err);

void credential_done(struct credential *c);

/* Is it the same? */
bool credential_equals(const struct credential *a, const struct credential *b);
