#include "depot/depot_verify.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "depot/depot_private.h"
#include "depot/digest_set.h"
#include "lib/file.h"
#include "lib/openssl.h"

/* A part that was looked at: versions of an image have some in common. */
struct part {
	struct part *next;
	char blob[DIGEST_HEX_SIZE];
	uint64_t size, flaws;
};

struct verification {
	const struct depot *depot;
	const struct depot_verify_events *events;
	struct depot_count count;
	struct digest_set damaged, missing; /* chunks; both sorted */
	struct part *parts;
	bool whole;
	uint8_t *packed, *data; /* of one chunk */
	struct error *err;
};

static void note(
	struct verification *v, enum depot_flaw flaw, const char *path, const struct error *why)
{
	v->count.damaged += flaw == DEPOT_DAMAGED;
	v->count.missing += flaw == DEPOT_MISSING;
	v->count.foreign += flaw == DEPOT_FOREIGN;
	v->events->on_flaw(flaw, path, why->text, v->events->userdata);
}

static void note_text(
	struct verification *v, enum depot_flaw flaw, const char *path, const char *text)
{
	struct error why = {0};

	fail(&why, -EBADMSG, "%s", text);
	note(v, flaw, path, &why);
}

static void note_read(struct verification *v, uint64_t bytes)
{
	v->count.bytes += bytes;
	v->events->on_bytes(v->count.bytes, v->events->userdata);
}

static bool is_cancelled(const struct verification *v)
{
	return v->events->cancel && *v->events->cancel;
}

/* Opens a directory of the depot. One that is not there has nothing. */
static int open_directory(struct verification *v, const char *path, DIR **ret)
{
	int fd = openat(v->depot->dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	*ret = fd < 0 ? NULL : fdopendir(fd);
	if (*ret)
		return 1;
	r = -errno;
	base_close(fd);
	return r == -ENOENT
		       ? 0
		       : fail_errno(v->err, r, "cannot read '%s/%s'", v->depot->directory, path);
}

static bool is_dot(const char *name)
{
	return streq(name, ".") || streq(name, "..");
}

/* All bytes of an ordinary file. Returns their number or negative errno. */
static ssize_t read_chunk(struct verification *v, int dir_fd, const char *name, struct error *why)
{
	autoclose int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	size_t length = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return fail_errno(why, -errno, "it cannot be read");
	if (!S_ISREG(st.st_mode))
		return fail(why, -EBADMSG, "it is no ordinary file");
	if ((uint64_t)st.st_size > CHUNK_PACKED_MAX)
		return fail(why, -EBADMSG, "a chunk of %lld bytes, packed, is too large",
			(long long)st.st_size);
	while (length < (size_t)st.st_size) {
		ssize_t n = read(fd, v->packed + length, (size_t)st.st_size - length);

		if (n < 0)
			return fail_errno(why, -errno, "it cannot be read");
		if (n == 0)
			break;
		length += (size_t)n;
	}
	return (ssize_t)length;
}

static int verify_chunk(struct verification *v, int dir_fd, const char *path, const char *name,
	const uint8_t id[CHUNK_ID_SIZE])
{
	struct error why = {0};
	ssize_t length = read_chunk(v, dir_fd, name, &why);
	size_t size;
	int r = (int)MIN_OF(length, (ssize_t)0);

	if (r == -ENOENT) /* it was collected just now */
		return 0;
	if (r == 0) {
		note_read(v, (uint64_t)length);
		r = chunk_check(id, v->packed, (size_t)length, v->data, &size, &why);
	}
	if (r == 0) {
		v->count.chunks++;
		return 0;
	}
	note(v, DEPOT_DAMAGED, path, &why);
	return digest_set_add(&v->damaged, id) < 0 ? fail(v->err, -ENOMEM, "out of memory") : 0;
}

/* `prefix`: "xxxx", the directory of chunks whose ids begin so. */
static int verify_chunks_of(struct verification *v, const char *prefix)
{
	char path[sizeof(DEPOT_CHUNKS) + 1 + NAME_MAX + 1 + NAME_MAX];
	const struct dirent *entry;
	uint8_t id[CHUNK_ID_SIZE];
	DIR *dir;
	int r;

	snprintf(path, sizeof(path), DEPOT_CHUNKS "/%s", prefix);
	r = open_directory(v, path, &dir);
	if (r <= 0)
		return r;
	while (r >= 0 && (entry = readdir(dir))) {
		if (is_dot(entry->d_name))
			continue;
		snprintf(path, sizeof(path), DEPOT_CHUNKS "/%s/%s", prefix, entry->d_name);
		if (chunk_parse_name(entry->d_name, id) < 0 ||
			memcmp(entry->d_name, prefix, 4) != 0)
			note_text(v, DEPOT_FOREIGN, path,
				"it has no name of a chunk that belongs here");
		else
			r = verify_chunk(v, dirfd(dir), path, entry->d_name, id);
		if (r >= 0 && is_cancelled(v))
			r = fail(v->err, -ECANCELED, "cancelled");
	}
	closedir(dir);
	return r;
}

static int verify_chunks(struct verification *v)
{
	char path[sizeof(DEPOT_CHUNKS) + 1 + NAME_MAX];
	const struct dirent *entry;
	DIR *dir;
	int r = open_directory(v, DEPOT_CHUNKS, &dir);

	if (r <= 0)
		return r;
	while (r >= 0 && (entry = readdir(dir))) {
		const char *name = entry->d_name;

		if (is_dot(name))
			continue;
		snprintf(path, sizeof(path), DEPOT_CHUNKS "/%s", name);
		if (strlen(name) == 4 && strspn(name, "0123456789abcdef") == 4)
			r = verify_chunks_of(v, name);
		else
			note_text(v, DEPOT_FOREIGN, path, "it is no directory of chunks");
	}
	closedir(dir);
	digest_set_sort(&v->damaged);
	return r;
}

/* Looks for a chunk that an index names, and whether it is as long as the index says. Returns 0,
 * -ENOENT, or -EBADMSG if one of them is wrong. */
static int look_for(const struct verification *v, const struct caibx_chunk *chunk)
{
	autoclose int fd = depot_open_chunk(v->depot, chunk->id);
	uint8_t head[CHUNK_HEAD_SIZE];
	uint64_t size;
	ssize_t n;

	if (digest_set_has(&v->damaged, chunk->id))
		return -EBADMSG;
	if (fd < 0)
		return fd == -ENOENT ? -ENOENT : -EBADMSG;
	n = pread(fd, head, sizeof(head), 0);
	size = n > 0 ? chunk_peek_size(head, (size_t)n) : 0;
	return size == 0 || size == chunk->size ? 0 : -EBADMSG;
}

/* Those that nobody has told of yet. */
static int note_missing(struct verification *v, struct digest_set *gone)
{
	char path[CHUNK_PATH_SIZE], full[DEPOT_PATH_SIZE];
	int r = 0;

	digest_set_sort(gone);
	for (size_t i = 0; i < gone->count && r == 0; i++) {
		if (digest_set_has(&v->missing, gone->items[i]))
			continue;
		chunk_format_path(gone->items[i], path);
		snprintf(full, sizeof(full), DEPOT_CHUNKS "/%s", path);
		note_text(v, DEPOT_MISSING, full, "an index names it");
	}
	for (size_t i = 0; i < gone->count && r == 0; i++)
		r = digest_set_add(&v->missing, gone->items[i]);
	digest_set_sort(&v->missing);
	return r < 0 ? fail(v->err, r, "out of memory") : 0;
}

/* All chunks that the index names. Returns how many flaws there are, or negative errno. */
static int64_t verify_names(
	struct verification *v, const char *path, const struct caibx *x, struct error *why)
{
	struct digest_set gone = {0};
	uint64_t flaws = 0, wrong = 0;
	int r = 0;

	for (size_t i = 0; i < x->count && r >= 0; i++) {
		int found = look_for(v, &x->chunks[i]);

		flaws += found < 0;
		wrong += found == -EBADMSG && !digest_set_has(&v->damaged, x->chunks[i].id);
		if (found == -ENOENT)
			r = digest_set_add(&gone, x->chunks[i].id);
		if (is_cancelled(v))
			r = -ECANCELED;
	}
	if (r >= 0)
		r = note_missing(v, &gone);
	digest_set_done(&gone);
	if (r < 0)
		return fail_errno(v->err, r, "cannot verify '%s'", path);
	if (wrong > 0) {
		fail(why, -EBADMSG, "it gives %llu chunks another size than they have",
			(unsigned long long)wrong);
		note(v, DEPOT_DAMAGED, path, why);
	}
	return (int64_t)flaws;
}

/* Puts the file together. Returns 0, -EBADMSG if it is another one, or negative errno. */
static int hash_whole(
	struct verification *v, const char *blob, const struct caibx *x, struct error *why)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool ok = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
	uint8_t is[DIGEST_SIZE];
	char hex[DIGEST_HEX_SIZE];
	int r = 0;

	for (size_t i = 0; i < x->count && ok && r == 0; i++) {
		const struct caibx_chunk *chunk = &x->chunks[i];

		r = depot_get_chunk(v->depot, chunk->id, v->data, chunk->size, why);
		ok = r < 0 || EVP_DigestUpdate(context, v->data, chunk->size) == 1;
		note_read(v, 0);
		if (is_cancelled(v))
			r = fail(v->err, -ECANCELED, "cancelled");
	}
	ok = ok && EVP_DigestFinal_ex(context, is, NULL) == 1;
	EVP_MD_CTX_free(context);
	if (r < 0)
		return r;
	if (!ok)
		return fail(v->err, -EIO, "SHA-256 cannot be computed");
	digest_format(is, hex);
	return streq(hex, blob) ? 0
				: fail(why, -EBADMSG,
					  "its chunks make another file, whose SHA-256 is %s", hex);
}

static struct part *add_part(struct verification *v, const char *blob)
{
	struct part *part = calloc(1, sizeof(*part));

	if (!part) {
		fail(v->err, -ENOMEM, "out of memory");
		return NULL;
	}
	snprintf(part->blob, sizeof(part->blob), "%s", blob);
	part->next = v->parts;
	v->parts = part;
	return part;
}

static int verify_index(struct verification *v, struct part *part)
{
	struct caibx *x AUTO(caibx_freep) = NULL;
	char path[DEPOT_PATH_SIZE];
	struct error why = {0};
	int64_t flaws;
	int r = depot_get_index(v->depot, part->blob, NULL, &x, NULL, &why);

	snprintf(path, sizeof(path), DEPOT_INDEX "/%s.caibx", part->blob);
	if (r < 0) {
		part->flaws = 1;
		note(v, r == -ENOENT ? DEPOT_MISSING : DEPOT_DAMAGED, path, &why);
		return 0;
	}
	part->size = x->size;
	note_read(v, caibx_length(x));
	flaws = verify_names(v, path, x, &why);
	if (flaws < 0)
		return v->err->code;
	r = v->whole && flaws == 0 ? hash_whole(v, part->blob, x, &why) : 0;
	if (v->err->code < 0)
		return v->err->code;
	if (r < 0)
		note(v, DEPOT_DAMAGED, path, &why);
	part->flaws = (uint64_t)flaws + (r < 0);
	v->count.indexes += part->flaws == 0;
	return 0;
}

static struct part *find_part(const struct verification *v, const char *blob)
{
	struct part *part = v->parts;

	while (part && !streq(part->blob, blob))
		part = part->next;
	return part;
}

static int verify_part(struct verification *v, const struct image_part *wanted, uint64_t *flaws)
{
	struct part *part = find_part(v, wanted->digest);
	char path[DEPOT_PATH_SIZE];
	int r = 0;

	if (!part) {
		part = add_part(v, wanted->digest);
		r = part ? verify_index(v, part) : -ENOMEM;
	}
	if (r < 0)
		return r;
	if (part->flaws == 0 && part->size != wanted->size) {
		snprintf(path, sizeof(path), DEPOT_INDEX "/%s.caibx", part->blob);
		note_text(v, DEPOT_DAMAGED, path, "it is of another size than the image says");
		part->flaws = 1;
	}
	*flaws += part->flaws;
	return 0;
}

/* One that was taken back meanwhile needs nothing. */
static bool is_there(const struct verification *v, const char *digest)
{
	autoclose int fd = depot_open_manifest(v->depot, digest);

	return fd != -ENOENT;
}

static int verify_image(const char *digest, void *userdata)
{
	struct verification *v = userdata;
	struct manifest *m AUTO(manifest_freep) = NULL;
	char path[DEPOT_PATH_SIZE];
	struct error why = {0};
	uint64_t flaws = 0;
	int r = depot_get_manifest(v->depot, digest, &m, NULL, &why);

	if (r < 0 && is_there(v, digest)) {
		snprintf(path, sizeof(path), DEPOT_MANIFEST "/%s.json", digest);
		note(v, DEPOT_DAMAGED, path, &why);
		flaws = 1;
	}
	v->count.manifests += r == 0;
	for (size_t i = 0; m && i < m->part_count; i++)
		if (verify_part(v, &m->parts[i], &flaws) < 0)
			return v->err->code;
	if (flaws > 0) {
		v->count.images++;
		v->events->on_image(digest, flaws, v->events->userdata);
	}
	return 0;
}

/* Indexes that no image needs, and names that are none of ours. `ending`: ".json", ".caibx". */
static int verify_rest(struct verification *v, const char *directory, const char *ending)
{
	char path[sizeof(DEPOT_MANIFEST) + 1 + NAME_MAX], digest[DIGEST_HEX_SIZE];
	const struct dirent *entry;
	struct part *part;
	DIR *dir;
	int r = open_directory(v, directory, &dir);

	if (r <= 0)
		return r;
	while (r >= 0 && (entry = readdir(dir))) {
		const char *name = entry->d_name;

		if (is_dot(name))
			continue;
		snprintf(path, sizeof(path), "%s/%s", directory, name);
		snprintf(digest, sizeof(digest), "%.64s", name);
		if (!digest_is_hex(digest) || !streq(name + DIGEST_HEX_SIZE - 1, ending)) {
			note_text(v, DEPOT_FOREIGN, path, "it has no name of a depot's file");
		} else if (streq(ending, ".caibx") && !find_part(v, digest)) {
			part = add_part(v, digest);
			r = part ? verify_index(v, part) : -ENOMEM;
		}
	}
	closedir(dir);
	return r;
}

static int verify(struct verification *v)
{
	int r = verify_chunks(v);

	if (r >= 0)
		r = depot_list(v->depot, verify_image, v, v->err);
	if (r >= 0)
		r = verify_rest(v, DEPOT_MANIFEST, ".json");
	return r < 0 ? r : verify_rest(v, DEPOT_INDEX, ".caibx");
}

int depot_verify(const struct depot *d, bool whole, const struct depot_verify_events *events,
	struct depot_count *ret, struct error *err)
{
	struct error own = {0};
	struct verification v = {.depot = d, .events = events, .whole = whole, .err = &own};
	int r;

	v.packed = malloc(CHUNK_PACKED_MAX);
	v.data = malloc(CHUNK_SIZE_MAX);
	r = v.packed && v.data ? verify(&v) : fail(&own, -ENOMEM, "out of memory");
	while (v.parts) {
		struct part *part = v.parts;

		v.parts = part->next;
		free(part);
	}
	free(v.packed);
	free(v.data);
	digest_set_done(&v.damaged);
	digest_set_done(&v.missing);
	*ret = v.count;
	return r < 0 ? fail(err, r, "%s", own.text) : 0;
}
