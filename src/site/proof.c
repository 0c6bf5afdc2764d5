#include "site/proof.h"

#include <errno.h>
#include <stdio.h>
#ifdef WNODES_MUNGE
#include <munge.h>
#endif

#include "lib/digest.h"
#include "lib/path.h"

char *proof_payload(const char *method, const char *path, const void *body, size_t body_length)
{
	char digest[DIGEST_HEX_SIZE];

	if (digest_bytes(body ? body : "", body ? body_length : 0, digest) < 0)
		return NULL;
	return path_format("%s %s %s", method, path, digest);
}

#ifdef WNODES_MUNGE
/* Where munged listens, if not where libmunge looks. */
static const char *munge_socket(void)
{
	const char *path = getenv("WNODES_MUNGE_SOCKET");

	return path && *path ? path : NULL;
}

static munge_ctx_t context_free(munge_ctx_t context)
{
	munge_ctx_destroy(context);
	return NULL;
}
DEFINE_CLEANUP(munge_ctx_t, context_free)

bool proof_has_munge(void)
{
	munge_ctx_t context AUTO(context_freep) = munge_ctx_create();
	const char *path = munge_socket();

	if (context && !path)
		munge_ctx_get(context, MUNGE_OPT_SOCKET, &path);
	return path && access(path, W_OK) == 0;
}

static int make_munge(const struct attempt *q, char **ret, struct error *err)
{
	munge_ctx_t context AUTO(context_freep) = munge_ctx_create();
	autofree char *payload = proof_payload(q->method, q->path, q->body, q->body_length);
	autofree char *credential = NULL;
	munge_err_t e;

	if (!context || !payload)
		return fail(err, -ENOMEM, "out of memory");
	if (munge_socket())
		munge_ctx_set(context, MUNGE_OPT_SOCKET, munge_socket());
	e = munge_encode(&credential, context, payload, (int)strlen(payload));
	if (e != EMUNGE_SUCCESS)
		return fail(err, -EKEYREJECTED,
			"MUNGE does not say who you are: %s; have munged started, or use a token "
			"([site] token_file)",
			munge_ctx_strerror(context) ? munge_ctx_strerror(context)
						    : munge_strerror(e));
	*ret = path_format("Authorization: MUNGE %s", credential);
	return *ret ? 0 : fail(err, -ENOMEM, "out of memory");
}
#else
bool proof_has_munge(void)
{
	return false;
}

static int make_munge(const struct attempt *q, char **ret, struct error *err)
{
	return fail(err, -EKEYREJECTED,
		"this wnodes was built without MUNGE; use a token ([site] token_file)");
}
#endif

int proof_make(const struct site_options *options, const struct attempt *attempt, char **ret,
	struct error *err)
{
	*ret = NULL;
	if (options->token) {
		*ret = path_format("Authorization: Bearer %s", options->token);
		return *ret ? 0 : fail(err, -ENOMEM, "out of memory");
	}
	return options->munge ? make_munge(attempt, ret, err) : 0;
}
