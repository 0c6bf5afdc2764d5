#include "porter/holding.h"

#include <errno.h>
#include <pthread.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "depot/offer.h"
#include "image/manifest.h"

struct holding {
	struct holdings *owner;
	struct holding *next;
	struct holding_parts parts;
	uint8_t index_digest[CHUNK_ID_SIZE];
	uint32_t *by_id;     /* the chunks' numbers, in the order of their ids */
	struct offer *offer; /* with the lock */
	size_t references;   /* with the lock */
	bool removed;
};

struct holdings {
	pthread_mutex_t lock;
	struct holding *first;
};

struct holdings *holdings_new(void)
{
	struct holdings *hs = calloc(1, sizeof(*hs));

	if (hs)
		pthread_mutex_init(&hs->lock, NULL);
	return hs;
}

static void destroy(struct holding *h)
{
	offer_free(h->offer);
	free(h->by_id);
	caibx_free(h->parts.index);
	base_close(h->parts.fd);
	base_close(h->parts.index_fd);
	base_close(h->parts.manifest_fd);
	free(h);
}

struct holdings *holdings_free(struct holdings *hs)
{
	if (!hs)
		return NULL;
	while (hs->first) {
		struct holding *h = hs->first;

		hs->first = h->next;
		destroy(h);
	}
	pthread_mutex_destroy(&hs->lock);
	free(hs);
	return NULL;
}

static int compare_ids(const void *a, const void *b, void *userdata)
{
	const struct caibx *index = userdata;

	return memcmp(index->chunks[*(const uint32_t *)a].id,
		index->chunks[*(const uint32_t *)b].id, CHUNK_ID_SIZE);
}

static int sort_ids(struct holding *h)
{
	const struct caibx *index = h->parts.index;

	h->by_id = calloc(index->count + 1, sizeof(*h->by_id));
	if (!h->by_id)
		return -ENOMEM;
	for (uint32_t i = 0; i < index->count; i++)
		h->by_id[i] = i;
	qsort_r(h->by_id, index->count, sizeof(*h->by_id), compare_ids, h->parts.index);
	return 0;
}

static int make_offer(struct holding *h, bool whole)
{
	const struct caibx *index = h->parts.index;
	autofree uint32_t *sizes = calloc(index->count + 1, sizeof(*sizes));
	uint64_t seed = 0;

	if (!sizes)
		return -ENOMEM;
	if (getrandom(&seed, sizeof(seed), 0) < 0)
		seed = 1;
	for (size_t i = 0; i < index->count; i++)
		sizes[i] = index->chunks[i].size;
	h->offer = offer_new(sizes, index->count, seed);
	for (uint32_t i = 0; h->offer && whole && i < index->count; i++)
		offer_add(h->offer, i, false);
	return h->offer ? 0 : -ENOMEM;
}

/* An own one has none: others would know it by that. */
static int take_digest(struct holding *h)
{
	autofree char *bytes = NULL;
	size_t length;
	int r = h->parts.own ? 1 : holding_read_index(h, &bytes, &length);

	if (r == 1)
		return 0;
	return r < 0 ? r : digest_raw(bytes, length, h->index_digest);
}

int holdings_add(struct holdings *hs, struct holding_parts *parts, bool whole, struct holding **ret,
	struct error *err)
{
	struct holding *h = calloc(1, sizeof(*h));
	int r;

	if (!h) {
		caibx_free(parts->index);
		base_close(parts->fd);
		base_close(parts->index_fd);
		base_close(parts->manifest_fd);
		return fail(err, -ENOMEM, "out of memory");
	}
	*h = (struct holding){.owner = hs, .parts = *parts, .references = 1};
	r = sort_ids(h);
	if (r == 0)
		r = make_offer(h, whole);
	if (r == 0)
		r = take_digest(h);
	if (r < 0) {
		fail_errno(err, r, "cannot give '%s' to others", h->parts.blob);
		destroy(h);
		return r;
	}
	pthread_mutex_lock(&hs->lock);
	h->next = hs->first;
	hs->first = h;
	pthread_mutex_unlock(&hs->lock);
	*ret = h;
	return 0;
}

void holdings_remove(struct holdings *hs, struct holding *h)
{
	pthread_mutex_lock(&hs->lock);
	for (struct holding **link = &hs->first; *link; link = &(*link)->next)
		if (*link == h) {
			*link = h->next;
			break;
		}
	h->removed = true;
	pthread_mutex_unlock(&hs->lock);
}

struct holding *holding_unref(struct holding *h)
{
	bool last;

	if (!h)
		return NULL;
	pthread_mutex_lock(&h->owner->lock);
	last = --h->references == 0 && h->removed;
	pthread_mutex_unlock(&h->owner->lock);
	if (last)
		destroy(h);
	return NULL;
}

bool holding_is_idle(const struct holding *h)
{
	bool idle;

	pthread_mutex_lock(&h->owner->lock);
	idle = h->references <= 1;
	pthread_mutex_unlock(&h->owner->lock);
	return idle;
}

void holding_add_chunk(struct holding *h, uint32_t chunk, bool common)
{
	pthread_mutex_lock(&h->owner->lock);
	offer_add(h->offer, chunk, common);
	pthread_mutex_unlock(&h->owner->lock);
}

size_t holding_pick(struct holding *h, const struct pick *pick, uint32_t *ret, size_t max)
{
	size_t count;

	pthread_mutex_lock(&h->owner->lock);
	count = offer_pick(h->offer, pick, ret, max);
	pthread_mutex_unlock(&h->owner->lock);
	return count;
}

struct holding *holdings_find_index(struct holdings *hs, const uint8_t digest[CHUNK_ID_SIZE])
{
	struct holding *h;

	pthread_mutex_lock(&hs->lock);
	for (h = hs->first; h; h = h->next)
		if (!h->parts.own && memcmp(h->index_digest, digest, CHUNK_ID_SIZE) == 0)
			break;
	if (h)
		h->references++;
	pthread_mutex_unlock(&hs->lock);
	return h;
}

struct holding *holdings_find_blob(struct holdings *hs, const char *blob)
{
	struct holding *h;

	pthread_mutex_lock(&hs->lock);
	for (h = hs->first; h; h = h->next)
		if (!h->parts.own && streq(h->parts.blob, blob))
			break;
	if (h)
		h->references++;
	pthread_mutex_unlock(&hs->lock);
	return h;
}

struct holding *holdings_find_manifest(struct holdings *hs, const char *image)
{
	struct holding *h;

	pthread_mutex_lock(&hs->lock);
	for (h = hs->first; h; h = h->next)
		if (h->parts.manifest_fd >= 0 && streq(h->parts.image, image))
			break;
	if (h)
		h->references++;
	pthread_mutex_unlock(&hs->lock);
	return h;
}

/* Where in the order of ids the first chunk with this one would be. */
static size_t find_first(const struct holding *h, const uint8_t id[CHUNK_ID_SIZE])
{
	const struct caibx *index = h->parts.index;
	size_t low = 0, high = index->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (memcmp(index->chunks[h->by_id[middle]].id, id, CHUNK_ID_SIZE) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const uint32_t *holding_find_equals(const struct holding *h, uint32_t chunk, size_t *ret_count)
{
	const struct caibx *index = h->parts.index;
	const uint8_t *id = index->chunks[chunk].id;
	size_t first = find_first(h, id), end = first;

	while (end < index->count &&
		memcmp(index->chunks[h->by_id[end]].id, id, CHUNK_ID_SIZE) == 0)
		end++;
	*ret_count = end - first;
	return h->by_id + first;
}

/* The first of the chunks with this id that is there. */
static bool find_id(const struct holding *h, const uint8_t id[CHUNK_ID_SIZE], uint32_t *ret)
{
	const struct caibx *index = h->parts.index;

	for (size_t i = find_first(h, id); i < index->count; i++) {
		*ret = h->by_id[i];
		if (memcmp(index->chunks[*ret].id, id, CHUNK_ID_SIZE) != 0)
			return false;
		if (offer_has(h->offer, *ret))
			return true;
	}
	return false;
}

static struct holding *find_chunk(
	struct holdings *hs, const uint8_t id[CHUNK_ID_SIZE], bool own, uint32_t *ret_chunk)
{
	struct holding *h;

	pthread_mutex_lock(&hs->lock);
	for (h = hs->first; h; h = h->next)
		if ((own || !h->parts.own) && find_id(h, id, ret_chunk))
			break;
	if (h)
		h->references++;
	pthread_mutex_unlock(&hs->lock);
	return h;
}

struct holding *holdings_find_chunk(
	struct holdings *hs, const uint8_t id[CHUNK_ID_SIZE], uint32_t *ret_chunk)
{
	return find_chunk(hs, id, false, ret_chunk);
}

struct holding *holdings_find_copy(
	struct holdings *hs, const uint8_t id[CHUNK_ID_SIZE], uint32_t *ret_chunk)
{
	return find_chunk(hs, id, true, ret_chunk);
}

const struct caibx *holding_index(const struct holding *h)
{
	return h->parts.index;
}

int holding_fd(const struct holding *h)
{
	return h->parts.fd;
}

const char *holding_blob(const struct holding *h)
{
	return h->parts.blob;
}

static int read_all(int fd, void *data, size_t length, uint64_t offset)
{
	uint8_t *bytes = data;

	while (length > 0) {
		ssize_t n = pread(fd, bytes, length, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0) { /* a file that ends early is zeros from there on */
			memset(bytes, 0, length);
			return 0;
		}
		bytes += n;
		offset += (uint64_t)n;
		length -= (size_t)n;
	}
	return 0;
}

int holding_read_chunk(const struct holding *h, uint32_t chunk, struct buffer *ret)
{
	const struct caibx_chunk *c = &h->parts.index->chunks[chunk];
	autofree void *data = malloc(c->size);
	int r = data ? read_all(h->parts.fd, data, c->size, c->offset) : -ENOMEM;

	return r < 0 ? r : chunk_pack(data, c->size, ret);
}

static int read_file(int fd, size_t max, char **ret, size_t *ret_length)
{
	autofree char *bytes = NULL;
	struct stat st;
	int r;

	*ret = NULL;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < 0 || (uint64_t)st.st_size > max)
		return -EFBIG;
	bytes = malloc((size_t)st.st_size + 1);
	r = bytes ? read_all(fd, bytes, (size_t)st.st_size, 0) : -ENOMEM;
	if (r < 0)
		return r;
	*ret_length = (size_t)st.st_size;
	bytes[*ret_length] = '\0';
	*ret = TAKE_PTR(bytes);
	return 0;
}

int holding_read_index(const struct holding *h, char **ret, size_t *ret_length)
{
	return read_file(h->parts.index_fd, CAIBX_BYTES_MAX, ret, ret_length);
}

int holding_read_manifest(const struct holding *h, char **ret, size_t *ret_length)
{
	return read_file(h->parts.manifest_fd, MANIFEST_BYTES_MAX, ret, ret_length);
}
