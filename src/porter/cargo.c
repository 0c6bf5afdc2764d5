#include "porter/cargo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/clock.h"

/* For threads that are reading at the moment when it is to be closed: milliseconds. */
#define IDLE_WAITS   2000
#define IDLE_WAIT_NS 1000000

void cargo_init(struct cargo *c)
{
	c->partial_fd = c->have_fd = c->index_fd = -1;
}

/* Descriptors of it must not be left open: the daemon waits for that. */
static void leave(struct cargo *c, struct holdings *holdings)
{
	const struct timespec pause = {0, IDLE_WAIT_NS};

	if (!c->holding)
		return;
	holdings_remove(holdings, c->holding);
	for (int i = 0; i < IDLE_WAITS && !holding_is_idle(c->holding); i++)
		nanosleep(&pause, NULL);
	c->holding = holding_unref(c->holding);
	c->index = NULL;
}

void cargo_done(struct cargo *c, struct holdings *holdings)
{
	c->assembly = assembly_free(c->assembly);
	leave(c, holdings);
	c->partial_fd = base_close(c->partial_fd);
	c->have_fd = base_close(c->have_fd);
	c->index_fd = base_close(c->index_fd);
}

static int read_index(const struct cargo *c, struct buffer *ret)
{
	struct stat st;
	uint8_t *bytes;
	ssize_t n;

	if (fstat(c->index_fd, &st) < 0)
		return -errno;
	if (st.st_size <= 0 || st.st_size > CAIBX_BYTES_MAX)
		return -ENODATA;
	bytes = buffer_reserve(ret, (size_t)st.st_size);
	if (!bytes)
		return -ENOMEM;
	n = pread(c->index_fd, bytes, (size_t)st.st_size, 0);
	if (n > 0)
		buffer_commit(ret, (size_t)n);
	return n == st.st_size ? 0 : -ENODATA;
}

/* The index is the one that was announced, and of a file of the right size. */
static int parse_index(const struct cargo *c, const void *bytes, size_t length, struct caibx **ret,
	struct error *err)
{
	uint8_t id[DIGEST_SIZE];
	int r;

	if (digest_raw(bytes, length, id) < 0 || memcmp(id, c->index_id, sizeof(id)) != 0)
		return fail(err, -EBADMSG, "what was sent as the index of '%s' is another file",
			c->blob);
	r = caibx_parse(bytes, length, ret, err);
	if (r < 0) /* whoever sent it has sent what was asked for */
		return r == -ENOMEM ? r : fail_errno(err, -EINVAL, "the index of '%s'", c->blob);
	if ((*ret)->size == c->size)
		return 0;
	*ret = caibx_free(*ret);
	return fail(err, -EINVAL, "the index of '%s' is of a file of another size", c->blob);
}

static int hold(struct cargo *c, struct caibx *index, struct holdings *holdings, struct error *err)
{
	struct holding_parts parts = {.index = index,
		.fd = fcntl(c->partial_fd, F_DUPFD_CLOEXEC, 0),
		.index_fd = fcntl(c->index_fd, F_DUPFD_CLOEXEC, 0),
		.manifest_fd = -1};
	int r;

	snprintf(parts.blob, sizeof(parts.blob), "%s", c->blob);
	r = holdings_add(holdings, &parts, false, &c->holding, err);
	if (r < 0)
		return r;
	c->index = holding_index(c->holding);
	r = assembly_open(c->index, c->index_id, c->partial_fd, c->have_fd, &c->assembly, err);
	if (r == 0)
		c->state = CARGO_LOCAL;
	return r;
}

int cargo_open(struct cargo *c, struct daemon *daemon, const char *image, struct holdings *holdings,
	struct error *err)
{
	struct daemon_answer answer AUTO(daemon_answer_done) = {0};
	struct buffer bytes AUTO(buffer_done) = {0};
	struct caibx *index;
	int r = daemon_ask(daemon,
		json_pack("{s:s, s:s, s:s}", "op", "part", "digest", image, "blob", c->blob),
		&answer, err);

	if (r < 0)
		return r;
	c->partial_fd = daemon_answer_take(&answer, "partial");
	c->have_fd = daemon_answer_take(&answer, "have");
	c->index_fd = daemon_answer_take(&answer, "index");
	if (c->partial_fd < 0 || c->have_fd < 0 || c->index_fd < 0 ||
		digest_parse(c->index_digest, c->index_id) < 0)
		return fail(err, -EPROTO, "the node's daemon gives no files for '%s'", c->blob);
	c->state = CARGO_LACKS_INDEX;
	if (read_index(c, &bytes) < 0 ||
		parse_index(c, buffer_head(&bytes), bytes.len, &index, NULL) < 0)
		return 0;
	return hold(c, index, holdings, err);
}

int cargo_take_index(struct cargo *c, const void *bytes, size_t length, struct holdings *holdings,
	struct error *err)
{
	struct caibx *index;
	int r = parse_index(c, bytes, length, &index, err);

	if (r < 0)
		return r;
	if (ftruncate(c->index_fd, 0) < 0 ||
		pwrite(c->index_fd, bytes, length, 0) != (ssize_t)length) {
		caibx_free(index);
		return fail_errno(
			err, errno ? -errno : -EIO, "cannot write the index of '%s'", c->blob);
	}
	return hold(c, index, holdings, err);
}

/* From another file that is here, if one has it. */
static int copy(struct cargo *c, uint32_t chunk, struct holdings *holdings, struct error *err)
{
	struct holding *h AUTO(holding_unrefp) = NULL;
	uint32_t other = 0;
	int r;

	h = holdings_find_copy(holdings, c->index->chunks[chunk].id, &other);
	if (!h || h == c->holding)
		return 0;
	r = assembly_copy(
		c->assembly, chunk, holding_fd(h), holding_index(h)->chunks[other].offset, err);
	if (r == 0)
		c->reused += c->index->chunks[chunk].size;
	return r == -EBADMSG ? 0 : r;
}

static int look_at(struct cargo *c, uint32_t chunk, struct holdings *holdings, struct error *err)
{
	int r = 0;

	if (!assembly_has(c->assembly, chunk) && assembly_is_claimed(c->assembly, chunk))
		r = assembly_check(c->assembly, chunk, err);
	if (r >= 0 && !assembly_has(c->assembly, chunk))
		r = copy(c, chunk, holdings, err);
	if (assembly_has(c->assembly, chunk))
		holding_add_chunk(c->holding, chunk, true);
	return MIN_OF(r, 0);
}

int cargo_look(struct cargo *c, struct holdings *holdings, uint64_t deadline_us, struct error *err)
{
	while (c->next < c->index->count) {
		int r = look_at(c, (uint32_t)c->next, holdings, err);

		if (r < 0)
			return r;
		c->next++;
		if (c->next % 16 == 0 && clock_now_us() >= deadline_us)
			return 0;
	}
	return 1;
}

int cargo_join(struct cargo *c, struct swarm *swarm, struct error *err)
{
	autofree uint32_t *sizes = calloc(c->index->count + 1, sizeof(*sizes));
	int r;

	if (!sizes)
		return fail(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < c->index->count; i++)
		sizes[i] = c->index->chunks[i].size;
	r = swarm_add_part(swarm, sizes, c->index->count);
	if (r < 0)
		return fail_errno(err, r, "cannot fetch '%s'", c->blob);
	c->number = (size_t)r;
	for (uint32_t i = 0; i < c->index->count; i++)
		if (assembly_has(c->assembly, i)) {
			swarm_have(swarm, c->number, i);
			holding_add_chunk(c->holding, i, true);
			c->there += sizes[i];
		}
	c->state = CARGO_FETCHING;
	return 0;
}

int cargo_put(struct cargo *c, struct swarm *swarm, uint32_t chunk, const void *packed,
	size_t length, bool common, struct error *err)
{
	const uint32_t *equals;
	size_t count;
	int r;

	if (assembly_has(c->assembly, chunk))
		return 0;
	r = assembly_put_packed(c->assembly, chunk, packed, length, err);
	if (r < 0)
		return r;
	/* It may stand at several places. */
	equals = holding_find_equals(c->holding, chunk, &count);
	for (size_t i = 0; i < count; i++)
		if (assembly_has(c->assembly, equals[i])) {
			swarm_have(swarm, c->number, equals[i]);
			holding_add_chunk(c->holding, equals[i], common);
			c->there += c->index->chunks[equals[i]].size;
		}
	return 0;
}

bool cargo_is_whole(const struct cargo *c)
{
	return c->assembly && assembly_is_complete(c->assembly);
}

int cargo_finish(struct cargo *c, struct holdings *holdings, struct error *err)
{
	int r = assembly_finish(c->assembly, err);

	if (r < 0)
		return r;
	c->there = c->size;
	cargo_done(c, holdings);
	c->state = CARGO_COMPLETE;
	return 0;
}
