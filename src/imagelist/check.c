#include "imagelist/check.h"

#include <errno.h>

#include "imagelist/version.h"
#include "lib/timestamp.h"

static const struct {
	enum check_verdict verdict;
	const char *word;
} words[] = {
	{CHECK_TAKEN, "taken"},
	{CHECK_SIGNATURE, "signature"},
	{CHECK_SIGNER, "signer"},
	{CHECK_ENDORSER, "endorser"},
	{CHECK_IDENTIFIER, "identifier"},
	{CHECK_FUTURE, "future"},
	{CHECK_EXPIRED, "expired"},
	{CHECK_OLDER, "older"},
	{CHECK_NOT_JSON, "not-json"},
	{CHECK_NOT_LIST, "not-list"},
	{CHECK_IMAGES, "images"},
	{CHECK_SITE, "site"},
};

const char *check_word(enum check_verdict verdict)
{
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (words[i].verdict == verdict)
			return words[i].word;
	return "failed";
}

static int check_signer(const struct imagelist_endorser *e, const struct smime_signer *signer,
	const struct subscription *s, struct error *err)
{
	if (!streq(e->dn, signer->subject) || !streq(e->ca, signer->issuer))
		return fail(err, CHECK_SIGNER,
			"the list says that '%s' (by '%s') endorses it, but '%s' (by '%s') has "
			"signed it",
			e->dn, e->ca, signer->subject, signer->issuer);
	if (!subscription_has_endorser(s, e->dn, e->ca))
		return fail(err, CHECK_ENDORSER,
			"'%s' (by '%s') is no endorser of this subscription; if you trust it: "
			"wnodes imagelist subscribe --replace with its name",
			e->dn, e->ca);
	return 0;
}

static int check_times(const struct imagelist *list, uint64_t now_us, struct error *err)
{
	char at[TIMESTAMP_TEXT_SIZE];

	if (now_us < list->created_us)
		return fail(err, CHECK_FUTURE,
			"the list was made in the future, at %s; is the clock of this machine right?",
			timestamp_format(list->created_us, at));
	if (now_us > list->expires_us)
		return fail(err, CHECK_EXPIRED, "the list has expired, at %s; ask its endorser",
			timestamp_format(list->expires_us, at));
	return 0;
}

/* The same version again is the same list, or one that was signed again. */
static int check_version(
	const struct imagelist *list, const struct subscription *s, struct error *err)
{
	char ours[TIMESTAMP_TEXT_SIZE], its[TIMESTAMP_TEXT_SIZE];
	int order = s->version ? version_compare(list->version, s->version) : 1;

	if (order < 0)
		return fail(err, CHECK_OLDER,
			"the list is version %s, older than %s, which was taken before",
			list->version, s->version);
	if (order == 0 && list->created_us < s->created_us)
		return fail(err, CHECK_OLDER,
			"the list, version %s, was made at %s; the one that was taken before at %s",
			list->version, timestamp_format(list->created_us, its),
			timestamp_format(s->created_us, ours));
	return 0;
}

int check_list(const struct imagelist *list, const struct smime_signer *signer,
	const struct subscription *s, uint64_t now_us, struct error *err)
{
	int r = check_signer(&list->endorser, signer, s, err);

	if (r == 0 && s->identifier && !streq(s->identifier, list->identifier))
		r = fail(err, CHECK_IDENTIFIER,
			"it is the list '%s', not '%s', which this subscription is to",
			list->identifier, s->identifier);
	if (r == 0)
		r = check_times(list, now_us > 0 ? now_us : timestamp_now_us(), err);
	return r == 0 ? check_version(list, s, err) : r;
}

static int check_payload(const char *json, size_t length, const struct smime_signer *signer,
	const struct subscription *s, uint64_t now_us, struct imagelist **ret, struct error *err)
{
	struct imagelist *list AUTO(imagelist_freep) = NULL;
	int r = imagelist_parse(json, length, &list, err);

	if (r == -EPROTO || r == -EINVAL) {
		fail_within(err, "what was signed is no image list");
		return r == -EPROTO ? CHECK_NOT_JSON : CHECK_NOT_LIST;
	}
	if (r == 0)
		r = check_list(list, signer, s, now_us, err);
	if (r != 0)
		return r;
	*ret = TAKE_PTR(list);
	return CHECK_TAKEN;
}

static int verify(const void *message, size_t length, const struct subscription *s, uint64_t now_us,
	char **ret, size_t *ret_length, struct smime_signer *ret_signer, struct error *err)
{
	struct smime_trust trust = {.ca = s->ca, .crl = !s->no_crl, .now_us = now_us};

	return smime_verify(message, length, &trust, ret, ret_length, ret_signer, err);
}

int check_message(const void *message, size_t length, const struct subscription *s, uint64_t now_us,
	struct imagelist **ret, struct smime_signer *ret_signer, struct error *err)
{
	struct smime_signer signer = {0};
	autofree char *json = NULL;
	size_t json_length = 0;
	int r = length > IMAGELIST_BYTES_MAX
			? fail(err, -EBADMSG, "it is larger than %d bytes", IMAGELIST_BYTES_MAX)
			: verify(message, length, s, now_us, &json, &json_length, &signer, err);

	if (r == -EBADMSG || r == -EKEYREVOKED) {
		fail_within(err, "the list's signature is not valid");
		return CHECK_SIGNATURE;
	}
	if (r == 0)
		r = check_payload(json, json_length, &signer, s, now_us, ret, err);
	if (r == CHECK_TAKEN)
		*ret_signer = signer;
	else
		smime_signer_done(&signer);
	return r;
}

bool check_is_revoked(const void *message, size_t length, const struct subscription *s)
{
	struct smime_signer signer = {0};
	autofree char *json = NULL;
	size_t json_length = 0;
	bool revoked =
		verify(message, length, s, 0, &json, &json_length, &signer, NULL) == -EKEYREVOKED;

	smime_signer_done(&signer);
	return revoked;
}
