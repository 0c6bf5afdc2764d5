/* The plugin's hooks, walked through without Slurm. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <slurm/slurm.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/exit.h"
#include "lib/strv.h"
#include "lrms/slurm/plugin/loader_test.h"

#include <cmocka.h>

#define HANDED_DOWN "SLURM_SPANK__SLURM_SPANK_OPTION_wnodes_"

extern char **environ;

/* A stand-in of the job starter: prints what it gets. */
static const char starter_text[] =
	"#!/bin/sh\n"
	"for word; do printf '<%s>' \"$word\"; done\n"
	"echo; env | grep -E '^(MINE|SLURM_RLIMIT)'; ulimit -S -n; exit 7\n";

static char starter[] = "/tmp/plugin-test.XXXXXX";
static char bait[sizeof(starter) + 8];

static int setup(void **state)
{
	int fd;

	strcpy(starter + sizeof(starter) - 7, "XXXXXX");
	fd = mkstemp(starter);
	if (fd < 0 || write(fd, starter_text, sizeof(starter_text) - 1) < 0 || fchmod(fd, 0755) < 0)
		return -1;
	close(fd);
	snprintf(bait, sizeof(bait), "bait=%s", starter);
	return 0;
}

static int teardown(void **state)
{
	loader_close();
	for (char **entry = environ; *entry;) {
		autofree char *name = strndup(*entry, strcspn(*entry, "="));

		if (str_after(*entry, "SLURM_"))
			unsetenv(name);
		else
			entry++;
	}
	return unlink(starter);
}

static void load(spank_context_t context, const char *argument)
{
	char *arguments[] = {(char *)(uintptr_t)argument, NULL};

	loader_open(context);
	assert_int_equal(loader.init(NULL, argument ? 1 : 0, arguments), 0);
}

static void assert_said(const char *text)
{
	if (!strstr(loader.messages, text))
		fail_msg("'%s' is not in: %s", text, loader.messages);
}

/* Runs a hook in a child; what it prints goes to `ret`. Returns its exit status, or 0 where the
 * hook returned 0, and 1000 where it returned another value. */
static int run_hook(spank_f *hook, char *ret, size_t size)
{
	int streams[2], status;
	size_t used = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(streams), 0);
	pid = fork();
	if (pid == 0) {
		dup2(streams[1], STDOUT_FILENO);
		dup2(streams[1], STDERR_FILENO);
		close(streams[0]);
		close(streams[1]);
		_exit(hook(NULL, 0, NULL) == 0 ? 0 : 99);
	}
	close(streams[1]);
	while ((n = read(streams[0], ret + used, size - 1 - used)) > 0)
		used += (size_t)n;
	ret[used] = '\0';
	close(streams[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status) == 99 ? 1000 : WEXITSTATUS(status);
}

static void every_option_is_registered_with_its_text(void **state)
{
	static const char *const names[] = {"vm-image", "vm-cpus", "vm-memory", "vm-mount",
		"vm-volume", "vm-root", "vm-network", "vm-scratch", "vm-start", "vm-env",
		"vm-workdir", "vm-mpi"};

	load(S_CTX_ALLOCATOR, NULL);
	assert_int_equal(loader.option_count, ARRAY_SIZE(names));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_string_equal(loader.options[i].name, names[i]);
		assert_true(strlen(loader.options[i].usage) > 20);
		assert_int_equal(loader.options[i].has_arg, 1);
	}
	assert_string_equal(loader.messages, "");
}

static void slurmd_gets_no_options(void **state)
{
	load(S_CTX_SLURMD, NULL);
	assert_int_equal(loader.option_count, 0);
	assert_int_equal(loader.init_post_opt(NULL, 0, NULL), 0);
	assert_string_equal(loader.messages, "");
}

static void good_values_are_taken(void **state)
{
	static const char *const good[][2] = {{"vm-image", "el9"}, {"vm-image", "el9:2026-11"},
		{"vm-image", "none"}, {"vm-cpus", "1"}, {"vm-cpus", "256"}, {"vm-memory", "16M"},
		{"vm-memory", "1.5G"}, {"vm-mount", "/data"}, {"vm-mount", "data:/mnt:ro"},
		{"vm-mount", "none"}, {"vm-volume", "data"}, {"vm-volume", "ann/data:/d:ro"},
		{"vm-root", "lvm"}, {"vm-network", "none"}, {"vm-network", "user"},
		{"vm-scratch", "0"}, {"vm-scratch", "10G"}, {"vm-start", "clone"}, {"vm-env", "A"},
		{"vm-env", "A=b=c"}, {"vm-env", "OMP_*"}, {"vm-workdir", "/tmp"},
		{"vm-mpi", "mpirun --bind-to none"}, {"vm-mpi", "first"}, {"vm-workdir", "sub"}};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		load(S_CTX_LOCAL, NULL);
		if (loader_set_option(good[i][0], good[i][1], 0) != 0)
			fail_msg("--%s=%s: %s", good[i][0], good[i][1], loader.messages);
	}
}

static void bad_values_are_refused_with_a_sentence(void **state)
{
	static const char *const bad[][3] = {{"vm-image", "", "is not an image's name"},
		{"vm-image", "EL9", "is not an image's name"},
		{"vm-image", "../x", "is not an image's name"},
		{"vm-image", "el9:", "is not an image's name"}, {"vm-cpus", "0", "1"},
		{"vm-cpus", "257", "256"}, {"vm-cpus", "two", "two"}, {"vm-cpus", "-1", "-1"},
		{"vm-memory", "lots", "lots"}, {"vm-memory", "1", "16 MiB"},
		{"vm-memory", "65T", "64 TiB"}, {"vm-mount", "", "no directory"},
		{"vm-mount", "/a:b", "no absolute path"},
		{"vm-mount", "/a:/b:/c", "no absolute path"}, {"vm-mount", ":/a", "no directory"},
		{"vm-volume", "", "no volume"}, {"vm-volume", "data:x", "no absolute path"},
		{"vm-root", "disk", "lvm"}, {"vm-network", "../x", "none"},
		{"vm-scratch", "-1", "-1"}, {"vm-start", "now", "clone"}, {"vm-env", "", "no name"},
		{"vm-env", "=x", "no name"}, {"vm-workdir", "", "no directory"}};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		load(S_CTX_LOCAL, NULL);
		if (loader_set_option(bad[i][0], bad[i][1], 0) == 0)
			fail_msg("--%s=%s was taken", bad[i][0], bad[i][1]);
		assert_said("wnodes: --vm-");
		assert_said(bad[i][2]);
	}
}

static void a_value_without_end_is_refused(void **state)
{
	char value[8192];

	memset(value, 'a', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	load(S_CTX_LOCAL, NULL);
	assert_int_not_equal(loader_set_option("vm-workdir", value, 0), 0);
	assert_said("longer than 4096 bytes");
}

static void a_list_has_an_end(void **state)
{
	int i;

	load(S_CTX_LOCAL, NULL);
	for (i = 0; i < 256; i++)
		assert_int_equal(loader_set_option("vm-env", "A=b", 0), 0);
	assert_int_not_equal(loader_set_option("vm-env", "A=b", 0), 0);
	assert_said("more than 256 times");
}

static void an_option_without_an_image_is_refused(void **state)
{
	char said[1024];

	load(S_CTX_ALLOCATOR, NULL);
	assert_int_equal(loader_set_option("vm-memory", "1G", 0), 0);
	assert_int_equal(run_hook(loader.init_post_opt, said, sizeof(said)), 255);
	assert_non_null(strstr(said, "--vm-memory without --vm-image"));
}

static void an_option_without_an_image_is_for_the_policy(void **state)
{
	char said[1024];

	load(S_CTX_ALLOCATOR, "policy=yes");
	assert_int_equal(loader_set_option("vm-memory", "1G", 0), 0);
	assert_int_equal(run_hook(loader.init_post_opt, said, sizeof(said)), 0);
	assert_string_equal(said, "");
}

static void image_none_takes_all_options(void **state)
{
	char said[1024];

	load(S_CTX_LOCAL, NULL);
	assert_int_equal(loader_set_option("vm-cpus", "2", 0), 0);
	assert_int_equal(loader_set_option("vm-image", "none", 0), 0);
	assert_int_equal(run_hook(loader.init_post_opt, said, sizeof(said)), 0);
}

/* What a surrounding job has asked for is no mistake of this one. */
static void an_option_that_is_handed_down_needs_no_image(void **state)
{
	char said[1024];

	setenv(HANDED_DOWN "vm_cpus", "2", 1);
	load(S_CTX_LOCAL, NULL);
	assert_int_equal(loader_set_option("vm-cpus", getenv(HANDED_DOWN "vm_cpus"), 0), 0);
	assert_int_equal(run_hook(loader.init_post_opt, said, sizeof(said)), 0);
	unsetenv(HANDED_DOWN "vm_cpus");
}

static void memory_that_the_job_does_not_ask_for_is_refused(void **state)
{
	static const struct {
		const char *image, *vm, *job;
		int status;
	} cases[] = {
		{"el9", "2G", "1G", 255},
		{"el9", "1G", "1024M", 255}, /* nothing is left for the VM itself */
		{"el9", "1G", "1024", 255},  /* Slurm means MiB */
		{"el9", "1G", "1500", 0},
		{"el9", "1G", "1500M", 0},
		{"el9", "1G", "0", 0},
		{"el9", "1G", "0M", 0}, /* all of a node's */
		{"el9", "1G", "?", 0},
		{"el9", "64T", NULL, 0},
		{"none", "2G", "1G", 0},
	};
	char said[1024];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		load(S_CTX_ALLOCATOR, NULL);
		loader.mem = cases[i].job;
		assert_int_equal(loader_set_option("vm-image", cases[i].image, 0), 0);
		assert_int_equal(loader_set_option("vm-memory", cases[i].vm, 0), 0);
		assert_int_equal(
			run_hook(loader.init_post_opt, said, sizeof(said)), cases[i].status);
		assert_int_equal(
			strstr(said, "does not fit into --mem=") != NULL, cases[i].status == 255);
	}
}

static void repeated_options_travel_in_the_environment(void **state)
{
	load(S_CTX_LOCAL, NULL);
	assert_int_equal(loader_set_option("vm-image", "el9", 0), 0);
	assert_int_equal(loader_set_option("vm-mount", "/a", 0), 0);
	assert_int_equal(loader_set_option("vm-mount", "/b:/c", 0), 0);
	assert_int_equal(loader.init_post_opt(NULL, 0, NULL), 0);
	assert_string_equal(getenv("SLURM_SPANK_WNODES_VM_MOUNT_0"), "/a");
	assert_string_equal(getenv("SLURM_SPANK_WNODES_VM_MOUNT_1"), "/b:/c");
	assert_string_equal(getenv("SLURM_SPANK_WNODES_VM_MOUNT_2"), "");
	assert_string_equal(loader.job_control,
		"WNODES_VM_IMAGE_0=el9\nWNODES_VM_IMAGE_1=\n"
		"WNODES_VM_MOUNT_0=/a\nWNODES_VM_MOUNT_1=/b:/c\nWNODES_VM_MOUNT_2=\n");
}

/* A list that is given replaces the one that is handed down, which ends where it ends. */
static void a_repeated_option_replaces_what_is_handed_down(void **state)
{
	setenv("SLURM_SPANK_WNODES_VM_MOUNT_0", "/outer", 1);
	setenv("SLURM_SPANK_WNODES_VM_MOUNT_1", "/outer2", 1);
	setenv("SLURM_SPANK_WNODES_VM_MOUNT_2", "", 1);
	setenv(HANDED_DOWN "vm_mount", "/outer2", 1);
	load(S_CTX_LOCAL, NULL);
	assert_int_equal(loader_set_option("vm-image", "el9", 0), 0);
	assert_int_equal(loader_set_option("vm-mount", getenv(HANDED_DOWN "vm_mount"), 0), 0);
	assert_int_equal(loader_set_option("vm-mount", "/mine", 0), 0);
	assert_int_equal(loader.init_post_opt(NULL, 0, NULL), 0);
	assert_string_equal(getenv("SLURM_SPANK_WNODES_VM_MOUNT_0"), "/mine");
	assert_string_equal(getenv("SLURM_SPANK_WNODES_VM_MOUNT_1"), "");
	unsetenv(HANDED_DOWN "vm_mount");
}

/* Slurm would take those of the first component, or of the last, for all of them. */
/* sbatch looks into its script before the environment. */
static void what_is_handed_down_never_replaces_what_is_given(void **state)
{
	setenv(HANDED_DOWN "vm_image", "outer", 1);
	setenv(HANDED_DOWN "vm_mount", "/outer", 1);
	load(S_CTX_ALLOCATOR, NULL);
	assert_int_equal(loader_set_option("vm-image", "script", 0), 0);
	assert_int_equal(loader_set_option("vm-mount", "/script", 0), 0);
	assert_int_equal(loader_set_option("vm-image", getenv(HANDED_DOWN "vm_image"), 0), 0);
	assert_int_equal(loader_set_option("vm-mount", getenv(HANDED_DOWN "vm_mount"), 0), 0);
	assert_int_equal(loader.init_post_opt(NULL, 0, NULL), 0);
	assert_string_equal(getenv("SLURM_SPANK_WNODES_VM_IMAGE_0"), "script");
	assert_string_equal(getenv("SLURM_SPANK_WNODES_VM_MOUNT_0"), "/script");
	assert_string_equal(getenv("SLURM_SPANK_WNODES_VM_MOUNT_1"), "");
}

static void components_with_other_options_are_refused(void **state)
{
	static const char *const others[][2] = {
		{"vm-image", "el8"}, {"vm-mount", "/b"}, {"vm-cpus", "2"}};
	char said[1024];

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		load(S_CTX_ALLOCATOR, NULL);
		assert_int_equal(loader_set_option("vm-image", "el9", 0), 0);
		assert_int_equal(loader_set_option("vm-mount", "/a", 0), 0);
		assert_int_equal(loader.init_post_opt(NULL, 0, NULL), 0);
		assert_int_equal(loader_set_option(others[i][0], others[i][1], 0), 0);
		assert_int_equal(run_hook(loader.init_post_opt, said, sizeof(said)), 255);
		assert_non_null(strstr(said, others[i][0]));
		assert_non_null(strstr(said, "share their VM options"));
	}
}

static void components_may_repeat_their_options(void **state)
{
	char said[1024];

	setenv(HANDED_DOWN "vm_image", "outer", 1);
	load(S_CTX_LOCAL, NULL);
	for (int i = 0; i < 2; i++) {
		const char *outer = getenv(HANDED_DOWN "vm_image");

		assert_int_equal(loader_set_option("vm-image", outer, 0), 0);
		assert_int_equal(loader_set_option("vm-image", "el9", 0), 0);
		assert_int_equal(loader_set_option("vm-mount", "/a", 0), 0);
		assert_int_equal(loader.init_post_opt(NULL, 0, NULL), 0);
	}
	assert_string_equal(getenv("SLURM_SPANK_WNODES_VM_MOUNT_1"), "");
	assert_int_equal(loader_set_option("vm-image", getenv(HANDED_DOWN "vm_image"), 0), 0);
	assert_int_equal(run_hook(loader.init_post_opt, said, sizeof(said)), 0);
	assert_string_equal(getenv("SLURM_SPANK_WNODES_VM_IMAGE_0"), "el9");
	unsetenv(HANDED_DOWN "vm_image");
}

static const char *task_argv[] = {"./job", "a b", "", "--vm-image=x", NULL};

static void a_plain_task_is_left_alone(void **state)
{
	char said[1024];

	load(S_CTX_REMOTE, bait);
	loader.argv = task_argv;
	assert_int_equal(loader.init_post_opt(NULL, 0, NULL), 0);
	assert_int_equal(run_hook(loader.task_init, said, sizeof(said)), 0);
	assert_string_equal(said, "");
	assert_int_equal(loader_set_option("vm-image", "none", 1), 0);
	assert_int_equal(run_hook(loader.task_init, said, sizeof(said)), 0);
	assert_string_equal(said, "");
}

static void a_task_becomes_the_job_starter(void **state)
{
	const char *env[] = {"MINE=1", "SLURM_SPANK_WNODES_VM_MOUNT_0=/a",
		"SLURM_SPANK_WNODES_VM_MOUNT_1=/b:/c",
		"SLURM_SPANK_WNODES_VM_MOUNT_2=", "SLURM_SPANK_WNODES_VM_MOUNT_3=/stale",
		"SLURM_RLIMIT_NOFILE=77", "SLURM_RLIMIT_AS=1000", NULL};
	char said[2048], expected[2048];

	load(S_CTX_REMOTE, bait);
	loader.argv = task_argv;
	loader.env = env;
	loader.cpus = 3;
	loader.local_tasks = 4;
	loader.step_memory = 500;
	loader.job_memory = 900;
	assert_int_equal(loader_set_option("vm-image", "el9:x", 1), 0);
	assert_int_equal(loader_set_option("vm-memory", "1G", 1), 0);
	assert_int_equal(loader_set_option("vm-mount", "/b:/c", 1), 0);
	assert_int_equal(run_hook(loader.task_init, said, sizeof(said)), 7);
	snprintf(expected, sizeof(expected),
		"<--lrms><slurm><--image><el9:x><--memory><1G><--mount></a><--mount></b:/c>"
		"<--job-memory><500><--job-cpus><3><--local-tasks><4><--><./job><a b><>"
		"<--vm-image=x>\nMINE=1\n77\n");
	assert_string_equal(said, expected);
}

static void a_batch_script_is_brought_along(void **state)
{
	char said[2048];

	load(S_CTX_REMOTE, bait);
	loader.argv = task_argv;
	loader.local_tasks = 1;
	loader.step = SLURM_BATCH_SCRIPT;
	assert_int_equal(loader_set_option("vm-image", "el9", 1), 0);
	assert_int_equal(run_hook(loader.task_init, said, sizeof(said)), 7);
	assert_non_null(strstr(said, "<--local-tasks><1><--script><-->"));
}

static void the_job_s_memory_counts_where_a_step_has_none(void **state)
{
	char said[2048];

	load(S_CTX_REMOTE, bait);
	loader.argv = task_argv;
	loader.job_memory = 900;
	assert_int_equal(loader_set_option("vm-image", "el9", 1), 0);
	assert_int_equal(run_hook(loader.task_init, said, sizeof(said)), 7);
	assert_non_null(strstr(said, "<--job-memory><900>"));
	loader.job_memory = 0;
	assert_int_equal(run_hook(loader.task_init, said, sizeof(said)), 7);
	assert_non_null(strstr(said, "<--job-memory><0>"));
	/* No number of CPUs either: our own then, at least one. */
	assert_null(strstr(said, "<--job-cpus><0>"));
}

/* As with sbatch --export=NONE, where options arrive in no other way. */
static void options_are_found_in_the_environment(void **state)
{
	const char *env[] = {HANDED_DOWN "vm_image=el9", HANDED_DOWN "vm_cpus=2",
		HANDED_DOWN "vm_mount=/a", NULL};
	char said[2048];

	load(S_CTX_REMOTE, bait);
	loader.argv = task_argv;
	loader.env = env;
	assert_int_equal(run_hook(loader.task_init, said, sizeof(said)), 7);
	assert_non_null(strstr(said, "<--image><el9><--cpus><2><--mount></a><--job-memory>"));
	/* What arrived as an option counts more than what is handed down, */
	assert_int_equal(loader_set_option("vm-cpus", "1", 1), 0);
	assert_int_equal(loader_set_option("vm-image", "none", 1), 0);
	assert_int_equal(run_hook(loader.task_init, said, sizeof(said)), 0);
	/* and less than what the plugin itself sent. */
	env[1] = "SLURM_SPANK_WNODES_VM_IMAGE_0=el8";
	assert_int_equal(run_hook(loader.task_init, said, sizeof(said)), 7);
	assert_non_null(strstr(said, "<--image><el8><--cpus><1><--mount>"));
}

static void the_policy_sees_every_task(void **state)
{
	char policy[] = "policy=yes", *arguments[] = {bait, policy, NULL};
	char said[2048];

	loader_open(S_CTX_REMOTE);
	assert_int_equal(loader.init(NULL, 2, arguments), 0);
	loader.argv = task_argv;
	assert_int_equal(run_hook(loader.task_init, said, sizeof(said)), 7);
	assert_non_null(strstr(said, "<--lrms><slurm><--job-memory>"));
}

/* Slurm ignores a callback that fails there, and would run the job without its VM. */
static void a_wrong_option_on_the_node_fails_the_task(void **state)
{
	static const char *const bad[][2] = {
		{"vm-image", "EL9"}, {"vm-cpus", "0"}, {"vm-mount", "/a:b"}};
	char said[2048];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		load(S_CTX_REMOTE, bait);
		loader.argv = task_argv;
		assert_int_equal(loader_set_option(bad[i][0], bad[i][1], 1), 0);
		assert_int_equal(run_hook(loader.task_init, said, sizeof(said)), EXIT_WNODES);
		assert_non_null(strstr(said, bad[i][0]));
	}
}

static void a_wrong_variable_fails_the_task(void **state)
{
	const char *env[] = {"SLURM_SPANK_WNODES_VM_MOUNT_0=/a:b", NULL};
	char said[2048];

	load(S_CTX_REMOTE, bait);
	loader.argv = task_argv;
	loader.env = env;
	assert_int_equal(loader_set_option("vm-image", "el9", 1), 0);
	assert_int_equal(run_hook(loader.task_init, said, sizeof(said)), EXIT_WNODES);
	assert_non_null(strstr(said, "--vm-mount: 'b' is no absolute path"));
}

static void a_job_starter_that_is_not_there_fails_the_task(void **state)
{
	char said[2048];

	load(S_CTX_REMOTE, "bait=/nonexistent/wnodes-bait");
	loader.argv = task_argv;
	assert_int_equal(loader_set_option("vm-image", "el9", 1), 0);
	assert_int_equal(run_hook(loader.task_init, said, sizeof(said)), EXIT_WNODES);
	assert_non_null(strstr(
		said, "cannot start the job starter '/nonexistent/wnodes-bait': No such file"));
}

static void a_wrong_line_in_plugstack_conf_fails_vm_jobs_only(void **state)
{
	static const char *const bad[] = {
		"bait=relative", "bait=", "policy=maybe", "policy", "x=1"};
	char said[2048];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		load(S_CTX_LOCAL, bad[i]);
		assert_int_not_equal(loader_set_option("vm-image", "el9", 0), 0);
		assert_said("plugstack.conf: ");
		load(S_CTX_REMOTE, bad[i]);
		loader.argv = task_argv;
		assert_int_equal(run_hook(loader.task_init, said, sizeof(said)), 0);
		assert_int_equal(loader_set_option("vm-image", "el9", 1), 0);
		assert_int_equal(run_hook(loader.task_init, said, sizeof(said)), EXIT_WNODES);
		load(S_CTX_SLURMD, bad[i]);
		assert_said("jobs that ask for a VM will fail: plugstack.conf: ");
	}
}

/* Loads the plugin into another version of Slurm. */
static void load_into(spank_context_t context, const char *major, const char *minor)
{
	char *arguments[] = {bait, NULL};

	loader_open(context);
	loader.major = major;
	loader.minor = minor;
	loader.argv = task_argv;
	assert_int_equal(loader.init(NULL, 1, arguments), 0);
}

static void another_slurm_runs_plain_jobs_only(void **state)
{
	static const char *const others[][2] = {{"1", "05"}, {"22", "99"}, {"", ""}};
	char said[2048];

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		load_into(S_CTX_SLURMD, others[i][0], others[i][1]);
		assert_said("the plugin was built for Slurm");
		load_into(S_CTX_LOCAL, others[i][0], others[i][1]);
		assert_string_equal(loader.messages, "");
		assert_int_not_equal(loader_set_option("vm-image", "el9", 0), 0);
		assert_said("the plugin was built for Slurm");
		load_into(S_CTX_REMOTE, others[i][0], others[i][1]);
		assert_int_equal(run_hook(loader.task_init, said, sizeof(said)), 0);
		assert_string_equal(said, "");
		assert_int_equal(loader_set_option("vm-image", "el9", 1), 0);
		assert_int_equal(run_hook(loader.task_init, said, sizeof(said)), EXIT_WNODES);
	}
}

static void multi_prog_is_refused(void **state)
{
	char text[] = "0 echo a\n1 echo b\n", path[] = "/tmp/plugin-test-multi.XXXXXX";
	const char *argv[] = {path, text, NULL};
	int fd = mkstemp(path);
	char said[2048];

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	load(S_CTX_REMOTE, bait);
	loader.argv = argv;
	assert_int_equal(loader_set_option("vm-image", "el9", 1), 0);
	assert_int_equal(run_hook(loader.task_init, said, sizeof(said)), EXIT_WNODES);
	assert_non_null(strstr(said, "--multi-prog"));
	/* Another file, or another argument, is a command like any other. */
	text[2] = 'E';
	assert_int_equal(run_hook(loader.task_init, said, sizeof(said)), 7);
	unlink(path);
	assert_int_equal(run_hook(loader.task_init, said, sizeof(said)), 7);
}

static void limits_are_set_as_slurm_would(void **state)
{
	const char *env[] = {"SLURM_RLIMIT_NOFILE=U99", "SLURM_RLIMIT_CORE=nonsense",
		"SLURM_RLIMIT_NPROC=1", "SLURM_RLIMIT_STACK=18446744073709551615", NULL};
	char said[2048];

	load(S_CTX_REMOTE, bait);
	loader.argv = task_argv;
	loader.env = env;
	assert_int_equal(loader_set_option("vm-image", "el9", 1), 0);
	assert_int_equal(run_hook(loader.task_init, said, sizeof(said)), 7);
	/* One process would not do for the stand-in's own. */
	assert_non_null(strstr(said, "<--vm-image=x>\n99\n"));
}

static void nothing_but_hooks_is_exported(void **state)
{
	char line[256], extra[2048] = "";
	FILE *out = popen("nm -D --defined-only '" PLUGIN "'", "r");

	assert_non_null(out);
	while (fgets(line, sizeof(line), out)) {
		const char *name = strrchr(line, ' ');

		if (name && !str_after(name, " slurm_spank_") && !str_after(name, " plugin_") &&
			!str_after(name, " spank_plugin_version"))
			strncat(extra, name, sizeof(extra) - strlen(extra) - 1);
	}
	assert_int_equal(pclose(out), 0);
	assert_string_equal(extra, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(every_option_is_registered_with_its_text),
		TEST(slurmd_gets_no_options),
		TEST(good_values_are_taken),
		TEST(bad_values_are_refused_with_a_sentence),
		TEST(a_value_without_end_is_refused),
		TEST(a_list_has_an_end),
		TEST(an_option_without_an_image_is_refused),
		TEST(an_option_without_an_image_is_for_the_policy),
		TEST(image_none_takes_all_options),
		TEST(an_option_that_is_handed_down_needs_no_image),
		TEST(memory_that_the_job_does_not_ask_for_is_refused),
		TEST(repeated_options_travel_in_the_environment),
		TEST(a_repeated_option_replaces_what_is_handed_down),
		TEST(what_is_handed_down_never_replaces_what_is_given),
		TEST(components_with_other_options_are_refused),
		TEST(components_may_repeat_their_options),
		TEST(a_plain_task_is_left_alone),
		TEST(a_task_becomes_the_job_starter),
		TEST(a_batch_script_is_brought_along),
		TEST(the_job_s_memory_counts_where_a_step_has_none),
		TEST(options_are_found_in_the_environment),
		TEST(the_policy_sees_every_task),
		TEST(a_wrong_option_on_the_node_fails_the_task),
		TEST(a_wrong_variable_fails_the_task),
		TEST(a_job_starter_that_is_not_there_fails_the_task),
		TEST(a_wrong_line_in_plugstack_conf_fails_vm_jobs_only),
		TEST(another_slurm_runs_plain_jobs_only),
		TEST(multi_prog_is_refused),
		TEST(limits_are_set_as_slurm_would),
		TEST(nothing_but_hooks_is_exported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
