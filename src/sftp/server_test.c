/* The promises of the server: what the protocol says, and that nothing outside of the directory can
 * be seen or changed, whatever a client asks for. */
#include "sftp/server.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { OK, END, NO_FILE, DENIED, FAILURE, BAD, UNSUPPORTED = 8 };
enum { FOR_READING = 1, FOR_WRITING = 2, APPEND = 4, CREATE = 8, TRUNCATE = 16, EXCLUSIVE = 32 };

struct fixture {
	char base[32]; /* has "share", which is served, and "secret" */
	struct server server;
	struct buffer in;
	struct packet reply; /* behind its type and id */
	uint8_t *reply_data;
	unsigned int type;
};

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* Sends the request that `in` has, and takes its answer. */
static void ask(struct fixture *f)
{
	struct packet all;
	uint32_t length;

	f->server.out.len = f->server.out.start = 0;
	assert_int_equal(server_serve(&f->server, &f->in), 0);
	assert_int_equal(f->in.len, 0);
	free(f->reply_data);
	f->reply_data = malloc(f->server.out.len);
	assert_non_null(f->reply_data);
	memcpy(f->reply_data, buffer_head(&f->server.out), f->server.out.len);
	all = (struct packet){f->reply_data, f->server.out.len, false};
	length = packet_get_u32(&all);
	assert_int_equal(length, all.length);
	f->type = all.data[0];
	f->reply = (struct packet){all.data + 1, all.length - 1, false};
	packet_get_u32(&f->reply);
}

static void assert_status(struct fixture *f, unsigned int status)
{
	assert_int_equal(f->type, PACKET_STATUS);
	assert_int_equal(packet_get_u32(&f->reply), status);
}

/* A request with one path, and what follows it. */
static void ask_path(struct fixture *f, enum packet_type type, const char *path)
{
	size_t begin = packet_begin(&f->in, type, 7);

	packet_put_string(&f->in, path);
	if (type == PACKET_MKDIR)
		packet_put_u32(&f->in, 0);
	packet_end(&f->in, begin);
	ask(f);
}

static void ask_two(struct fixture *f, const char *extension, enum packet_type type,
	const char *first, const char *second)
{
	size_t begin = packet_begin(&f->in, type, 7);

	if (extension)
		packet_put_string(&f->in, extension);
	packet_put_string(&f->in, first);
	packet_put_string(&f->in, second);
	packet_end(&f->in, begin);
	ask(f);
}

static void ask_mode(struct fixture *f, const char *path, uint32_t mode)
{
	size_t begin = packet_begin(&f->in, PACKET_SETSTAT, 7);

	packet_put_string(&f->in, path);
	packet_put_u32(&f->in, 4);
	packet_put_u32(&f->in, mode);
	packet_end(&f->in, begin);
	ask(f);
}

static void ask_size(struct fixture *f, const char *path, uint64_t size)
{
	size_t begin = packet_begin(&f->in, PACKET_SETSTAT, 7);

	packet_put_string(&f->in, path);
	packet_put_u32(&f->in, 1);
	packet_put_u64(&f->in, size);
	packet_end(&f->in, begin);
	ask(f);
}

static void ask_open(struct fixture *f, const char *path, uint32_t flags)
{
	size_t begin = packet_begin(&f->in, PACKET_OPEN, 7);

	packet_put_string(&f->in, path);
	packet_put_u32(&f->in, flags);
	packet_put_u32(&f->in, 4);
	packet_put_u32(&f->in, 0640);
	packet_end(&f->in, begin);
	ask(f);
}

static uint64_t get_handle(struct fixture *f)
{
	struct packet bytes;

	assert_int_equal(f->type, PACKET_HANDLE);
	bytes = packet_get_bytes(&f->reply);
	assert_int_equal(bytes.length, 8);
	return packet_get_u64(&bytes);
}

static size_t begin_handle(struct fixture *f, enum packet_type type, uint64_t handle)
{
	size_t begin = packet_begin(&f->in, type, 7);

	packet_put_u32(&f->in, 8);
	packet_put_u64(&f->in, handle);
	return begin;
}

static void ask_handle(struct fixture *f, enum packet_type type, uint64_t handle)
{
	packet_end(&f->in, begin_handle(f, type, handle));
	ask(f);
}

static void ask_read(struct fixture *f, uint64_t handle, uint64_t offset, uint32_t length)
{
	size_t begin = begin_handle(f, PACKET_READ, handle);

	packet_put_u64(&f->in, offset);
	packet_put_u32(&f->in, length);
	packet_end(&f->in, begin);
	ask(f);
}

static void ask_write(struct fixture *f, uint64_t handle, uint64_t offset, const char *text)
{
	size_t begin = begin_handle(f, PACKET_WRITE, handle);

	packet_put_u64(&f->in, offset);
	packet_put_string(&f->in, text);
	packet_end(&f->in, begin);
	ask(f);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	size_t begin;

	assert_non_null(f);
	strcpy(f->base, "/tmp/wnodes-sftp.XXXXXX");
	assert_non_null(mkdtemp(f->base));
	assert_int_equal(chdir(f->base), 0);
	assert_int_equal(mkdir("share", 0755), 0);
	assert_int_equal(mkdir("share/d", 0755), 0);
	write_file("secret", "secret");
	assert_int_equal(chmod("secret", 0644), 0);
	write_file("share/file", "0123456789");
	assert_int_equal(symlink("../secret", "share/link"), 0);
	assert_int_equal(symlink("..", "share/up"), 0);
	f->server.out_fd = -1;
	f->server.tree.fd = open("share", O_PATH | O_DIRECTORY | O_CLOEXEC);
	begin = packet_begin(&f->in, PACKET_INIT, 3);
	packet_end(&f->in, begin);
	ask(f);
	assert_int_equal(f->type, PACKET_VERSION);
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(chdir("/"), 0);
	assert_int_equal(nftw(f->base, remove_one, 16, FTW_PHYS | FTW_DEPTH), 0);
	close(f->server.tree.fd);
	server_done(&f->server);
	buffer_done(&f->in);
	free(f->reply_data);
	free(f);
	return 0;
}

static void a_file_is_made_written_and_read(void **state)
{
	struct fixture *f = *state;
	struct packet data;
	struct stat st;
	uint64_t handle;

	ask_open(f, "d/new", FOR_READING | FOR_WRITING | CREATE | EXCLUSIVE);
	handle = get_handle(f);
	ask_write(f, handle, 5, "text");
	assert_status(f, OK);
	ask_read(f, handle, 3, 1000000);
	assert_int_equal(f->type, PACKET_DATA);
	data = packet_get_bytes(&f->reply);
	assert_int_equal(data.length, 6);
	assert_memory_equal(data.data, "\0\0text", 6);
	ask_read(f, handle, 9, 10);
	assert_status(f, END);
	ask_handle(f, PACKET_CLOSE, handle);
	assert_status(f, OK);
	ask_handle(f, PACKET_CLOSE, handle);
	assert_status(f, NO_FILE);
	assert_int_equal(stat("share/d/new", &st), 0);
	assert_int_equal(st.st_size, 9);
	assert_int_equal(st.st_mode & 0777, 0640);
	ask_open(f, "d/new", FOR_WRITING | CREATE | EXCLUSIVE);
	assert_status(f, FAILURE);
}

static void names_are_made_renamed_and_removed(void **state)
{
	struct fixture *f = *state;

	ask_path(f, PACKET_MKDIR, "a");
	assert_status(f, OK);
	ask_two(f, NULL, PACKET_SYMLINK, "/etc/passwd", "a/s");
	assert_status(f, OK);
	ask_path(f, PACKET_READLINK, "a/s");
	assert_int_equal(f->type, PACKET_NAME);
	assert_int_equal(packet_get_u32(&f->reply), 1);
	assert_int_equal(packet_get_u32(&f->reply), strlen("/etc/passwd"));
	ask_two(f, "hardlink@openssh.com", PACKET_EXTENDED, "file", "a/h");
	assert_status(f, OK);
	ask_two(f, NULL, PACKET_RENAME, "file", "a/h");
	assert_status(f, FAILURE);
	ask_two(f, "posix-rename@openssh.com", PACKET_EXTENDED, "a/s", "a/h");
	assert_status(f, OK);
	ask_path(f, PACKET_RMDIR, "a");
	assert_status(f, FAILURE);
	ask_path(f, PACKET_REMOVE, "a/h");
	assert_status(f, OK);
	ask_path(f, PACKET_RMDIR, "a");
	assert_status(f, OK);
	assert_int_equal(access("share/file", F_OK), 0);
}

static void a_directory_is_listed_whole(void **state)
{
	struct fixture *f = *state;
	uint32_t count, all = 0;
	char path[40];
	uint64_t handle;

	for (int i = 0; i < 3000; i++) {
		snprintf(path, sizeof(path), "share/d/a-longer-name-%d", i);
		write_file(path, "");
	}
	ask_path(f, PACKET_OPENDIR, "d");
	handle = get_handle(f);
	for (ask_handle(f, PACKET_READDIR, handle); f->type == PACKET_NAME;
		ask_handle(f, PACKET_READDIR, handle)) {
		count = packet_get_u32(&f->reply);
		assert_in_range(f->reply.length, 1, 128 * 1024);
		all += count;
	}
	assert_status(f, END);
	assert_int_equal(all, 3002);
}

static void assert_unreachable(struct fixture *f, const char *path)
{
	struct stat before, after;

	assert_int_equal(stat("secret", &before), 0);
	ask_open(f, path, FOR_READING);
	assert_int_equal(f->type, PACKET_STATUS);
	ask_open(f, path, FOR_WRITING | TRUNCATE);
	assert_int_equal(f->type, PACKET_STATUS);
	ask_open(f, path, FOR_WRITING | CREATE);
	assert_int_equal(f->type, PACKET_STATUS);
	ask_size(f, path, 0);
	assert_int_not_equal(packet_get_u32(&f->reply), OK);
	ask_path(f, PACKET_OPENDIR, path);
	assert_int_equal(f->type, PACKET_STATUS);
	assert_int_equal(stat("secret", &after), 0);
	assert_memory_equal(&before.st_size, &after.st_size, sizeof(before.st_size));
	assert_int_equal(before.st_mode, after.st_mode);
}

static void nothing_outside_is_reached(void **state)
{
	struct fixture *f = *state;
	char absolute[64];
	const char *const paths[] = {"../secret", absolute, "link", "up/secret", "d/../../secret",
		"d/../up/secret", "..", "/", "/etc/passwd", "up/share/../secret", "./../secret"};

	snprintf(absolute, sizeof(absolute), "%s/secret", f->base);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		assert_unreachable(f, paths[i]);
		if (streq(paths[i], "link"))
			continue; /* that is a thing inside */
		ask_mode(f, paths[i], 0777);
		assert_int_not_equal(packet_get_u32(&f->reply), OK);
		ask_path(f, PACKET_LSTAT, paths[i]);
		assert_int_equal(f->type, PACKET_STATUS);
		ask_two(f, "hardlink@openssh.com", PACKET_EXTENDED, paths[i], "stolen");
		assert_int_not_equal(packet_get_u32(&f->reply), OK);
		ask_two(f, "posix-rename@openssh.com", PACKET_EXTENDED, "file", paths[i]);
		assert_int_not_equal(packet_get_u32(&f->reply), OK);
		ask_path(f, PACKET_REMOVE, paths[i]);
		assert_int_not_equal(packet_get_u32(&f->reply), OK);
		ask_path(f, PACKET_MKDIR, paths[i]);
		assert_int_not_equal(packet_get_u32(&f->reply), OK);
	}
	ask_mode(f, "link", 0777); /* a link has no mode; what it leads to must not get one */
	assert_status(f, UNSUPPORTED);
}

/* Exchanges a directory and a link that leads out, until it is killed. */
static pid_t exchange_for_ever(void)
{
	pid_t pid = fork();

	if (pid == 0)
		for (;;)
			renameat2(AT_FDCWD, "share/d", AT_FDCWD, "share/up", RENAME_EXCHANGE);
	assert_true(pid > 0);
	return pid;
}

static void a_directory_that_becomes_a_link_leads_nowhere(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	pid_t pid;
	int reached = 0;

	assert_int_equal(link("share/file", "share/d/secret"), 0);
	pid = exchange_for_ever();
	for (int i = 0; i < 5000; i++) {
		ask_open(f, "d/secret", FOR_READING);
		if (f->type == PACKET_HANDLE) {
			uint64_t handle = get_handle(f);

			reached++;
			ask_read(f, handle, 0, 10);
			assert_memory_equal(f->reply.data + 4, "0123456789", 10);
			ask_handle(f, PACKET_CLOSE, handle);
		}
		ask_mode(f, "d/secret", 0600);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_in_range(reached, 1, 4999);
	assert_int_equal(stat("secret", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
}

static void a_link_and_its_directory_are_themselves(void **state)
{
	struct fixture *f = *state;

	ask_path(f, PACKET_LSTAT, "link");
	assert_int_equal(f->type, PACKET_ATTRS);
	packet_get_u32(&f->reply);
	packet_get_u64(&f->reply);
	packet_get_u64(&f->reply);
	assert_int_equal(packet_get_u32(&f->reply) & S_IFMT, S_IFLNK);
	ask_path(f, PACKET_LSTAT, ".");
	assert_int_equal(f->type, PACKET_ATTRS);
	ask_path(f, PACKET_STAT, "");
	assert_int_equal(f->type, PACKET_ATTRS);
}

static void pipes_and_devices_are_not_opened(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(mkfifo("share/pipe", 0666), 0);
	ask_open(f, "pipe", FOR_READING);
	assert_status(f, DENIED);
	ask_open(f, "pipe", FOR_READING | FOR_WRITING);
	assert_status(f, DENIED);
	ask_size(f, "pipe", 0);
	assert_status(f, DENIED);
	ask_path(f, PACKET_LSTAT, "pipe");
	assert_int_equal(f->type, PACKET_ATTRS);
}

static void what_is_read_only_is_not_changed(void **state)
{
	struct fixture *f = *state;
	uint64_t handle;

	f->server.tree.read_only = true;
	ask_open(f, "file", FOR_WRITING);
	assert_status(f, DENIED);
	ask_open(f, "file", FOR_READING | TRUNCATE);
	assert_status(f, DENIED);
	ask_open(f, "made", FOR_READING | CREATE);
	assert_status(f, DENIED);
	ask_mode(f, "file", 0777);
	assert_status(f, DENIED);
	ask_size(f, "file", 0);
	assert_status(f, DENIED);
	ask_path(f, PACKET_MKDIR, "made");
	assert_status(f, DENIED);
	ask_path(f, PACKET_REMOVE, "file");
	assert_status(f, DENIED);
	ask_two(f, NULL, PACKET_RENAME, "file", "made");
	assert_status(f, DENIED);
	ask_two(f, "posix-rename@openssh.com", PACKET_EXTENDED, "file", "made");
	assert_status(f, DENIED);
	ask_two(f, "hardlink@openssh.com", PACKET_EXTENDED, "file", "made");
	assert_status(f, DENIED);
	ask_two(f, NULL, PACKET_SYMLINK, "file", "made");
	assert_status(f, DENIED);
	ask_open(f, "file", FOR_READING);
	handle = get_handle(f);
	ask_write(f, handle, 0, "x");
	assert_status(f, DENIED);
	ask_read(f, handle, 0, 10);
	assert_int_equal(f->type, PACKET_DATA);
	assert_int_not_equal(access("share/made", F_OK), 0);
}

static void handles_are_of_their_kind(void **state)
{
	struct fixture *f = *state;
	uint64_t file, directory;

	ask_open(f, "file", FOR_READING);
	file = get_handle(f);
	ask_path(f, PACKET_OPENDIR, "d");
	directory = get_handle(f);
	ask_read(f, directory, 0, 10);
	assert_status(f, NO_FILE);
	ask_handle(f, PACKET_READDIR, file);
	assert_status(f, NO_FILE);
	ask_read(f, file, UINT64_MAX - 1, 10);
	assert_status(f, BAD);
	ask_handle(f, PACKET_FSTAT, 12345678);
	assert_status(f, NO_FILE);
	ask_handle(f, PACKET_FSTAT, UINT64_MAX);
	assert_status(f, NO_FILE);
	ask_open(f, "d", FOR_WRITING);
	assert_int_equal(f->type, PACKET_STATUS);
}

static void many_files_are_open_at_once(void **state)
{
	struct fixture *f = *state;

	for (uint64_t i = 0; i < 500; i++) {
		ask_open(f, "file", FOR_READING);
		assert_int_equal(get_handle(f), i);
	}
	ask_handle(f, PACKET_CLOSE, 100);
	ask_open(f, "file", FOR_READING);
	assert_int_equal(get_handle(f), 100);
}

static void what_is_no_request_ends_the_connection(void **state)
{
	struct fixture *f = *state;
	static const uint8_t empty[4] = {0}, endless[4] = {0x7f}, short_id[] = {0, 0, 0, 2, 3, 0};
	static const uint8_t nul[] = {
		0, 0, 0, 12, PACKET_LSTAT, 0, 0, 0, 1, 0, 0, 0, 3, 'a', 0, 'b'};
	static const uint8_t unknown[] = {0, 0, 0, 5, 77, 0, 0, 0, 1};

	buffer_append(&f->in, nul, sizeof(nul));
	ask(f);
	assert_status(f, BAD);
	buffer_append(&f->in, unknown, sizeof(unknown));
	ask(f);
	assert_status(f, UNSUPPORTED);
	buffer_append(&f->in, empty, sizeof(empty));
	assert_int_equal(server_serve(&f->server, &f->in), -EPROTO);
	f->in.len = 0;
	buffer_append(&f->in, endless, sizeof(endless));
	assert_int_equal(server_serve(&f->server, &f->in), -EPROTO);
	f->in.len = 0;
	buffer_append(&f->in, short_id, sizeof(short_id));
	assert_int_equal(server_serve(&f->server, &f->in), -EPROTO);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_is_made_written_and_read),
		TEST(names_are_made_renamed_and_removed),
		TEST(a_directory_is_listed_whole),
		TEST(nothing_outside_is_reached),
		TEST(a_directory_that_becomes_a_link_leads_nowhere),
		TEST(a_link_and_its_directory_are_themselves),
		TEST(pipes_and_devices_are_not_opened),
		TEST(what_is_read_only_is_not_changed),
		TEST(handles_are_of_their_kind),
		TEST(many_files_are_open_at_once),
		TEST(what_is_no_request_ends_the_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
