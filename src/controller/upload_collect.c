/* What of the depot nobody needs any more. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "controller/controller.h"
#include "controller/reader.h"
#include "controller/siteclock.h"
#include "controller/upload.h"
#include "depot/depot.h"
#include "lib/log.h"
#include "lib/strv.h"

/* What was sent and is not published may still be on its way. */
#define YOUNG_S 86400

struct collection {
	struct controller *controller;
	struct sql *db;
	struct strv ended; /* digests whose manifests go */
};

/* Is it young, or cannot it be said? */
static bool is_young(const struct depot *d, const char *digest)
{
	autoclose int fd = depot_open_manifest(d, digest);
	struct stat st;

	return fd < 0 || fstat(fd, &st) < 0 || st.st_mtime > time(NULL) - YOUNG_S;
}

/* Returns 1 if an image is needed, 0 if not, or negative errno. */
static int is_needed(struct collection *c, const char *digest, struct error *err)
{
	const struct controller_settings *s = controller_get_settings(c->controller);
	uint64_t now = siteclock_now_us(), keep = s->depot_keep;
	int64_t needed = 0;
	int r = sql_get_number(c->db, err, &needed,
		"SELECT CASE WHEN state IN ('expired', 'revoked') AND state_since < ?2 THEN 0"
		" ELSE 1 END FROM image WHERE digest = ?1",
		sql_text(digest), sql_number((int64_t)(now > keep ? now - keep : 0)));

	return r < 0 ? r : r > 0 && needed;
}

static int on_image(const char *digest, void *userdata)
{
	struct collection *c = userdata;
	struct error err = {0};
	int r = is_young(c->controller->depot, digest) ? 1 : is_needed(c, digest, &err);

	if (r == 0)
		strv_add(&c->ended, digest);
	if (r < 0)
		log_warning("cannot clean the depot: %s", err.text);
	return MIN_OF(r, 0);
}

static int remove_ended(struct collection *c, struct error *err)
{
	int r = depot_list(c->controller->depot, on_image, c, err);

	for (size_t i = 0; i < c->ended.count && r == 0; i++) {
		r = depot_remove(c->controller->depot, c->ended.items[i], err);
		if (r == -ENOENT) /* by another controller */
			r = 0;
	}
	return r;
}

void upload_collect(struct controller *controller)
{
	struct collection c = {.controller = controller};
	struct depot_garbage garbage = {0};
	struct error err = {0};
	int r = reader_get(controller_get_settings(controller)->database, &c.db, &err);

	if (r == 0)
		r = remove_ended(&c, &err);
	if (r == 0)
		r = depot_collect(controller->depot, false, YOUNG_S, &garbage, &err);
	strv_done(&c.ended);
	if (r < 0 && r != -EBUSY)
		log_warning("cannot clean the depot: %s, trying again tomorrow", err.text);
	else if (garbage.files > 0)
		log_info("cleaned the depot: %" PRIu64 " files, %" PRIu64 " MiB", garbage.files,
			garbage.bytes >> 20);
}
