#include "depot/depot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#include "depot/depot_private.h"
#include "lib/file.h"

#define DEPOT_LOCK_POLL_MS 50

static int make_directories(struct depot *d, struct error *err)
{
	static const char *const names[] = {DEPOT_MANIFEST, DEPOT_INDEX, DEPOT_CHUNKS, DEPOT_TMP};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (mkdirat(d->dir_fd, names[i], 0755) < 0 && errno != EEXIST)
			return fail_errno(
				err, -errno, "cannot make '%s/%s'", d->directory, names[i]);
	d->lock_fd = openat(d->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (d->lock_fd < 0)
		return fail_errno(err, -errno, "cannot open '%s/lock'", d->directory);
	return 0;
}

static int writer_new(struct depot *d, struct error *err)
{
	uint64_t number;

	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		return fail(err, -EIO, "no random numbers");
	snprintf(d->writer, sizeof(d->writer), "%016" PRIx64, number);
	return 0;
}

int depot_open(const char *directory, bool writable, struct depot **ret, struct error *err)
{
	struct depot *d AUTO(depot_freep) = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return fail(err, -ENOMEM, "out of memory");
	pthread_mutex_init(&d->lock, NULL);
	pthread_mutex_init(&d->commit, NULL);
	d->dir_fd = d->lock_fd = -1;
	d->writable = writable;
	d->directory = strdup(directory);
	if (!d->directory)
		return fail(err, -ENOMEM, "out of memory");
	r = writable ? file_make_dirs(directory, 0755) : 0;
	if (r < 0)
		return fail_errno(err, r, "cannot make the depot '%s'", directory);
	d->dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->dir_fd < 0)
		return fail_errno(err, -errno, "cannot open the depot '%s'", directory);
	r = writable ? make_directories(d, err) : 0;
	if (r >= 0)
		r = writer_new(d, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(d);
	return 0;
}

struct depot *depot_free(struct depot *d)
{
	if (!d)
		return NULL;
	depot_pending_drop(d);
	base_close(d->dir_fd);
	base_close(d->lock_fd);
	pthread_mutex_destroy(&d->lock);
	pthread_mutex_destroy(&d->commit);
	free(d->directory);
	free(d);
	return NULL;
}

const char *depot_directory(const struct depot *d)
{
	return d->directory;
}

int depot_lock(struct depot *d, bool exclusive, struct error *err)
{
	const struct timespec pause = {.tv_nsec = DEPOT_LOCK_POLL_MS * 1000000L};
	int r;

	if (!d->writable)
		return fail(err, -EROFS, "the depot '%s' was opened read-only", d->directory);
	for (int waited_ms = 0;; waited_ms += DEPOT_LOCK_POLL_MS) {
		r = file_lock(d->lock_fd, exclusive, false);
		if (r != -EWOULDBLOCK || waited_ms >= DEPOT_LOCK_TIMEOUT_MS)
			break;
		nanosleep(&pause, NULL);
	}
	if (r == -EWOULDBLOCK)
		return fail(err, -EBUSY,
			"the depot '%s' is in use by another process; try again later",
			d->directory);
	return r < 0 ? fail_errno(err, r, "cannot lock the depot '%s'", d->directory) : 0;
}

/* What the killed have left costs room until somebody is alone in the depot. */
static void clean_if_alone(struct depot *d)
{
	if (file_lock(d->lock_fd, true, false) == 0)
		depot_clean(d);
}

int depot_hold(struct depot *d, struct error *err)
{
	int r = 0;

	pthread_mutex_lock(&d->lock);
	if (d->holds == 0 && d->writable)
		clean_if_alone(d);
	if (d->holds == 0)
		r = depot_lock(d, false, err);
	if (r == 0)
		d->holds++;
	pthread_mutex_unlock(&d->lock);
	return r;
}

void depot_release(struct depot *d)
{
	pthread_mutex_lock(&d->lock);
	if (d->holds > 0 && --d->holds == 0)
		flock(d->lock_fd, LOCK_UN);
	pthread_mutex_unlock(&d->lock);
}

int depot_fail_write(const struct depot *d, int code, const char *path, struct error *err)
{
	if (code == -ENOSPC || code == -EDQUOT)
		return fail_errno(err, code,
			"cannot write '%s/%s'; what is there is sound: make room and publish again, it"
			" goes on from here",
			d->directory, path);
	return fail_errno(err, code, "cannot write '%s/%s'", d->directory, path);
}

static int write_temporary(struct depot *d, const char *path, const void *data, size_t length)
{
	autoclose int fd =
		openat(d->dir_fd, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444);
	int r = fd < 0 ? -errno : file_write_all(fd, data, length);

	/* Whatever the umask: a web server is to read it. */
	if (r == 0 && (fchmod(fd, 0444) < 0 || fsync(fd) < 0))
		r = -errno;
	return r;
}

static int sync_directory_of(const struct depot *d, const char *path)
{
	autofree char *directory = strndup(path, (size_t)(strrchr(path, '/') - path));
	autoclose int fd = -1;

	if (!directory)
		return -ENOMEM;
	fd = openat(d->dir_fd, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int depot_write(
	struct depot *d, const char *path, const void *data, size_t length, struct error *err)
{
	char temporary[DEPOT_PATH_SIZE];
	int r;

	pthread_mutex_lock(&d->lock);
	snprintf(temporary, sizeof(temporary), DEPOT_TMP "/%s.%" PRIu64, d->writer, d->temporary++);
	pthread_mutex_unlock(&d->lock);
	r = write_temporary(d, temporary, data, length);
	if (r == 0 && renameat(d->dir_fd, temporary, d->dir_fd, path) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(d->dir_fd, temporary, 0);
	if (r == 0)
		r = sync_directory_of(d, path);
	return r < 0 ? depot_fail_write(d, r, path, err) : 0;
}
