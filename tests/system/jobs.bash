# Shared by the tests of jobs in VMs: load jobs (after helpers). A real Slurm of one controller and two
# nodes, with the plugin and the job starter of the build.

SLURM_USER=wnodestest

setup_file() {
	start_cluster
}

# With more options of up.sh: start_cluster [OPTION...]
# shellcheck disable=SC2120 # files that load this one give some
start_cluster() {
	export SLURM_TOP SLURM_CONF WHY_NOT
	local plugin=$WNODES_BUILD/src/lrms/slurm/plugin/wnodes_slurm.so lines status=0
	if [ ! -e "$plugin" ]; then
		WHY_NOT="built without the headers of Slurm (tools/install-dependencies slurm)"
		return
	elif nm -D "$plugin" | grep -q __asan_init; then
		WHY_NOT="Slurm's own programs cannot load a sanitized plugin"
		return
	fi
	SLURM_TOP=$(mktemp -d /tmp/wnodes-jobs-test.XXXXXX)
	chmod 755 "$SLURM_TOP"
	install -m 755 "$plugin" "$SLURM_TOP/wnodes_slurm.so"
	lines=$("$BATS_TEST_DIRNAME/../slurm/up.sh" --state "$SLURM_TOP/state" --memory 6000 --cpus 4 \
		--plugin "$SLURM_TOP/wnodes_slurm.so bait=$WNODES_BUILD/wnodes-bait" \
		--user "$SLURM_USER:$TEST_UID:$SLURM_TOP" "$@" 2>"$SLURM_TOP/up.log") || status=$?
	if [ $status -eq 77 ]; then
		WHY_NOT="no Slurm cluster here: $(sed -n 's/^slurm: //p' "$SLURM_TOP/up.log" | tail -1)"
		return
	fi
	[ $status -eq 0 ] || { cat "$SLURM_TOP/up.log" && return 1; }
	eval "$lines"
}

teardown_file() {
	if [ -n "${SLURM_TOP:-}" ]; then
		"$BATS_TEST_DIRNAME/../slurm/down.sh" --state "$SLURM_TOP/state"
		rm -rf "$SLURM_TOP"
	fi
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

no_job() {
	[ -z "$(squeue -h -j "$1" 2>/dev/null)" ]
}

# Nothing of a job's VM is there any more.
all_gone() {
	assert_nothing_left && [ -z "$(ours "wnodes-bait")" ]
}

# What a killed job starter leaves, the next one removes.
no_process_left() {
	[ -z "$(vms)$(ours "wnodes-bait")" ]
}
