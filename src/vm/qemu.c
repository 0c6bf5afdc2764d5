#include "vm/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/file.h"
#include "lib/path.h"

#define QEMU_DIGEST_FILE "qemu-digest"
#define QEMU_RECORD_MAX  512

char *qemu_find(const char *name)
{
	const char *path = getenv("PATH");
	autofree char *copy = NULL;
	char *next;

	name = name ? name : QEMU_PROGRAM;
	if (strchr(name, '/') || !path)
		return strdup(name);
	next = copy = strdup(path);
	for (char *dir; copy && (dir = strsep(&next, ":"));) {
		autofree char *file = path_format("%s/%s", dir, name);

		if (file && access(file, X_OK) == 0)
			return TAKE_PTR(file);
	}
	return NULL;
}

/* What the file must still be for its digest to hold. */
static void record_head(const struct stat *st, char *ret, size_t size)
{
	snprintf(ret, size, "%llu %llu %llu %lld.%09ld %lld.%09ld ", (unsigned long long)st->st_dev,
		(unsigned long long)st->st_ino, (unsigned long long)st->st_size,
		(long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec, (long long)st->st_ctim.tv_sec,
		st->st_ctim.tv_nsec);
}

static bool record_recall(const char *file, const char *head, char ret[DIGEST_HEX_SIZE])
{
	autofree char *text = NULL;
	const char *digest;
	size_t length;

	if (file_read(AT_FDCWD, file, QEMU_RECORD_MAX, &text, &length) < 0)
		return false;
	digest = str_after(text, head);
	if (!digest || strlen(digest) != DIGEST_HEX_SIZE || digest[DIGEST_HEX_SIZE - 1] != '\n')
		return false;
	memcpy(ret, digest, DIGEST_HEX_SIZE - 1);
	ret[DIGEST_HEX_SIZE - 1] = '\0';
	return digest_is_hex(ret);
}

/* Failing to is harmless: the digest is made again next time. */
static void record_store(const char *directory, const char *file, const char *head, const char *hex)
{
	char text[QEMU_RECORD_MAX + DIGEST_HEX_SIZE + 2];

	snprintf(text, sizeof(text), "%s%s\n", head, hex);
	if (file_make_dirs(directory, 0700) == 0)
		file_replace(AT_FDCWD, file, text, strlen(text), 0600);
}

int qemu_digest(const char *name, char ret[DIGEST_HEX_SIZE], struct error *err)
{
	autofree char *program = qemu_find(name);
	autofree char *cache = path_cache();
	autofree char *file = cache ? path_format("%s/" QEMU_DIGEST_FILE, cache) : NULL;
	autoclose int fd = program ? open(program, O_RDONLY | O_CLOEXEC) : -1;
	char head[QEMU_RECORD_MAX];
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(err, -ENOENT, "%s was not found", name ? name : QEMU_PROGRAM);
	record_head(&st, head, sizeof(head));
	if (file && record_recall(file, head, ret))
		return 0;
	r = digest_file(fd, ret);
	if (r < 0)
		return fail_errno(err, r, "cannot read '%s'", program);
	if (file)
		record_store(cache, file, head, ret);
	return 0;
}
