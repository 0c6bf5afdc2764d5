/* The header Authorization, as anybody may write it. */
#pragma once

#include "lib/error.h"

#define AUTHORIZATION_MAX 8192 /* bytes of a value: a credential for the longest path */

enum authorization_kind { AUTHORIZATION_BEARER, AUTHORIZATION_MUNGE };

struct authorization {
	enum authorization_kind kind;
	char value[AUTHORIZATION_MAX];
};

/* Returns 0 or -EINVAL. */
int authorization_parse(const char *header, struct authorization *ret, struct error *err);

/* Is this what a MUNGE credential has to say, so that it is good for this request and no other? */
bool authorization_fits(const void *payload, size_t length, const char *method, const char *target,
	const void *body, size_t body_length);
