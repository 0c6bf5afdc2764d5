# Jobs in VMs: a real Slurm of one controller and two nodes, the plugin, the job starter, QEMU.

bats_require_minimum_version 1.5.0
load helpers

SLURM_USER=wnodestest

setup_file() {
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
		--user "$SLURM_USER:$TEST_UID:$SLURM_TOP" 2>"$SLURM_TOP/up.log") || status=$?
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

@test "jobs: a command runs in a VM, with its streams, its status and the user's name" {
	run -7 --separate-stderr vmrun sh -c 'cat; hostname; id -un; echo err >&2; exit 7' <<<input
	[ "${lines[0]}" = input ]
	[[ "${lines[1]}" = vm-* ]]
	[ "${lines[2]}" = "$(id -un)" ]
	[[ "$stderr" == *err* ]]
	all_gone
	jq -se 'length == 1 and (.[0] | .exit_status == 7 and .usage.guest_oom_kills == 0 and
		(.job | .system == "slurm" and (.id | test("^[0-9]+$")) and .step == "0" and .partition != null))' \
		"$XDG_STATE_HOME/wnodes/records.jsonl"
}

@test "jobs: the job's environment is there, the host's search paths are not" {
	export MINE=1 LD_LIBRARY_PATH=/host PYTHONPATH=/host TMPDIR=/host
	run -0 vmrun sh -c 'echo $MINE $SLURM_JOB_ID/$SLURM_PROCID; echo "<$LD_LIBRARY_PATH$PYTHONPATH$TMPDIR>"'
	[[ "${lines[0]}" =~ ^1\ [0-9]+/0$ ]]
	[ "${lines[1]}" = "<>" ]
}

@test "jobs: a batch script runs in a VM, with its arguments, in the directory of the submission" {
	cat >job.sh <<-'END'
		#!/bin/sh
		#SBATCH --vm-image=debian --vm-cpus=1 --vm-memory=1G
		hostname; echo "$1,$2" >written; pwd; echo "$@"
		exit 3
	END
	run -0 batch job.sh 'a b' c
	[[ "${lines[0]}" = vm-* ]]
	[ "${lines[1]}" = "$WORK" ]
	[ "${lines[2]}" = "a b c" ]
	[ "$(cat written)" = "a b,c" ]
	all_gone
}

@test "jobs: the tasks of a step share one VM, each with its rank, streams, status and CPUs" {
	run --separate-stderr timeout 120 srun --quiet -n2 --mem=1500 --vm-image=debian --vm-cpus=2 \
		--vm-memory=1G sh -c 'echo $SLURM_PROCID $(hostname) $(sed -n "s/^Cpus_allowed_list:\t//p" /proc/self/status); exit $SLURM_PROCID'
	[ "$status" -eq 1 ]
	[ "$(printf '%s\n' "${lines[@]}" | cut -d' ' -f1 | sort | tr -d '\n')" = 01 ]
	[ "$(printf '%s\n' "${lines[@]}" | cut -d' ' -f2 | sort -u | wc -l)" -eq 1 ]
	[ "$(printf '%s\n' "${lines[@]}" | cut -d' ' -f3 | sort | tr -d '\n')" = 01 ]
	wait_for 10 all_gone
}

@test "jobs: what the tasks write to a shared directory is there when the step has ended" {
	run -0 timeout 120 srun --quiet -n2 --mem=1500 --vm-image=debian --vm-cpus=2 --vm-memory=1G \
		sh -c 'sleep 0.$SLURM_PROCID; dd if=/dev/zero of=file$SLURM_PROCID bs=1M count=4 status=none'
	[ "$(stat -c %s file0 file1 | tr '\n' ' ')" = "4194304 4194304 " ]
}

@test "jobs: each node has a VM of its own" {
	run -0 vmrun -N2 sh -c 'echo $SLURMD_NODENAME $(hostname)'
	[ "$(printf '%s\n' "${lines[@]}" | cut -d' ' -f1 | sort -u | wc -l)" -eq 2 ]
	[ "$(printf '%s\n' "${lines[@]}" | cut -d' ' -f2 | sort -u | wc -l)" -eq 2 ]
}

@test "jobs: a plain job runs on the node while a VM runs there" {
	local node
	node=$(sinfo -h -N -o %N | sort | head -1)
	vmrun -w "$node" sh -c 'touch started; until [ -e end ]; do sleep 0.2; done' &
	vm=$!
	wait_for 60 test -e started
	run -0 timeout 30 srun --quiet --mem=100 -w "$node" hostname
	[ "$output" = "$node" ]
	touch end
	wait $vm
}

@test "jobs: scancel's signals reach the command; after scancel nothing is left" {
	vmrun -J signals sh -c 'trap "echo usr1" USR1; trap "echo term; exit 6" TERM; touch started
		while :; do sleep 0.1; done' >out 2>&1 &
	step=$!
	wait_for 60 test -e started
	scancel -s USR1 -n signals
	wait_for 20 grep -q usr1 out
	scancel -n signals
	wait $step || true
	grep -q term out
	wait_for 20 all_gone
}

@test "jobs: a job that does not heed SIGTERM is killed with its VM" {
	vmrun -J deaf sh -c 'trap "" TERM; touch started; while :; do sleep 0.1; done' >out 2>&1 &
	step=$!
	wait_for 60 test -e started
	scancel -n deaf
	wait $step || true
	wait_for 30 no_process_left
}

@test "jobs: a job starter that is killed takes its VM along" {
	vmrun -J killed sh -c 'touch started; sleep 100' >out 2>&1 &
	step=$!
	wait_for 60 test -e started
	kill -9 $(ours "wnodes-bait")
	run wait $step
	wait_for 20 no_process_left
}

@test "jobs: a VM that dies fails its tasks, which say so" {
	timeout 120 srun --quiet -n2 --mem=1500 --vm-image=debian --vm-cpus=2 --vm-memory=1G \
		sh -c 'touch started$SLURM_PROCID; sleep 100' >out 2>&1 &
	step=$!
	wait_for 60 test -e started0 -a -e started1
	kill -9 $(vms)
	ends_with 125 $step
	grep -q "VM ended" out
}

@test "jobs: an image that is not there fails all tasks of a step, with the reason" {
	run timeout 60 srun --quiet -n2 --vm-image=nosuch true
	[ "$status" -eq 125 ]
	[[ "$output" == *"nosuch"* ]]
	wait_for 10 no_vm
}

@test "jobs: an unprivileged user" {
	skip_unless_user
	as_user timeout 120 srun --quiet --mem=1500 --vm-image=debian --vm-cpus=1 --vm-memory=1G \
		sh -c 'id -u; hostname' >out
	[ "$(head -1 out)" = "$TEST_UID" ]
	[[ "$(tail -1 out)" = vm-* ]]
}
