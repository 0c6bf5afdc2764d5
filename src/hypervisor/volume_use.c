#include "hypervisor/volume_use.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "lib/fields.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"

/* The first is read by all, as it has the settings of the site; the second by nobody else. */
#define SITE      "site"
#define DIRECTORY SITE "/attachments"
#define FILE_MAX  2048
#define USES_MAX  4096

struct use {
	char id[UUID_TEXT_SIZE], volume[VOLUME_NAME_MAX], vm[UUID_TEXT_SIZE];
	uint64_t uid;
	bool read_only;
	bool held;  /* by a connection */
	bool ended; /* to be told */
	bool asked; /* in the question that is answered next */
	volume_use_fn done;
	void *userdata; /* who waits for it; `done` is NULL: nobody */
	struct use *next;
};

struct volume_uses {
	char *directory;
	struct use *uses;
	size_t count;
	json_t *strange; /* ids that the controllers have as ours, and we do not know */
};

#define AT(member) offsetof(struct use, member)

static const struct field file_fields[] = {
	{"id", FIELD_ID, AT(id), .required = true},
	{"volume", FIELD_TEXT, AT(volume), 0, VOLUME_NAME_MAX, true},
	{"vm", FIELD_ID, AT(vm), .required = true},
	{"uid", FIELD_NUMBER, AT(uid), 0, UINT32_MAX, true},
	{"read_only", FIELD_BOOL, AT(read_only)},
	{"ended", FIELD_BOOL, AT(ended)},
	{.name = NULL},
};

static json_t *use_to_json(const struct use *use)
{
	return json_pack("{s:s, s:s, s:s, s:I, s:b, s:b}", "id", use->id, "volume", use->volume,
		"vm", use->vm, "uid", (json_int_t)use->uid, "read_only", use->read_only, "ended",
		use->ended);
}

static int use_save(const struct volume_uses *u, const struct use *use)
{
	autofree char *path = path_format("%s/%s", u->directory, use->id), *text = NULL;
	json_t *json = use_to_json(use);

	text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	return path && text ? file_replace(AT_FDCWD, path, text, strlen(text), 0600) : -ENOMEM;
}

static struct use *use_find(const struct volume_uses *u, const char *id)
{
	for (struct use *use = u->uses; use && id; use = use->next)
		if (streq(use->id, id))
			return use;
	return NULL;
}

static void use_remove(struct volume_uses *u, struct use *use)
{
	autofree char *path = path_format("%s/%s", u->directory, use->id);
	struct use **at = &u->uses;

	while (*at != use)
		at = &(*at)->next;
	*at = use->next;
	if (path)
		unlink(path);
	u->count--;
	free(use);
}

/* What was not answered may have been given: the controllers are told that it is over. */
static void use_end(struct volume_uses *u, struct use *use)
{
	int r;

	use->held = false;
	use->done = NULL;
	if (use->ended)
		return;
	use->ended = true;
	r = use_save(u, use);
	if (r < 0)
		log_warning("cannot note that a volume is not used any more: %s", strerror(-r));
}

/* Who waits is told, and it is over. */
static void use_fail(struct volume_uses *u, struct use *use, const char *why)
{
	volume_use_fn done = use->done;
	void *userdata = use->userdata;

	use_end(u, use);
	if (done)
		done(NULL, why, userdata);
}

static void load_one(struct volume_uses *u, const char *name)
{
	autofree char *path = path_format("%s/%s", u->directory, name), *text = NULL;
	struct use *use = calloc(1, sizeof(*use));
	json_t *json = NULL;
	size_t length;

	if (path && use && file_read(AT_FDCWD, path, FILE_MAX, &text, &length) == 0)
		json = json_loads(text, 0, NULL);
	if (json && fields_parse(file_fields, json, use, NULL) == 0 && streq(use->id, name)) {
		use->next = u->uses;
		u->uses = use;
		u->count++;
	} else {
		log_warning("'%s' says nothing of a volume that is used, ignoring", name);
		free(use);
	}
	json_decref(json);
}

static void load(struct volume_uses *u)
{
	DIR *all = opendir(u->directory);
	struct dirent *entry;

	while (all && (entry = readdir(all)))
		if (uuid_is_text(entry->d_name))
			load_one(u, entry->d_name);
	if (all)
		closedir(all);
}

int volume_uses_new(const char *state, struct volume_uses **ret, struct error *err)
{
	struct volume_uses *u AUTO(volume_uses_freep) = calloc(1, sizeof(*u));
	autofree char *site = path_format("%s/" SITE, state);
	int r;

	if (!u)
		return fail(err, -ENOMEM, "out of memory");
	u->directory = path_format("%s/" DIRECTORY, state);
	u->strange = json_array();
	if (!u->directory || !u->strange || !site)
		return fail(err, -ENOMEM, "out of memory");
	r = file_make_dirs(site, 0755);
	if (r == 0)
		r = file_make_dirs(u->directory, 0700);
	if (r < 0)
		return fail_errno(err, r, "cannot make '%s'", u->directory);
	load(u);
	*ret = TAKE_PTR(u);
	return 0;
}

struct volume_uses *volume_uses_free(struct volume_uses *u)
{
	if (!u)
		return NULL;
	while (u->uses) {
		struct use *use = u->uses;

		u->uses = use->next;
		free(use);
	}
	json_decref(u->strange);
	free(u->directory);
	free(u);
	return NULL;
}

int volume_uses_add(struct volume_uses *u, const struct volume_wish *wish, volume_use_fn done,
	void *userdata, struct error *err)
{
	struct use *use = u->count < USES_MAX ? calloc(1, sizeof(*use)) : NULL;
	int r;

	if (!use)
		return fail(err, -ENOMEM, "the node uses too many volumes");
	*use = (struct use){.uid = wish->uid,
		.read_only = wish->read_only,
		.held = true,
		.done = done,
		.userdata = userdata};
	snprintf(use->volume, sizeof(use->volume), "%s", wish->volume);
	snprintf(use->vm, sizeof(use->vm), "%s", wish->vm);
	r = uuid_new(use->id);
	if (r == 0)
		r = use_save(u, use);
	if (r < 0) {
		free(use);
		return fail_errno(err, r, "the node cannot note that a volume is used");
	}
	use->next = u->uses;
	u->uses = use;
	u->count++;
	return 0;
}

void volume_uses_claim(struct volume_uses *u, const char *vm)
{
	for (struct use *use = u->uses; use; use = use->next)
		if (!use->ended && streq(use->vm, vm))
			use->held = true;
}

void volume_uses_end(struct volume_uses *u, const char *vm)
{
	for (struct use *use = u->uses; use; use = use->next)
		if (use->held && streq(use->vm, vm))
			use_end(u, use);
}

void volume_uses_end_unclaimed(struct volume_uses *u)
{
	for (struct use *use = u->uses; use; use = use->next)
		if (!use->held)
			use_end(u, use);
}

bool volume_uses_are_pending(const struct volume_uses *u)
{
	bool pending = json_array_size(u->strange) > 0;

	for (const struct use *use = u->uses; use; use = use->next)
		pending = pending || use->ended || use->done;
	return pending;
}

void volume_uses_ask(struct volume_uses *u, json_t *attach, json_t *detach)
{
	json_array_extend(detach, u->strange);
	for (struct use *use = u->uses; use; use = use->next) {
		use->asked = use->ended || use->done;
		if (use->ended)
			json_array_append_new(detach, json_string(use->id));
		else if (use->done)
			json_array_append_new(attach, use_to_json(use));
	}
}

static json_t *find_row(json_t *rows, const char *id)
{
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		const char *its = json_string_value(json_object_get(row, "id"));

		if (its && streq(its, id))
			return row;
	}
	return NULL;
}

/* Whoever waits for it may get it now. */
static void use_lend(struct volume_uses *u, struct use *use, json_t *row,
	int (*lend)(json_t *row, struct volume_offer *ret, void *userdata, struct error *err),
	void *userdata)
{
	const char *state = json_string_value(json_object_get(row, "state"));
	const char *reason = json_string_value(json_object_get(row, "reason"));
	struct volume_offer offer = {.id = use->id, .fd = -1, .read_only = use->read_only};
	volume_use_fn done = use->done;
	struct error err = {0};
	int r;

	if (state && streq(state, "failed")) {
		use_fail(u, use, reason && *reason ? reason : "the node with its data has failed");
		return;
	}
	r = lend(row, &offer, userdata, &err);
	if (r < 0)
		use_fail(u, use, err.text);
	if (r <= 0)
		return;
	use->done = NULL;
	done(&offer, NULL, use->userdata);
	base_close(offer.fd);
}

/* It was taken from the VM by hand, or as the node was not heard of: what it still writes is
 * refused. */
static void use_note_loss(struct volume_uses *u, struct use *use)
{
	log_warning("volume '%s' was taken away from VM %s", use->volume, use->vm);
	use_remove(u, use);
}

static void note_strange(struct volume_uses *u, json_t *rows)
{
	json_t *row;
	size_t i;

	json_array_clear(u->strange);
	json_array_foreach(rows, i, row)
	{
		json_t *id = json_object_get(row, "id");

		if (json_is_string(id) && uuid_is_text(json_string_value(id)) &&
			!use_find(u, json_string_value(id)))
			json_array_append(u->strange, id);
	}
}

void volume_uses_hear(struct volume_uses *u, json_t *rows, json_t *refused,
	int (*lend)(json_t *row, struct volume_offer *ret, void *userdata, struct error *err),
	void *userdata)
{
	struct use *next;

	note_strange(u, rows);
	for (struct use *use = u->uses; use; use = next) {
		json_t *row = find_row(rows, use->id), *no = find_row(refused, use->id);
		const char *why = json_string_value(json_object_get(no, "error"));

		next = use->next;
		if (use->done && no)
			use_fail(u, use, why ? why : "the site does not give it");
		else if (use->ended && use->asked && !row)
			use_remove(u, use);
		else if (use->done && row)
			use_lend(u, use, row, lend, userdata);
		else if (!use->done && !use->ended && !row)
			use_note_loss(u, use);
	}
}

json_t *volume_offer_to_json(const struct volume_offer *offer)
{
	if (offer->fd >= 0)
		return json_pack("{s:{s:s, s:b}, s:[s]}", "volume", "id", offer->id, "read_only",
			offer->read_only, "descriptors", "volume");
	return json_pack("{s:{s:s, s:b, s:s, s:I, s:s}}", "volume", "id", offer->id, "read_only",
		offer->read_only, "address", offer->address, "port", (json_int_t)offer->port, "key",
		offer->key);
}

json_t *volume_uses_to_json(const struct volume_uses *u)
{
	json_t *list = json_array();

	for (const struct use *use = u->uses; use; use = use->next)
		json_array_append_new(list, use_to_json(use));
	return list;
}
