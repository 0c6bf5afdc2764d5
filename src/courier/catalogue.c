#include "courier/catalogue.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/printable.h"

/* Twice this, and the way to the daemon, are less than the ten seconds that are promised. */
#define INTERVAL_US (4500 * UINT64_C(1000))
#define JITTER_US   (500 * UINT64_C(1000))

#define REASON_MAX 250 /* bytes that the daemon takes of one */

void catalogue_watch_init(struct catalogue_watch *w, const char *revision)
{
	*w = (struct catalogue_watch){.due_us = clock_now_us()};
	snprintf(w->known, sizeof(w->known), "%s", revision ? revision : "");
}

/* Never all nodes at the same moment. */
static uint64_t next_due(void)
{
	uint16_t random = 0;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		random = 0;
	return clock_now_us() + INTERVAL_US + JITTER_US * random / UINT16_MAX;
}

/* It does not fit into a packet. */
static int write_document(json_t *document, struct error *err)
{
	autofree char *text = json_dumps(document, JSON_COMPACT);
	autoclose int fd = memfd_create("catalogue", MFD_CLOEXEC);
	int r = fd < 0 ? -errno : text ? file_write_all(fd, text, strlen(text)) : -ENOMEM;

	return r < 0 ? fail_errno(err, r, "cannot hold the catalogue") : TAKE_FD(fd);
}

static int bring(struct daemon *daemon, json_t *document, struct error *err)
{
	struct daemon_answer answer AUTO(daemon_answer_done) = {0};
	autoclose int fd = write_document(document, err);

	if (fd < 0)
		return fd;
	return daemon_ask_file(daemon,
		json_pack("{s:s, s:[s]}", "op", "catalogue", "descriptors", "document"), fd,
		&answer, err);
}

/* One that is refused is not brought again, until it is another. */
static int take(struct catalogue_watch *w, struct daemon *daemon, json_t *document,
	const char *etag, struct error *err)
{
	struct error why = {0};
	int r = bring(daemon, document, &why);

	if (r == 0 || r == -EREMOTEIO)
		snprintf(w->known, sizeof(w->known), "%s", etag ? etag : "");
	if (r == -EREMOTEIO && !w->refused)
		log_warning("the site's catalogue of images is not taken: %s; the one from before "
			    "holds",
			why.text);
	w->refused = r == -EREMOTEIO;
	return r == 0 || r == -EREMOTEIO ? 0 : fail(err, r, "%s", why.text);
}

/* The daemon shows it to people. */
static int tell(struct daemon *daemon, const char *why, struct error *err)
{
	struct daemon_answer answer AUTO(daemon_answer_done) = {0};
	char reason[REASON_MAX];
	int r;

	snprintf(reason, sizeof(reason), "%s", why);
	printable_make_line(reason, strlen(reason));
	r = daemon_ask(
		daemon, json_pack("{s:s, s:s}", "op", "catalogue", "reason", reason), &answer, err);
	return r == -EREMOTEIO ? 0 : r;
}

/* As from one that is older than this node, or when it is larger than anybody takes. */
static int note_missing(
	struct catalogue_watch *w, struct daemon *daemon, const char *why, struct error *err)
{
	bool told = w->missing;

	w->missing = true;
	if (told)
		return 0;
	log_warning("the site gives no catalogue of images: %s, trying again", why);
	return tell(daemon, why, err);
}

static int note_there(struct catalogue_watch *w, struct daemon *daemon, struct error *err)
{
	bool told = w->missing;

	w->missing = false;
	return told && !w->refused ? tell(daemon, "", err) : 0;
}

int catalogue_watch_run(
	struct catalogue_watch *w, struct daemon *daemon, struct site *site, struct error *err)
{
	struct error why = {0};
	json_t *document = NULL;
	autofree char *etag = NULL;
	int status = site_get(
		    site, "/v1/catalogue", w->known[0] ? w->known : NULL, &document, &etag, &why),
	    r = 0;

	w->due_us = next_due();
	if (status == 200)
		r = take(w, daemon, document, etag, err);
	else if (status >= 400 || status < 0)
		r = note_missing(w, daemon, why.text, err);
	if (r == 0 && (status == 200 || status == 304))
		r = note_there(w, daemon, err);
	json_decref(document);
	return r;
}
