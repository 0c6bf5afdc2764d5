#include "courier/join.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/mman.h>

#include "courier/authority.h"
#include "lib/exit.h"
#include "lib/file.h"
#include "site/site.h"

#define TIMEOUT_MS  15000
#define PATIENCE_MS 30000 /* a controller that is being started anew */

struct join {
	const char *controller, *node, *token, *csr, *ca, *fingerprint;
};

static int join_parse(json_t *json, struct join *ret, struct error *err)
{
	*ret = (struct join){
		.controller = json_string_value(json_object_get(json, "controller")),
		.node = json_string_value(json_object_get(json, "node")),
		.token = json_string_value(json_object_get(json, "token")),
		.csr = json_string_value(json_object_get(json, "csr")),
		.ca = json_string_value(json_object_get(json, "ca")),
		.fingerprint = json_string_value(json_object_get(json, "fingerprint")),
	};
	if (ret->controller && ret->node && ret->token && ret->csr)
		return 0;
	return fail(err, -EINVAL, "a controller, a node, a token and a csr are needed");
}

/* Whom to believe. *ret is PEM, for free(). */
static int find_authority(const struct join *j, char **ret, struct error *err)
{
	autofree char *ca = j->ca ? strdup(j->ca) : NULL;
	char found[DIGEST_HEX_SIZE];
	int r = j->ca ? 0 : authority_fetch(j->controller, &ca, err);

	if (r < 0 || !ca)
		return r < 0 ? r : fail(err, -ENOMEM, "out of memory");
	r = authority_fingerprint(ca, found, err);
	if (r < 0)
		return r;
	if (!j->ca && !j->fingerprint)
		return fail(err, -EPERM,
			"who answers at '%s' cannot be known yet. The fingerprint of its authority "
			"is %s: if that of 'wnodes site ca' on a controller of the site is the same, "
			"add --ca-fingerprint with it; or bring the certificate and give it by --ca",
			j->controller, found);
	if (j->fingerprint && !authority_is_fingerprint(found, j->fingerprint))
		return fail(err, -EPERM,
			"who answers at '%s' is not the site's: the fingerprint of its authority is "
			"%s. Nothing was told to it",
			j->controller, found);
	*ret = TAKE_PTR(ca);
	return 0;
}

static int ask(const struct join *j, const char *ca_file, json_t **ret, struct error *err)
{
	const char *const controllers[] = {j->controller, NULL};
	const struct site_options options = {
		.controllers = controllers,
		.ca_file = ca_file,
		.timeout_ms = TIMEOUT_MS,
		.patience_ms = PATIENCE_MS,
	};
	json_t *body =
		json_pack("{s:s, s:s, s:s}", "token", j->token, "node", j->node, "csr", j->csr);
	struct site *site AUTO(site_freep) = NULL;
	int r = site_open(&options, &site, err);

	if (r == 0)
		r = site_call(site, "POST", "/v1/join", body, NULL, ret, NULL, err);
	json_decref(body);
	if (r < 0)
		return r;
	return r < 300 ? 0 : fail_within(err, "the site does not let this node join");
}

static int join_do(json_t *question, json_t **ret, struct error *err)
{
	autofree char *ca = NULL;
	char path[32];
	autoclose int fd = -1;
	struct join j;
	json_t *answer = NULL;
	const char *certificate;
	int r = join_parse(question, &j, err);

	if (r == 0)
		r = find_authority(&j, &ca, err);
	if (r < 0)
		return r;
	fd = memfd_create("ca", MFD_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fd < 0 || file_write_all(fd, ca, strlen(ca)) < 0)
		return fail_errno(err, -errno, "cannot keep the authority's certificate");
	r = ask(&j, path, &answer, err);
	certificate = json_string_value(json_object_get(answer, "certificate"));
	/* The authority is the one that was checked, whatever the answer says. */
	if (r == 0 && certificate)
		*ret = json_pack("{s:s, s:s}", "certificate", certificate, "ca", ca);
	else if (r == 0)
		r = fail(err, -EPROTO, "the answer has no certificate");
	json_decref(answer);
	return r;
}

int join_run(void)
{
	json_t *question = json_loadf(stdin, JSON_REJECT_DUPLICATES, NULL), *answer = NULL;
	struct error err = {0};
	int r = join_do(question, &answer, &err);

	if (r < 0)
		answer = json_pack("{s:s}", "error", err.text);
	r = answer ? json_dumpf(answer, stdout, JSON_COMPACT) : -1;
	json_decref(question);
	json_decref(answer);
	return r < 0 || fflush(stdout) != 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
