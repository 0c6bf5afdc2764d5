#include "call/token.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "lib/file.h"

#define TOKEN_MAX 4096

static int check_file(const char *path, struct error *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return fail_errno(err, -errno, "cannot read the token '%s'", path);
	if (!S_ISREG(st.st_mode))
		return fail(err, -EINVAL, "the token '%s' is no file", path);
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return fail(err, -EPERM, "the token '%s' is another user's", path);
	if (st.st_mode & 077)
		return fail(err, -EPERM,
			"the token '%s' can be read by others; withdraw it, and keep the next one "
			"with mode 0600",
			path);
	return 0;
}

int token_load(const char *path, char **ret, struct error *err)
{
	size_t length;
	int r = check_file(path, err);

	if (r < 0)
		return r;
	r = file_read(AT_FDCWD, path, TOKEN_MAX, ret, &length);
	if (r < 0)
		return fail_errno(err, r, "cannot read the token '%s'", path);
	while (length > 0 && strchr(" \t\r\n", (*ret)[length - 1]))
		(*ret)[--length] = '\0';
	return 0;
}
