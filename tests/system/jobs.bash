# Shared by the tests of jobs in VMs: load jobs (after helpers). A real Slurm of one controller and two
# nodes, with the plugin and the job starter of the build.

load cluster

setup_file() {
	cluster_setup jobs
}

teardown_file() {
	cluster_teardown
}

setup() {
	[ -z "${WHY_NOT:-}" ] || skip "$WHY_NOT"
	TEST_CLONES=1 setup_work
	chmod 755 "$WORK"
	export SLURM_EXIT_ERROR=255
}

# In a VM of the shape that the tests' templates have. Nothing is waited for without a bound.
vmrun() {
	timeout -k 5 120 srun --quiet --mem=1500 --vm-image=debian --vm-cpus=1 --vm-memory=1G "$@"
}

# The output of a batch job, when it has ended.
batch() {
	local job
	job=$(timeout 10 sbatch --parsable --mem=1500 -o "$WORK/out" "$@") || return 1
	wait_for 120 no_job "$job"
	cat "$WORK/out"
}

# Nothing of a job's VM is there any more.
all_gone() {
	assert_nothing_left && [ -z "$(ours "wnodes-bait")" ]
}

# What a killed job starter leaves, the next one removes.
no_process_left() {
	[ -z "$(vms)$(ours "wnodes-bait")" ]
}
