#include "engine/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "engine/record.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lib/timestamp.h"

/* How long a file may be in the making. */
#define SPOOL_WRITING_US (60 * UINT64_C(1000000))

/* Bounds what one reading takes, whoever fills the directory. */
#define SPOOL_ENTRIES_MAX 10000
#define SPOOL_ITEMS_MAX   1024
#define SPOOL_TOLD_MAX    8

char *spool_path(const char *socket)
{
	const char *slash = strrchr(socket, '/');

	return path_format(
		"%.*s/" SPOOL_DIRECTORY, slash ? (int)(slash - socket) : 1, slash ? socket : ".");
}

int spool_make(const char *directory, struct error *err)
{
	struct stat st;

	if (mkdir(directory, 0700) < 0 && errno != EEXIST)
		return fail_errno(err, -errno, "cannot make '%s'", directory);
	if (lstat(directory, &st) < 0)
		return fail_errno(err, -errno, "cannot use '%s'", directory);
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid())
		return fail(err, -EPERM, "'%s' is not a directory of ours; remove it", directory);
	if (chmod(directory, 01777) < 0)
		return fail_errno(err, -errno, "cannot open '%s' to all", directory);
	return 0;
}

static int write_file(int directory_fd, const char *name, const char *text)
{
	autoclose int fd = openat(
		directory_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : file_write_all(fd, text, strlen(text));

	if (r == 0 && (fsync(fd) < 0 || fsync(directory_fd) < 0))
		r = -errno;
	if (r < 0 && fd >= 0)
		unlinkat(directory_fd, name, 0);
	return r;
}

int spool_write(const char *directory, const json_t *record, struct error *err)
{
	autofree char *text = json_dumps(record, JSON_COMPACT | JSON_ENSURE_ASCII);
	autoclose int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char name[UUID_TEXT_SIZE];
	int r = text ? uuid_new(name) : -ENOMEM;

	if (r == 0)
		r = fd < 0 ? -errno : write_file(fd, name, text);
	return r < 0 ? fail_errno(err, r, "cannot leave the usage record in '%s'", directory) : 0;
}

static uint64_t written_us(const struct stat *st)
{
	return (uint64_t)st->st_mtim.tv_sec * 1000000 + (uint64_t)st->st_mtim.tv_nsec / 1000;
}

/* May it be that its writer is still at it? */
static bool is_fresh(const struct stat *st)
{
	uint64_t now = timestamp_now_us(), then = written_us(st);

	return then <= now && now - then < SPOOL_WRITING_US;
}

static json_t *read_record(int fd, size_t size, struct error *err)
{
	autofree char *text = malloc(size + 1);
	ssize_t n = text ? pread(fd, text, size, 0) : -1;
	json_t *told = n > 0 ? json_loadb(text, (size_t)n, JSON_REJECT_DUPLICATES, NULL) : NULL;
	json_t *record = NULL;

	if (told)
		record = record_check(told, err);
	else
		fail(err, -EINVAL, "it is no JSON");
	json_decref(told);
	return record;
}

/* Returns 1 with an item, 0 for a file that is to be left alone, or negative errno for one that is
 * to be removed. */
static int read_item(int directory_fd, const char *name, struct spool_item *ret, struct error *err)
{
	/* Nothing is waited for, and nothing begun, by opening what is no file. */
	autoclose int fd = openat(
		directory_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return errno == ENOENT ? 0 : fail_errno(err, -errno, "it cannot be read");
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return fail(err, -EINVAL, "it is no file, or has several names");
	if (st.st_size > RECORD_LINE_MAX)
		return fail(err, -E2BIG, "it has more than %d bytes", RECORD_LINE_MAX);
	*ret = (struct spool_item){
		.uid = st.st_uid, .gid = st.st_gid, .written_us = written_us(&st)};
	ret->record = read_record(fd, (size_t)st.st_size, err);
	if (!ret->record)
		return is_fresh(&st) ? 0 : err->code;
	ret->name = strdup(name);
	if (ret->name)
		return 1;
	json_decref(ret->record);
	return 0;
}

static size_t count_of(const struct spool_items *s, uid_t uid)
{
	size_t n = 0;

	for (size_t i = 0; i < s->count; i++)
		n += s->items[i].uid == uid;
	return n;
}

static void drop_item(struct spool_item *item)
{
	free(item->name);
	json_decref(item->record);
}

static void take_file(int directory_fd, const char *name, struct spool_items *s)
{
	struct spool_item item;
	struct error err = {0};
	struct stat st;
	int r;

	if (fstatat(directory_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if (S_ISDIR(st.st_mode)) { /* one that is not empty is its owner's to clear away */
		unlinkat(directory_fd, name, AT_REMOVEDIR);
		return;
	}
	if (count_of(s, st.st_uid) >= SPOOL_USER_MAX) {
		s->more = true;
		return;
	}
	r = read_item(directory_fd, name, &item, &err);
	if (r > 0) {
		s->items[s->count++] = item;
	} else if (r < 0) {
		if (s->refused++ < SPOOL_TOLD_MAX)
			log_warning("a usage record that uid %u has left is not taken: %s",
				(unsigned int)st.st_uid, err.text);
		unlinkat(directory_fd, name, 0);
	}
}

int spool_read(const char *directory, struct spool_items *ret, struct error *err)
{
	DIR *dir = opendir(directory);
	struct dirent *e;
	size_t seen = 0;

	*ret = (struct spool_items){0};
	if (!dir)
		return fail_errno(err, -errno, "cannot read '%s'", directory);
	ret->items = calloc(SPOOL_ITEMS_MAX, sizeof(*ret->items));
	while (ret->items && ret->count < SPOOL_ITEMS_MAX && seen < SPOOL_ENTRIES_MAX &&
		(e = readdir(dir))) {
		if (streq(e->d_name, ".") || streq(e->d_name, ".."))
			continue;
		seen++;
		take_file(dirfd(dir), e->d_name, ret);
	}
	ret->more |= ret->count == SPOOL_ITEMS_MAX;
	closedir(dir);
	return ret->items ? 0 : fail(err, -ENOMEM, "out of memory");
}

void spool_items_done(struct spool_items *s)
{
	for (size_t i = 0; i < s->count; i++)
		drop_item(&s->items[i]);
	free(s->items);
	*s = (struct spool_items){0};
}

void spool_remove(const char *directory, const char *name)
{
	autofree char *path = path_format("%s/%s", directory, name);

	if (path && unlink(path) < 0 && errno != ENOENT)
		log_warning("cannot remove '%s': %s, ignoring", path, strerror(errno));
}
