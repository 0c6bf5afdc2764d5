#include "hypervisor/admission.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lib/printable.h"
#include "lib/timestamp.h"

#define ADMISSION_FILE "site/catalogue.json"

/* The last ones, for people. */
#define REFUSALS_MAX 16

struct refusal {
	uint64_t when_us;
	uid_t uid;
	char image[160], reason[400];
};

struct admission {
	const struct settings *settings;
	char *path;
	bool has_site;
	struct catalogue *catalogue;
	admission_fn changed;
	void *userdata;
	struct refusal refusals[REFUSALS_MAX];
	size_t refused;    /* ever */
	char failure[400]; /* why there is no newer catalogue; "": there is none to be had */
	uint64_t failed_us;
};

int admission_new(const struct settings *settings, const char *state, struct admission **ret,
	struct error *err)
{
	struct admission *a AUTO(admission_freep) = calloc(1, sizeof(*a));

	if (!a)
		return fail(err, -ENOMEM, "out of memory");
	a->settings = settings;
	a->path = path_format("%s/" ADMISSION_FILE, state);
	if (!a->path)
		return fail(err, -ENOMEM, "out of memory");
	*ret = TAKE_PTR(a);
	return 0;
}

struct admission *admission_free(struct admission *a)
{
	if (!a)
		return NULL;
	catalogue_free(a->catalogue);
	free(a->path);
	free(a);
	return NULL;
}

void admission_watch(struct admission *a, admission_fn changed, void *userdata)
{
	a->changed = changed;
	a->userdata = userdata;
}

static void replace(struct admission *a, struct catalogue *fresh)
{
	struct catalogue *before = a->catalogue;

	a->catalogue = fresh;
	if (a->changed)
		a->changed(before, a->userdata);
	catalogue_free(before);
}

/* What we have written ourselves; a file that is damaged is fetched again. */
static struct catalogue *recall(const struct admission *a)
{
	struct catalogue *c = NULL;
	autofree char *text = NULL;
	struct error err = {0};
	size_t length;
	int r = file_read(AT_FDCWD, a->path, CATALOGUE_BYTES_MAX, &text, &length);

	if (r == -ENOENT)
		return NULL;
	if (r < 0)
		fail_errno(&err, r, "cannot read '%s'", a->path);
	else
		r = catalogue_parse(text, length, &c, &err);
	if (r < 0)
		log_warning("%s, waiting for another", err.text);
	return c;
}

void admission_set_site(struct admission *a, bool has_site)
{
	if (a->has_site == has_site)
		return;
	a->has_site = has_site;
	replace(a, has_site ? recall(a) : NULL);
}

bool admission_has_site(const struct admission *a)
{
	return a->has_site;
}

/* The file is another's, who may still write to it: it is read once. */
static int read_document(int fd, char **ret, size_t *ret_length, struct error *err)
{
	autofree char *text = NULL;
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0 ||
		(uint64_t)st.st_size > CATALOGUE_BYTES_MAX)
		return fail(err, -EINVAL, "a catalogue is a file of at most %u MiB",
			CATALOGUE_BYTES_MAX >> 20);
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return fail(err, -ENOMEM, "out of memory");
	n = pread(fd, text, (size_t)st.st_size, 0);
	if (n < 0)
		return fail_errno(err, -errno, "cannot read the catalogue");
	text[n] = '\0';
	*ret = TAKE_PTR(text);
	*ret_length = (size_t)n;
	return 0;
}

void admission_note_failure(struct admission *a, const char *why)
{
	if (!why) {
		a->failure[0] = '\0';
		return;
	}
	if (!a->failure[0])
		a->failed_us = timestamp_now_us();
	snprintf(a->failure, sizeof(a->failure), "%s", why);
	printable_make_line(a->failure, strlen(a->failure));
}

int admission_take(struct admission *a, int fd, struct error *err)
{
	struct catalogue *fresh AUTO(catalogue_freep) = NULL;
	autofree char *text = NULL;
	size_t length = 0;
	int r = read_document(fd, &text, &length, err);

	if (r == 0)
		r = catalogue_parse(text, length, &fresh, err);
	admission_note_failure(a, r < 0 ? err->text : NULL);
	if (r < 0)
		return r;
	/* An image that was revoked is so also after a power cut. */
	r = file_replace(AT_FDCWD, a->path, text, length, 0644);
	if (r < 0)
		log_warning("cannot write '%s': %s; what it says holds until this daemon ends",
			a->path, strerror(-r));
	log_info("the site's catalogue %s is in force: %zu images, %zu tags", fresh->revision,
		fresh->image_count, fresh->tag_count);
	replace(a, TAKE_PTR(fresh));
	return 0;
}

const struct catalogue *admission_catalogue(const struct admission *a)
{
	return a->catalogue;
}

static int decide_unknown(const struct admission *a, const char *called, struct error *err)
{
	if (!a->has_site || a->settings->images_local)
		return 0;
	if (!a->catalogue)
		return fail(err, -EPERM,
			"the image '%.160s' cannot start: this node does not have the catalogue of its "
			"site yet; try again in a minute, or ask the node's administrator whether the "
			"site's controllers answer",
			called);
	return fail(err, -EPERM,
		"the image '%.160s' is not in the site's catalogue, and this node starts no others "
		"([images] local_images); have it published and approved, or take another image "
		"(`wnodes image list --site` shows them)",
		called);
}

int admission_decide(const struct admission *a, const struct catalogue_image *image,
	const char *called, const char *user, struct error *err)
{
	return image ? catalogue_decide(image, called, user, timestamp_now_us(), err)
		     : decide_unknown(a, called, err);
}

void admission_note_refusal(struct admission *a, uid_t uid, const char *image, const char *why)
{
	struct refusal *r = &a->refusals[a->refused++ % REFUSALS_MAX];

	*r = (struct refusal){.when_us = timestamp_now_us(), .uid = uid};
	snprintf(r->image, sizeof(r->image), "%s", image);
	snprintf(r->reason, sizeof(r->reason), "%s", why);
	log_info("uid %u is refused a VM: %s", (unsigned int)uid, why);
}

json_t *admission_refusals_to_json(const struct admission *a, uid_t uid, bool all)
{
	size_t first = a->refused > REFUSALS_MAX ? a->refused - REFUSALS_MAX : 0;
	json_t *list = json_array();

	for (size_t i = first; i < a->refused; i++) {
		const struct refusal *r = &a->refusals[i % REFUSALS_MAX];
		char when[TIMESTAMP_TEXT_SIZE];

		if (all || r->uid == uid)
			json_array_append_new(list, json_pack("{s:s, s:I, s:s, s:s}", "when",
							    timestamp_format(r->when_us, when),
							    "uid", (json_int_t)r->uid, "image",
							    r->image, "reason", r->reason));
	}
	return list;
}

json_t *admission_to_json(const struct admission *a)
{
	char since[TIMESTAMP_TEXT_SIZE];
	bool failed = a->failure[0];

	if (!a->has_site)
		return NULL;
	return json_pack("{s:s*, s:I, s:b, s:s*, s:s*}", "catalogue",
		a->catalogue ? a->catalogue->revision : NULL, "catalogue_images",
		(json_int_t)(a->catalogue ? a->catalogue->image_count : 0), "local_images",
		a->settings->images_local, "catalogue_failure", failed ? a->failure : NULL,
		"catalogue_failed_since", failed ? timestamp_format(a->failed_us, since) : NULL);
}
