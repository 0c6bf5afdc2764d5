#include "depot/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "depot/publish.h"
#include "depot/webserver_test.h"
#include "image/partial.h"
#include "image/sample_test.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/path.h"

#define DISK_SIZE   (6 << 20)
#define KERNEL_SIZE 50000
#define MINE        "mine"

/* Who has several threads and forks gets no more of them there. */
#if defined(__SANITIZE_THREAD__)
#define CHILDREN false
#elif defined(__has_feature)
#define CHILDREN (!__has_feature(thread_sanitizer))
#else
#define CHILDREN true
#endif

/* As it is on a busy machine; tests that wait for it shorten it. */
static uint32_t patience_ms = 30000, silence_ms = 10000;

static void be_patient(void)
{
	patience_ms = 30000;
	silence_ms = 10000;
}

static void be_impatient(void)
{
	patience_ms = 2000;
	silence_ms = 1000;
}

/* A disk with data, a hole, the data's first half again, and another hole. `version` 2 differs in
 * one place of the data. */
static uint8_t *make_disk(unsigned version)
{
	uint8_t *data = calloc(1, DISK_SIZE);
	uint64_t state = 12345;

	assert_non_null(data);
	for (size_t i = 0; i < 2 << 20; i++) {
		state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		data[i] = (uint8_t)(state >> 56);
	}
	if (version > 1)
		memset(data + (1 << 20), (int)version, 70000);
	memcpy(data + (4 << 20), data, 1 << 20);
	return data;
}

/* Adds the image to the publisher's store and publishes it. */
static struct release *publish_disk(const void *disk, size_t size, const char *depot_name)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct depot *d AUTO(depot_freep) = NULL;
	struct image *image AUTO(image_freep) = NULL;
	struct publish_result result = {0};
	struct error err = {0};
	char format[] = "raw", architecture[] = "x86_64", line[] = "x", digest[DIGEST_HEX_SIZE];
	uint8_t kernel[KERNEL_SIZE];
	struct manifest m = {.format = format,
		.architecture = architecture,
		.boot = IMAGE_BOOT_KERNEL,
		.agent = IMAGE_AGENT_BUILTIN,
		.command_line = line,
		.agent_version = line,
		.created = 1,
		.disk_size = DISK_SIZE,
		.part_count = 3};
	struct publish_request q = {.store = s, .threads = 1};

	memset(kernel, 'k', sizeof(kernel));
	assert_int_equal(sample_put(s, disk, size, &m.parts[0]), 0);
	m.parts[0].kind = IMAGE_DISK;
	assert_int_equal(sample_put(s, kernel, sizeof(kernel), &m.parts[1]), 0);
	m.parts[1].kind = IMAGE_KERNEL;
	assert_int_equal(sample_put(s, kernel, 10, &m.parts[2]), 0);
	m.parts[2].kind = IMAGE_INITRD;
	if (store_add(s, &m, "el9", "1", digest, &err) < 0)
		fail_msg("%s", err.text);
	image = sample_find(s, "el9:1");
	assert_int_equal(depot_open(depot_name, true, &d, &err), 0);
	q.depot = d;
	q.image = image;
	if (publish_image(&q, &result, &err) < 0)
		fail_msg("%s", err.text);
	return TAKE_PTR(result.release);
}

static struct release *publish(unsigned version, const char *depot_name)
{
	autofree uint8_t *disk = make_disk(version);

	return publish_disk(disk, DISK_SIZE, depot_name);
}

static int fetch_from(const char *const *origins, const char *digest, const struct release *release,
	struct fetch_result *ret, struct error *err)
{
	struct store *s AUTO(store_freep) = NULL;
	struct fetch_request q = {.digest = digest,
		.release = release,
		.name = "el9",
		.tag = "latest",
		.origins = origins,
		.http = {.silence_ms = silence_ms},
		.patience_us = patience_ms * UINT64_C(1000),
		.threads = 2};
	int r = store_open(MINE, true, &s, err);

	q.store = s;
	return r < 0 ? r : fetch_image(&q, ret, err);
}

static int fetch_one(const char *origin, const struct release *release, bool trusted,
	struct fetch_result *ret, struct error *err)
{
	const char *const origins[] = {origin, NULL};

	*err = (struct error){0};
	return fetch_from(origins, release->digest, trusted ? release : NULL, ret, err);
}

/* The image is there, and all of it right. */
static void assert_fetched(const struct release *release)
{
	struct store *s AUTO(store_freep) = NULL;
	struct image *image AUTO(image_freep) = NULL;
	struct error err = {0};

	assert_int_equal(store_open(MINE, true, &s, &err), 0);
	if (store_find(s, "el9", &image, &err) < 0 || store_verify(s, image, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(image->digest, release->digest);
	assert_int_equal(sample_count_entries(MINE "/partial"), 0);
}

/* Nothing of it can be started. */
static void assert_not_there(void)
{
	struct store *s AUTO(store_freep) = NULL;
	struct image *image = NULL;

	assert_int_equal(store_open(MINE, true, &s, NULL), 0);
	assert_int_equal(store_find(s, "el9", &image, NULL), -ENOENT);
	assert_int_equal(sample_count_entries(MINE "/blobs"), 0);
}

static void assert_ok(int r, const struct error *err)
{
	if (r < 0)
		fail_msg("%d: %s", r, err->text);
}

static void image_comes_from_a_directory(void **state)
{
	struct release *release AUTO(release_freep) = publish(1, "depot");
	struct fetch_result result;
	struct error err;
	struct stat st;

	for (int trusted = 0; trusted < 2; trusted++) {
		assert_ok(fetch_one("depot", release, trusted, &result, &err), &err);
		assert_fetched(release);
		assert_int_equal(result.total, DISK_SIZE + KERNEL_SIZE + 10);
		assert_int_equal(result.present, 0);
		assert_int_equal(result.counts.reused, 0);
		/* Zeros and what comes again were not fetched. */
		assert_in_range(result.counts.fetched, 2 << 20, (2 << 20) + 700000);
		assert_int_equal(result.sources[0].bytes, result.received);
		fetch_result_done(&result);
		assert_int_equal(file_remove_tree(AT_FDCWD, trusted ? "none" : MINE), 0);
	}
	{
		autofree char *blob = path_format(MINE "/blobs/%s", release->parts[0].digest);

		assert_int_equal(stat(blob, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0444);
		assert_true(st.st_blocks * 512 < 4 << 20); /* holes are holes */
	}
}

static void what_is_there_is_not_fetched(void **state)
{
	struct release *release AUTO(release_freep) = publish(1, "depot");
	struct fetch_result result;
	struct error err;

	assert_ok(fetch_one("depot", release, true, &result, &err), &err);
	fetch_result_done(&result);
	assert_ok(fetch_one("/nowhere", release, true, &result, &err), &err);
	assert_int_equal(result.received, 0);
	assert_int_equal(result.present, result.total);
	fetch_result_done(&result);
	assert_fetched(release);
}

static void new_version_takes_what_the_old_one_has(void **state)
{
	struct release *old AUTO(release_freep) = publish(1, "depot");
	struct release *new AUTO(release_freep) = publish(2, "depot");
	struct fetch_result result;
	struct error err;

	assert_ok(fetch_one("depot", old, true, &result, &err), &err);
	fetch_result_done(&result);
	assert_ok(fetch_one("depot", new, true, &result, &err), &err);
	assert_fetched(new);
	assert_true(result.counts.reused > 1 << 20);
	assert_true(result.counts.fetched < 900000);
	assert_int_equal(result.present, KERNEL_SIZE + 10);
	fetch_result_done(&result);
}

static void answer_file(struct webserver *s, int fd, const char *path)
{
	webserver_send_file(s, fd, path);
}

static void image_comes_from_a_web_server(void **state)
{
	struct release *release AUTO(release_freep) = publish(1, "depot");
	struct webserver s = {.answer = answer_file, .root = "depot"};
	struct fetch_result result;
	struct error err;

	webserver_start(&s);
	for (int trusted = 0; trusted < 2; trusted++) {
		assert_int_equal(file_remove_tree(AT_FDCWD, MINE), 0);
		assert_ok(fetch_one(s.url, release, trusted, &result, &err), &err);
		assert_fetched(release);
		fetch_result_done(&result);
	}
	webserver_stop(&s);
}

static bool is_chunk(const char *path)
{
	return str_after(path, "/chunks/");
}

/* Each third chunk is answered with something that is no answer, or no good one. */
static void answer_badly(struct webserver *s, int fd, const char *path)
{
	static atomic_int count;
	int n = count++;

	if (n % 3 || str_after(path, "/manifest"))
		webserver_send_file(s, fd, path);
	else if (n % 4 == 0)
		webserver_send(fd, "503 Busy", "", 0);
	else if (n % 4 == 1)
		webserver_send(fd, "500 Broken", "", 0);
	else if (n % 4 == 2)
		webserver_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nab", 42);
}

static void server_that_fails_now_and_then_is_asked_again(void **state)
{
	struct release *release AUTO(release_freep) = publish(1, "depot");
	struct webserver s = {.answer = answer_badly, .root = "depot"};
	struct fetch_result result;
	struct error err;

	webserver_start(&s);
	assert_ok(fetch_one(s.url, release, true, &result, &err), &err);
	assert_fetched(release);
	fetch_result_done(&result);
	webserver_stop(&s);
}

/* After some chunks nothing more comes. */
static void answer_some(struct webserver *s, int fd, const char *path)
{
	if (!is_chunk(path) || s->requests < 7) /* two of them together do not have all */
		webserver_send_file(s, fd, path);
	else
		while (s->userdata && !s->ending)
			usleep(10000);
}

static void server_that_dies_is_followed_by_the_next(void **state)
{
	struct release *release AUTO(release_freep) = publish(1, "depot");
	struct webserver dying = {.answer = answer_some, .root = "depot"};
	struct webserver hanging = {.answer = answer_some, .root = "depot", .userdata = "hang"};
	struct webserver sound = {.answer = answer_file, .root = "depot"};
	const char *const origins[] = {dying.url, hanging.url, sound.url, NULL};
	struct fetch_result result;
	struct error err = {0};

	be_impatient();
	webserver_start(&dying);
	webserver_start(&hanging);
	webserver_start(&sound);
	assert_ok(fetch_from(origins, release->digest, release, &result, &err), &err);
	assert_fetched(release);
	assert_true(result.sources[0].chunks > 0);
	assert_true(result.sources[2].chunks > 0);
	fetch_result_done(&result);
	webserver_stop(&dying);
	webserver_stop(&hanging);
	webserver_stop(&sound);
}

static void server_that_stays_dead_ends_it_and_what_came_is_kept(void **state)
{
	struct release *release AUTO(release_freep) = publish(1, "depot");
	struct webserver s = {.answer = answer_some, .root = "depot"};
	struct fetch_result result;
	struct error err;
	uint64_t start = clock_now_us();

	be_impatient();
	webserver_start(&s);
	assert_int_equal(fetch_one(s.url, release, true, &result, &err), -ENODATA);
	assert_non_null(strstr(err.text, s.url));
	assert_in_range(clock_now_us() - start, 1900000, 15000000);
	fetch_result_done(&result);
	webserver_stop(&s);
	assert_not_there();
	assert_ok(fetch_one("depot", release, true, &result, &err), &err);
	assert_fetched(release);
	assert_true(result.counts.resumed > 0);
	fetch_result_done(&result);
}

static void answer_loop(struct webserver *s, int fd, const char *path)
{
	static const char loop[] = "HTTP/1.1 302 Found\r\nLocation: /x\r\n"
				   "Content-Length: 0\r\nConnection: close\r\n\r\n";

	webserver_write(fd, loop, sizeof(loop) - 1);
}

static void answer_endless(struct webserver *s, int fd, const char *path)
{
	const char block[4096] = "";

	if (webserver_write(fd, "HTTP/1.1 200 OK\r\n\r\n", 19))
		while (webserver_write(fd, block, sizeof(block)))
			;
}

static void answer_refused(struct webserver *s, int fd, const char *path)
{
	webserver_send(fd, "403 Forbidden", "", 0);
}

static void answer_missing(struct webserver *s, int fd, const char *path)
{
	webserver_send(fd, "404 Not Found", "", 0);
}

static void answer_endless_chunks(struct webserver *s, int fd, const char *path)
{
	if (is_chunk(path))
		answer_endless(s, fd, path);
	else
		webserver_send_file(s, fd, path);
}

static void no_depot_at_all_is_told(void **state)
{
	static const struct {
		void (*answer)(struct webserver *s, int fd, const char *path);
		const char *text;
	} cases[] = {{answer_loop, "redirects"}, {answer_endless, "more than"},
		{answer_refused, "403"}, {answer_missing, "404"},
		{answer_endless_chunks, "more than"}};
	struct release *release AUTO(release_freep) = publish(1, "depot");

	be_impatient();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct webserver s = {.answer = cases[i].answer, .root = "depot"};
		struct fetch_result result;
		struct error err;

		webserver_start(&s);
		assert_int_equal(fetch_one(s.url, release, true, &result, &err), -ENODATA);
		if (!strstr(err.text, cases[i].text))
			fail_msg("%zu: %s", i, err.text);
		fetch_result_done(&result);
		webserver_stop(&s);
		assert_not_there();
	}
}

/* The path of the depot's file with a chunk of the disk that is not the last. */
static char *chunk_file(const struct release *release, size_t i)
{
	struct depot *d AUTO(depot_freep) = NULL;
	struct caibx *x AUTO(caibx_freep) = NULL;
	char path[CHUNK_PATH_SIZE];

	assert_int_equal(depot_open("depot", false, &d, NULL), 0);
	assert_int_equal(depot_get_index(d, release->parts[0].digest, NULL, &x, NULL, NULL), 0);
	chunk_format_path(x->chunks[i].id, path);
	return path_format("depot/chunks/%s", path);
}

static void replace(const char *path, const void *data, size_t length)
{
	assert_int_equal(file_replace(AT_FDCWD, path, data, length, 0644), 0);
}

/* Each way in which a chunk can be wrong: with the sound depot behind it all goes well, without it
 * nothing gets in. */
static void wrong_chunk_is_never_taken(void **state)
{
	struct release *release AUTO(release_freep) = publish(1, "depot");
	struct release *same AUTO(release_freep) = publish(1, "sound");
	autofree char *path = chunk_file(release, 3), *original = NULL;
	autofree uint8_t *zeros = calloc(1, CHUNK_SIZE_MAX);
	struct webserver s = {.answer = answer_file, .root = "depot"};
	struct webserver sound = {.answer = answer_file, .root = "sound"};
	struct buffer bomb AUTO(buffer_done) = {0}, other AUTO(buffer_done) = {0};
	size_t length;

	assert_string_equal(same->digest, release->digest);
	assert_int_equal(chunk_pack(zeros, CHUNK_SIZE_MAX, &bomb), 0);
	assert_int_equal(chunk_pack("other", 5, &other), 0);
	assert_int_equal(file_read(AT_FDCWD, path, CHUNK_PACKED_MAX, &original, &length), 0);
	webserver_start(&s);
	webserver_start(&sound);
	for (int way = 0; way < 10; way++) {
		bool web = way % 2;
		const char *const both[] = {web ? s.url : "depot", web ? sound.url : "sound", NULL};
		struct fetch_result result;
		struct error err = {0};

		if (way / 2 == 0)
			replace(path, buffer_head(&bomb), bomb.len);
		else if (way / 2 == 1)
			replace(path, buffer_head(&other), other.len);
		else if (way / 2 == 2)
			replace(path, original, length / 2);
		else if (way / 2 == 3)
			replace(path, "", 0);
		else
			unlink(path);
		assert_int_equal(fetch_one(both[0], release, true, &result, &err), -ENODATA);
		assert_non_null(strstr(err.text, "is to be had nowhere"));
		fetch_result_done(&result);
		assert_not_there();
		err = (struct error){0};
		assert_ok(fetch_from(both, release->digest, release, &result, &err), &err);
		assert_fetched(release);
		assert_int_equal(result.sources[1].chunks, 1);
		fetch_result_done(&result);
		assert_int_equal(file_remove_tree(AT_FDCWD, MINE), 0);
	}
	webserver_stop(&s);
	webserver_stop(&sound);
}

/* Puts an index in the place of the disk's: its own, changed by `change`. */
static void spoil_index(const struct release *release, void (*change)(struct caibx *x))
{
	struct depot *d AUTO(depot_freep) = NULL;
	struct caibx *x AUTO(caibx_freep) = NULL;
	struct buffer bytes AUTO(buffer_done) = {0};
	autofree char *path = path_format("depot/index/%s.caibx", release->parts[0].digest);

	assert_int_equal(depot_open("depot", false, &d, NULL), 0);
	assert_int_equal(depot_get_index(d, release->parts[0].digest, NULL, &x, NULL, NULL), 0);
	change(x);
	assert_int_equal(caibx_format(x, &bytes), 0);
	replace(path, buffer_head(&bytes), bytes.len);
}

static void swap_chunks(struct caibx *x)
{
	memcpy(x->chunks[1].id, x->chunks[0].id, CHUNK_ID_SIZE);
	x->chunks[1].size = x->chunks[0].size;
	for (size_t i = 1; i < x->count; i++)
		x->chunks[i].offset = x->chunks[i - 1].offset + x->chunks[i - 1].size;
	x->chunks[x->count - 1].size = (uint32_t)(x->size - x->chunks[x->count - 1].offset);
}

static void repeat_a_chunk(struct caibx *x)
{
	/* Zeros in the place of other zeros' neighbours keep all sizes right. */
	size_t zeros = 0;

	for (size_t i = 1; i + 1 < x->count; i++)
		if (memcmp(x->chunks[i].id, x->chunks[i + 1].id, CHUNK_ID_SIZE) == 0)
			zeros = i;
	assert_true(zeros > 0);
	assert_int_equal(chunk_id("nothing", 7, x->chunks[zeros].id), 0);
}

static void drop_the_last(struct caibx *x)
{
	x->count--;
	x->size = x->chunks[x->count - 1].offset + x->chunks[x->count - 1].size;
}

static void reverse(struct caibx *x)
{
	uint64_t offset = 0;

	for (size_t i = 0; i < x->count / 2; i++) {
		struct caibx_chunk c = x->chunks[i];

		x->chunks[i] = x->chunks[x->count - 1 - i];
		x->chunks[x->count - 1 - i] = c;
	}
	for (size_t i = 0; i < x->count; i++) {
		x->chunks[i].offset = offset;
		offset += x->chunks[i].size;
	}
}

/* Without a release an index is only a proposal: what it leads to is refused if it is not the part.
 */
static void wrong_index_leads_to_nothing(void **state)
{
	static void (*const changes[])(struct caibx * x) = {
		swap_chunks, repeat_a_chunk, drop_the_last, reverse};
	struct release *release AUTO(release_freep) = publish(1, "depot");
	struct release *same AUTO(release_freep) = publish(1, "sound");
	autofree char *path = path_format("depot/index/%s.caibx", release->parts[0].digest);
	autofree char *index = NULL;
	size_t length;

	assert_string_equal(same->digest, release->digest);
	assert_int_equal(file_read(AT_FDCWD, path, CAIBX_BYTES_MAX, &index, &length), 0);
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		const char *const both[] = {"depot", "sound", NULL};
		struct fetch_result result;
		struct error err = {0};
		int r;

		spoil_index(release, changes[i]);
		r = fetch_one("depot", release, false, &result, &err);
		if (r != -EBADMSG && r != -ENODATA)
			fail_msg("%zu: %d %s", i, r, err.text);
		fetch_result_done(&result);
		assert_not_there();
		/* The release knows better, without looking into it. */
		assert_int_equal(fetch_one("depot", release, true, &result, &err), -ENODATA);
		assert_non_null(strstr(err.text, "as the release says"));
		fetch_result_done(&result);
		assert_not_there();
		err = (struct error){0};
		assert_ok(fetch_from(both, release->digest, NULL, &result, &err), &err);
		assert_fetched(release);
		fetch_result_done(&result);
		assert_int_equal(file_remove_tree(AT_FDCWD, MINE), 0);
		replace(path, index, length);
	}
}

static void bytes_that_are_no_index_are_refused(void **state)
{
	struct release *release AUTO(release_freep) = publish(1, "depot");
	autofree char *path = path_format("depot/index/%s.caibx", release->parts[0].digest);
	autofree char *index = NULL;
	size_t length;

	assert_int_equal(file_read(AT_FDCWD, path, CAIBX_BYTES_MAX, &index, &length), 0);
	for (size_t cut = 0; cut < length; cut += 41) {
		struct fetch_result result;
		struct error err;

		replace(path, index, cut);
		assert_int_equal(fetch_one("depot", release, false, &result, &err), -ENODATA);
		fetch_result_done(&result);
	}
	assert_not_there();
}

static void other_images_manifest_is_refused(void **state)
{
	struct release *one AUTO(release_freep) = publish(1, "depot");
	struct release *two AUTO(release_freep) = publish(2, "depot");
	autofree char *path = path_format("depot/manifest/%s.json", one->digest);
	autofree char *other = path_format("depot/manifest/%s.json", two->digest), *text = NULL;
	struct fetch_result result;
	struct error err;
	size_t length;

	assert_int_equal(file_read(AT_FDCWD, other, MANIFEST_BYTES_MAX, &text, &length), 0);
	replace(path, text, length);
	assert_int_equal(fetch_one("depot", one, false, &result, &err), -ENODATA);
	fetch_result_done(&result);
	/* A release of which the parts are not those of its image. */
	memcpy(two->parts[0].digest, one->parts[0].digest, DIGEST_HEX_SIZE);
	assert_int_equal(fetch_one("depot", two, true, &result, &err), -EBADMSG);
	fetch_result_done(&result);
	assert_not_there();
}

/* Runs in a child: fetches, and exits with 0 if that has worked. */
static pid_t start_fetch(const char *origin, const struct release *release, bool trusted)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct fetch_result result = {0};
		struct error err;
		int r = fetch_one(origin, release, trusted, &result, &err);

		_exit(r == 0 ? 0 : 1);
	}
	return pid;
}

static int finish(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void answer_slowly(struct webserver *s, int fd, const char *path)
{
	usleep(20000);
	webserver_send_file(s, fd, path);
}

static void two_at_once_fetch_it_once(void **state)
{
	struct release *release AUTO(release_freep) = publish(1, "depot");
	struct webserver s = {.answer = answer_slowly, .root = "depot"};
	pid_t pids[3];
	int alone;

	webserver_start(&s);
	assert_int_equal(finish(start_fetch(s.url, release, true)), 0);
	alone = s.requests;
	assert_fetched(release);
	assert_int_equal(file_remove_tree(AT_FDCWD, MINE), 0);
	s.requests = 0;
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
		pids[i] = start_fetch(s.url, release, true);
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
		assert_int_equal(finish(pids[i]), 0);
	assert_fetched(release);
	assert_true(s.requests <= alone + 4); /* manifests */
	webserver_stop(&s);
}

static void killed_at_any_moment_it_goes_on(void **state)
{
	struct release *release AUTO(release_freep) = publish(1, "depot");
	struct webserver s = {.answer = answer_file, .root = "depot"};
	int status = 1, rounds = 0, begun = 0;
	long range_us = 30000;

	webserver_start(&s);
	while (status != 0 && rounds < 60) {
		pid_t pid = start_fetch(s.url, release, rounds % 2);

		usleep((useconds_t)(random() % range_us));
		kill(pid, SIGKILL);
		status = finish(pid);
		rounds++;
		range_us += begun ? 0 : 10000; /* the machine is that slow */
		if (status != 0 && access(MINE "/partial", F_OK) == 0)
			begun += sample_count_entries(MINE "/partial") > 0;
		if (status == 0 && begun < 10) { /* once more, from the beginning */
			assert_fetched(release);
			assert_int_equal(file_remove_tree(AT_FDCWD, MINE), 0);
			status = 1;
		}
	}
	assert_int_equal(finish(start_fetch(s.url, release, true)), 0);
	assert_fetched(release);
	assert_true(begun > 0);
	webserver_stop(&s);
}

static void full_disk_is_told_and_what_came_is_kept(void **state)
{
	struct release *release AUTO(release_freep) = publish(1, "depot");
	struct fetch_result result = {0};
	struct error err;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct rlimit limit = {DISK_SIZE, DISK_SIZE};
		int r;

		signal(SIGXFSZ, SIG_IGN);
		limit.rlim_cur = 1 << 20;
		setrlimit(RLIMIT_FSIZE, &limit);
		r = fetch_one("depot", release, true, &result, &err);
		_exit(r == -EFBIG ? 0 : 1);
	}
	assert_int_equal(finish(pid), 0);
	assert_not_there();
	assert_ok(fetch_one("depot", release, true, &result, &err), &err);
	assert_fetched(release);
	fetch_result_done(&result);
}

static void disk_of_any_length_comes(void **state)
{
	static const size_t sizes[] = {1, 4095, 4096, 4097, 16384, 262144, 262145, 1 << 20};
	autofree uint8_t *disk = make_disk(1);

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct release *release AUTO(release_freep) = publish_disk(disk, sizes[i], "depot");
		struct fetch_result result;
		struct error err;

		assert_ok(fetch_one("depot", release, i % 2, &result, &err), &err);
		assert_fetched(release);
		fetch_result_done(&result);
	}
}

static int setup(void **state)
{
	be_patient();
	return sample_setup(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(image_comes_from_a_directory),
		cmocka_unit_test(what_is_there_is_not_fetched),
		cmocka_unit_test(new_version_takes_what_the_old_one_has),
		cmocka_unit_test(image_comes_from_a_web_server),
		cmocka_unit_test(server_that_fails_now_and_then_is_asked_again),
		cmocka_unit_test(server_that_dies_is_followed_by_the_next),
		cmocka_unit_test(server_that_stays_dead_ends_it_and_what_came_is_kept),
		cmocka_unit_test(no_depot_at_all_is_told),
		cmocka_unit_test(wrong_chunk_is_never_taken),
		cmocka_unit_test(wrong_index_leads_to_nothing),
		cmocka_unit_test(bytes_that_are_no_index_are_refused),
		cmocka_unit_test(other_images_manifest_is_refused),
		cmocka_unit_test(disk_of_any_length_comes),
		/* The rest has children. */
		cmocka_unit_test(two_at_once_fetch_it_once),
		cmocka_unit_test(killed_at_any_moment_it_goes_on),
		cmocka_unit_test(full_disk_is_told_and_what_came_is_kept),
	};
	struct CMUnitTest run[ARRAY_SIZE(tests)];
	size_t count = ARRAY_SIZE(tests) - (CHILDREN ? 0 : 3);

	unsetenv("http_proxy");
	for (size_t i = 0; i < count; i++) {
		run[i] = tests[i];
		run[i].setup_func = setup;
		run[i].teardown_func = sample_teardown;
	}
	return _cmocka_run_group_tests("tests", run, count, NULL, NULL);
}
