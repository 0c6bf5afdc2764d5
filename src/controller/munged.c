#include "controller/munged.h"

#include <errno.h>
#ifdef WNODES_MUNGE
#include <munge.h>

static munge_ctx_t context_free(munge_ctx_t context)
{
	munge_ctx_destroy(context);
	return NULL;
}
DEFINE_CLEANUP(munge_ctx_t, context_free)

static int explain(munge_ctx_t context, munge_err_t e, struct error *err)
{
	const char *text = munge_ctx_strerror(context);

	text = text ? text : munge_strerror(e);
	switch (e) {
	case EMUNGE_SOCKET:
	case EMUNGE_TIMEOUT:
	case EMUNGE_NO_MEMORY:
	case EMUNGE_SNAFU:
		return fail(err, -ENOTCONN, "munged does not answer here: %s", text);
	case EMUNGE_CRED_EXPIRED:
	case EMUNGE_CRED_REWOUND:
		return fail(err, -EACCES,
			"the credential of MUNGE is not valid now: %s; are the clocks of both "
			"machines right?",
			text);
	case EMUNGE_CRED_REPLAYED:
		return fail(err, -EACCES,
			"the credential of MUNGE has served already; make a fresh one for each "
			"request");
	default:
		return fail(err, -EACCES,
			"the credential of MUNGE is not valid: %s; do both machines have the same "
			"munge.key?",
			text);
	}
}

int munged_open(
	const char *socket, const char *credential, struct munged_content *ret, struct error *err)
{
	munge_ctx_t context AUTO(context_freep) = munge_ctx_create();
	int length = 0, ttl = 0;
	munge_err_t e;
	gid_t gid;

	*ret = (struct munged_content){0};
	if (!context)
		return fail(err, -ENOTCONN, "out of memory");
	if (socket)
		munge_ctx_set(context, MUNGE_OPT_SOCKET, socket);
	e = munge_decode(credential, context, &ret->payload, &length, &ret->uid, &gid);
	ret->length = (size_t)MAX_OF(length, 0);
	/* One that has expired has its content decoded all the same. */
	if (e == EMUNGE_SUCCESS && munge_ctx_get(context, MUNGE_OPT_TTL, &ttl) == EMUNGE_SUCCESS &&
		ttl <= MUNGED_TTL_MAX_S)
		return 0;
	free(ret->payload);
	*ret = (struct munged_content){0};
	if (e == EMUNGE_SUCCESS)
		return fail(err, -EACCES,
			"the credential of MUNGE is valid for more than %d s; make one for less",
			MUNGED_TTL_MAX_S);
	return explain(context, e, err);
}
#else
int munged_open(
	const char *socket, const char *credential, struct munged_content *ret, struct error *err)
{
	*ret = (struct munged_content){0};
	return fail(err, -ENOSYS, "this controller was built without MUNGE; use a token");
}
#endif
