/* Who a VM is, in a temporary root file system. */
#include "guest/identity.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "guest/disk.h"
#include "guest/host_test.h"

/* After our own headers: it defines a macro of the name fail. */
#include <cmocka.h>

#define KEY \
	"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END OPENSSH PRIVATE KEY-----\n"
#define PUBLIC_KEY "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 vm"

#define ID_1 "0123456789abcdef0123456789abcdef"
#define ID_2 "fedcba9876543210fedcba9876543210"

#define BOOT_1 "11111111-2222-3333-4444-55555555aaaa"
#define BOOT_2 "66666666-7777-8888-9999-00000000bbbb"

static char root[64];

static int setup(void **state)
{
	char path[128];

	strcpy(root, "/tmp/wnodes-identity-test-XXXXXX");
	assert_non_null(mkdtemp(root));
	snprintf(path, sizeof(path), "%s/etc", root);
	return mkdir(path, 0755);
}

static int teardown(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	return system(command);
}

static const char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s%s", root, name);
	return path;
}

static const char *content(const char *name)
{
	static char text[4096];

	assert_true(disk_read(path_of(name), text, sizeof(text)) >= 0);
	return text;
}

static void put(const char *name, const char *text, mode_t mode)
{
	char path[128];

	snprintf(path, sizeof(path), "%s%s", root, name);
	assert_int_equal(disk_make_parents(path, 0755), 0);
	assert_int_equal(disk_replace(path, text, strlen(text), mode), 0);
}

static mode_t mode_of(const char *name)
{
	struct stat st;

	assert_int_equal(lstat(path_of(name), &st), 0);
	return st.st_mode & 07777;
}

/* As the decoder leaves it: no string is NULL. */
static struct identity identity_empty(void)
{
	return (struct identity){.hostname = "",
		.machine_id = "",
		.hosts = "",
		.boot_id = "",
		.ssh_key = "",
		.ssh_public_key = ""};
}

static void set(const struct identity *x)
{
	struct error err = {0};

	assert_int_equal(identity_set_files(root, x, &err), 0);
}

static void test_files_are_written(void **state)
{
	struct identity x = identity_empty();

	x.hostname = "node7.site";
	x.machine_id = ID_1;
	x.hosts = "127.0.0.1 localhost\n";
	set(&x);
	assert_string_equal(content("/etc/hostname"), "node7.site\n");
	assert_string_equal(content("/etc/machine-id"), ID_1 "\n");
	assert_string_equal(content("/etc/hosts"), "127.0.0.1 localhost\n");
	assert_int_equal(mode_of("/etc/machine-id"), 0444);
}

static void test_empty_strings_leave_a_thing_as_it_is(void **state)
{
	struct identity x = identity_empty();

	put("/etc/hostname", "old\n", 0644);
	put("/etc/ssh/ssh_host_rsa_key", "old\n", 0600);
	set(&x);
	assert_string_equal(content("/etc/hostname"), "old\n");
	assert_string_equal(content("/etc/ssh/ssh_host_rsa_key"), "old\n");
	assert_int_equal(access(path_of("/etc/machine-id"), F_OK), -1);
}

static void test_nothing_of_a_longer_old_file_is_left(void **state)
{
	struct identity x = identity_empty();

	put("/etc/hostname", "a-much-longer-name-of-the-image\n", 0755);
	x.hostname = "short";
	set(&x);
	assert_string_equal(content("/etc/hostname"), "short\n");
	assert_int_equal(mode_of("/etc/hostname"), 0644);
}

/* Images may share files by links, and a link may lead out of the image's own files. */
static void test_files_behind_links_are_not_touched(void **state)
{
	struct identity x = identity_empty();
	char path[128];

	put("/etc/first", "linked\n", 0644);
	strcpy(path, path_of("/etc/first"));
	assert_int_equal(link(path, path_of("/etc/hostname")), 0);
	assert_int_equal(symlink(path, path_of("/etc/hosts")), 0);
	x.hostname = "new";
	x.hosts = "127.0.0.1 new\n";
	set(&x);
	assert_string_equal(content("/etc/first"), "linked\n");
	assert_string_equal(content("/etc/hostname"), "new\n");
	assert_string_equal(content("/etc/hosts"), "127.0.0.1 new\n");
}

static void test_copies_of_the_machine_id_agree(void **state)
{
	struct identity x = identity_empty();

	put("/run/machine-id", ID_1 "\n", 0444);
	put("/var/lib/dbus/machine-id", ID_1 "\n", 0644);
	x.machine_id = ID_2;
	set(&x);
	assert_string_equal(content("/etc/machine-id"), ID_2 "\n");
	assert_string_equal(content("/var/lib/dbus/machine-id"), ID_2 "\n");
	/* Only root may write to a file of mode 0444. */
	if (geteuid() == 0)
		assert_string_equal(content("/run/machine-id"), ID_2 "\n");
}

static void test_no_copy_of_the_machine_id_is_made(void **state)
{
	struct identity x = identity_empty();

	x.machine_id = ID_1;
	set(&x);
	assert_int_equal(access(path_of("/run/machine-id"), F_OK), -1);
	assert_int_equal(access(path_of("/var"), F_OK), -1);
}

static void test_ssh_key_is_the_only_one_left(void **state)
{
	static const char *const others[] = {"/etc/ssh/ssh_host_rsa_key",
		"/etc/ssh/ssh_host_rsa_key.pub", "/etc/ssh/ssh_host_ecdsa_key"};
	struct identity x = identity_empty();

	put("/etc/ssh/sshd_config", "Port 22\n", 0644);
	put("/etc/ssh/ssh_host_ed25519_key", "the template's\n", 0644);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		put(others[i], "the template's\n", 0600);
	x.ssh_key = KEY;
	x.ssh_public_key = PUBLIC_KEY;
	set(&x);
	assert_string_equal(content("/etc/ssh/ssh_host_ed25519_key"), KEY);
	assert_string_equal(content("/etc/ssh/ssh_host_ed25519_key.pub"), PUBLIC_KEY "\n");
	assert_int_equal(mode_of("/etc/ssh/ssh_host_ed25519_key"), 0600);
	assert_int_equal(mode_of("/etc/ssh/ssh_host_ed25519_key.pub"), 0644);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_int_equal(access(path_of(others[i]), F_OK), -1);
	assert_string_equal(content("/etc/ssh/sshd_config"), "Port 22\n");
}

static void test_guest_without_ssh_gets_no_key(void **state)
{
	struct identity x = identity_empty();

	x.ssh_key = KEY;
	x.ssh_public_key = PUBLIC_KEY;
	set(&x);
	assert_int_equal(access(path_of("/etc/ssh"), F_OK), -1);
}

static void test_what_is_none_is_refused(void **state)
{
	static const struct {
		const char *hostname, *machine_id, *hosts, *boot_id, *key, *public_key;
	} bad[] = {
		{"a b", "", "", "", "", ""},
		{"a\nb", "", "", "", "", ""},
		{"-a", "", "", "", "", ""},
		{"", "0123", "", "", "", ""},
		{"", "0123456789ABCDEF0123456789ABCDEF", "", "", "", ""},
		{"", "", "no line end", "", "", ""},
		{"", "", "", "1111", "", ""},
		{"", "", "", "11111111-2222-3333-4444-55555555aaa\n", "", ""},
		{"", "", "", "11111111022220333304444055555555aaaa", "", ""},
		{"", "", "", "", KEY, ""},
		{"", "", "", "", "", PUBLIC_KEY},
		{"", "", "", "", "no key\n", PUBLIC_KEY},
		{"", "", "", "", KEY, PUBLIC_KEY "\nssh-rsa AAAA"},
	};
	struct error err = {0};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct identity x = {.hostname = bad[i].hostname,
			.machine_id = bad[i].machine_id,
			.hosts = bad[i].hosts,
			.boot_id = bad[i].boot_id,
			.ssh_key = bad[i].key,
			.ssh_public_key = bad[i].public_key};
		assert_int_equal(identity_set_files(root, &x, &err), -EINVAL);
	}
}

static void test_rehearsal_keeps_what_is_there_and_makes_the_rest(void **state)
{
	put("/etc/hostname", "mine\n", 0755);
	put("/etc/machine-id", "", 0444);
	identity_rehearse(root);
	assert_string_equal(content("/etc/hostname"), "mine\n");
	/* As systemd wants to see it where an image is to get one at its first boot. */
	assert_string_equal(content("/etc/machine-id"), "uninitialized\n");
	assert_string_equal(content("/etc/hosts"), "127.0.0.1 localhost\n");
	assert_int_equal(access(path_of("/etc/ssh"), F_OK), -1);
}

/* Runs in a child with file systems of its own. */
static void boot_id_is_covered(void)
{
	char over[128], file[128];

	put("/over", "the kernel's\n", 0444);
	strcpy(over, path_of("/over"));
	strcpy(file, path_of("/boot-id"));
	assert_int_equal(boot_id_set(file, over, BOOT_1), 0);
	assert_string_equal(content("/over"), BOOT_1 "\n");
	assert_int_equal(mode_of("/over"), 0444);
	assert_int_equal(boot_id_set(file, over, BOOT_2), 0);
	assert_string_equal(content("/over"), BOOT_2 "\n");
}

static void test_boot_id_lies_over_the_kernels(void **state)
{
	if (!host_in_namespace(boot_id_is_covered))
		skip();
	/* And it was a mount: the file itself is as it was. */
	assert_string_equal(content("/over"), "the kernel's\n");
}

static void test_boot_id_that_cannot_be_set_is_tried_again(void **state)
{
	char file[128];

	strcpy(file, path_of("/boot-id"));
	assert_int_not_equal(boot_id_set(file, path_of("/missing"), BOOT_1), 0);
	/* Else the next call would take the file for one that lies where it should. */
	assert_int_equal(access(file, F_OK), -1);
}

/* Starts a process of that name that waits for a signal. */
static pid_t process_named(const char *name)
{
	int fds[2];
	pid_t pid;
	char byte;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGHUP, SIG_DFL);
		prctl(PR_SET_NAME, name);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(fds[0]);
		close(fds[1]);
		alarm(20);
		for (;;)
			pause();
	}
	/* Its ends are closed after it has got its name. */
	close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 0);
	close(fds[0]);
	return pid;
}

/* Writes the pid file, restarts the server, and returns the signal that ended the process. */
static int signal_of_restart(const char *name)
{
	pid_t pid = process_named(name);
	char text[32];
	int status;

	snprintf(text, sizeof(text), "%d\n", (int)pid);
	put("/run/sshd.pid", text, 0644);
	ssh_restart(root);
	/* Comes second, so it is what ends a process that got none before. */
	usleep(50000);
	kill(pid, SIGTERM);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	return WTERMSIG(status);
}

static void test_ssh_server_reads_its_new_key(void **state)
{
	assert_int_equal(signal_of_restart("sshd"), SIGHUP);
}

static void test_process_with_the_number_of_an_old_server_is_left(void **state)
{
	assert_int_equal(signal_of_restart("precious"), SIGTERM);
	put("/run/sshd.pid", "-1\n", 0644);
	ssh_restart(root);
	put("/run/sshd.pid", "garbage", 0644);
	ssh_restart(root);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_files_are_written),
		TEST(test_empty_strings_leave_a_thing_as_it_is),
		TEST(test_nothing_of_a_longer_old_file_is_left),
		TEST(test_files_behind_links_are_not_touched),
		TEST(test_copies_of_the_machine_id_agree),
		TEST(test_no_copy_of_the_machine_id_is_made),
		TEST(test_ssh_key_is_the_only_one_left),
		TEST(test_guest_without_ssh_gets_no_key),
		TEST(test_what_is_none_is_refused),
		TEST(test_rehearsal_keeps_what_is_there_and_makes_the_rest),
		TEST(test_ssh_server_reads_its_new_key),
		TEST(test_process_with_the_number_of_an_old_server_is_left),
		TEST(test_boot_id_lies_over_the_kernels),
		TEST(test_boot_id_that_cannot_be_set_is_tried_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
