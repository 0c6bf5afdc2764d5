#include "image/download.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "lib/file.h"
#include "lib/path.h"

/* Answers every connection with the same bytes, and `zeros` more of them. */
static void serve(int listener, const char *answer, size_t zeros)
{
	static const char block[4096];

	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		char request[4096];
		int r;

		if (fd < 0 || read(fd, request, sizeof(request)) <= 0)
			_exit(1);
		r = file_write_all(fd, answer, strlen(answer));
		for (size_t left = zeros; r == 0 && left > 0; left -= sizeof(block))
			r = file_write_all(fd, block, sizeof(block));
		close(fd);
	}
}

/* Downloads from such a server into a new file, or the rest of one that begins so. */
static int fetch_rest(const char *beginning, const char *answer, size_t zeros, uint64_t max,
	int *ret_fd, struct error *err)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), r;
	autofree char *url = NULL;
	pid_t pid;

	assert_int_equal(bind(listener, (struct sockaddr *)&address, length), 0);
	assert_int_equal(listen(listener, 5), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
	url = path_format("http://127.0.0.1:%u/x", ntohs(address.sin_port));
	pid = fork();
	if (pid == 0)
		serve(listener, answer, zeros);
	close(listener);
	*ret_fd = memfd_create("download", MFD_CLOEXEC);
	if (beginning) {
		assert_int_equal(file_write_all(*ret_fd, beginning, strlen(beginning)), 0);
		r = download_rest(url, *ret_fd, max, NULL, NULL, err);
	} else {
		r = download(url, *ret_fd, max, NULL, NULL, err);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (r == -ENOENT)
		skip();
	return r;
}

static int fetch(const char *answer, size_t zeros, uint64_t max, int *ret_fd, struct error *err)
{
	return fetch_rest(NULL, answer, zeros, max, ret_fd, err);
}

static void the_body_is_written_to_the_file(void **state)
{
	autoclose int fd = -1;
	struct error err = {0};
	char text[16] = "";

	if (fetch("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", 0, 100, &fd, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(pread(fd, text, sizeof(text), 0), 5);
	assert_string_equal(text, "hello");
}

static void an_error_of_the_server_is_told(void **state)
{
	autoclose int fd = -1;
	struct error err = {0};

	assert_int_equal(fetch("HTTP/1.0 404 Not Found\r\n\r\n<html>", 0, 100, &fd, &err), -EIO);
	assert_non_null(strstr(err.text, "404"));
}

static void a_short_body_is_a_failure(void **state)
{
	autoclose int fd = -1;

	assert_int_equal(
		fetch("HTTP/1.0 200 OK\r\nContent-Length: 50\r\n\r\nhello", 0, 100, &fd, NULL),
		-EIO);
}

static void a_body_that_is_announced_too_large_is_refused(void **state)
{
	autoclose int fd = -1;

	assert_int_equal(
		fetch("HTTP/1.0 200 OK\r\nContent-Length: 5000\r\n\r\n", 5000, 100, &fd, NULL),
		-EFBIG);
}

/* A server need not say how much it sends: it must not fill the disk. */
static void a_body_without_end_is_cut_off(void **state)
{
	autoclose int fd = -1;
	struct error err = {0};
	struct stat st;
	int r = fetch("HTTP/1.0 200 OK\r\n\r\n", (size_t)1 << 34, 1 << 20, &fd, &err);

	assert_true(r == -EFBIG || r == -EIO);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_size < (off_t)1 << 33);
}

static void a_redirection_to_a_file_is_not_followed(void **state)
{
	autoclose int fd = -1;
	struct stat st;

	assert_int_equal(fetch("HTTP/1.0 302 Found\r\nLocation: file:///etc/passwd\r\n"
			       "Content-Length: 0\r\n\r\n",
				 0, 1 << 20, &fd, NULL),
		-EIO);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 0);
}

static void a_download_is_gone_on_with_or_begun_anew(void **state)
{
	static const char *const answers[] = {
		"HTTP/1.0 206 Partial Content\r\nContent-Range: bytes 2-4/5\r\n"
		"Content-Length: 3\r\n\r\nllo",
		"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
	};

	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		autoclose int fd = -1;
		struct error err = {0};
		char text[16] = "";

		if (fetch_rest("he", answers[i], 0, 100, &fd, &err) < 0)
			fail_msg("%s", err.text);
		assert_int_equal(pread(fd, text, sizeof(text), 0), 5);
		assert_string_equal(text, "hello");
	}
}

static void urls_are_told_from_files(void **state)
{
	assert_true(download_is_url("http://x/y"));
	assert_true(download_is_url("ftp://x"));
	assert_false(download_is_url("/a/b://c"));
	assert_false(download_is_url("a/b"));
	assert_false(download_is_url("://x"));
	assert_false(download_is_url("C:/x"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_body_is_written_to_the_file),
		cmocka_unit_test(an_error_of_the_server_is_told),
		cmocka_unit_test(a_short_body_is_a_failure),
		cmocka_unit_test(a_body_that_is_announced_too_large_is_refused),
		cmocka_unit_test(a_body_without_end_is_cut_off),
		cmocka_unit_test(a_redirection_to_a_file_is_not_followed),
		cmocka_unit_test(a_download_is_gone_on_with_or_begun_anew),
		cmocka_unit_test(urls_are_told_from_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
