/* May this list be taken? The rules of vmcatcher, with its numbers, and two of ours. */
#pragma once

#include "imagelist/list.h"
#include "imagelist/smime.h"
#include "imagelist/subscription.h"

/* The numbers are exit statuses of `wnodes imagelist update`, too. */
enum check_verdict {
	CHECK_TAKEN = 0,
	CHECK_SIGNATURE = 11,  /* no valid signature by a certificate that is trusted */
	CHECK_SIGNER = 12,     /* another has signed than the endorser that it names */
	CHECK_ENDORSER = 13,   /* an endorser whose lists are not taken */
	CHECK_IDENTIFIER = 31, /* another list */
	CHECK_FUTURE = 33,     /* made in the future */
	CHECK_EXPIRED = 34,
	CHECK_OLDER = 35, /* older than the last one that was taken */
	CHECK_NOT_JSON = 37,
	CHECK_NOT_LIST = 38, /* it lacks something */
	CHECK_IMAGES = 40,   /* it was taken, but not all of its images could be had */
	CHECK_SITE = 41,     /* it was taken, but the site was not told of all */
};

/* A word for it: "signature", "expired". */
const char *check_word(enum check_verdict verdict);

/* Checks a list from anywhere by all rules. Returns a verdict: with CHECK_TAKEN *ret for
 * imagelist_free() and the signer, else why not in `err`; or negative errno where that cannot be
 * found out. `now_us` of 0 is the clock's. */
int check_message(const void *message, size_t length, const struct subscription *s, uint64_t now_us,
	struct imagelist **ret, struct smime_signer *ret_signer, struct error *err);

/* Has the certificate that signed this message been revoked since? */
bool check_is_revoked(const void *message, size_t length, const struct subscription *s);

/* The rules but for the signature. */
int check_list(const struct imagelist *list, const struct smime_signer *signer,
	const struct subscription *s, uint64_t now_us, struct error *err);
