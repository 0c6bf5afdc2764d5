/* What a VM sends to the server of its share: any bytes, with a directory that has a little of
 * everything in it. What is outside of it must stay as it was. */
#include <assert.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

#include "sftp/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char base[] = "/tmp/fuzz-sftp.XXXXXX";

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
	return remove(path);
}

static int open_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
	return S_ISDIR(st->st_mode) ? chmod(path, 0700) : 0;
}

/* Inputs leave directories that their own user may not enter. */
static void remove_tree(const char *path)
{
	nftw(path, open_one, 16, FTW_PHYS);
	nftw(path, remove_one, 16, FTW_PHYS | FTW_DEPTH);
}

static void end(void)
{
	remove_tree(base);
}

static void make(int at, const char *name, const char *text)
{
	int fd = openat(at, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

/* Each input starts in the same directory. */
static int open_share(int outside)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/s", base);
	remove_tree(path);
	assert(mkdirat(outside, "s", 0755) == 0);
	fd = openat(outside, "s", O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert(fd >= 0 && mkdirat(fd, "d", 0755) == 0 && symlinkat("..", fd, "u") == 0);
	assert(symlinkat("../x", fd, "l") == 0 && mkfifoat(fd, "p", 0644) == 0);
	make(fd, "f", "0123456789");
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t init[] = {0, 0, 0, 5, PACKET_INIT, 0, 0, 0, 3};
	static int outside = -1;
	struct server s = {.out_fd = -1};
	struct buffer in = {0};
	struct stat st;

	if (outside < 0) {
		assert(mkdtemp(base));
		atexit(end);
		outside = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	make(outside, "x", "x");
	s.tree = (struct tree){open_share(outside), size > 0 && data[0] & 1};
	buffer_append(&in, init, sizeof(init));
	if (size > 0)
		buffer_append(&in, data + 1, size - 1);
	server_serve(&s, &in);
	assert(fstatat(outside, "x", &st, 0) == 0 && st.st_size == 1 &&
		(st.st_mode & 07777) == 0644);
	server_done(&s);
	buffer_done(&in);
	close(s.tree.fd);
	return 0;
}
