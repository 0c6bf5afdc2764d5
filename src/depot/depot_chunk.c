/* Chunks of a depot. There are ten thousand in a GiB, so that none is brought to the disk alone:
 * they wait in tmp until syncfs(2) has written all of them, then get their names. A chunk that has
 * its name is whole, also after a power cut. The names themselves are brought to the disk before a
 * manifest leads to them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "depot/depot_private.h"
#include "lib/file.h"

/* So many are lost at most when the publisher is killed: some 600 MiB, or three seconds' work. Each
 * syncfs() waits for what others have written, too, so there should be few. */
#define COMMIT_EVERY 8192

#define CHUNK_DIR_MODE 0755

static void chunk_path(const uint8_t id[CHUNK_ID_SIZE], char ret[DEPOT_PATH_SIZE])
{
	char path[CHUNK_PATH_SIZE];

	chunk_format_path(id, path);
	snprintf(ret, DEPOT_PATH_SIZE, DEPOT_CHUNKS "/%s", path);
}

void depot_pending_path(
	const struct depot *d, const uint8_t id[CHUNK_ID_SIZE], char ret[DEPOT_PATH_SIZE])
{
	char hex[DIGEST_HEX_SIZE];

	digest_format(id, hex);
	snprintf(ret, DEPOT_PATH_SIZE, DEPOT_TMP "/%s.%s", d->writer, hex);
}

bool depot_has_named_chunk(const struct depot *d, const uint8_t id[CHUNK_ID_SIZE])
{
	char path[DEPOT_PATH_SIZE];

	chunk_path(id, path);
	return faccessat(d->dir_fd, path, F_OK, 0) == 0;
}

bool depot_has_chunk(const struct depot *d, const uint8_t id[CHUNK_ID_SIZE])
{
	char path[DEPOT_PATH_SIZE];

	if (depot_has_named_chunk(d, id))
		return true;
	depot_pending_path(d, id, path);
	return d->writable && faccessat(d->dir_fd, path, F_OK, 0) == 0;
}

int depot_open_chunk(const struct depot *d, const uint8_t id[CHUNK_ID_SIZE])
{
	char path[DEPOT_PATH_SIZE];
	int fd;

	chunk_path(id, path);
	fd = openat(d->dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

int depot_get_chunk(const struct depot *d, const uint8_t id[CHUNK_ID_SIZE], void *data, size_t size,
	struct error *err)
{
	autofree char *packed = NULL;
	char path[DEPOT_PATH_SIZE];
	size_t length;
	int r;

	chunk_path(id, path);
	r = file_read(d->dir_fd, path, CHUNK_PACKED_MAX, &packed, &length);
	if (r < 0)
		return fail_errno(err, r, "cannot read '%s/%s'", d->directory, path);
	r = chunk_unpack(id, packed, length, data, size, err);
	return r < 0 ? fail_within(err, "the chunk '%s/%s' is damaged", d->directory, path) : 0;
}

int depot_read_chunk(const struct depot *d, const uint8_t id[CHUNK_ID_SIZE], struct buffer *ret)
{
	autofree char *packed = NULL;
	char path[DEPOT_PATH_SIZE];
	size_t length;
	int r;

	chunk_path(id, path);
	r = file_read(d->dir_fd, path, CHUNK_PACKED_MAX, &packed, &length);
	if (r < 0)
		return r;
	return length > 0 ? buffer_append(ret, packed, length) : -EBADMSG;
}

/* Notes that the chunk waits. Returns how many do, or -ENOMEM. */
static int pending_add(struct depot *d, const uint8_t id[CHUNK_ID_SIZE])
{
	struct depot_pending *p = &d->pending;
	int r = -ENOMEM;

	pthread_mutex_lock(&d->lock);
	if (p->count == p->room) {
		size_t room = MAX_OF(2 * p->room, (size_t)COMMIT_EVERY);
		void *ids = realloc(p->ids, room * sizeof(*p->ids));

		if (ids) {
			p->ids = ids;
			p->room = room;
		}
	}
	if (p->count < p->room) {
		memcpy(p->ids[p->count++], id, CHUNK_ID_SIZE);
		r = (int)p->count;
	}
	pthread_mutex_unlock(&d->lock);
	return r;
}

static struct depot_pending pending_take(struct depot *d)
{
	struct depot_pending taken;

	pthread_mutex_lock(&d->lock);
	taken = d->pending;
	d->pending = (struct depot_pending){0};
	pthread_mutex_unlock(&d->lock);
	return taken;
}

static void pending_drop(const struct depot *d, const struct depot_pending *p)
{
	char path[DEPOT_PATH_SIZE];

	for (size_t i = 0; i < p->count; i++) {
		depot_pending_path(d, p->ids[i], path);
		unlinkat(d->dir_fd, path, 0);
	}
}

void depot_pending_drop(struct depot *d)
{
	struct depot_pending p = pending_take(d);

	pending_drop(d, &p);
	free(p.ids);
}

static int write_chunk(const struct depot *d, const char *path, const void *packed, size_t length)
{
	autoclose int fd =
		openat(d->dir_fd, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444);
	int r = fd < 0 ? -errno : file_write_all(fd, packed, length);

	if (r == 0 && fchmod(fd, 0444) < 0)
		r = -errno;
	if (r < 0 && fd >= 0)
		unlinkat(d->dir_fd, path, 0);
	return r;
}

int depot_put_chunk(struct depot *d, const uint8_t id[CHUNK_ID_SIZE], const void *packed,
	size_t length, struct error *err)
{
	char path[DEPOT_PATH_SIZE];
	int r;

	if (depot_has_chunk(d, id))
		return 0;
	depot_pending_path(d, id, path);
	r = write_chunk(d, path, packed, length);
	if (r == -EEXIST) /* another thread puts the same */
		return 0;
	if (r == 0) {
		r = pending_add(d, id);
		if (r < 0)
			unlinkat(d->dir_fd, path, 0);
	}
	if (r < 0)
		return depot_fail_write(d, r, path, err);
	return r >= COMMIT_EVERY ? depot_commit(d, err) : 0;
}

/* Gives a chunk its name. Two that put the same chunk have the same bytes. */
static int name_chunk(const struct depot *d, const uint8_t id[CHUNK_ID_SIZE])
{
	char from[DEPOT_PATH_SIZE], to[DEPOT_PATH_SIZE], directory[DEPOT_PATH_SIZE];

	depot_pending_path(d, id, from);
	chunk_path(id, to);
	if (renameat(d->dir_fd, from, d->dir_fd, to) == 0)
		return 0;
	if (errno != ENOENT)
		return -errno;
	snprintf(directory, sizeof(directory), "%.*s", (int)(strrchr(to, '/') - to), to);
	if (mkdirat(d->dir_fd, directory, CHUNK_DIR_MODE) < 0 && errno != EEXIST)
		return -errno;
	return renameat(d->dir_fd, from, d->dir_fd, to) < 0 ? -errno : 0;
}

static int commit(struct depot *d, const struct depot_pending *p)
{
	int r = 0;

	if (syncfs(d->dir_fd) < 0)
		return -errno;
	for (size_t i = 0; i < p->count && r == 0; i++)
		r = name_chunk(d, p->ids[i]);
	return r;
}

int depot_commit(struct depot *d, struct error *err)
{
	struct depot_pending taken;
	int r = 0;

	/* Who finds nothing waits for another thread that has taken it. */
	pthread_mutex_lock(&d->commit);
	taken = pending_take(d);
	if (taken.count > 0)
		r = commit(d, &taken);
	/* After a success nothing of ours is left, but perhaps what another thread has put since.
	 */
	if (r < 0)
		pending_drop(d, &taken);
	free(taken.ids);
	pthread_mutex_unlock(&d->commit);
	return r < 0 ? depot_fail_write(d, r, DEPOT_CHUNKS, err) : 0;
}
