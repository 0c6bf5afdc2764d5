#include "courier/volume.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "courier/account.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"

#define SECOND UINT64_C(1000000)

/* A VM that waits for a volume that is elsewhere waits for as long at most. */
#define INTERVAL_US (800 * UINT64_C(1000))
#define JITTER_US   (200 * UINT64_C(1000))
#define RETRY_US    (5 * SECOND)

/* Never all nodes at the same moment. */
static uint64_t next_due(uint64_t interval_us)
{
	uint16_t random = 0;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		random = 0;
	return clock_now_us() + interval_us + JITTER_US * random / UINT16_MAX;
}

/* Whose files the data are. Who has no account here is not named. */
static void add_owners(json_t *rows)
{
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		const char *owner = json_string_value(json_object_get(row, "owner"));
		const struct passwd *account = owner ? getpwnam(owner) : NULL;

		json_object_del(row, "uid");
		if (!account)
			continue;
		json_object_set_new(row, "uid", json_integer((json_int_t)account->pw_uid));
		json_object_set_new(row, "gid", json_integer((json_int_t)account->pw_gid));
	}
}

static int bring(struct daemon *daemon, json_t *document, struct error *err)
{
	struct daemon_answer answer AUTO(daemon_answer_done) = {0};
	autofree char *text = json_dumps(document, JSON_COMPACT);
	autoclose int fd = memfd_create("volumes", MFD_CLOEXEC);
	int r = fd < 0 ? -errno : text ? file_write_all(fd, text, strlen(text)) : -ENOMEM;

	if (r < 0)
		return fail_errno(err, r, "cannot hold what the site says of volumes");
	return daemon_ask_file(daemon,
		json_pack("{s:s, s:[s]}", "op", "volumed", "descriptors", "document"), fd, &answer,
		err);
}

static int take(struct daemon *daemon, json_t *document, struct error *err)
{
	struct error why = {0};
	int r;

	add_owners(json_object_get(document, "volumes"));
	add_owners(json_object_get(document, "served"));
	r = bring(daemon, document, &why);
	if (r == -EREMOTEIO) {
		log_warning("%s, trying again", why.text);
		return 0;
	}
	return r < 0 ? fail(err, r, "%s", why.text) : 0;
}

/* As from one that is older than this node. */
static void note_missing(struct volume_watch *w, const char *why)
{
	if (!w->missing)
		log_warning("the site does not answer about volumes: %s, trying again", why);
	w->missing = true;
}

static int exchange(struct volume_watch *w, struct daemon *daemon, struct site *site,
	const char *node, json_t *tell, struct error *err)
{
	autofree char *path = path_format("/v1/nodes/%s/volumes", node);
	struct error why = {0};
	json_t *document = NULL;
	int status = !path  ? -ENOMEM
		     : tell ? site_call(site, "POST", path, tell, NULL, &document, NULL, &why)
			    : site_call(site, "GET", path, NULL, NULL, &document, NULL, &why),
	    r = 0;

	if (status == 200) {
		w->missing = false;
		r = take(daemon, document, err);
	} else {
		w->due_us = next_due(RETRY_US);
		if (status >= 400)
			note_missing(w, why.text);
	}
	json_decref(document);
	return r;
}

int volume_watch_run(struct volume_watch *w, struct daemon *daemon, struct site *site,
	json_t *names, const char *node, struct error *err)
{
	struct daemon_answer question AUTO(daemon_answer_done) = {0};
	json_t *tell, *wish;
	size_t i;
	int r;

	daemon->volumes = false;
	r = daemon_ask(daemon, json_pack("{s:s}", "op", "volumes"), &question, err);
	if (r < 0)
		return r;
	tell = json_object_get(question.json, "tell");
	w->due_us = UINT64_MAX;
	if (!tell && !json_is_true(json_object_get(question.json, "poll")))
		return 0;
	w->due_us = next_due(INTERVAL_US);
	json_array_foreach(json_object_get(tell, "attach"), i, wish)
	{
		account_add_user(names, wish);
		json_object_del(wish, "uid");
	}
	return exchange(w, daemon, site, node, tell, err);
}
