#include "depot/assembly.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "depot/have.h"
#include "depot/twins.h"
#include "depot/zeros.h"
#include "lib/file.h"

#define CLONE_ALIGNMENT 4096

struct assembly {
	const struct caibx *index;
	uint8_t index_digest[DIGEST_SIZE];
	int fd, have_fd;
	struct twins *twins;
	size_t bits_length;
	atomic_bool cannot_clone; /* the file systems said so once */

	pthread_mutex_t lock; /* of all below */
	uint8_t *has, *claimed;
	struct assembly_state state;
	size_t dirty_first, dirty_end; /* bytes of the bits that the have file has otherwise */

	pthread_mutex_t syncing; /* taken before `lock` */
};

static bool bit_get(const uint8_t *bits, size_t i)
{
	return bits[i / 8] >> (i % 8) & 1;
}

static void bit_set(uint8_t *bits, size_t i)
{
	bits[i / 8] |= (uint8_t)(1U << (i % 8));
}

static void bit_clear(uint8_t *bits, size_t i)
{
	bits[i / 8] &= (uint8_t) ~(1U << (i % 8));
}

/* Under the lock. */
static void note_dirty(struct assembly *a, size_t i)
{
	a->dirty_first = MIN_OF(a->dirty_first, i / 8);
	a->dirty_end = MAX_OF(a->dirty_end, i / 8 + 1);
}

static void note_clean(struct assembly *a)
{
	a->dirty_first = SIZE_MAX;
	a->dirty_end = 0;
}

/* Under the lock: chunk i is there, verified. `put`: and was written just now. */
static void note_has(struct assembly *a, size_t i, bool put)
{
	bit_clear(a->claimed, i);
	if (bit_get(a->has, i))
		return;
	bit_set(a->has, i);
	a->state.chunks++;
	a->state.bytes += a->index->chunks[i].size;
	if (put) {
		a->state.unsynced += a->index->chunks[i].size;
		note_dirty(a, i);
	}
}

static bool is_zeros(const struct assembly *a, size_t i)
{
	return zeros_is_id(a->index->chunks[i].id, a->index->chunks[i].size);
}

/* An empty have file first: data of an earlier index is never taken for some of this one. */
static int begin(struct assembly *a)
{
	int r = have_create(a->have_fd, a->index, a->index_digest);

	if (r < 0)
		return r;
	if (ftruncate(a->fd, 0) < 0 || ftruncate(a->fd, (off_t)a->index->size) < 0)
		return -errno;
	memset(a->claimed, 0, a->bits_length);
	memset(a->has, 0, a->bits_length);
	a->state = (struct assembly_state){
		.total_chunks = a->index->count, .total_bytes = a->index->size};
	note_clean(a);
	for (size_t i = 0; i < a->index->count; i++)
		if (is_zeros(a, i))
			note_has(a, i, false);
	return 0;
}

/* Holes are not in the have file, and must be holes still. */
static int go_on(struct assembly *a)
{
	struct stat st;
	int r = have_load(a->have_fd, a->index, a->index_digest, a->claimed);

	if (r <= 0)
		return r;
	if (fstat(a->fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size != a->index->size)
		return 0;
	for (size_t i = 0; i < a->index->count; i++)
		if (is_zeros(a, i))
			bit_set(a->claimed, i);
	return 1;
}

static int assembly_load(struct assembly *a, struct error *err)
{
	int r;

	a->has = calloc(a->bits_length + 1, 1);
	a->claimed = calloc(a->bits_length + 1, 1);
	if (!a->has || !a->claimed || twins_new(a->index, &a->twins) < 0)
		return fail(err, -ENOMEM, "out of memory");
	r = go_on(a);
	if (r == 0)
		r = begin(a);
	return r < 0 ? fail_errno(err, r, "cannot prepare the file that is to be put together") : 0;
}

int assembly_open(const struct caibx *index, const uint8_t index_digest[DIGEST_SIZE],
	int partial_fd, int have_fd, struct assembly **ret, struct error *err)
{
	struct assembly *a AUTO(assembly_freep) = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return fail(err, -ENOMEM, "out of memory");
	a->index = index;
	memcpy(a->index_digest, index_digest, DIGEST_SIZE);
	a->fd = partial_fd;
	a->have_fd = have_fd;
	a->bits_length = (index->count + 7) / 8;
	a->state.total_chunks = index->count;
	a->state.total_bytes = index->size;
	pthread_mutex_init(&a->lock, NULL);
	pthread_mutex_init(&a->syncing, NULL);
	note_clean(a);
	r = assembly_load(a, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(a);
	return 0;
}

struct assembly *assembly_free(struct assembly *a)
{
	if (!a)
		return NULL;
	twins_free(a->twins);
	free(a->has);
	free(a->claimed);
	pthread_mutex_destroy(&a->lock);
	pthread_mutex_destroy(&a->syncing);
	free(a);
	return NULL;
}

const struct caibx *assembly_index(const struct assembly *a)
{
	return a->index;
}

int assembly_fd(const struct assembly *a)
{
	return a->fd;
}

bool assembly_has(struct assembly *a, size_t i)
{
	bool has;

	pthread_mutex_lock(&a->lock);
	has = bit_get(a->has, i);
	pthread_mutex_unlock(&a->lock);
	return has;
}

bool assembly_is_claimed(struct assembly *a, size_t i)
{
	bool claimed;

	pthread_mutex_lock(&a->lock);
	claimed = bit_get(a->claimed, i);
	pthread_mutex_unlock(&a->lock);
	return claimed;
}

bool assembly_wants(struct assembly *a, size_t i)
{
	bool wants = false;

	pthread_mutex_lock(&a->lock);
	for (size_t at = twins_first(a->twins, i); at != TWINS_END && !wants;
		at = twins_next(a->twins, at))
		wants = !bit_get(a->has, at);
	pthread_mutex_unlock(&a->lock);
	return wants;
}

bool assembly_is_first(const struct assembly *a, size_t i)
{
	return twins_first(a->twins, i) == i;
}

void assembly_get_bits(struct assembly *a, uint8_t *ret)
{
	pthread_mutex_lock(&a->lock);
	memcpy(ret, a->has, a->bits_length);
	pthread_mutex_unlock(&a->lock);
}

void assembly_get_state(struct assembly *a, struct assembly_state *ret)
{
	pthread_mutex_lock(&a->lock);
	*ret = a->state;
	pthread_mutex_unlock(&a->lock);
}

/* Returns 0, -EIO where the file ends too early, or another negative errno. */
static int read_chunk(int fd, uint64_t at, uint8_t *data, size_t length)
{
	while (length > 0) {
		ssize_t n = pread(fd, data, length, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		data += n;
		at += (uint64_t)n;
		length -= (size_t)n;
	}
	return 0;
}

static int write_chunk(int fd, uint64_t at, const uint8_t *data, size_t length)
{
	while (length > 0) {
		ssize_t n = pwrite(fd, data, length, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		at += (uint64_t)n;
		length -= (size_t)n;
	}
	return 0;
}

/* Are these bytes the chunk? Returns 0 or -EBADMSG. */
static int verify(const struct caibx_chunk *chunk, const void *data, struct error *err)
{
	uint8_t id[CHUNK_ID_SIZE];
	int r = chunk_id(data, chunk->size, id);

	if (r < 0)
		return fail_errno(err, r, "cannot hash a chunk");
	return memcmp(id, chunk->id, sizeof(id)) == 0
		       ? 0
		       : fail(err, -EBADMSG, "the bytes are not those of the chunk");
}

/* What lies where zeros belong is not ours; it is made a hole, or zeros where there are no holes.
 */
static int clear_range(const struct assembly *a, const struct caibx_chunk *chunk)
{
	autofree uint8_t *zeros = NULL;

	if (fallocate(a->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)chunk->offset,
		    chunk->size) == 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != ENOSYS)
		return -errno;
	zeros = calloc(1, chunk->size);
	return zeros ? write_chunk(a->fd, chunk->offset, zeros, chunk->size) : -ENOMEM;
}

static int check_zeros(const struct assembly *a, const struct caibx_chunk *chunk)
{
	uint64_t end = chunk->offset + chunk->size, start, data_end;
	int r = file_find_data(a->fd, chunk->offset, end, &start, &data_end);

	if (r < 0)
		return r;
	return start < end ? clear_range(a, chunk) : 0;
}

static int check_data(const struct assembly *a, const struct caibx_chunk *chunk)
{
	autofree uint8_t *data = malloc(chunk->size);
	int r = data ? read_chunk(a->fd, chunk->offset, data, chunk->size) : -ENOMEM;

	return r < 0 ? r : verify(chunk, data, NULL);
}

/* One place. Returns 1 if it has the chunk, 0 if not, or negative errno. */
static int check_place(struct assembly *a, size_t i, struct error *err)
{
	const struct caibx_chunk *chunk = &a->index->chunks[i];
	int r;

	if (!assembly_is_claimed(a, i))
		return assembly_has(a, i);
	r = is_zeros(a, i) ? check_zeros(a, chunk) : check_data(a, chunk);
	if (r < 0 && r != -EBADMSG)
		return fail_errno(err, r, "cannot read what an earlier fetch has left");
	pthread_mutex_lock(&a->lock);
	if (r == 0) {
		note_has(a, i, false);
	} else {
		bit_clear(a->claimed, i);
		note_dirty(a, i);
	}
	pthread_mutex_unlock(&a->lock);
	return r == 0;
}

int assembly_check(struct assembly *a, size_t i, struct error *err)
{
	size_t right = TWINS_END;
	bool all = true;

	for (size_t at = twins_first(a->twins, i); at != TWINS_END; at = twins_next(a->twins, at)) {
		int r = check_place(a, at, err);

		if (r < 0)
			return r;
		all = all && r;
		right = r ? at : right;
	}
	if (all || right == TWINS_END)
		return all;
	return assembly_copy(a, i, a->fd, a->index->chunks[right].offset, err) == 0;
}

/* Shares the blocks of a local file. Returns 0, or -EOPNOTSUPP where they are to be written. */
static int clone_chunk(struct assembly *a, const struct caibx_chunk *chunk, int fd, uint64_t offset)
{
	struct file_clone_range range = {.src_fd = fd,
		.src_offset = offset,
		.src_length = chunk->size,
		.dest_offset = chunk->offset};

	if (fd < 0 || a->cannot_clone || offset % CLONE_ALIGNMENT != 0 ||
		chunk->offset % CLONE_ALIGNMENT != 0 || chunk->size % CLONE_ALIGNMENT != 0)
		return -EOPNOTSUPP;
	if (ioctl(a->fd, FICLONERANGE, &range) == 0)
		return 0;
	if (errno != EINVAL) /* which may be for this range alone */
		a->cannot_clone = true;
	return -EOPNOTSUPP;
}

/* Puts verified bytes into all places of the chunk, which has at `offset` of `fd` the same ones;
 * -1: nowhere. */
static int put_verified(struct assembly *a, size_t i, const uint8_t *data, int fd, uint64_t offset,
	struct error *err)
{
	for (size_t at = twins_first(a->twins, i); at != TWINS_END; at = twins_next(a->twins, at)) {
		const struct caibx_chunk *chunk = &a->index->chunks[at];
		int r;

		if (assembly_has(a, at))
			continue;
		r = clone_chunk(a, chunk, fd, offset);
		if (r < 0)
			r = write_chunk(a->fd, chunk->offset, data, chunk->size);
		if (r < 0)
			return fail_errno(err, r, "cannot write the image");
		pthread_mutex_lock(&a->lock);
		note_has(a, at, true);
		pthread_mutex_unlock(&a->lock);
	}
	return 0;
}

int assembly_put(struct assembly *a, size_t i, const void *data, size_t length, struct error *err)
{
	const struct caibx_chunk *chunk = &a->index->chunks[i];
	int r;

	if (!assembly_wants(a, i))
		return 0;
	if (length != chunk->size)
		return fail(err, -EBADMSG, "the chunk has %zu bytes instead of %u", length,
			chunk->size);
	r = verify(chunk, data, err);
	return r < 0 ? r : put_verified(a, i, data, -1, 0, err);
}

int assembly_put_packed(
	struct assembly *a, size_t i, const void *packed, size_t length, struct error *err)
{
	const struct caibx_chunk *chunk = &a->index->chunks[i];
	autofree uint8_t *data = NULL;
	int r;

	if (!assembly_wants(a, i))
		return 0;
	data = malloc(chunk->size);
	if (!data)
		return fail(err, -ENOMEM, "out of memory");
	r = chunk_unpack(chunk->id, packed, length, data, chunk->size, err);
	return r < 0 ? r : put_verified(a, i, data, -1, 0, err);
}

int assembly_copy(struct assembly *a, size_t i, int fd, uint64_t offset, struct error *err)
{
	const struct caibx_chunk *chunk = &a->index->chunks[i];
	autofree uint8_t *data = NULL;
	int r;

	if (!assembly_wants(a, i))
		return 0;
	data = malloc(chunk->size);
	if (!data)
		return fail(err, -ENOMEM, "out of memory");
	/* A file that cannot be read, or has become shorter, is as good as one with other bytes. */
	if (read_chunk(fd, offset, data, chunk->size) < 0)
		return fail(err, -EBADMSG, "the local file with the chunk cannot be read");
	r = verify(chunk, data, err);
	return r < 0 ? r : put_verified(a, i, data, fd, offset, err);
}

/* What of the bits is to be written, as it is now. Returns 1, 0 if nothing is, or -ENOMEM. */
static int sync_begin(struct assembly *a, size_t *ret_first, size_t *ret_length, uint8_t **ret_bits)
{
	int r = 0;

	pthread_mutex_lock(&a->lock);
	if (a->dirty_first < a->dirty_end) {
		*ret_first = a->dirty_first;
		*ret_length = a->dirty_end - a->dirty_first;
		*ret_bits = malloc(*ret_length);
		r = *ret_bits ? 1 : -ENOMEM;
	}
	for (size_t i = 0; r > 0 && i < *ret_length; i++)
		(*ret_bits)[i] = a->has[*ret_first + i] | a->claimed[*ret_first + i];
	if (r > 0) {
		note_clean(a);
		a->state.unsynced = 0;
	}
	pthread_mutex_unlock(&a->lock);
	return r;
}

static int sync_locked(struct assembly *a)
{
	autofree uint8_t *bits = NULL;
	size_t first = 0, length = 0;
	int r = sync_begin(a, &first, &length, &bits);

	if (r <= 0)
		return r;
	r = fdatasync(a->fd) < 0 ? -errno : have_store(a->have_fd, first, bits, length);
	if (r < 0) { /* said again by the next */
		pthread_mutex_lock(&a->lock);
		note_dirty(a, first * 8);
		note_dirty(a, (first + length) * 8 - 1);
		pthread_mutex_unlock(&a->lock);
	}
	return r;
}

int assembly_sync(struct assembly *a, struct error *err)
{
	int r;

	pthread_mutex_lock(&a->syncing);
	r = sync_locked(a);
	pthread_mutex_unlock(&a->syncing);
	return r < 0 ? fail_errno(err, r, "cannot write the image to the disk") : 0;
}

bool assembly_is_complete(struct assembly *a)
{
	bool complete;

	pthread_mutex_lock(&a->lock);
	complete = a->state.chunks == a->state.total_chunks;
	pthread_mutex_unlock(&a->lock);
	return complete;
}

int assembly_finish(struct assembly *a, struct error *err)
{
	int r;

	if (!assembly_is_complete(a))
		return fail(err, -EAGAIN, "not all of the image is there");
	r = assembly_sync(a, err);
	if (r == 0 && fsync(a->fd) < 0)
		r = fail_errno(err, -errno, "cannot write the image to the disk");
	return r;
}

int assembly_reset(struct assembly *a, struct error *err)
{
	int r = begin(a);

	return r < 0 ? fail_errno(err, r, "cannot empty the file that is put together") : 0;
}
