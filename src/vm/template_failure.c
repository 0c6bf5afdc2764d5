/* Why making a template failed last: a note beside the templates, whose date is the file's. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/file.h"
#include "lib/printable.h"
#include "vm/template_private.h"

#define FAILURE_TEXT_MAX 1024

static void failure_name(const char *key, char name[TEMPLATE_NAME_MAX])
{
	snprintf(name, TEMPLATE_NAME_MAX, "%s" TEMPLATE_FAILED, key);
}

bool template_failure_counts(const struct stat *st)
{
	time_t now = time(NULL);

	/* Of the future are notes from before the clock was set back: who knows how old. */
	return S_ISREG(st->st_mode) && st->st_mtime <= now &&
	       now - st->st_mtime < TEMPLATE_FAILED_S;
}

int template_note_failure(const char *directory, const char *key, const char *text)
{
	autoclose int parent_fd = template_directory_open(directory, true, NULL);
	autoclose int fd = -1;
	char name[TEMPLATE_NAME_MAX];

	if (parent_fd < 0)
		return parent_fd;
	if (!digest_is_hex(key))
		return -EINVAL;
	failure_name(key, name);
	/* In place: that it is there is what counts, so half a text will do. */
	fd = openat(parent_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || futimens(fd, NULL) < 0)
		return -errno;
	return file_write_all(fd, text, strnlen(text, FAILURE_TEXT_MAX));
}

bool template_failed_recently(const char *directory, const char *key, char **ret_text)
{
	autoclose int parent_fd = template_directory_open(directory, false, NULL);
	autoclose int fd = -1;
	char name[TEMPLATE_NAME_MAX], text[FAILURE_TEXT_MAX + 1];
	struct stat st;
	ssize_t n;

	if (ret_text)
		*ret_text = NULL;
	if (parent_fd < 0 || !digest_is_hex(key))
		return false;
	failure_name(key, name);
	fd = openat(parent_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || !template_failure_counts(&st))
		return false;
	n = pread(fd, text, FAILURE_TEXT_MAX, 0);
	text[MAX_OF(n, 0)] = '\0';
	printable_make(text, strlen(text));
	if (ret_text)
		*ret_text = strdup(text);
	return true;
}

void template_forget_failure(int parent_fd, const char *key)
{
	char name[TEMPLATE_NAME_MAX];

	failure_name(key, name);
	unlinkat(parent_fd, name, 0);
}
