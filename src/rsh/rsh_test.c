/* What two VMs of a job tell each other, and what a VM is told of its job. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "rsh/link.h"
#include "rsh/siphash.h"

#include <cmocka.h>

/* Source: the vectors of the reference implementation (key and text are 00 01 02 ...). */
static void siphash_is_that_of_its_authors(void **state)
{
	static const struct {
		size_t length;
		uint8_t digest[SIPHASH_SIZE];
	} vectors[] = {
		{0, {0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7,
			    0x55, 0x02, 0x93}},
		{1, {0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b,
			    0x22, 0xfc, 0x45}},
	};
	uint8_t key[SIPHASH_SIZE], digest[SIPHASH_SIZE];

	for (size_t i = 0; i < SIPHASH_SIZE; i++)
		key[i] = (uint8_t)i;
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		siphash(key, key, vectors[i].length, digest);
		assert_memory_equal(digest, vectors[i].digest, SIPHASH_SIZE);
	}
}

static void job_s_vms_are_found_by_name_and_address(void **state)
{
	struct job j = {0};
	struct error err = {0};

	assert_int_equal(
		job_parse(&j, strdup("vm-1 10.210.0.1 2 w1\nvm-2 10.210.0.2 1 w2\n"), &err), 0);
	assert_int_equal(j.count, 2);
	assert_int_equal(job_find(&j, "vm-1")->tasks, 2);
	assert_string_equal(job_find(&j, "10.210.0.2")->node, "w2");
	assert_null(job_find(&j, "vm-3"));
	job_done(&j);
}

static void lists_of_vms_that_make_no_sense_are_refused(void **state)
{
	static const char *const texts[] = {"", "\n", "vm-1\n", "vm-1 10.0.0.1 2\n",
		"vm-1 10.0.0.256 2 w1\n", "vm-1 10.0.0.1 two w1\n", "vm-1 10.0.0.1 2 w1 more\n",
		"vm-1 10.0.0.1 2 w1\nvm-2\n", "vm-1 10.0.0.1 99999999999 w1\n"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct job j = {0};
		struct error err = {0};

		assert_true(job_parse(&j, strdup(texts[i]), &err) < 0);
		job_done(&j);
	}
}

/* A server in a child, which answers one connection; what it makes of it is its exit status. */
static pid_t serve_one(const char *address, uint8_t first_byte_of_key)
{
	struct job j = {.key = {first_byte_of_key}};
	struct error err = {0};
	int listener = link_listen(address, &err);
	pid_t pid;

	assert_true(listener >= 0);
	pid = fork();
	if (pid == 0) {
		struct packet p;
		int fd;

		while ((fd = link_accept(&j, listener)) == -EAGAIN)
			usleep(1000);
		if (fd < 0)
			_exit(fd == -EKEYREJECTED || fd == -ECONNRESET ? 2 : 3);
		if (link_recv(fd, &p) != 1 || p.type != PACKET_COMMAND || p.length != 5)
			_exit(4);
		_exit(link_send(fd, PACKET_EXIT, "x", 1) == 0 ? 0 : 5);
	}
	close(listener);
	return pid;
}

/* One that no run before this has used a minute ago. */
static const char *address_of(int number)
{
	static char text[32];
	const int pid = getpid();

	snprintf(text, sizeof(text), "127.%d.%d.%d", 1 + pid / 250 % 250, 1 + pid % 250, number);
	return text;
}

static int status_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}

static void ends_with_one_key_understand_each_other(void **state)
{
	pid_t pid = serve_one(address_of(1), 7);
	struct job j = {.key = {7}};
	struct error err = {0};
	struct packet p;
	int fd = link_connect(&j, address_of(1), 5000, &err);

	assert_true(fd >= 0);
	assert_int_equal(link_send(fd, PACKET_COMMAND, "hello", 5), 0);
	assert_int_equal(link_recv(fd, &p), 1);
	assert_int_equal(p.type, PACKET_EXIT);
	assert_string_equal(p.data, "x");
	free(p.data);
	close(fd);
	assert_int_equal(status_of(pid), 0);
}

static void ends_with_different_keys_do_not(void **state)
{
	pid_t pid = serve_one(address_of(2), 7);
	struct job j = {.key = {8}};
	struct error err = {0};

	assert_int_equal(link_connect(&j, address_of(2), 5000, &err), -EKEYREJECTED);
	assert_non_null(strstr(err.text, "does not have this job's key"));
	assert_int_equal(status_of(pid), 2);
}

/* Begins when `go` ends, tries, and keeps what it has until `end` ends. */
static void try_to_listen(const char *address, int go, int tried, int end)
{
	struct error err = {0};
	char byte;
	int fd;

	if (read(go, &byte, 1) != 0)
		_exit(2);
	fd = link_listen(address, &err);
	if (write(tried, "x", 1) != 1 || read(end, &byte, 1) != 0)
		_exit(2);
	_exit(fd >= 0);
}

/* As tasks of one VM do they begin at the same time. */
static void one_of_many_listens(void **state)
{
	enum { CHILDREN = 8, ROUNDS = 20 };

	for (int round = 0; round < ROUNDS; round++) {
		const char *address = address_of(10 + round);
		int go[2], tried[2], end[2], listening = 0;
		pid_t pids[CHILDREN];
		char byte;

		assert_true(pipe(go) == 0 && pipe(tried) == 0 && pipe(end) == 0);
		for (int i = 0; i < CHILDREN; i++) {
			pids[i] = fork();
			if (pids[i] == 0) {
				close(go[1]);
				close(end[1]);
				try_to_listen(address, go[0], tried[1], end[0]);
			}
		}
		close(go[0]);
		close(go[1]); /* which all wait for */
		for (int i = 0; i < CHILDREN; i++)
			assert_int_equal(read(tried[0], &byte, 1), 1);
		close(end[0]);
		close(end[1]);
		for (int i = 0; i < CHILDREN; i++)
			listening += status_of(pids[i]);
		assert_int_equal(listening, 1);
		close(tried[0]);
		close(tried[1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(siphash_is_that_of_its_authors),
		cmocka_unit_test(job_s_vms_are_found_by_name_and_address),
		cmocka_unit_test(lists_of_vms_that_make_no_sense_are_refused),
		cmocka_unit_test(ends_with_one_key_understand_each_other),
		cmocka_unit_test(ends_with_different_keys_do_not),
		cmocka_unit_test(one_of_many_listens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
