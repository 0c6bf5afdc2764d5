#include "depot/http.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "depot/webserver_test.h"
#include "lib/clock.h"

#define MAX 1000

static void send_endless(int fd)
{
	const char block[1000] = "endless";

	if (webserver_write(fd, "HTTP/1.1 200 OK\r\n\r\n", 19))
		while (webserver_write(fd, block, sizeof(block)))
			;
}

static void send_drops(struct webserver *s, int fd)
{
	bool more = webserver_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", 40);

	while (more && !s->ending) {
		usleep(100000);
		more = webserver_write(fd, ".", 1);
	}
}

static void send_nothing(struct webserver *s)
{
	while (!s->ending)
		usleep(10000);
}

static void answer(struct webserver *s, int fd, const char *path)
{
	static const char huge[] = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nx";
	static const char cut[] = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nonly so much";
	static const char loop[] = "HTTP/1.1 302 Found\r\nLocation: /loop\r\n"
				   "Content-Length: 0\r\n\r\n";
	static const char file[] = "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n"
				   "Content-Length: 0\r\n\r\n";
	static const char moved[] = "HTTP/1.1 302 Found\r\nLocation: /ok\r\n"
				    "Content-Length: 0\r\n\r\n";

	if (streq(path, "/ok"))
		webserver_send(fd, "200 OK", "fine", 4);
	else if (streq(path, "/full"))
		webserver_send(fd, "200 OK", (char[MAX]){0}, MAX);
	else if (streq(path, "/endless"))
		send_endless(fd);
	else if (streq(path, "/huge"))
		webserver_write(fd, huge, sizeof(huge) - 1);
	else if (streq(path, "/cut"))
		webserver_write(fd, cut, sizeof(cut) - 1);
	else if (streq(path, "/loop"))
		webserver_write(fd, loop, sizeof(loop) - 1);
	else if (streq(path, "/file"))
		webserver_write(fd, file, sizeof(file) - 1);
	else if (streq(path, "/moved"))
		webserver_write(fd, moved, sizeof(moved) - 1);
	else if (streq(path, "/drops"))
		send_drops(s, fd);
	else if (streq(path, "/nothing"))
		send_nothing(s);
	else if (streq(path, "/garbage"))
		webserver_write(fd, "garbage\r\n\r\n", 11);
	else if (path[1] >= '2' && path[1] <= '5')
		webserver_send(fd, path + 1, "no", 2);
}

struct result {
	int count, code;
	char text[ERROR_TEXT_MAX];
	char body[MAX + 1];
	size_t length;
};

static void done(struct buffer *body, const struct error *err, void *userdata)
{
	struct result *r = userdata;

	r->count++;
	r->code = err->code;
	snprintf(r->text, sizeof(r->text), "%s", err->text);
	r->length = body->len;
	if (body->len > 0)
		memcpy(r->body, buffer_head(body), body->len);
}

static void finish(struct http *h)
{
	uint64_t end = clock_now_us() + 20000000;

	while (http_active(h) > 0 && clock_now_us() < end)
		assert_int_equal(http_run(h, 100), 0);
	assert_int_equal(http_active(h), 0);
}

static void get(
	const struct webserver *s, const char *path, uint32_t timeout_ms, struct result *ret)
{
	const struct http_options options = {.silence_ms = 1000};
	struct http *h;
	char url[200];

	*ret = (struct result){0};
	assert_int_equal(http_new(&options, &h), 0);
	snprintf(url, sizeof(url), "%s%s", s->url, path);
	assert_int_equal(http_get(h, url, MAX, timeout_ms, done, ret), 0);
	finish(h);
	assert_int_equal(ret->count, 1);
	http_free(h);
}

static void file_comes(void **state)
{
	struct webserver s = {.answer = answer};
	struct result r;

	webserver_start(&s);
	get(&s, "/ok", 5000, &r);
	assert_int_equal(r.code, 0);
	assert_string_equal(r.body, "fine");
	get(&s, "/moved", 5000, &r);
	assert_int_equal(r.code, 0);
	assert_string_equal(r.body, "fine");
	get(&s, "/full", 5000, &r);
	assert_int_equal(r.code, 0);
	assert_int_equal(r.length, MAX);
	webserver_stop(&s);
}

static void bad_answer_is_told_by_its_kind(void **state)
{
	static const struct {
		const char *path;
		int code;
		const char *text;
	} cases[] = {
		{"/404", -ENOENT, "404"},
		{"/410", -ENOENT, "410"},
		{"/403", -EACCES, "403"},
		{"/500", -EPROTO, "500"},
		{"/503", -EBUSY, "503"},
		{"/206", -EPROTO, "206"},
		{"/endless", -EFBIG, "more than 1000 bytes"},
		{"/huge", -EFBIG, "more than 1000 bytes"},
		{"/cut", -ENOTCONN, ""},
		{"/loop", -EPROTO, "redirects"},
		{"/file", -EPROTO, "file"},
		{"/garbage", -EPROTO, ""},
		{"/none", -ENOTCONN, ""},
		{"/nothing", -ETIMEDOUT, ""},
		{"/drops", -ETIMEDOUT, ""},
	};
	struct webserver s = {.answer = answer};
	struct result r;

	webserver_start(&s);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		get(&s, cases[i].path, 2500, &r);
		if (r.code != cases[i].code || !strstr(r.text, cases[i].text))
			fail_msg("%s: %d %s", cases[i].path, r.code, r.text);
	}
	webserver_stop(&s);
}

static void server_that_is_not_there_is_told(void **state)
{
	struct webserver s = {.answer = answer};
	struct result r;

	webserver_start(&s);
	webserver_stop(&s);
	get(&s, "/ok", 5000, &r);
	assert_int_equal(r.code, -ENOTCONN);
}

static void only_http_is_spoken(void **state)
{
	struct http *h;

	assert_int_equal(http_new(NULL, &h), 0);
	assert_int_equal(http_get(h, "file:///etc/passwd", MAX, 1000, done, NULL), -EINVAL);
	assert_int_equal(http_get(h, "/etc/passwd", MAX, 1000, done, NULL), -EINVAL);
	assert_int_equal(http_active(h), 0);
	http_free(h);
}

static void many_come_at_once_and_slow_ones_hold_nobody_up(void **state)
{
	struct webserver s = {.answer = answer};
	struct result r[40] = {0}, slow = {0};
	struct http *h;
	char url[200];

	webserver_start(&s);
	assert_int_equal(http_new(NULL, &h), 0);
	snprintf(url, sizeof(url), "%s/nothing", s.url);
	assert_int_equal(http_get(h, url, MAX, 60000, done, &slow), 0);
	snprintf(url, sizeof(url), "%s/ok", s.url);
	for (size_t i = 0; i < ARRAY_SIZE(r); i++)
		assert_int_equal(http_get(h, url, MAX, 5000, done, &r[i]), 0);
	while (http_active(h) > 1)
		assert_int_equal(http_run(h, 1000), 0);
	for (size_t i = 0; i < ARRAY_SIZE(r); i++)
		assert_string_equal(r[i].body, "fine");
	http_cancel(h);
	assert_int_equal(slow.count, 0);
	assert_int_equal(http_run(h, 0), 0);
	assert_int_equal(slow.count, 1);
	assert_int_equal(slow.code, -ECANCELED);
	/* What ends with all tells nobody. */
	snprintf(url, sizeof(url), "%s/nothing", s.url);
	assert_int_equal(http_get(h, url, MAX, 60000, done, &slow), 0);
	assert_int_equal(http_run(h, 0), 0);
	http_free(h);
	assert_int_equal(slow.count, 1);
	webserver_stop(&s);
}

static void *wake_later(void *userdata)
{
	usleep(50000);
	http_wake(userdata);
	return NULL;
}

static void wait_ends_when_woken(void **state)
{
	uint64_t start = clock_now_us();
	pthread_t thread;
	struct http *h;

	assert_int_equal(http_new(NULL, &h), 0);
	assert_int_equal(pthread_create(&thread, NULL, wake_later, h), 0);
	assert_int_equal(http_run(h, 20000), 0);
	assert_true(clock_now_us() - start < 10000000);
	pthread_join(thread, NULL);
	http_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(file_comes),
		cmocka_unit_test(bad_answer_is_told_by_its_kind),
		cmocka_unit_test(server_that_is_not_there_is_told),
		cmocka_unit_test(only_http_is_spoken),
		cmocka_unit_test(many_come_at_once_and_slow_ones_hold_nobody_up),
		cmocka_unit_test(wait_ends_when_woken),
	};

	unsetenv("http_proxy");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
