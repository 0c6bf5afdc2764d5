#include "vm/template_sample_test.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "lib/file.h"
#include "lib/path.h"

#define HOUR 3600

static uint64_t now(void)
{
	return (uint64_t)time(NULL);
}

/* A path below the directory of a template, valid until the next call. */
static const char *file_of(const char *key, const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), SAMPLE_DIRECTORY "/%s/%s", key, name);
	return path;
}

static const char *directory_of(const char *key)
{
	static char path[256];

	snprintf(path, sizeof(path), SAMPLE_DIRECTORY "/%s", key);
	return path;
}

static void make(char digit, uint64_t created, unsigned used_kib)
{
	struct error err = {0};

	if (sample_make(sample_key(digit), created, used_kib, &err) < 0)
		fail_msg("%s", err.text);
}

static void assert_open_says(const char *key, int expected, const char *words)
{
	struct template *t AUTO(template_closep) = NULL;
	struct error err = {0};

	assert_int_equal(template_open(SAMPLE_DIRECTORY, key, &t, &err), expected);
	assert_int_equal(err.code, expected);
	if (!strstr(err.text, words))
		fail_msg("'%s' does not say '%s'", err.text, words);
}

/* Times of change have the kernel's tick as their unit: what happens within one leaves no trace. */
static void pass_a_tick(void)
{
	const struct timespec tick = {.tv_nsec = 20000000};

	nanosleep(&tick, NULL);
}

static void opened_template_is_what_was_made(void **state)
{
	struct template_info made = sample_info();
	struct template *t AUTO(template_closep) = NULL;

	make('a', made.created, 8);
	t = sample_open(sample_key('a'));
	assert_true(sample_is_whole(t));
	assert_string_equal(t->info.key, sample_key('a'));
	assert_string_equal(t->info.image_name, made.image_name);
	assert_string_equal(t->info.image_tag, made.image_tag);
	assert_string_equal(t->info.image_digest, made.image_digest);
	assert_string_equal(t->info.accel, made.accel);
	assert_string_equal(t->info.cpu_model, made.cpu_model);
	assert_string_equal(t->info.qemu_version, made.qemu_version);
	assert_string_equal(t->info.qemu_digest, made.qemu_digest);
	assert_string_equal(t->info.agent_version, made.agent_version);
	assert_string_equal(t->info.devices, made.devices);
	assert_int_equal(t->info.cpus, 2);
	assert_int_equal(t->info.memory_mib, SAMPLE_MIB);
	assert_int_equal(t->info.shares, 4);
	assert_int_equal(t->info.created, made.created);
	assert_int_equal(t->info.boot_us, 1500000);
	assert_int_equal(t->info.uses, 0);
	assert_int_equal(t->info.last_used, 0);
	assert_string_equal(t->info.damaged, "");
}

static void descriptors_are_as_qemu_needs_them_and_not_inherited(void **state)
{
	struct template *t AUTO(template_closep) = NULL;

	make('a', now(), 8);
	t = sample_open(sample_key('a'));
	assert_int_equal(fcntl(t->memory_fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDWR);
	assert_int_equal(fcntl(t->state_fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDONLY);
	assert_int_equal(fcntl(t->overlay_fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDONLY);
	assert_true(fcntl(t->memory_fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(t->state_fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(t->overlay_fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(t->lock_fd, F_GETFD) & FD_CLOEXEC);
}

static void nobody_else_can_read_a_template(void **state)
{
	struct stat st;

	make('a', now(), 8);
	assert_int_equal(stat(SAMPLE_DIRECTORY, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(stat(directory_of(sample_key('a')), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(stat(file_of(sample_key('a'), "memory"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void memory_that_is_zero_takes_no_room(void **state)
{
	struct template_making *m AUTO(template_make_freep) = NULL;
	struct error err = {0};
	struct template *t AUTO(template_closep) = NULL;
	struct template_info info = sample_info();
	static const char zeros[1 << 20];

	assert_int_equal(
		template_make_start(SAMPLE_DIRECTORY, sample_key('a'), false, &m, &err), 0);
	assert_int_equal(err.code, 0); /* else the reason of a later failure would be lost */
	assert_int_equal(sample_fill(m, 8), 0);
	assert_int_equal(pwrite(m->memory_fd, zeros, sizeof(zeros), 1 << 20), sizeof(zeros));
	assert_int_equal(template_make_commit(m, &info, NULL), 0);
	t = sample_open(sample_key('a'));
	assert_true(t->info.bytes >= 8 * 1024);
	assert_true(t->info.bytes < 256 * 1024);
}

static void missing_template_is_told_apart(void **state)
{
	assert_open_says(sample_key('a'), -ENOENT, SAMPLE_DIRECTORY);
	make('a', now(), 8);
	assert_open_says(sample_key('b'), -ENOENT, "there is no template bbbb");
	assert_open_says("../x", -EINVAL, "not the key");
	assert_open_says("", -EINVAL, "not the key");
}

static void template_that_is_not_committed_leaves_nothing(void **state)
{
	struct template_making *m = NULL;

	assert_int_equal(
		template_make_start(SAMPLE_DIRECTORY, sample_key('a'), false, &m, NULL), 0);
	assert_int_equal(sample_fill(m, 8), 0);
	assert_open_says(sample_key('a'), -ENOENT, "no template");
	template_make_free(m);
	assert_int_equal(sample_count_entries(), 0);
}

static void template_is_made_once(void **state)
{
	struct error err = {0};

	make('a', now(), 8);
	assert_int_equal(sample_make(sample_key('a'), now(), 8, &err), -EEXIST);
	assert_int_equal(sample_count_entries(), 1);
}

static void template_is_of_use_from_its_commit_on(void **state)
{
	struct template_making *m AUTO(template_make_freep) = NULL;
	struct template *t AUTO(template_closep) = NULL;
	struct template_info info = sample_info();

	assert_int_equal(
		template_make_start(SAMPLE_DIRECTORY, sample_key('a'), false, &m, NULL), 0);
	assert_int_equal(sample_fill(m, 8), 0);
	assert_int_equal(template_make_commit(m, &info, NULL), 0);
	t = sample_open(sample_key('a'));
	assert_true(sample_is_whole(t));
}

static void changed_file_of_the_same_size_is_refused(void **state)
{
	static const char *const names[] = {"memory", "state", "overlay"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		autoclose int fd = -1;
		char words[64];

		make('a', now(), 8);
		pass_a_tick();
		fd = open(file_of(sample_key('a'), names[i]), O_RDWR | O_CLOEXEC);
		assert_int_equal(pwrite(fd, "X", 1, 2), 1);
		snprintf(words, sizeof(words), "'%s' was changed", names[i]);
		assert_open_says(sample_key('a'), -EBADMSG, words);
		/* The next turn of the loop replaces it. */
	}
	make('a', now(), 8);
	assert_true(sample_count_entries() == 1);
}

/* Setting the time back does not hide a change. */
static void changed_file_with_its_old_date_is_refused(void **state)
{
	const char *path;
	struct stat st;

	make('a', now(), 8);
	pass_a_tick();
	path = file_of(sample_key('a'), "state");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(
		utimensat(AT_FDCWD, path, (struct timespec[]){st.st_atim, st.st_mtim}, 0), 0);
	assert_open_says(sample_key('a'), -EBADMSG, "'state' was changed");
}

static void cut_copied_or_missing_file_is_refused(void **state)
{
	autofree char *text = NULL;
	const char *path;
	size_t length;

	make('a', now(), 8);
	assert_int_equal(truncate(file_of(sample_key('a'), "memory"), 4096), 0);
	assert_open_says(sample_key('a'), -EBADMSG, "'memory' was changed");
	make('a', now(), 8);
	path = file_of(sample_key('a'), "state");
	assert_int_equal(file_read(AT_FDCWD, path, 100, &text, &length), 0);
	assert_int_equal(file_replace(AT_FDCWD, path, text, length, 0600), 0);
	assert_open_says(sample_key('a'), -EBADMSG, "'state' was changed");
	make('a', now(), 8);
	assert_int_equal(unlink(file_of(sample_key('a'), "overlay")), 0);
	assert_open_says(sample_key('a'), -EBADMSG, "'overlay' cannot be opened: No such file");
	make('a', now(), 8);
	assert_int_equal(unlink(file_of(sample_key('a'), "template.json")), 0);
	assert_open_says(sample_key('a'), -EBADMSG, "'template.json' cannot be opened");
}

/* A link, a pipe nobody writes to, a directory, a file instead of the whole template. */
static void what_is_no_file_is_refused_without_waiting(void **state)
{
	const char *path;

	make('a', now(), 8);
	path = file_of(sample_key('a'), "state");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_open_says(sample_key('a'), -EBADMSG, "'state' cannot be opened");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_open_says(sample_key('a'), -EBADMSG, "'state' is not a file");
	make('a', now(), 8);
	path = file_of(sample_key('a'), "template.json");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_open_says(sample_key('a'), -EBADMSG, "'template.json' is not a file");
	assert_int_equal(file_remove_tree(AT_FDCWD, directory_of(sample_key('a'))), 0);
	assert_int_equal(symlink("/etc", directory_of(sample_key('a'))), 0);
	assert_open_says(sample_key('a'), -EBADMSG, "not a directory");
	make('a', now(), 8);
	assert_int_equal(sample_count_entries(), 1);
}

/* Puts `new` for `old` in a template.json. */
static void edit_record(const char *key, const char *old, const char *new)
{
	autofree char *text = NULL, *edited = NULL;
	const char *path = file_of(key, "template.json");
	char *place;

	assert_int_equal(file_read(AT_FDCWD, path, 65536, &text, NULL), 0);
	place = strstr(text, old);
	if (!place)
		fail_msg("no '%s' in %s", old, text);
	*place = '\0';
	edited = path_format("%s%s%s", text, new, place + strlen(old));
	assert_int_equal(file_replace(AT_FDCWD, path, edited, strlen(edited), 0600), 0);
}

static void description_is_parsed_as_if_hostile(void **state)
{
	static const struct {
		const char *old, *new, *words;
	} edits[] = {
		{"{", "[", "not JSON"},
		{"\"cpus\": 2", "\"cpus\": 0", "'cpus' is not a number"},
		{"\"cpus\": 2", "\"cpus\": -1", "'cpus' is not a number"},
		{"\"cpus\": 2", "\"cpus\": \"2\"", "'cpus' is not a number"},
		{"\"cpus\": 2", "\"cpus\": 2, \"cpus\": 2", "not JSON"},
		{"\"cpus\": 2,", "", "'cpus' is not a number"},
		{"\"memory_mib\": 4", "\"memory_mib\": 8", "memory is not of 8 MiB"},
		{"\"memory_mib\": 4", "\"memory_mib\": 9223372036854775807", "'memory_mib'"},
		{"\"memory_mib\": 4", "\"memory_mib\": 4.0", "'memory_mib'"},
		{"\"shares\": 4", "\"shares\": 100000", "'shares'"},
		{"\"debian\"", "\"de\\u001b[2Jbian\"", "'image_name'"},
		{"\"debian\"", "\"d\\u00e9bian\"", "'image_name'"},
		{"\"debian\"", "null", "'image_name'"},
		{"\"image_digest\": \"1111", "\"image_digest\": \"XXXX", "'image_digest'"},
		{"\"key\": \"aaaa", "\"key\": \"bbbb", "of another key"},
		{"\"files\": {", "\"files\": [], \"x\": {", "no stamp of the file 'memory'"},
		{"\"state\": \"", "\"state\": \"1", "'state' was changed"},
		{"\"overlay\"", "\"other\"", "no stamp of the file 'overlay'"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(edits); i++) {
		make('a', now(), 8);
		edit_record(sample_key('a'), edits[i].old, edits[i].new);
		assert_open_says(sample_key('a'), -EBADMSG, edits[i].words);
		assert_open_says(sample_key('a'), -EBADMSG, "the template aaaaaaaaaaaa is damaged");
	}
}

static void description_of_a_later_version_is_understood(void **state)
{
	struct template *t AUTO(template_closep) = NULL;

	make('a', now(), 8);
	edit_record(sample_key('a'), "{", "{\"colour\": {\"of\": [1, 2]},");
	t = sample_open(sample_key('a'));
	assert_int_equal(t->info.cpus, 2);
}

static void huge_description_is_refused(void **state)
{
	autofree char *blanks = malloc(1 << 20);

	assert_non_null(blanks);
	memset(blanks, ' ', 1 << 20);
	blanks[(1 << 20) - 1] = '\0';
	make('a', now(), 8);
	edit_record(sample_key('a'), "{", blanks);
	assert_open_says(sample_key('a'), -EBADMSG, "larger than");
}

static void directory_that_others_can_write_to_is_not_used(void **state)
{
	struct template_making *m = NULL;

	make('a', now(), 8);
	assert_int_equal(chmod(SAMPLE_DIRECTORY, 0770), 0);
	assert_open_says(sample_key('a'), -EPERM, "only you can write to");
	assert_int_equal(
		template_make_start(SAMPLE_DIRECTORY, sample_key('b'), false, &m, NULL), -EPERM);
	assert_int_equal(chmod(SAMPLE_DIRECTORY, 0700), 0);
	assert_int_equal(chmod(directory_of(sample_key('a')), 0777), 0);
	assert_open_says(sample_key('a'), -EBADMSG, "others can write");
}

static void what_could_not_be_opened_is_not_committed(void **state)
{
	struct template_info bad[5];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		bad[i] = sample_info();
	bad[0].memory_mib = SAMPLE_MIB + 1;
	bad[1].cpus = 0;
	strcpy(bad[2].image_name, "a\033b");
	strcpy(bad[3].qemu_digest, "unknown");
	bad[4].created = UINT64_MAX;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct template_making *m AUTO(template_make_freep) = NULL;
		struct error err = {0};

		assert_int_equal(
			template_make_start(SAMPLE_DIRECTORY, sample_key('a'), false, &m, NULL), 0);
		assert_int_equal(sample_fill(m, 8), 0);
		assert_int_equal(template_make_commit(m, &bad[i], &err), -EINVAL);
		assert_true(err.text[0]);
	}
	assert_int_equal(sample_count_entries(), 0);
}

static void template_without_a_state_is_not_committed(void **state)
{
	struct template_making *m AUTO(template_make_freep) = NULL;
	struct template_info info = sample_info();

	assert_int_equal(
		template_make_start(SAMPLE_DIRECTORY, sample_key('a'), false, &m, NULL), 0);
	assert_int_equal(sample_fill(m, 8), 0);
	assert_int_equal(ftruncate(m->state_fd, 0), 0);
	assert_int_equal(template_make_commit(m, &info, NULL), -EINVAL);
	assert_int_equal(template_make_resize(m, UINT64_MAX, NULL), -EFBIG);
}

/* The cache was removed under a maker, and another one is at work now: it is left alone. */
static void maker_whose_directory_is_gone_gives_up(void **state)
{
	struct template_making *m = NULL, *other = NULL;
	struct template_info info = sample_info();

	assert_int_equal(
		template_make_start(SAMPLE_DIRECTORY, sample_key('a'), false, &m, NULL), 0);
	assert_int_equal(sample_fill(m, 8), 0);
	assert_int_equal(file_remove_tree(AT_FDCWD, SAMPLE_DIRECTORY "/"), 0);
	assert_int_equal(
		template_make_start(SAMPLE_DIRECTORY, sample_key('a'), false, &other, NULL), 0);
	assert_int_equal(sample_fill(other, 8), 0);
	assert_true(template_make_commit(m, &info, NULL) < 0);
	template_make_free(m);
	assert_int_equal(template_make_commit(other, &info, NULL), 0);
	template_make_free(other);
	assert_int_equal(sample_count_entries(), 1);
}

static void uses_are_counted(void **state)
{
	struct template *t AUTO(template_closep) = NULL;
	struct template *again AUTO(template_closep) = NULL;

	make('a', now() - HOUR, 8);
	t = sample_open(sample_key('a'));
	for (uint64_t i = 1; i <= 3; i++)
		assert_int_equal(template_record_use(t, i * 1000), 0);
	again = sample_open(sample_key('a'));
	assert_int_equal(again->info.uses, 3);
	assert_int_equal(again->info.last_start_us, 3000);
	assert_true(now() - again->info.last_used <= 5);
}

static void uses_of_processes_at_once_are_all_counted(void **state)
{
	struct template *t AUTO(template_closep) = NULL;
	pid_t pids[4];

	make('a', now(), 8);
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0) {
			t = sample_open(sample_key('a'));
			for (int n = 0; n < 500; n++)
				if (template_record_use(t, 1) < 0)
					_exit(1);
			_exit(0);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		int status;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	t = sample_open(sample_key('a'));
	assert_int_equal(t->info.uses, 2000);
}

static void usage_that_makes_no_sense_is_forgotten(void **state)
{
	static const char *const texts[] = {"", "7", "-0000000000000000001 00000000000000000002 3",
		"99999999999999999999 00000000000000000002 00000000000000000003\n",
		"18446744073709551615 00000000000000000002 00000000000000000003\n"};

	make('a', now(), 8);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct template *t AUTO(template_closep) = NULL;

		assert_int_equal(file_replace(AT_FDCWD, file_of(sample_key('a'), "usage"), texts[i],
					 strlen(texts[i]), 0600),
			0);
		t = sample_open(sample_key('a'));
		assert_int_equal(t->info.uses, 0);
		assert_int_equal(t->info.last_used, 0);
		assert_int_equal(template_record_use(t, 1), 0);
	}
}

static void dates_in_the_future_are_taken_for_now(void **state)
{
	struct template *t AUTO(template_closep) = NULL;
	static const char usage[] =
		"00000000000000000001 00000099999999999999 00000000000000000003\n";

	make('a', now() + 100 * HOUR, 8);
	assert_int_equal(file_replace(AT_FDCWD, file_of(sample_key('a'), "usage"), usage,
				 strlen(usage), 0600),
		0);
	t = sample_open(sample_key('a'));
	assert_true(t->info.created <= now());
	assert_true(t->info.last_used <= now());
	assert_int_equal(t->info.uses, 1);
}

/* Runs `child` in a process of its own; returns its exit status. */
static int run_child(int (*child)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(child());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int make_with_small_files(void)
{
	const struct rlimit limit = {.rlim_cur = 16384, .rlim_max = 16384};
	struct error err = {0};

	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
	return sample_make(sample_key('a'), 1, 1024, &err) == -EFBIG ? 0 : 1;
}

static void template_that_is_too_large_leaves_nothing(void **state)
{
	assert_int_equal(run_child(make_with_small_files), 0);
	assert_int_equal(sample_count_entries(), 0);
}

/* Returns 77 where a file system cannot be mounted. */
static int make_on_full_disk(void)
{
	struct error err = {0};
	int r;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mkdir(SAMPLE_DIRECTORY, 0700) < 0 ||
		mount("none", SAMPLE_DIRECTORY, "tmpfs", 0, "size=1m,mode=0700") < 0)
		return 77;
	r = sample_make(sample_key('a'), 1, 2048, &err);
	if (r != -ENOSPC || sample_count_entries() != 0)
		return 1;
	/* To full disks belongs that what fits is made, and what is there can be removed. */
	if (sample_make(sample_key('b'), 1, 512, &err) < 0 ||
		sample_make(sample_key('c'), 1, 1024, &err) != -ENOSPC ||
		template_remove(SAMPLE_DIRECTORY, sample_key('b'), &err) < 0)
		return 2;
	return sample_count_entries() == 0 ? 0 : 3;
}

static void full_disk_leaves_nothing(void **state)
{
	int status = run_child(make_on_full_disk);

	if (status == 77)
		skip();
	assert_int_equal(status, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, sample_setup, sample_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(opened_template_is_what_was_made),
		TEST(descriptors_are_as_qemu_needs_them_and_not_inherited),
		TEST(nobody_else_can_read_a_template),
		TEST(memory_that_is_zero_takes_no_room),
		TEST(missing_template_is_told_apart),
		TEST(template_that_is_not_committed_leaves_nothing),
		TEST(template_is_made_once),
		TEST(template_is_of_use_from_its_commit_on),
		TEST(changed_file_of_the_same_size_is_refused),
		TEST(changed_file_with_its_old_date_is_refused),
		TEST(cut_copied_or_missing_file_is_refused),
		TEST(what_is_no_file_is_refused_without_waiting),
		TEST(description_is_parsed_as_if_hostile),
		TEST(description_of_a_later_version_is_understood),
		TEST(huge_description_is_refused),
		TEST(directory_that_others_can_write_to_is_not_used),
		TEST(what_could_not_be_opened_is_not_committed),
		TEST(template_without_a_state_is_not_committed),
		TEST(maker_whose_directory_is_gone_gives_up),
		TEST(uses_are_counted),
		TEST(uses_of_processes_at_once_are_all_counted),
		TEST(usage_that_makes_no_sense_is_forgotten),
		TEST(dates_in_the_future_are_taken_for_now),
		TEST(template_that_is_too_large_leaves_nothing),
		TEST(full_disk_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
