/* Where a chunk begins depends on where the one before ended, so cutting is done by one thread at a
 * time; it is a small part of the work. Whoever is free takes the next piece of the file: it reads
 * and cuts under the lock, then hashes (and has packed) on its own. */
#include "depot/scan.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "depot/chunker.h"
#include "lib/file.h"

/* Some fifty chunks: long enough that threads seldom meet, short enough to stay in a cache. */
#define PIECE_SIZE (4 * 1024 * 1024)

#define THREADS_MAX 64
#define CHUNKS_MAX  ((CAIBX_BYTES_MAX - 104) / 40)
#define GROW_BY     4096

struct scanner {
	const struct scan *scan;
	int fd;
	pthread_mutex_t lock; /* of the members below */
	uint64_t at;          /* up to where it is cut */
	uint64_t done;        /* how much is hashed */
	uint64_t hole_end;    /* where the hole ends that `at` is in, else at most `at` */
	uint64_t data_end;    /* up to where there is no hole from `at` on */
	uint64_t size;
	struct caibx *x;
	size_t room;
	int result;
	struct error error;
};

/* What one thread works on: chunks that are neighbours. */
struct piece {
	uint8_t *data;
	uint64_t offset; /* of data in the file */
	size_t length;
	size_t first, count;
	bool hole;                       /* the data is not read: all zeros */
	uint8_t zeros_id[CHUNK_ID_SIZE]; /* of CHUNKER_MAX zeros, once it is known */
	bool zeros_known;
};

static int add_chunk(struct scanner *s, uint32_t size, struct error *err)
{
	struct caibx *x = s->x;

	if (x->count == CHUNKS_MAX)
		return fail(err, -EFBIG, "the file has more than %d chunks; it is too large",
			CHUNKS_MAX);
	if (x->count == s->room) {
		size_t room = MAX_OF(2 * s->room, (size_t)GROW_BY);
		void *chunks = realloc(x->chunks, room * sizeof(*x->chunks));

		if (!chunks)
			return fail(err, -ENOMEM, "out of memory");
		x->chunks = chunks;
		s->room = room;
	}
	x->chunks[x->count++] = (struct caibx_chunk){.offset = s->at, .size = size};
	s->at += size;
	return 0;
}

/* Looks where the next hole is, once `at` has left what is known. */
static int find_hole(struct scanner *s)
{
	uint64_t start, end;
	int r;

	if (s->at < s->data_end)
		return 0;
	r = file_find_data(s->fd, s->at, s->size, &start, &end);
	if (r < 0)
		return r;
	s->hole_end = start;
	s->data_end = end;
	return 0;
}

/* Chunks of a hole: no more than a piece has, so that progress is seen. */
static int cut_hole(struct scanner *s, struct piece *p, struct error *err)
{
	int r = 0;

	p->hole = true;
	while (r == 0 && p->count < PIECE_SIZE / CHUNKER_MAX &&
		s->hole_end >= s->at + CHUNKER_MAX) {
		r = add_chunk(s, CHUNKER_MAX, err);
		p->count++;
	}
	p->length = p->count * CHUNKER_MAX;
	return r;
}

static int read_piece(const struct scanner *s, struct piece *p, struct error *err)
{
	size_t want = (size_t)MIN_OF(s->size - s->at, (uint64_t)PIECE_SIZE);

	for (p->length = 0; p->length < want;) {
		ssize_t n = pread(
			s->fd, p->data + p->length, want - p->length, (off_t)(s->at + p->length));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail_errno(err, -errno, "cannot read the file");
		if (n == 0)
			return fail(err, -EIO, "the file became shorter while it was read");
		p->length += (size_t)n;
	}
	return 0;
}

static int cut_data(struct scanner *s, struct piece *p, struct error *err)
{
	size_t at = 0;
	int r = read_piece(s, p, err);
	bool last = s->at + p->length == s->size;

	p->hole = false;
	while (r == 0 && at < p->length && (last || p->length - at >= CHUNKER_MAX)) {
		bool zeros;
		size_t n = chunker_cut(p->data + at, p->length - at, &zeros);

		r = add_chunk(s, (uint32_t)n, err);
		p->count++;
		at += n;
	}
	p->length = at;
	return r;
}

/* Takes the next piece. Returns 1, 0 when there is none left, or negative errno. */
static int take_piece(struct scanner *s, struct piece *p, struct error *err)
{
	int r = find_hole(s);

	p->offset = s->at;
	p->first = s->x->count;
	p->count = p->length = 0;
	if (r < 0)
		return fail_errno(err, r, "cannot read the file");
	if (s->at == s->size)
		return 0;
	r = s->hole_end >= s->at + CHUNKER_MAX ? cut_hole(s, p, err) : cut_data(s, p, err);
	return r < 0 ? r : 1;
}

/* All chunks of a hole are the same. */
static int hash_chunk(struct piece *p, const void *data, struct caibx_chunk *chunk)
{
	int r;

	if (p->hole && p->zeros_known) {
		memcpy(chunk->id, p->zeros_id, CHUNK_ID_SIZE);
		return 0;
	}
	r = chunk_id(data, chunk->size, chunk->id);
	if (r == 0 && p->hole) {
		memcpy(p->zeros_id, chunk->id, CHUNK_ID_SIZE);
		p->zeros_known = true;
	}
	return r;
}

static int work_on_piece(
	struct scanner *s, struct piece *p, struct caibx_chunk *chunks, struct error *err)
{
	static const uint8_t zeros[CHUNKER_MAX];

	for (size_t i = 0; i < p->count; i++) {
		const void *data = p->hole ? zeros : p->data + (chunks[i].offset - p->offset);
		int r = hash_chunk(p, data, &chunks[i]);

		if (r < 0)
			return fail_errno(err, r, "cannot hash");
		if (s->scan->on_chunk)
			r = s->scan->on_chunk(&chunks[i], data, s->scan->userdata, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static void finish_piece(struct scanner *s, const struct piece *p, const struct caibx_chunk *chunks)
{
	memcpy(s->x->chunks + p->first, chunks, p->count * sizeof(*chunks));
	s->done += p->length;
	if (s->scan->on_bytes)
		s->scan->on_bytes(s->done, s->scan->userdata);
}

static void set_error(struct scanner *s, int r, const struct error *err)
{
	if (s->result < 0)
		return;
	s->result = r;
	s->error = *err;
}

/* Each thread, until nothing is left or one has failed. */
static void *scan_pieces(void *userdata)
{
	autofree struct caibx_chunk *chunks = calloc(PIECE_SIZE / CHUNKER_MIN + 1, sizeof(*chunks));
	struct piece p = {.data = malloc(PIECE_SIZE)};
	struct scanner *s = userdata;
	struct error err = {0};
	int r = chunks && p.data ? 1 : fail(&err, -ENOMEM, "out of memory");

	pthread_mutex_lock(&s->lock);
	while (r > 0 && s->result == 0) {
		r = take_piece(s, &p, &err);
		if (r <= 0)
			break;
		memcpy(chunks, s->x->chunks + p.first, p.count * sizeof(*chunks));
		pthread_mutex_unlock(&s->lock);
		r = work_on_piece(s, &p, chunks, &err);
		pthread_mutex_lock(&s->lock);
		if (r == 0) {
			finish_piece(s, &p, chunks);
			r = 1;
		}
	}
	if (r < 0)
		set_error(s, r, &err);
	pthread_mutex_unlock(&s->lock);
	free(p.data);
	return NULL;
}

static unsigned count_threads(const struct scan *scan)
{
	cpu_set_t cpus;

	if (scan->threads > 0)
		return MIN_OF(scan->threads, (unsigned)THREADS_MAX);
	if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
		return 1;
	return (unsigned)MIN_OF(CPU_COUNT(&cpus), THREADS_MAX);
}

/* A thread that cannot be started only makes it slower: this one works, too. */
static void run_threads(struct scanner *s)
{
	unsigned wanted = count_threads(s->scan) - 1, count = 0;
	pthread_t threads[THREADS_MAX];

	while (count < wanted && pthread_create(&threads[count], NULL, scan_pieces, s) == 0)
		count++;
	scan_pieces(s);
	while (count > 0)
		pthread_join(threads[--count], NULL);
}

int scan_file(int fd, uint64_t size, const struct scan *scan, struct caibx **ret, struct error *err)
{
	struct caibx *x AUTO(caibx_freep) = calloc(1, sizeof(*x));
	struct scanner s = {
		.scan = scan, .fd = fd, .size = size, .x = x, .lock = PTHREAD_MUTEX_INITIALIZER};

	if (!x)
		return fail(err, -ENOMEM, "out of memory");
	if (size > CAIBX_SIZE_MAX)
		return fail(err, -EFBIG, "%llu bytes are too many", (unsigned long long)size);
	x->size = size;
	x->min = CHUNKER_MIN;
	x->average = CHUNKER_AVERAGE;
	x->max = CHUNKER_MAX;
	run_threads(&s);
	if (s.result < 0)
		return fail(err, s.result, "%s", s.error.text);
	assert(s.done == size);
	*ret = TAKE_PTR(x);
	return 0;
}
