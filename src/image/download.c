#include "image/download.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "lib/buffer.h"
#include "lib/child.h"
#include "lib/file.h"
#include "lib/path.h"

#define DOWNLOAD_POLL_MS  200
#define DOWNLOAD_TEXT_MAX 400
#define DOWNLOAD_STOP_MS  5000

/* curl's exit statuses where a server sends files as a whole only, and where it announces more
 * than the limit. */
#define CURL_CANNOT_RESUME 33
#define CURL_TOO_LARGE     63

bool download_is_url(const char *source)
{
	const char *end = strstr(source, "://");

	return end && end > source &&
	       strspn(source, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+") ==
		       (size_t)(end - source);
}

static int fail_with_text(int status, int text_fd, struct error *err)
{
	char text[DOWNLOAD_TEXT_MAX + 1] = "";
	ssize_t n = pread(text_fd, text, DOWNLOAD_TEXT_MAX, 0);

	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return fail(err, -EIO, "the download failed: %s",
		text[0]               ? text
		: WIFSIGNALED(status) ? "curl was killed"
				      : "curl does not say why");
}

static int fail_too_large(uint64_t max, struct error *err)
{
	return fail(err, -EFBIG, "the download is larger than %llu bytes", (unsigned long long)max);
}

/* A size limit of curl's own holds only for servers that announce the size. */
static int watch(int pidfd, int fd, uint64_t max, void (*progress)(uint64_t done, void *userdata),
	void *userdata, struct error *err)
{
	struct stat st;
	int status;

	for (;;) {
		status = child_wait(pidfd, DOWNLOAD_POLL_MS);
		if (fstat(fd, &st) < 0)
			return -errno;
		if (progress)
			progress((uint64_t)st.st_size, userdata);
		if ((uint64_t)st.st_size > max) {
			syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
			child_wait(pidfd, DOWNLOAD_STOP_MS);
			return fail_too_large(max, err);
		}
		if (status != -ETIMEDOUT)
			return status;
	}
}

/* The URL as a line of curl's own settings, which it reads: it may have a password in it, and
 * everybody can read the arguments of a program. Returns a descriptor or negative errno. */
static int write_url(const char *url)
{
	autoclose int fd = memfd_create("curl", MFD_CLOEXEC);
	struct buffer text AUTO(buffer_done) = {0};
	int r = fd < 0 ? -errno : buffer_append(&text, "url = \"", 7);

	for (const char *c = url; *c && r == 0; c++) {
		if (*c == '\n' || *c == '\r')
			return -EINVAL;
		if (*c == '"' || *c == '\\')
			r = buffer_append(&text, "\\", 1);
		if (r == 0)
			r = buffer_append(&text, c, 1);
	}
	if (r == 0)
		r = buffer_append(&text, "\"\n", 2);
	if (r == 0)
		r = file_write_all(fd, buffer_head(&text), text.len);
	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = -errno;
	return r < 0 ? r : TAKE_FD(fd);
}

/* Returns curl's wait status, or negative errno. */
static int run_curl(const char *url, int fd, uint64_t from, uint64_t max, int text_fd,
	void (*progress)(uint64_t done, void *userdata), void *userdata, struct error *err)
{
	autofree char *limit = path_format("%llu", (unsigned long long)max);
	autofree char *offset = path_format("%llu", (unsigned long long)from);
	const char *const argv[] = {"curl", "--config", "-", "--globoff", "--fail", "--location",
		"--silent", "--show-error", "--proto", "=http,https", "--proto-redir",
		"=http,https", "--max-filesize", limit, "--connect-timeout", "30", "--speed-limit",
		"1", "--speed-time", "60", from > 0 ? "--continue-at" : NULL, offset, NULL};
	struct child_spec spec = CHILD_SPEC_INIT;
	autoclose int pidfd = -1, url_fd = write_url(url);
	pid_t pid;
	int r;

	if (!limit || !offset)
		return fail(err, -ENOMEM, "out of memory");
	if (url_fd < 0)
		return fail(err, url_fd, "'%s' is not a URL", url);
	spec.argv = argv;
	spec.stdin_fd = url_fd;
	spec.stdout_fd = fd;
	spec.stderr_fd = text_fd;
	r = child_spawn(&spec, &pid, &pidfd, err);
	if (r == -ENOENT)
		return fail(err, r, "curl is not installed; apt-get install curl");
	return r < 0 ? r : watch(pidfd, fd, max, progress, userdata, err);
}

static int download_from(const char *url, int fd, uint64_t from, uint64_t max,
	void (*progress)(uint64_t done, void *userdata), void *userdata, struct error *err)
{
	autoclose int text_fd = memfd_create("curl", MFD_CLOEXEC);
	int r;

	if (text_fd < 0)
		return fail(err, -ENOMEM, "out of memory");
	r = run_curl(url, fd, from, max, text_fd, progress, userdata, err);
	if (r > 0 && from > 0 && WIFEXITED(r) && WEXITSTATUS(r) == CURL_CANNOT_RESUME)
		return -ERANGE;
	if (r > 0 && WIFEXITED(r) && WEXITSTATUS(r) == CURL_TOO_LARGE)
		return fail_too_large(max, err);
	return r > 0 ? fail_with_text(r, text_fd, err) : r;
}

int download(const char *url, int fd, uint64_t max, void (*progress)(uint64_t done, void *userdata),
	void *userdata, struct error *err)
{
	return download_from(url, fd, 0, max, progress, userdata, err);
}

int download_rest(const char *url, int fd, uint64_t max,
	void (*progress)(uint64_t done, void *userdata), void *userdata, struct error *err)
{
	off_t from = lseek(fd, 0, SEEK_END);
	int r = from < 0 ? fail_errno(err, -errno, "cannot go on with the download") : 0;

	if (r == 0)
		r = download_from(url, fd, (uint64_t)from, max, progress, userdata, err);
	if (r != -ERANGE)
		return r;
	if (ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return fail_errno(err, -errno, "cannot begin the download anew");
	return download_from(url, fd, 0, max, progress, userdata, err);
}
