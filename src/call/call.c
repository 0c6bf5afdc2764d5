#include "call/call.h"

#include <errno.h>
#include <stdio.h>

#include "call/token.h"
#include "lib/exit.h"
#include "site/proof.h"

/* Of this machine's own controller, where none is named. */
#define LOCAL_SOCKET "/run/wnodes-controller/socket"

#define TIMEOUT_MS  15000
#define SEND_MS     300000 /* much is sent, and all of it is verified */
#define PATIENCE_MS 10000

/* Of one that was named. */
#define ALONE_TIMEOUT_MS  4000
#define ALONE_PATIENCE_MS 1000

void call_done(struct call *c)
{
	c->site = site_free(c->site);
	if (c->token)
		explicit_bzero(c->token, strlen(c->token));
	free(c->token);
	settings_done(&c->settings);
}

static int load(struct call *c, struct error *err)
{
	const char *file;
	int r = settings_load(&c->settings, err);

	if (r < 0)
		return r;
	file = c->settings.site_token_file;
	if (file && *file && !streq(c->settings.site_munge, "yes"))
		r = token_load(file, &c->token, err);
	return r;
}

static const char *const *choose_controllers(struct call *c)
{
	if (c->controller) {
		c->controllers[0] = c->controller;
		return c->controllers;
	}
	if (c->settings.site_controllers[0])
		return (const char *const *)c->settings.site_controllers;
	if (access(LOCAL_SOCKET, F_OK) == 0)
		c->controllers[0] = "unix:" LOCAL_SOCKET;
	return c->controllers;
}

int call_open(struct call *c, struct error *err)
{
	struct site_options o = {
		.timeout_ms = c->controller ? ALONE_TIMEOUT_MS
			      : c->bytes    ? SEND_MS
					    : TIMEOUT_MS,
		.patience_ms = c->controller ? ALONE_PATIENCE_MS : PATIENCE_MS,
	};
	int r = load(c, err);

	if (r < 0)
		return r;
	o.controllers = choose_controllers(c);
	if (!o.controllers[0])
		return fail(err, -ENOTCONN,
			"this machine has no controller, and wnodes.conf names none ([site] "
			"controllers)");
	o.ca_file = c->settings.site_ca;
	o.token = c->token;
	o.munge = streq(c->settings.site_munge, "yes") ||
		  (streq(c->settings.site_munge, "auto") && !c->token && proof_has_munge());
	return site_open(&o, &c->site, err);
}

static int print_line(json_t *json)
{
	bool ok = json_dumpf(json, stdout, JSON_COMPACT) == 0 && putchar('\n') != EOF;

	return ok ? 0 : -EIO;
}

static int print_item(json_t *item, void *userdata)
{
	return print_line(item);
}

static int print_refusal(int status, const char *text)
{
	json_t *json = json_pack("{s:s, s:i}", "error", text, "status", status);
	int r = json ? print_line(json) : -ENOMEM;

	json_decref(json);
	return r < 0 ? r : CALL_REFUSED;
}

/* What was refused has the controller's words, whatever page of the list it was. */
static int run_list(struct call *c, struct error *err)
{
	int r = site_list(c->site, c->path, print_item, NULL, err);

	if (r == -EREMOTEIO)
		return print_refusal(site_get_status(c->site), err->text);
	return r;
}

/* Takes the answer. */
static int print_answer(int status, json_t *answer, struct error *err)
{
	int r;

	if (status >= 400)
		r = print_refusal(status, err->text);
	else
		r = status < 0 || !answer ? MIN_OF(status, 0) : print_line(answer);
	json_decref(answer);
	return r;
}

static int run_one(struct call *c, json_t *body, struct error *err)
{
	json_t *answer = NULL;
	int status = site_call(c->site, c->method, c->path, body, c->if_match, &answer, NULL, err);

	return print_answer(status, answer, err);
}

static int finish(int r, struct error *err)
{
	if (r >= 0 && fflush(stdout) == EOF)
		r = -EIO;
	if (r == -EIO)
		return fail(err, -EIO, "cannot write the answer");
	return r;
}

int call_send(struct call *c, const struct buffer *data, struct error *err)
{
	json_t *answer = NULL;
	int status =
		site_send(c->site, c->method, c->path, buffer_head(data), data->len, &answer, err);

	return finish(print_answer(status, answer, err), err);
}

int call_run(struct call *c, json_t *body, struct error *err)
{
	return finish(c->list ? run_list(c, err) : run_one(c, body, err), err);
}
