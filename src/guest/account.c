/* An image may have another user with the caller's number or name. Look-ups take the first line
 * that fits, so a line of ours at the start of the file wins for both, and nothing of the image's
 * own has to be changed or renumbered. Where there is none to win over, it goes to the end.
 */
#include "guest/account.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "guest/call.h"
#include "guest/disk.h"
#include "guest/guest.h"

#define ACCOUNT_FILE_MAX (4 * 1024 * 1024) /* /etc/passwd of a large site, made by hand */
#define ACCOUNT_NAME_MAX 255
#define ACCOUNT_FIELDS   7

/* A file of lines, as it is to be. */
struct table {
	char *text;
	size_t length;  /* of the file as it is */
	bool rewritten; /* more has changed than lines at the end */
};

static void table_done(struct table *t)
{
	free(t->text);
}

/* One line, split at ':' into pieces of the text it came from. */
struct entry {
	const char *fields[ACCOUNT_FIELDS];
	size_t lengths[ACCOUNT_FIELDS];
	const char *line;
	size_t length; /* without the line end */
};

static const char *entry_parse(const char *line, struct entry *ret)
{
	size_t left = strcspn(line, "\n"), n;
	const char *p = line;

	*ret = (struct entry){.line = line, .length = left};
	for (int i = 0; i < ACCOUNT_FIELDS; i++) {
		n = strcspn(p, ":\n");
		ret->fields[i] = p;
		ret->lengths[i] = n;
		p += n + (p[n] == ':');
	}
	return line[left] ? line + left + 1 : line + left;
}

static bool entry_has(const struct entry *e, int field, const char *value)
{
	return e->lengths[field] == strlen(value) &&
	       strncmp(e->fields[field], value, e->lengths[field]) == 0;
}

/* The first entry whose field has this value, as look-ups find it. */
static bool table_find(const char *text, int field, const char *value, struct entry *ret)
{
	while (*text) {
		text = entry_parse(text, ret);
		if (entry_has(ret, field, value))
			return true;
	}
	return false;
}

static bool name_is_valid(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n > ACCOUNT_NAME_MAX || s[0] == '-')
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("_.-", *s) && !(*s == '$' && !s[1]))
			return false;
	return true;
}

static bool field_is_valid(const char *s)
{
	for (; *s; s++)
		if (*s == ':' || iscntrl((unsigned char)*s))
			return false;
	return true;
}

/* Is `name` in a group's comma-separated list? */
static bool members_have(const struct entry *e, const char *name)
{
	const char *p = e->fields[3], *end = p + e->lengths[3];
	size_t n = strlen(name), length;

	for (; p < end; p += length + 1) {
		length = strcspn(p, ",:\n");
		if (length == n && strncmp(p, name, n) == 0)
			return true;
	}
	return false;
}

static int table_load(const char *root, const char *name, struct table *ret, struct error *err)
{
	char path[PATH_MAX];
	ssize_t n = disk_path(path, sizeof(path), root, name);

	if (n == 0)
		n = disk_load(path, ACCOUNT_FILE_MAX, &ret->text);
	if (n == -ENOENT) {
		ret->text = calloc(1, 1);
		n = ret->text ? 0 : -ENOMEM;
	}
	if (n < 0)
		return fail_errno(err, (int)n, "cannot read '%s'", name);
	ret->length = strlen(ret->text);
	return 0;
}

/* Writes what has changed of a table that had `length` bytes. Lines that were only added at the end
 * are: it spares a kernel that has just been cloned the making of a new file. */
static int table_store(const char *root, const char *name, const struct table *t, struct error *err)
{
	char path[PATH_MAX];
	int r = disk_path(path, sizeof(path), root, name);

	if (r == 0 && t->rewritten)
		r = disk_replace(path, t->text, strlen(t->text), 0644);
	else if (r == 0 && strlen(t->text) > t->length)
		r = disk_append(path, t->text + t->length, strlen(t->text) - t->length, 0644);
	return r < 0 ? fail_errno(err, r, "cannot write '%s'", name) : 0;
}

/* Adds a line: at the start if another one has to be beaten, else at the end. `old` is the line
 * that it stands for, if any. */
static int table_add(struct table *t, const char *line, bool beat, const struct entry *old)
{
	size_t n = strlen(t->text), before = old ? (size_t)(old->line - t->text) : n;
	const char *after = old ? old->line + old->length : "";
	char *text;
	int r;

	after += *after == '\n';
	/* After such a line, of the days of NIS, nothing of the file itself is looked at. */
	beat = beat || t->text[0] == '+' || strstr(t->text, "\n+");
	if (beat || old)
		r = asprintf(&text, "%s%.*s%s", line, (int)before, t->text, after);
	else
		r = asprintf(&text, "%s%s%s", t->text, n > 0 && t->text[n - 1] != '\n' ? "\n" : "",
			line);
	if (r < 0)
		return -ENOMEM;
	t->rewritten |= beat || old;
	free(t->text);
	t->text = text;
	return 0;
}

/* Sites name shells that an image may not have. */
static const char *shell_choose(const char *root, const char *shell)
{
	char path[PATH_MAX];

	if (shell[0] && disk_path(path, sizeof(path), root, shell) == 0 && access(path, X_OK) == 0)
		return shell;
	return "/bin/sh";
}

static bool user_is_right(
	const char *text, const struct account *x, const char *uid, const char *gid)
{
	struct entry by_name, by_uid;

	return table_find(text, 0, x->name, &by_name) && table_find(text, 2, uid, &by_uid) &&
	       by_name.line == by_uid.line &&
	       (x->uid == 0 || (entry_has(&by_name, 3, gid) && entry_has(&by_name, 5, x->home)));
}

static int user_set(const char *root, const struct account *x, struct error *err)
{
	struct table t AUTO(table_done) = {0};
	char *line autofree = NULL;
	struct entry unused;
	char uid[16], gid[16];
	int r = table_load(root, "/etc/passwd", &t, err);
	bool taken;

	if (r < 0)
		return r;
	snprintf(uid, sizeof(uid), "%u", x->uid);
	snprintf(gid, sizeof(gid), "%u", x->gid);
	if (user_is_right(t.text, x, uid, gid))
		return 0;
	taken = table_find(t.text, 0, x->name, &unused) || table_find(t.text, 2, uid, &unused);
	/* "*": no password fits, and no line in /etc/shadow is expected. */
	if (asprintf(&line, "%s:*:%s:%s:%s:%s:%s\n", x->name, uid, gid, x->gecos, x->home,
		    shell_choose(root, x->shell)) < 0 ||
		table_add(&t, line, taken, NULL) < 0)
		return fail_errno(err, -ENOMEM, "account");
	return table_store(root, "/etc/passwd", &t, err);
}

/* `member` NULL: the group must only exist. */
static int group_set(struct table *t, const char *name, uint32_t number, const char *member)
{
	struct entry by_name = {0}, by_gid = {0};
	bool has_name, has_gid, right;
	char *line autofree = NULL;
	int members;
	char gid[16];

	snprintf(gid, sizeof(gid), "%u", number);
	has_name = table_find(t->text, 0, name, &by_name);
	has_gid = table_find(t->text, 2, gid, &by_gid);
	right = has_name && has_gid && by_name.line == by_gid.line;
	if (right && (!member || members_have(&by_name, member)))
		return 0;
	/* A group that exists keeps its members. */
	members = right ? (int)by_name.lengths[3] : 0;
	if (asprintf(&line, "%s:x:%s:%.*s%s%s\n", name, gid, members,
		    right ? by_name.fields[3] : "", members > 0 ? "," : "",
		    member ? member : "") < 0)
		return -ENOMEM;
	return table_add(t, line, has_name || has_gid, right ? &by_name : NULL);
}

static int groups_set(const char *root, const struct account *x, struct error *err)
{
	struct table t AUTO(table_done) = {0};
	int r = table_load(root, "/etc/group", &t, err);

	if (r < 0)
		return r;
	if (x->gid_name[0])
		r = group_set(&t, x->gid_name, x->gid, NULL);
	/* A group without a name is a number only; nothing needs to know it. */
	for (uint32_t i = 0; r == 0 && i < x->gids.count && x->group_names[i]; i++)
		if (x->group_names[i][0])
			r = group_set(&t, x->group_names[i], x->gids.values[i], x->name);
	return r < 0 ? fail_errno(err, r, "account") : table_store(root, "/etc/group", &t, err);
}

static int home_make(const char *root, const struct account *x, struct error *err)
{
	char path[PATH_MAX];
	struct stat st;
	int r = disk_path(path, sizeof(path), root, x->home);

	if (r == 0 && stat(path, &st) == 0)
		return 0;
	if (r == 0)
		r = disk_make_parents(path, 0755);
	if (r == 0 && mkdir(path, 0700) < 0)
		r = -errno;
	if (r == 0 && chown(path, x->uid, x->gid) < 0)
		r = -errno;
	return r < 0 ? fail_errno(err, r, "cannot make the home directory '%s'", x->home) : 0;
}

void account_rehearse(const char *root)
{
	char path[PATH_MAX];
	struct stat unused;

	if (disk_path(path, sizeof(path), root, "/etc/passwd") == 0)
		disk_rehearse(path, NULL, 0644);
	if (disk_path(path, sizeof(path), root, "/etc/group") == 0)
		disk_rehearse(path, NULL, 0644);
	/* Root's home is looked for first of all. */
	if (disk_path(path, sizeof(path), root, "/root") == 0)
		stat(path, &unused);
	/* A directory is what a home and most mount points are. */
	if (disk_path(path, sizeof(path), root, "/home/wnodes~") == 0 && mkdir(path, 0700) == 0)
		rmdir(path);
}

static int account_check(const struct account *x, struct error *err)
{
	if (!name_is_valid(x->name) || (x->gid_name[0] && !name_is_valid(x->gid_name)))
		return fail(err, -EINVAL, "'%s:%s' is no name of a user and a group", x->name,
			x->gid_name);
	for (uint32_t i = 0; x->group_names[i]; i++)
		if (x->group_names[i][0] && !name_is_valid(x->group_names[i]))
			return fail(err, -EINVAL, "'%s' is no name of a group", x->group_names[i]);
	if (!field_is_valid(x->gecos) || !field_is_valid(x->shell) || !field_is_valid(x->home) ||
		x->home[0] != '/')
		return fail(err, -EINVAL,
			"the account '%s' has a field that /etc/passwd cannot "
			"hold",
			x->name);
	return 0;
}

int account_set(const char *root, const struct account *x, struct error *err)
{
	int r = account_check(x, err);

	if (r == 0)
		r = user_set(root, x, err);
	if (r == 0)
		r = groups_set(root, x, err);
	if (r == 0)
		r = home_make(root, x, err);
	return r;
}

int account_on_call(const struct call *c)
{
	return account_set(c->guest->root, c->message, c->err);
}
