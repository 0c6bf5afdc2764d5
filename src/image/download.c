#include "image/download.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "lib/child.h"
#include "lib/path.h"

#define DOWNLOAD_POLL_MS  200
#define DOWNLOAD_TEXT_MAX 400
#define DOWNLOAD_STOP_MS  5000

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
			return fail(err, -EFBIG, "the download is larger than %llu bytes",
				(unsigned long long)max);
		}
		if (status != -ETIMEDOUT)
			return status;
	}
}

int download(const char *url, int fd, uint64_t max, void (*progress)(uint64_t done, void *userdata),
	void *userdata, struct error *err)
{
	autofree char *limit = path_format("%llu", (unsigned long long)max);
	const char *const argv[] = {"curl", "--fail", "--location", "--silent", "--show-error",
		"--proto", "=http,https", "--proto-redir", "=http,https", "--max-filesize", limit,
		"--connect-timeout", "30", "--speed-limit", "1", "--speed-time", "60", "--", url,
		NULL};
	struct child_spec spec = CHILD_SPEC_INIT;
	autoclose int text_fd = memfd_create("curl", MFD_CLOEXEC), pidfd = -1;
	pid_t pid;
	int r;

	if (!limit || text_fd < 0)
		return fail(err, -ENOMEM, "out of memory");
	spec.argv = argv;
	spec.stdout_fd = fd;
	spec.stderr_fd = text_fd;
	r = child_spawn(&spec, &pid, &pidfd, err);
	if (r == -ENOENT)
		return fail(err, r, "curl is not installed; apt-get install curl");
	if (r < 0)
		return r;
	r = watch(pidfd, fd, max, progress, userdata, err);
	return r > 0 ? fail_with_text(r, text_fd, err) : r;
}
