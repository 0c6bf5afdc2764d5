#include "hypervisor/peer.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cmocka.h>

static const struct {
	const char *text;
	uid_t uid;
	const char *job; /* "": none */
} cgroups[] = {
	/* Slurm with version 1: several controllers, the step's task in some. */
	{"9:name=systemd:/\n4:memory:/slurm/uid_1000/job_42/step_0/task_0\n0::/\n", 1000, "42.0"},
	{"6:freezer:/slurm_w1/uid_1000/job_42/step_batch\n", 1000, "42.batch"},
	{"6:freezer:/slurm/uid_1000/job_42\n", 1000, "42"},
	{"6:freezer:/slurm/uid_1000/job_42/step_extern/task_special\n", 1000, "42.extern"},
	/* Another user's directory. */
	{"6:freezer:/slurm/uid_1001/job_42/step_0\n", 1000, ""},
	{"6:freezer:/slurm/uid_10000/job_42/step_0\n", 1000, ""},
	/* Version 2. */
	{"0::/system.slice/slurmstepd.scope/job_7/step_3/user/task_0\n", 5, "7.3"},
	{"0::/system.slice/w1_slurmstepd.scope/job_7/step_batch/user\n", 5, "7.batch"},
	/* Names below directories that users may make. */
	{"0::/user.slice/user-5.slice/user@5.service/slurmstepd.scope/job_7/step_0\n", 5, ""},
	{"0::/system.slice/evilslurmstepd.scope/job_7/step_0\n", 5, ""},
	{"9:name=systemd:/user.slice/slurm/uid_5/job_7/step_0\n", 5, ""},
	{"6:freezer:/slurmfake/uid_5/job_7/step_0\n", 5, ""},
	{"6:freezer:/x/slurm/uid_5/job_7/step_0\n", 5, ""},
	/* What is no number, or no end. */
	{"6:freezer:/slurm/uid_5/job_x/step_0\n", 5, ""},
	{"6:freezer:/slurm/uid_5/job_7x/step_0\n", 5, ""},
	{"6:freezer:/slurm/uid_5/job_\n", 5, ""},
	{"6:freezer:/slurm/uid_5/job_7/step_0x!\n", 5, ""},
	{"6:freezer:/slurm/uid_5/job_123456789012345678901234567890/step_0\n", 5, ""},
	{"6:freezer:/slurm\n", 5, ""},
	{"6:freezer\n/slurm/uid_5/job_7\n", 5, ""},
	{"", 5, ""},
	{"\n\n", 5, ""},
	{"6:freezer:/slurm/uid_5/job_7", 5, "7"},
};

static void job_is_that_of_slurms_own_directories(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cgroups); i++) {
		char job[PEER_JOB_MAX] = "before";
		bool found = peer_parse_cgroup(cgroups[i].text, cgroups[i].uid, job);

		if (!streq(job, cgroups[i].job))
			fail_msg("row %zu: '%s' instead of '%s'", i, job, cgroups[i].job);
		assert_int_equal(found, cgroups[i].job[0] != '\0');
	}
}

static void kernel_says_who_connected(void **state)
{
	struct peer peer;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(peer_get(pair[0], &peer), 0);
	assert_int_equal(peer.uid, getuid());
	assert_int_equal(peer.pid, getpid());
	close(pair[0]);
	close(pair[1]);
	assert_true(peer_get(pair[0], &peer) < 0);
}

static void vm_must_be_a_living_child_of_the_same_user(void **state)
{
	const struct peer self = {.uid = getuid(), .pid = getpid()};
	const struct peer other = {.uid = getuid() + 1, .pid = getpid()};
	pid_t pid = fork();

	if (pid == 0) {
		pause();
		_exit(0);
	}
	assert_true(peer_owns_process(&self, pid));
	assert_false(peer_owns_process(&other, pid));
	assert_false(peer_owns_process(&self, getpid()));
	assert_false(peer_owns_process(&self, 1));
	assert_false(peer_owns_process(&self, 0));
	assert_false(peer_owns_process(&self, -1));
	kill(pid, SIGKILL);
	siginfo_t info;
	waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
	assert_false(peer_owns_process(&self, pid)); /* a zombie */
	waitpid(pid, NULL, 0);
	assert_false(peer_owns_process(&self, pid));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(job_is_that_of_slurms_own_directories),
		cmocka_unit_test(kernel_says_who_connected),
		cmocka_unit_test(vm_must_be_a_living_child_of_the_same_user),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
