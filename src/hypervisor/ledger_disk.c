#include "hypervisor/ledger_disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>

#include "engine/record.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"

#define DISK_NOTES "loans"
#define NOTE_FRESH ".new" /* what is being written */

/* Who comes with a record a second time does so soon: its first is among the last. */
#define RECENT_MAX  4096
#define RECENT_TAIL (UINT64_C(8) << 20)

#define ACCOUNT_TEXT_MAX 16384

static void remember(struct ledger_disk *d, const char *id)
{
	snprintf(d->recent[d->recent_next % RECENT_MAX], UUID_TEXT_SIZE, "%s", id);
	d->recent_next++;
}

/* Those since `next` were not written after all. */
static void forget_from(struct ledger_disk *d, size_t next)
{
	for (size_t i = next; i < d->recent_next; i++)
		d->recent[i % RECENT_MAX][0] = '\0';
	d->recent_next = next;
}

bool ledger_disk_has(const struct ledger_disk *d, const char *id)
{
	for (size_t i = 0; i < MIN_OF(d->recent_next, (size_t)RECENT_MAX); i++)
		if (streq(d->recent[i], id))
			return true;
	return false;
}

static const char *id_of(const json_t *record)
{
	const char *id = json_string_value(json_object_get(record, "id"));

	return id ? id : "";
}

static void load_recent(struct ledger_disk *d)
{
	static const struct record_filter all = {0, UINT64_MAX};
	struct record_reader *reader AUTO(record_reader_freep) = NULL;
	struct error err = {0};
	json_t *json;

	if (record_reader_open(d->file, &all, &reader, &err) < 0)
		return; /* there is none yet, or it is told when one is written */
	record_reader_seek_tail(reader, RECENT_TAIL);
	while (record_reader_next(reader, &json, &err) == 1) {
		remember(d, id_of(json));
		json_decref(json);
	}
}

int ledger_disk_open(struct ledger_disk *d, const char *state, struct error *err)
{
	int r;

	*d = (struct ledger_disk){0};
	d->file = path_format("%s/" RECORD_FILE, state);
	d->notes = path_format("%s/" DISK_NOTES, state);
	d->recent = calloc(RECENT_MAX, sizeof(*d->recent));
	if (!d->file || !d->notes || !d->recent)
		return fail(err, -ENOMEM, "out of memory");
	r = file_make_dirs(d->notes, 0700);
	if (r < 0)
		return fail_errno(err, r, "cannot make '%s'", d->notes);
	load_recent(d);
	return 0;
}

void ledger_disk_done(struct ledger_disk *d)
{
	free(d->file);
	free(d->notes);
	free(d->recent);
	*d = (struct ledger_disk){0};
}

/* Accounts may be looked up over the network: not in the loop. */
static void name_user(json_t *record)
{
	uid_t uid = (uid_t)json_integer_value(json_object_get(record, "uid"));
	struct passwd account, *found = NULL;
	char text[ACCOUNT_TEXT_MAX];
	json_t *name = NULL;

	if (json_is_string(json_object_get(record, "user")))
		return;
	if (getpwuid_r(uid, &account, text, sizeof(text), &found) == 0 && found)
		name = json_string(account.pw_name);
	json_object_set_new(record, "user", name ? name : json_sprintf("uid%u", (unsigned int)uid));
}

int ledger_disk_append(struct ledger_disk *d, json_t **records, size_t count, struct error *err)
{
	autofree json_t **fresh = calloc(count + 1, sizeof(json_t *));
	size_t before = d->recent_next, n = 0;
	int r;

	if (!fresh)
		return fail(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i++) {
		if (ledger_disk_has(d, id_of(records[i])))
			continue;
		remember(d, id_of(records[i]));
		name_user(records[i]);
		fresh[n++] = records[i];
	}
	r = n > 0 ? record_append_json(d->file, fresh, n, err) : 0;
	if (r < 0)
		forget_from(d, before);
	return r;
}

static char *note_path(const struct ledger_disk *d, const char *id)
{
	return path_format("%s/%s", d->notes, id);
}

int ledger_disk_note(const struct ledger_disk *d, const struct ledger_note *note)
{
	autofree char *path = note_path(d, note->id), *text = NULL;
	json_t *json = json_pack("{s:O, s:I, s:I, s:b}", "record", note->known, "pid",
		(json_int_t)note->keeper.pid, "start", (json_int_t)note->keeper.start, "told",
		note->told);
	int r;

	text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	/* The file is whole or not there. */
	r = path && text ? file_replace_soon(path, text, strlen(text), 0600) : -ENOMEM;
	if (r < 0)
		log_warning("cannot note a VM in '%s': %s, ignoring", d->notes, strerror(-r));
	return r;
}

void ledger_disk_remove_note(const struct ledger_disk *d, const char *id)
{
	autofree char *path = note_path(d, id);

	if (path && unlink(path) < 0 && errno != ENOENT)
		log_warning("cannot remove '%s': %s, ignoring", path, strerror(errno));
}

static int read_note(const struct ledger_disk *d, const char *id, struct ledger_note *ret)
{
	autofree char *path = note_path(d, id), *text = NULL;
	struct error err = {0};
	json_t *json;
	size_t length;

	*ret = (struct ledger_note){0};
	if (!path || file_read(AT_FDCWD, path, RECORD_LINE_MAX, &text, &length) < 0)
		return -EIO;
	json = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
	snprintf(ret->id, sizeof(ret->id), "%s", id);
	ret->known = record_check(json_object_get(json, "record"), &err);
	ret->told = json_is_true(json_object_get(json, "told"));
	ret->keeper.pid = (pid_t)json_integer_value(json_object_get(json, "pid"));
	ret->keeper.start = (uint64_t)json_integer_value(json_object_get(json, "start"));
	json_decref(json);
	if (ret->known && streq(id_of(ret->known), id))
		return 0;
	json_decref(ret->known);
	return -EBADMSG;
}

void ledger_disk_list(const struct ledger_disk *d,
	void (*each)(const struct ledger_note *note, void *userdata), void *userdata)
{
	DIR *dir = opendir(d->notes);
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		struct ledger_note note;

		if (strstr(e->d_name, NOTE_FRESH))
			ledger_disk_remove_note(d, e->d_name);
		if (!uuid_is_text(e->d_name))
			continue;
		if (ledger_disk_has(d, e->d_name)) {
			ledger_disk_remove_note(d, e->d_name);
		} else if (read_note(d, e->d_name, &note) == 0) {
			each(&note, userdata);
		} else {
			log_warning("the note of the VM %s is damaged; it has no usage record",
				e->d_name);
			ledger_disk_remove_note(d, e->d_name);
		}
	}
	if (dir)
		closedir(dir);
}
