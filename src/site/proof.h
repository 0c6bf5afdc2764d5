/* What a client shows, to say who it is. */
#pragma once

#include "site/attempt.h"

/* What a MUNGE credential is good for, as client and controller write it: one request, "METHOD PATH
 * SHA256-of-the-body". Returns a text for free(), or NULL. */
char *proof_payload(const char *method, const char *path, const void *body, size_t body_length);

/* Makes the line "Authorization: ..." for one attempt: a credential serves once. *ret is NULL if
 * there is nothing to show. Returns 0 or -EKEYREJECTED with the reason, or -ENOMEM. */
int proof_make(const struct site_options *options, const struct attempt *attempt, char **ret,
	struct error *err);

/* Is there a munged on this machine? */
bool proof_has_munge(void);
