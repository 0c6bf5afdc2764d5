/* Making templates, once at a time and whole or not at all. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/deadline.h"
#include "lib/file.h"
#include "vm/memory.h"
#include "vm/template_private.h"

#define MAKE_POLL_MS 50

static void making_name(const char *key, char name[TEMPLATE_NAME_MAX])
{
	snprintf(name, TEMPLATE_NAME_MAX, TEMPLATE_MAKING "%s", key);
}

/* Returns -EEXIST if there is one that can be opened, 0 if there is none or a damaged one. */
static int check_absent(const struct template_making *m, struct error *err)
{
	struct template *t AUTO(template_closep) = NULL;
	struct error why = {0};
	int r = template_open_at(m->parent_fd, m->key, geteuid(), &t, &why);

	if (r == 0)
		return fail(err, -EEXIST, "there is a template %.12s already", m->key);
	return r == -ENOENT || r == -EBADMSG ? 0 : fail(err, r, "%s", why.text);
}

static int remove_entry(int dir_fd, const char *name, void *userdata)
{
	return file_remove_tree(dir_fd, name);
}

/* Takes the place of the maker. Returns 0, -EEXIST, -EWOULDBLOCK, or another negative errno. */
static int make_lock(struct template_making *m, const char *name, struct error *err)
{
	int r = check_absent(m, err);

	if (r < 0)
		return r;
	if (mkdirat(m->parent_fd, name, 0700) < 0 && errno != EEXIST)
		return fail_errno(err, -errno, "cannot make a directory for a template");
	m->dir_fd = template_lock(m->parent_fd, name, true, 0);
	/* The other one has just renamed it: the next look tells what to. */
	if (m->dir_fd == -EWOULDBLOCK || m->dir_fd == -ENOENT)
		return fail(err, -EWOULDBLOCK, "another process makes the template %.12s", m->key);
	if (m->dir_fd < 0)
		return fail_errno(err, m->dir_fd, "cannot lock the directory of a template");
	r = check_absent(m, err);
	if (r == -EEXIST)
		file_remove_tree(m->parent_fd, name);
	if (r < 0)
		m->dir_fd = base_close(m->dir_fd);
	return r;
}

static int make_lock_wait(struct template_making *m, const char *name, bool wait, struct error *err)
{
	const struct timespec pause = {.tv_nsec = MAKE_POLL_MS * 1000000L};
	uint64_t deadline = deadline_in_ms(wait ? TEMPLATE_WAIT_MS : 0);
	int r;

	while ((r = make_lock(m, name, err)) == -EWOULDBLOCK && deadline_left_ms(deadline) > 0)
		nanosleep(&pause, NULL);
	if (r == -EWOULDBLOCK && wait)
		return fail(
			err, -ETIMEDOUT, "another process still makes the template %.12s", m->key);
	return r;
}

static int make_files(struct template_making *m, struct error *err)
{
	int *const fds[TEMPLATE_FILES] = {
		[TEMPLATE_MEMORY] = &m->memory_fd,
		[TEMPLATE_STATE] = &m->state_fd,
		[TEMPLATE_OVERLAY] = &m->overlay_fd,
	};
	/* What a dead maker left. */
	int r = template_each_entry(m->dir_fd, remove_entry, NULL);

	for (size_t i = 0; i < TEMPLATE_FILES && r >= 0; i++) {
		*fds[i] = openat(m->dir_fd, template_file_names[i],
			O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		r = *fds[i] < 0 ? -errno : 0;
	}
	return r < 0 ? fail_errno(err, r, "cannot make the files of a template") : 0;
}

int template_make_start(const char *directory, const char *key, bool wait,
	struct template_making **ret, struct error *err)
{
	struct template_making *m AUTO(template_make_freep) = malloc(sizeof(*m));
	char name[TEMPLATE_NAME_MAX];
	int r;

	if (!m)
		return fail(err, -ENOMEM, "out of memory");
	*m = (struct template_making){
		.parent_fd = -1, .dir_fd = -1, .memory_fd = -1, .state_fd = -1, .overlay_fd = -1};
	if (!digest_is_hex(key))
		return fail(err, -EINVAL, "'%.100s' is not the key of a template", key);
	memcpy(m->key, key, sizeof(m->key));
	making_name(key, name);
	m->parent_fd = template_directory_open(directory, true, err);
	if (m->parent_fd < 0)
		return m->parent_fd;
	r = make_lock_wait(m, name, wait, err);
	if (r >= 0)
		r = make_files(m, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(m);
	return 0;
}

int template_make_resize(struct template_making *m, uint64_t memory_mib, struct error *err)
{
	if (memory_mib > (uint64_t)INT64_MAX >> 20)
		return fail(err, -EFBIG, "a template cannot have that much memory");
	if (ftruncate(m->memory_fd, (off_t)(memory_mib << 20)) < 0)
		return fail_errno(err, -errno, "cannot make the memory of a template");
	return 0;
}

/* Writes a file out and notes what it is then. */
static int finish_file(int fd, enum template_file file, const struct template_info *info,
	struct template_stamp *ret, struct error *err)
{
	uint64_t mib = UINT64_C(1) << 20;
	struct stat st;

	/* Not fdatasync(): the times of change are part of the stamp. */
	if (fsync(fd) < 0 || fstat(fd, &st) < 0)
		return fail_errno(err, -errno, "cannot write the template's file '%s'",
			template_file_names[file]);
	if (st.st_size == 0 ||
		(file == TEMPLATE_MEMORY && ((uint64_t)st.st_size / mib != info->memory_mib ||
						    (uint64_t)st.st_size % mib != 0)))
		return fail(err, -EINVAL, "the template's file '%s' has %llu bytes",
			template_file_names[file], (unsigned long long)st.st_size);
	template_stamp_set(ret, &st);
	return 0;
}

static int write_record(struct template_making *m, const struct template_info *info,
	const struct template_stamp stamps[TEMPLATE_FILES], struct error *err)
{
	autofree char *json = template_record_format(info, stamps);
	struct template_stamp again[TEMPLATE_FILES];
	struct template_info ignored;
	int r = json ? template_record_parse(json, strlen(json), &ignored, again, err)
		     : fail(err, -ENOMEM, "out of memory");

	/* What could not be read back must never be committed. */
	if (r < 0) {
		fail_within(err, "the description of a template");
		return r;
	}
	r = file_replace(m->dir_fd, TEMPLATE_JSON, json, strlen(json), 0600);
	return r < 0 ? fail_errno(err, r, "cannot write " TEMPLATE_JSON) : 0;
}

/* A damaged template gives way. Others may still use it, and then keep its files; what they hold is
 * a shared lock, and so do we, which keeps out who would remove it by name. */
static int move_damaged(struct template_making *m)
{
	char dead[TEMPLATE_NAME_MAX];
	autoclose int fd = template_lock(m->parent_fd, m->key, false, TEMPLATE_LOCK_MS);
	int r;

	if (fd == -ENOTDIR)
		return file_remove_tree(m->parent_fd, m->key);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	r = template_bury(m->parent_fd, m->key, dead);
	if (r >= 0 && file_lock(fd, true, false) == 0)
		(void)file_remove_tree(m->parent_fd, dead);
	return r;
}

static int publish(struct template_making *m, struct error *err)
{
	char name[TEMPLATE_NAME_MAX];
	int r;

	making_name(m->key, name);
	if (!template_is_at(m->dir_fd, m->parent_fd, name))
		return fail(err, -ESTALE, "the template's directory was removed while it was made");
	r = move_damaged(m);
	if (r < 0)
		return fail_errno(err, r, "cannot replace a damaged template");
	if (renameat(m->parent_fd, name, m->parent_fd, m->key) < 0)
		return fail_errno(err, -errno, "cannot put a template into its place");
	m->committed = true;
	/* From here on it is used: others wait for this lock. */
	flock(m->dir_fd, LOCK_UN);
	template_forget_failure(m->parent_fd, m->key);
	/* If this fails, a crash may undo the making; it is there all the same. */
	(void)fsync(m->parent_fd);
	return 0;
}

int template_make_commit(
	struct template_making *m, const struct template_info *info, struct error *err)
{
	const int fds[TEMPLATE_FILES] = {
		[TEMPLATE_MEMORY] = m->memory_fd,
		[TEMPLATE_STATE] = m->state_fd,
		[TEMPLATE_OVERLAY] = m->overlay_fd,
	};
	struct template_stamp stamps[TEMPLATE_FILES];
	struct template_info own = *info;
	int r = memory_dig(m->memory_fd, NULL, err);

	memcpy(own.key, m->key, sizeof(own.key));
	for (size_t i = 0; i < TEMPLATE_FILES && r >= 0; i++)
		r = finish_file(fds[i], (enum template_file)i, info, &stamps[i], err);
	if (r >= 0)
		r = write_record(m, &own, stamps, err);
	return r < 0 ? r : publish(m, err);
}

struct template_making *template_make_free(struct template_making *m)
{
	char name[TEMPLATE_NAME_MAX];

	if (!m)
		return NULL;
	making_name(m->key, name);
	/* Someone may have removed it and begun anew, and then it is not ours. */
	if (m->dir_fd >= 0 && !m->committed && template_is_at(m->dir_fd, m->parent_fd, name))
		(void)file_remove_tree(m->parent_fd, name);
	base_close(m->memory_fd);
	base_close(m->state_fd);
	base_close(m->overlay_fd);
	base_close(m->dir_fd);
	base_close(m->parent_fd);
	free(m);
	return NULL;
}
