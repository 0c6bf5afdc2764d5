/* What is done on the disk for images on their way. It may take long, so it is a thread's. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "hypervisor/pull_private.h"
#include "image/partial.h"
#include "lib/file.h"
#include "lib/path.h"

char *pull_path(const char *state, const char *name, const char *suffix)
{
	return path_format("%s/" PULL_DIRECTORY "/%s%s", state, name, suffix);
}

char *pull_index_path(const char *state, const char *blob)
{
	return path_format("%s/" PULL_INDEXES "/%s", state, blob);
}

struct pull_task *pull_task_free(struct pull_task *t)
{
	if (!t)
		return NULL;
	free(t->state);
	free(t->manifest);
	free(t);
	return NULL;
}

static void remove_file(const struct pull_task *t, const char *blob, const char *suffix)
{
	autofree char *path = pull_path(t->state, blob, suffix);

	if (path)
		unlink(path);
}

/* One that was made ready, of the right size: it was hashed before it got its name. */
static bool is_ready(const struct pull_task *t, const struct image_part *part)
{
	autofree char *path = pull_path(t->state, part->digest, STORE_READY);
	struct stat st;

	return path && lstat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	       (uint64_t)st.st_size == part->size;
}

static uint64_t written_bytes(const struct pull_task *t, const struct image_part *part)
{
	autofree char *path = pull_path(t->state, part->digest, ".part");
	struct stat st;

	return path && lstat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static char *find_manifest(const struct pull_task *t)
{
	autofree char *path = pull_path(t->state, t->digest, ".manifest"), *text = NULL;
	char is[DIGEST_HEX_SIZE];
	size_t length;

	if (store_get_manifest(t->store, t->digest, &text, &length, NULL) == 0)
		return TAKE_PTR(text);
	if (!path || file_read(AT_FDCWD, path, MANIFEST_BYTES_MAX, &text, &length) < 0)
		return NULL;
	return digest_bytes(text, length, is) == 0 && streq(is, t->digest) ? TAKE_PTR(text) : NULL;
}

/* What is there already: nothing is fetched twice. */
static void look(struct pull_task *t)
{
	struct statvfs fs;

	t->manifest = find_manifest(t);
	for (size_t i = 0; i < t->part_count; i++) {
		const struct image_part *part = &t->parts[i].part;
		uint64_t written = written_bytes(t, part);

		t->ready[i] = store_has_part(t->store, part) || is_ready(t, part);
		if (!t->ready[i])
			t->wanted_bytes += part->size > written ? part->size - written : 0;
	}
	t->free_bytes =
		statvfs(t->state, &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize : UINT64_MAX;
}

/* A copy has no writer but us, where the file system does not know leases. */
static int copy_aside(const char *path, struct error *err)
{
	autofree char *copy = path_format("%s.copy", path);
	autoclose int from = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), to = -1;
	int r;

	if (!copy)
		return fail(err, -ENOMEM, "out of memory");
	to = open(copy, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	r = from < 0 || to < 0 ? -errno : file_copy(from, to, NULL, NULL);
	if (r == 0 && rename(copy, path) < 0)
		r = -errno;
	if (r < 0)
		unlink(copy);
	return r < 0 ? fail_errno(err, r, "cannot copy '%s'", path) : 0;
}

/* Does nobody have it open for writing? The kernel gives a lease for reading only then; it is not
 * kept, as nobody gets such a descriptor any more. Returns 0, -EBUSY, or negative errno. */
static int prove_unwritten(const char *path, struct error *err)
{
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return fail_errno(err, -errno, "cannot open the part");
	if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
		fcntl(fd, F_SETLEASE, F_UNLCK);
		return 0;
	}
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return fail(err, -EBUSY, "the part is still open for writing");
	return copy_aside(path, err);
}

static int check_bytes(struct pull_task *t, const struct image_part *part, const char *path)
{
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char is[DIGEST_HEX_SIZE];
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return fail_errno(&t->err, -errno, "cannot open the part");
	if ((uint64_t)st.st_size != part->size)
		return fail(&t->err, -EBADMSG, "the part has %llu bytes instead of %llu",
			(unsigned long long)st.st_size, (unsigned long long)part->size);
	r = digest_file(fd, is);
	if (r < 0)
		return fail_errno(&t->err, r, "cannot read the part");
	if (!streq(is, part->digest))
		return fail(&t->err, -EBADMSG,
			"what has come is not the image: a part's SHA-256 is %.12s instead of %.12s; it "
			"was published wrongly, and has to be published again",
			is, part->digest);
	return fsync(fd) < 0 ? fail_errno(&t->err, -errno, "cannot write the part") : 0;
}

static int sync_directory(const struct pull_task *t, const char *name)
{
	autofree char *path = path_format("%s/%s", t->state, name);
	autoclose int fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	return fd < 0 || fsync(fd) < 0 ? -EIO : 0;
}

/* From here on nobody but us changes a byte of it. */
static int check(struct pull_task *t)
{
	const struct image_part *part = &t->parts[t->part].part;
	autofree char *from = pull_path(t->state, part->digest, ".part");
	autofree char *to = pull_path(t->state, part->digest, STORE_READY);
	int r = from && to ? prove_unwritten(from, &t->err)
			   : fail(&t->err, -ENOMEM, "out of memory");

	if (r == 0)
		r = check_bytes(t, part, from);
	if (r == -EBADMSG) { /* whatever it is, it does not become the image */
		remove_file(t, part->digest, ".part");
		remove_file(t, part->digest, ".caibx");
	} else if (r == 0 && (rename(from, to) < 0 || sync_directory(t, PULL_DIRECTORY) < 0)) {
		r = fail_errno(&t->err, -errno, "cannot rename the part");
	}
	if (r == 0 || r == -EBADMSG)
		remove_file(t, part->digest, ".have");
	return r;
}

/* The index is of use only to give the part to others. */
static void keep_index(const struct pull_task *t, const struct catalogue_part *part)
{
	autofree char *from = pull_path(t->state, part->part.digest, ".caibx");
	autofree char *to = pull_index_path(t->state, part->part.digest);
	autoclose int fd = from ? open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	char is[DIGEST_HEX_SIZE];

	if (fd < 0 || !to)
		return;
	if (digest_file(fd, is) == 0 && streq(is, part->index))
		rename(from, to);
	else
		unlink(from);
}

static int take(struct pull_task *t)
{
	autofree char *directory = path_format("%s/" PULL_DIRECTORY, t->state);
	int r = directory ? store_adopt(t->store, t->digest, t->manifest, strlen(t->manifest),
				    directory, t->is_private ? 0400 : 0444, &t->err)
			  : fail(&t->err, -ENOMEM, "out of memory");

	if (r < 0)
		return r;
	for (size_t i = 0; i < t->part_count; i++) {
		keep_index(t, &t->parts[i]);
		remove_file(t, t->parts[i].part.digest, STORE_READY);
		remove_file(t, t->parts[i].part.digest, ".part");
		remove_file(t, t->parts[i].part.digest, ".have");
	}
	remove_file(t, t->digest, ".manifest");
	return 0;
}

void pull_task_work(struct worker_job *job)
{
	struct pull_task *t = (struct pull_task *)(void *)job;

	if (t->kind == PULL_LOOK)
		look(t);
	else
		t->result = t->kind == PULL_CHECK ? check(t) : take(t);
}
