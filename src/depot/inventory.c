/* One table of open addressing for the chunks of all files. A file that is removed leaves its
 * entries until the table is made anew, which it is when it grows. */
#include "depot/inventory.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>

#include "depot/mix.h"
#include "depot/zeros.h"

#define COPIES_MAX 2 /* entries for a chunk: one is enough unless its file is damaged or goes */
#define SLOTS_MIN  1024
#define SLOTS_MAX  (UINT64_C(1) << 26) /* 1.5 GiB of memory, and 4 TB of images */

struct file {
	char name[DIGEST_HEX_SIZE];
	int fd; /* -1: removed */
};

struct entry {
	uint64_t key; /* of the id, mixed */
	uint64_t offset;
	uint32_t size; /* 0: an empty slot */
	uint32_t file;
};

struct inventory {
	pthread_rwlock_t lock; /* of all; held by readers while they use a file */
	struct file *files;
	size_t file_count;
	struct entry *slots;
	size_t slot_count, used; /* a power of two */
};

int inventory_new(struct inventory **ret)
{
	struct inventory *v = calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	pthread_rwlock_init(&v->lock, NULL);
	*ret = v;
	return 0;
}

struct inventory *inventory_free(struct inventory *v)
{
	if (!v)
		return NULL;
	for (size_t i = 0; i < v->file_count; i++)
		base_close(v->files[i].fd);
	pthread_rwlock_destroy(&v->lock);
	free(v->files);
	free(v->slots);
	free(v);
	return NULL;
}

/* Puts the entry into an empty slot, unless the chunk has enough of them. */
static void slot_add(struct inventory *v, const struct entry *new)
{
	size_t mask = v->slot_count - 1, at = (size_t) new->key &mask;
	int copies = 0;

	for (; v->slots[at].size; at = (at + 1) & mask) {
		const struct entry *e = &v->slots[at];

		if (e->key != new->key || e->size != new->size || v->files[e->file].fd < 0)
			continue;
		if (e->file == new->file || ++copies == COPIES_MAX)
			return;
	}
	v->slots[at] = *new;
	v->used++;
}

/* Makes room for `more` entries. */
static int grow(struct inventory *v, size_t more)
{
	struct entry *old = v->slots;
	size_t old_count = v->slot_count, count = SLOTS_MIN;

	if (old_count > 0 && v->used + more <= old_count / 2)
		return 0;
	while (count / 2 < v->used + more)
		count *= 2;
	if (count > SLOTS_MAX)
		return -ENOMEM;
	v->slots = calloc(count, sizeof(*v->slots));
	if (!v->slots) {
		v->slots = old;
		return -ENOMEM;
	}
	v->slot_count = count;
	v->used = 0;
	for (size_t i = 0; i < old_count; i++)
		if (old[i].size && v->files[old[i].file].fd >= 0)
			slot_add(v, &old[i]);
	free(old);
	return 0;
}

/* A file's number is never used again while entries may have it. */
static int file_add(struct inventory *v, const char *name, int fd)
{
	struct file *files = realloc(v->files, (v->file_count + 1) * sizeof(*files));
	struct file *f;

	if (!files)
		return -ENOMEM;
	v->files = files;
	f = &files[v->file_count];
	*f = (struct file){.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3)};
	if (f->fd < 0)
		return -errno;
	memcpy(f->name, name, strnlen(name, sizeof(f->name) - 1));
	v->file_count++;
	return 0;
}

static void file_remove(struct inventory *v, const char *name)
{
	for (size_t i = 0; i < v->file_count; i++)
		if (v->files[i].fd >= 0 && streq(v->files[i].name, name))
			v->files[i].fd = base_close(v->files[i].fd);
}

static void chunks_add(struct inventory *v, const struct caibx *index, const uint8_t *bits)
{
	for (size_t i = 0; i < index->count; i++) {
		const struct caibx_chunk *chunk = &index->chunks[i];
		const struct entry entry = {.key = mix_id(chunk->id),
			.offset = chunk->offset,
			.size = chunk->size,
			.file = (uint32_t)(v->file_count - 1)};

		if ((!bits || (bits[i / 8] >> (i % 8) & 1)) && !zeros_is_id(chunk->id, chunk->size))
			slot_add(v, &entry);
	}
}

int inventory_add(struct inventory *v, const char *name, int fd, const struct caibx *index,
	const uint8_t *bits)
{
	int r;

	pthread_rwlock_wrlock(&v->lock);
	file_remove(v, name);
	r = grow(v, index->count);
	if (r == 0)
		r = file_add(v, name, fd);
	if (r == 0)
		chunks_add(v, index, bits);
	pthread_rwlock_unlock(&v->lock);
	return r;
}

void inventory_remove(struct inventory *v, const char *name)
{
	pthread_rwlock_wrlock(&v->lock);
	file_remove(v, name);
	pthread_rwlock_unlock(&v->lock);
}

/* The next entry for this chunk whose file is there, from slot *at on; NULL: no more. */
static const struct entry *next_entry(
	const struct inventory *v, const struct caibx_chunk *chunk, uint64_t key, size_t *at)
{
	size_t mask = v->slot_count - 1;

	for (; v->slot_count > 0 && v->slots[*at & mask].size; ++*at) {
		const struct entry *e = &v->slots[*at & mask];

		if (e->key == key && e->size == chunk->size && v->files[e->file].fd >= 0) {
			++*at;
			return e;
		}
	}
	return NULL;
}

typedef int (*use_fn)(int fd, uint64_t offset, void *userdata);

/* Tries what there is for a chunk, until `use` returns something else than -EBADMSG. Returns 1 if
 * that is 0, 0 if nothing was right, or its negative errno. */
static int each_place(
	struct inventory *v, const struct caibx_chunk *chunk, use_fn use, void *userdata)
{
	uint64_t key = mix_id(chunk->id);
	size_t at = (size_t)key;
	const struct entry *e;
	int r = -EBADMSG;

	pthread_rwlock_rdlock(&v->lock);
	while (r == -EBADMSG && (e = next_entry(v, chunk, key, &at)))
		r = use(v->files[e->file].fd, e->offset, userdata);
	pthread_rwlock_unlock(&v->lock);
	return r == 0 ? 1 : r == -EBADMSG ? 0 : r;
}

static int use_nothing(int fd, uint64_t offset, void *userdata)
{
	return 0;
}

bool inventory_has(struct inventory *v, const struct caibx_chunk *chunk)
{
	return each_place(v, chunk, use_nothing, NULL) == 1;
}

struct reading {
	const struct caibx_chunk *chunk;
	uint8_t *data;
};

static int use_read(int fd, uint64_t offset, void *userdata)
{
	const struct reading *reading = userdata;
	uint8_t id[CHUNK_ID_SIZE];
	size_t done = 0;

	while (done < reading->chunk->size) {
		ssize_t n = pread(fd, reading->data + done, reading->chunk->size - done,
			(off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) /* a file that cannot be read has not the chunk */
			return -EBADMSG;
		done += (size_t)n;
	}
	return chunk_id(reading->data, done, id) == 0 &&
			       memcmp(id, reading->chunk->id, sizeof(id)) == 0
		       ? 0
		       : -EBADMSG;
}

int inventory_read(struct inventory *v, const struct caibx_chunk *chunk, void *data)
{
	struct reading reading = {.chunk = chunk, .data = data};

	return each_place(v, chunk, use_read, &reading);
}

struct copying {
	struct assembly *assembly;
	size_t i;
	struct error *err;
};

static int use_copy(int fd, uint64_t offset, void *userdata)
{
	const struct copying *copying = userdata;

	return assembly_copy(copying->assembly, copying->i, fd, offset, copying->err);
}

int inventory_copy(struct inventory *v, struct assembly *a, size_t i, struct error *err)
{
	struct copying copying = {.assembly = a, .i = i, .err = err};

	return each_place(v, &assembly_index(a)->chunks[i], use_copy, &copying);
}
