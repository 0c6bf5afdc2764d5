/* What the job starter makes of its arguments and of a job's environment. */
#include <errno.h>
#include <getopt.h>
#include <setjmp.h>
#include <stdarg.h>

#include "bait/arguments.h"
#include "bait/decide.h"
#include "bait/environment.h"
#include "bait/gang.h"
#include "bait/hostlist.h"
#include "bait/step.h"

/* After our own headers: it defines a macro of the name fail. */
#include <cmocka.h>

extern char **environ;

static struct arguments parsed;
static struct error err;

static int parse(const char *const *words)
{
	int argc = 0;

	while (words[argc])
		argc++;
	parsed = (struct arguments){0};
	err = (struct error){0};
	optind = 0; /* begins anew */
	return arguments_parse(&parsed, argc, (char **)(uintptr_t)words, &err);
}

#define PARSE(...) parse((const char *const[]){"wnodes-bait", __VA_ARGS__, NULL})

static int setup(void **state)
{
	clearenv();
	return 0;
}

static int teardown(void **state)
{
	arguments_done(&parsed);
	return 0;
}

static void options_come_before_the_command(void **state)
{
	assert_int_equal(
		PARSE("--lrms", "slurm", "--image", "el9:x", "--cpus", "3", "--memory", "1G",
			"--mount", "/a", "--mount", "/b:/c", "--volume", "d:/d:ro", "--root", "lvm",
			"--network", "none", "--scratch", "0", "--start", "boot", "--env", "A=1",
			"--workdir", "/w", "--job-memory", "500", "--job-cpus", "4",
			"--local-tasks", "2", "--script", "--", "./job", "--cpus", "9"),
		0);
	assert_string_equal(parsed.lrms, "slurm");
	assert_string_equal(parsed.options.image, "el9:x");
	assert_int_equal(parsed.options.cpus, 3);
	assert_int_equal(parsed.options.memory, 1 << 30);
	assert_string_equal(parsed.options.mounts[1], "/b:/c");
	assert_null(parsed.options.mounts[2]);
	assert_string_equal(parsed.options.volumes[0], "d:/d:ro");
	assert_null(parsed.options.volumes[1]);
	assert_string_equal(parsed.options.root, "lvm");
	assert_string_equal(parsed.options.network, "none");
	assert_true(parsed.options.scratch_given);
	assert_string_equal(parsed.options.start, "boot");
	assert_string_equal(parsed.options.env[0], "A=1");
	assert_string_equal(parsed.options.workdir, "/w");
	assert_int_equal(parsed.job_memory_mib, 500);
	assert_int_equal(parsed.job_cpus, 4);
	assert_int_equal(parsed.local_tasks, 2);
	assert_true(parsed.script);
	assert_string_equal(parsed.command[0], "./job");
	assert_string_equal(parsed.command[1], "--cpus");
}

static void command_s_own_options_are_its_own(void **state)
{
	assert_int_equal(PARSE("sh", "--image", "x"), 0);
	assert_null(parsed.options.image);
	assert_string_equal(parsed.command[1], "--image");
	assert_int_equal(parsed.local_tasks, 1);
}

static void variables_stand_for_options_and_options_win(void **state)
{
	setenv("WNODES_IMAGE", "from-variable", 1);
	setenv("WNODES_CPUS", "2", 1);
	setenv("WNODES_MOUNT", "/a,/b:ro,,", 1);
	setenv("WNODES_ENV", "", 1);
	assert_int_equal(PARSE("--image", "from-option", "true"), 0);
	assert_string_equal(parsed.options.image, "from-option");
	assert_int_equal(parsed.options.cpus, 2);
	assert_string_equal(parsed.options.mounts[0], "/a");
	assert_string_equal(parsed.options.mounts[1], "/b:ro");
	assert_null(parsed.options.mounts[2]);
	assert_null(parsed.options.env);
}

static void wrong_values_are_told_with_their_option(void **state)
{
	static const char *const bad[][2] = {{"--cpus", "x"}, {"--cpus", "0"}, {"--memory", "1X"},
		{"--network", "the lan"}, {"--start", "now"}, {"--local-tasks", "0"},
		{"--job-memory", "-1"}, {"--scratch", ""}};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(PARSE(bad[i][0], bad[i][1], "true"), -EINVAL);
		assert_non_null(strstr(err.text, bad[i][0]));
		arguments_done(&parsed);
	}
}

static void what_is_no_command_line_is_refused(void **state)
{
	assert_int_equal(PARSE("--cpus", "1"), -EINVAL);
	assert_non_null(strstr(err.text, "no command"));
	assert_int_equal(PARSE("--surely-not", "true"), -EINVAL);
	assert_int_equal(PARSE("--cpus"), -EINVAL);
}

static void host_s_software_is_left_out_of_the_environment(void **state)
{
	struct strv env AUTO(strv_done) = {0};

	setenv("SLURM_JOB_ID", "7", 1);
	setenv("MINE", "a=b", 1);
	setenv("EMPTY", "", 1);
	setenv("PATH", "/host", 1);
	setenv("LD_PRELOAD", "/host.so", 1);
	setenv("BASH_FUNC_module%%", "() { :; }", 1);
	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	setenv("TMPDIR", "/host", 1);
	setenv("WNODES_IMAGE", "x", 1);
	assert_int_equal(environment_pass(&env, NULL, &err), 0);
	assert_string_equal(strv_env_get(&env, "SLURM_JOB_ID"), "7");
	assert_string_equal(strv_env_get(&env, "MINE"), "a=b");
	assert_string_equal(strv_env_get(&env, "EMPTY"), "");
	assert_null(strv_env_get(&env, "PATH"));
	assert_null(strv_env_get(&env, "LD_PRELOAD"));
	assert_null(strv_env_get(&env, "BASH_FUNC_module%%"));
	assert_null(strv_env_get(&env, "XDG_RUNTIME_DIR"));
	assert_null(strv_env_get(&env, "TMPDIR"));
	assert_null(strv_env_get(&env, "WNODES_IMAGE"));
}

static void another_host_s_runtime_directory_is_not_used(void **state)
{
	char ours[] = "/tmp/bait-test.XXXXXX";

	setenv("XDG_RUNTIME_DIR", "/run/user/nobody-at-all", 1);
	environment_settle();
	assert_null(getenv("XDG_RUNTIME_DIR"));
	setenv("XDG_RUNTIME_DIR", "/dev/null", 1);
	environment_settle();
	assert_null(getenv("XDG_RUNTIME_DIR"));
	assert_non_null(mkdtemp(ours));
	setenv("XDG_RUNTIME_DIR", ours, 1);
	environment_settle();
	assert_string_equal(getenv("XDG_RUNTIME_DIR"), ours);
	rmdir(ours);
	if (geteuid() != 0)
		setenv("XDG_RUNTIME_DIR", "/", 1);
	environment_settle();
	assert_true(geteuid() == 0 || !getenv("XDG_RUNTIME_DIR"));
}

static void mpirun_is_told_to_stay_in_the_vm_unless_the_job_says_otherwise(void **state)
{
	struct strv env AUTO(strv_done) = {0};

	setenv("OMPI_MCA_plm", "rsh", 1);
	assert_int_equal(environment_pass(&env, NULL, &err), 0);
	assert_string_equal(strv_env_get(&env, "HYDRA_BOOTSTRAP"), "fork");
	assert_string_equal(strv_env_get(&env, "OMPI_MCA_plm"), "rsh");
}

static void assert_hosts(const char *list, const char *expected)
{
	autofree char *all = hostlist_vms("7", "0", list);

	if (expected)
		assert_string_equal(all, expected);
	else
		assert_null(all);
}

static void host_list_becomes_the_names_of_the_vms(void **state)
{
	assert_hosts("w1", "vm-7-0-w1");
	assert_hosts("w[1-2,7]", "vm-7-0-w1,vm-7-0-w2,vm-7-0-w7");
	assert_hosts("w[08-10],x", "vm-7-0-w08,vm-7-0-w09,vm-7-0-w10,vm-7-0-x");
	assert_hosts("r[1-2]n[3,5]z", "vm-7-0-r1n3z,vm-7-0-r1n5z,vm-7-0-r2n3z,vm-7-0-r2n5z");
	assert_hosts("n_1.site", "vm-7-0-n-1-site");
}

static void what_is_no_host_list_gives_none(void **state)
{
	static const char *const bad[] = {"", ",", "a,", "w[", "w[]", "w[1", "w[1-]", "w[-2]",
		"w[2-1]", "w[a]", "w]", "w[1]]", "w[1,]", "w[[1]]", "w[1-99999999]",
		"w[99999999999]", "a[1][1][1][1][1]"};
	char name[80];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_hosts(bad[i], NULL);
	memset(name, 'w', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_hosts(name, NULL);
	assert_null(hostlist_vm("7", "0", name));
	/* Longer than a variable may be. */
	assert_hosts("averylongnodename[10000-16000]", NULL);
}

static void who_waits_in_srun_is_told_from_a_batch_job(void **state)
{
	assert_false(environment_is_awaited()); /* another batch system */
	setenv("SLURM_STEP_ID", "0", 1);
	assert_true(environment_is_awaited());
	setenv("SLURM_STEP_ID", "4294967291", 1); /* the batch script */
	assert_false(environment_is_awaited());
	setenv("SLURM_STEP_ID", "1", 1); /* a step that the script has started */
	setenv("ENVIRONMENT", "BATCH", 1);
	assert_false(environment_is_awaited());
	setenv("ENVIRONMENT", "production", 1); /* the user's own */
	assert_true(environment_is_awaited());
}

/* The environment of a task of a step of srun on one node. */
static void set_step(const char *rank)
{
	setenv("SLURM_JOB_ID", "12", 1);
	setenv("SLURM_STEP_ID", "0", 1);
	setenv("SLURM_STEP_NODELIST", "w1", 1);
	setenv("SLURM_STEP_TASKS_PER_NODE", "3", 1);
	setenv("SLURMD_NODENAME", "w1", 1);
	setenv("SLURM_PROCID", rank, 1);
}

static void assert_gang(const char *mpi, const char *rank, const char *expected)
{
	struct gang g AUTO(gang_done) = {.argv = {0}};
	char text[512] = "";

	set_step(rank);
	assert_int_equal(PARSE("--mpi", mpi, "--", "./prog", "a b"), 0);
	assert_int_equal(gang_load(&g, &parsed, 60000000, &err), 1);
	for (size_t i = 0; i < g.argv.count; i++) {
		strcat(text, i ? "|" : "");
		strcat(text, g.argv.items[i]);
	}
	assert_string_equal(text, expected);
	assert_int_equal(g.crew.count, 1);
	assert_int_equal(g.crew.members[0].tasks, 3);
	assert_string_equal(g.crew.members[0].name, "vm-12-0-w1");
	assert_int_equal(strlen(g.crew.key), 32);
	arguments_done(&parsed);
}

#define TASK "/run/wnodes/job/wnodes-rsh|--task|"

static void first_task_runs_the_command_and_the_others_wait(void **state)
{
	assert_gang("first", "0", TASK "0|--host|0|--wait|60|--|./prog|a b");
	assert_gang("mpirun", "0", TASK "0|--host|0|--wait|60|--|mpirun|-n|3|./prog|a b");
	assert_gang("mpiexec --bind-to  none", "0",
		TASK "0|--host|0|--wait|60|--|mpiexec|--bind-to|none|-n|3|./prog|a b");
	assert_gang("mpirun", "2", TASK "2|--host|0|--wait|60");
}

static void without_mpi_and_in_batch_scripts_each_runs_its_own(void **state)
{
	struct gang g AUTO(gang_done) = {.argv = {0}};

	set_step("0");
	assert_int_equal(PARSE("--", "./prog"), 0);
	assert_int_equal(gang_load(&g, &parsed, 1, &err), 0);
	assert_int_equal(PARSE("--mpi", "none", "--", "./prog"), 0);
	assert_int_equal(gang_load(&g, &parsed, 1, &err), 0);
	assert_int_equal(PARSE("--mpi", "mpirun", "--script", "--", "./prog"), 0);
	assert_int_equal(gang_load(&g, &parsed, 1, &err), 0);
}

static void step_that_slurm_says_too_little_of_is_refused(void **state)
{
	static const char *const needed[] = {"SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE",
		"SLURMD_NODENAME", "SLURM_PROCID"};

	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		struct gang g AUTO(gang_done) = {.argv = {0}};

		set_step("0");
		unsetenv(needed[i]);
		assert_int_equal(PARSE("--mpi", "mpirun", "--", "./prog"), 0);
		assert_true(gang_load(&g, &parsed, 1, &err) < 0);
		assert_true(strlen(err.text) > 20);
	}
}

static void step_of_several_nodes_is_a_crew_with_a_network(void **state)
{
	struct gang g AUTO(gang_done) = {.argv = {0}};

	set_step("1");
	setenv("SLURM_STEP_NODELIST", "192.0.2.[7-8]", 1);
	setenv("SLURM_STEP_TASKS_PER_NODE", "1,2", 1);
	setenv("SLURMD_NODENAME", "192.0.2.8", 1);
	assert_int_equal(PARSE("--mpi", "mpirun", "--", "./prog"), 0);
	assert_int_equal(gang_load(&g, &parsed, 1, &err), -ENOTSUP);
	assert_non_null(strstr(err.text, "--vm-network=job"));
	gang_done(&g);
	assert_int_equal(PARSE("--network", "job", "--mpi", "mpirun", "--", "./prog"), 0);
	assert_int_equal(gang_load(&g, &parsed, 1, &err), -ENOKEY);
	gang_done(&g);
	setenv(GANG_SECRET, "secret", 1);
	assert_int_equal(gang_load(&g, &parsed, 1000000, &err), 1);
	assert_int_equal(g.crew.count, 2);
	assert_int_equal(g.crew.self, 1);
	assert_true(g.crew.together);
	assert_string_equal(g.crew.members[0].node_address, "192.0.2.7");
	assert_string_equal(g.crew.members[1].name, "vm-12-0-192-0-2-8");
	assert_string_equal(g.argv.items[4], "1");
	gang_done(&g);
	/* With the network alone each runs its own. */
	assert_int_equal(PARSE("--network", "job", "--", "./prog"), 0);
	assert_int_equal(gang_load(&g, &parsed, 1000000, &err), 1);
	assert_int_equal(g.argv.count, 0);
	assert_false(g.crew.together);
}

static void tasks_of_each_node_are_read_from_slurm_s_words(void **state)
{
	static const char *const bad[] = {"", ",", "0", "2(x0)", "2(x", "2(x3", "2(x3)1", "2,",
		"-1", "2(x9)", "99999999999999999999", "a"};
	uint64_t tasks[8];

	assert_int_equal(gang_parse_tasks("2(x3),1,4(x2)", tasks, 8), 6);
	assert_int_equal(tasks[0] + tasks[1] + tasks[2], 6);
	assert_int_equal(tasks[3], 1);
	assert_int_equal(tasks[5], 4);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(gang_parse_tasks(bad[i], tasks, 8), -EINVAL);
}

static void step_is_named_by_job_step_node_and_requeue(void **state)
{
	autofree char *none = step_name(), *name = NULL, *again = NULL, *evil = NULL;

	assert_null(none);
	setenv("SLURM_JOB_ID", "7", 1);
	setenv("SLURM_STEP_ID", "0", 1);
	setenv("SLURMD_NODENAME", "w1", 1);
	name = step_name();
	assert_string_equal(name, "slurm-7.0-0-w1");
	setenv("SLURM_RESTART_COUNT", "2", 1);
	again = step_name();
	assert_string_equal(again, "slurm-7.0-2-w1");
	/* What the user has set leads nowhere else. */
	setenv("SLURMD_NODENAME", "../../x", 1);
	evil = step_name();
	assert_string_equal(evil, "slurm-7.0-2-node");
}

/* A site's file with these lines; what it makes of the arguments parsed last. */
static int decide(struct decide *d, const char *content)
{
	char path[] = "/tmp/bait-test.XXXXXX";
	int fd = mkstemp(path), r;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, strlen(content)), (ssize_t)strlen(content));
	close(fd);
	r = decide_load(d, path, &parsed, &err);
	unlink(path);
	return r;
}

static void job_without_an_image_stays_on_the_node(void **state)
{
	struct decide d AUTO(decide_done);

	assert_int_equal(PARSE("true"), 0);
	assert_int_equal(decide(&d, ""), 0);
	assert_int_equal(d.decision.outcome, POLICY_BARE);
}

static void job_may_decline_the_image_that_it_inherits(void **state)
{
	struct decide d AUTO(decide_done);

	assert_int_equal(PARSE("--image", "none", "--cpus", "2", "true"), 0);
	assert_int_equal(decide(&d, ""), 0);
	assert_int_equal(d.decision.outcome, POLICY_BARE);
}

static void options_count_where_no_rule_matches(void **state)
{
	struct decide d AUTO(decide_done);

	assert_int_equal(PARSE("--image", "el9", "--mount", "/a", "--scratch", "0", "true"), 0);
	assert_int_equal(decide(&d, "[policy x]\npartition = long\nvm = forbid\n"), 0);
	assert_int_equal(d.decision.outcome, POLICY_IN_VM);
	assert_string_equal(parsed.options.image, "el9");
	assert_string_equal(parsed.options.mounts[0], "/a");
	assert_true(parsed.options.scratch_given);
	assert_int_equal(parsed.options.cpus, 0);
}

static void rule_for_the_partition_forces_its_image(void **state)
{
	static const char site[] = "[policy x]\npartition = long\nvm = force\nimage = el9\n"
				   "locked = image\ncpus = 3\n";
	struct decide d AUTO(decide_done);

	setenv("SLURM_JOB_PARTITION", "long", 1);
	assert_int_equal(PARSE("--image", "mine", "true"), 0);
	assert_int_equal(decide(&d, site), 0);
	assert_int_equal(d.decision.outcome, POLICY_IN_VM);
	assert_string_equal(parsed.options.image, "el9");
	assert_int_equal(parsed.options.cpus, 3);
	assert_string_equal(parsed.policy, "x"); /* for the usage record */
}

static void rule_that_forbids_refuses(void **state)
{
	struct decide d AUTO(decide_done);

	setenv("SLURM_JOB_NAME", "big-7", 1);
	assert_int_equal(PARSE("--image", "mine", "true"), 0);
	assert_int_equal(decide(&d, "[policy x]\njob-name = ^big\nvm = forbid\n"), 0);
	assert_int_equal(d.decision.outcome, POLICY_REFUSED);
	assert_non_null(strstr(d.decision.reason, "x"));
}

static void wrong_file_is_told(void **state)
{
	struct decide d AUTO(decide_done);

	assert_int_equal(PARSE("--image", "mine", "true"), 0);
	assert_int_equal(decide(&d, "[policy x]\nvm = perhaps\n"), -EINVAL);
	assert_non_null(strstr(err.text, ":2: "));
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(options_come_before_the_command),
		EACH(command_s_own_options_are_its_own),
		EACH(variables_stand_for_options_and_options_win),
		EACH(wrong_values_are_told_with_their_option),
		EACH(what_is_no_command_line_is_refused),
		EACH(host_s_software_is_left_out_of_the_environment),
		EACH(who_waits_in_srun_is_told_from_a_batch_job),
		EACH(another_host_s_runtime_directory_is_not_used),
		EACH(mpirun_is_told_to_stay_in_the_vm_unless_the_job_says_otherwise),
		EACH(host_list_becomes_the_names_of_the_vms),
		EACH(what_is_no_host_list_gives_none),
		EACH(first_task_runs_the_command_and_the_others_wait),
		EACH(without_mpi_and_in_batch_scripts_each_runs_its_own),
		EACH(step_that_slurm_says_too_little_of_is_refused),
		EACH(step_of_several_nodes_is_a_crew_with_a_network),
		EACH(tasks_of_each_node_are_read_from_slurm_s_words),
		EACH(step_is_named_by_job_step_node_and_requeue),
		EACH(job_without_an_image_stays_on_the_node),
		EACH(job_may_decline_the_image_that_it_inherits),
		EACH(options_count_where_no_rule_matches),
		EACH(rule_for_the_partition_forces_its_image),
		EACH(rule_that_forbids_refuses),
		EACH(wrong_file_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
