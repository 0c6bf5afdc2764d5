#include "courier/leasing.h"

#include <errno.h>

#include "courier/account.h"
#include "lib/log.h"

/* What is not given now may be later; it is said once. */
static void tell_refused(const json_t *answer)
{
	static bool told;
	const json_t *refused = json_object_get(answer, "refused");
	const char *why = json_string_value(json_object_get(json_array_get(refused, 0), "error"));

	if (why && !told)
		log_warning("the site gives no lease: %s", why);
	told = why != NULL;
}

/* What was given back is not ours any more, whether the site knew of it or not. */
static int tell_daemon(struct daemon *daemon, json_t *answer, json_t *taken, struct error *err)
{
	struct daemon_answer reply AUTO(daemon_answer_done) = {0};
	json_t *given = json_object_get(answer, "given");
	int r;

	if (!json_is_array(given))
		return fail(err, -EAGAIN, "a controller does not say which leases it gives");
	r = daemon_ask(daemon,
		json_pack("{s:s, s:O, s:O}", "op", "leased", "given", given, "taken", taken),
		&reply, err);
	return r < 0 ? r : json_integer_value(json_object_get(reply.json, "taken_in")) > 0;
}

int leasing_run(struct daemon *daemon, struct site *site, json_t *names, struct error *err)
{
	struct daemon_answer question AUTO(daemon_answer_done) = {0};
	json_t *answer = NULL, *row;
	size_t i;
	int r = daemon_ask(daemon, json_pack("{s:s}", "op", "leases"), &question, err);

	if (r < 0 || !json_object_get(question.json, "give"))
		return r;
	json_array_foreach(json_object_get(question.json, "give"), i, row)
	{
		/* One that nobody uses is nobody's. */
		if (json_object_get(row, "vm"))
			json_object_set_new(row, "user", json_string(""));
		account_add_user(names, row);
		json_object_del(row, "uid");
	}
	r = site_call(site, "POST", "/v1/leases/batch", question.json, NULL, &answer, NULL, err);
	if (r == 200) {
		tell_refused(answer);
		r = tell_daemon(daemon, answer, json_object_get(question.json, "take"), err);
	} else if (r > 0) {
		r = fail_within(err, "the site gives no leases");
		r = -EAGAIN;
	}
	json_decref(answer);
	return r;
}
