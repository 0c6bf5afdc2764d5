# Jobs in VMs: a real Slurm of one controller and two nodes, the plugin, the job starter, QEMU.

bats_require_minimum_version 1.5.0
load helpers
load jobs

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
	run -0 --separate-stderr vmrun sh -c 'echo $MINE $SLURM_JOB_ID/$SLURM_PROCID; echo "<$LD_LIBRARY_PATH$PYTHONPATH$TMPDIR>"'
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
	run -0 --separate-stderr timeout 120 srun --quiet -n2 --mem=1500 --vm-image=debian --vm-cpus=2 --vm-memory=1G \
		sh -c 'sleep 0.$SLURM_PROCID; dd if=/dev/zero of=file$SLURM_PROCID bs=1M count=4 status=none'
	[ "$(stat -c %s file0 file1 | tr '\n' ' ')" = "4194304 4194304 " ]
}

@test "jobs: each node has a VM of its own" {
	run -0 --separate-stderr vmrun -N2 sh -c 'echo $SLURMD_NODENAME $(hostname)'
	[ "$(printf '%s\n' "${lines[@]}" | cut -d' ' -f1 | sort -u | wc -l)" -eq 2 ]
	[ "$(printf '%s\n' "${lines[@]}" | cut -d' ' -f2 | sort -u | wc -l)" -eq 2 ]
}

@test "jobs: a plain job runs on the node while a VM runs there" {
	local node
	node=$(sinfo -h -N -o %N | sort | head -1)
	vmrun -w "$node" sh -c 'touch started; until [ -e end ]; do sleep 0.2; done' &
	vm=$!
	wait_for 60 test -e started
	run -0 --separate-stderr timeout 30 srun --quiet --mem=100 -w "$node" hostname
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

# What was told of a start that takes long: a line for each VM.
notices() {
	grep -c '^wnodes: preparing the VM: [a-z]*, [0-9]* s so far$' "$1" || true
}

@test "jobs: who waits in srun for long is told why, once for each VM" {
	# One that certainly takes that long.
	mkdir bin
	printf '#!/bin/sh\nsleep 2.2\nexec %s "$@"\n' "$(command -v qemu-system-x86_64)" >bin/qemu-system-x86_64
	chmod +x bin/qemu-system-x86_64
	PATH=$WORK/bin:$PATH
	vmrun --vm-start=boot true 2>one
	cat one
	[ "$(notices one)" = 1 ]
	grep -q 'preparing the VM: boot, 2 s so far' one
	timeout 120 srun --quiet -n2 --mem=1500 --vm-image=debian --vm-cpus=2 --vm-memory=1G --vm-start=boot \
		true 2>two
	cat two
	[ "$(notices two)" = 1 ]
	# Nobody waits for a batch job, nor for the steps that it starts.
	cat >job.sh <<-'END'
		#!/bin/sh
		srun --quiet --vm-image=debian --vm-cpus=1 --vm-memory=1G --vm-start=boot hostname
	END
	run -0 batch job.sh
	[[ "$output" = vm-* ]]
	run -0 batch --vm-image=debian --vm-cpus=1 --vm-memory=1G --vm-start=boot --wrap hostname
	[[ "$output" = vm-* ]]
}

@test "jobs: wnodes job tells of every VM of a job, its provisioning apart from the run" {
	cat >job.sh <<-'END'
		#!/bin/sh
		srun --quiet -N2 -n2 --vm-image=debian --vm-cpus=1 --vm-memory=1G sleep 1
		srun --quiet -N1 -n2 --vm-image=debian --vm-cpus=1 --vm-memory=1G sh -c 'touch running; sleep 3; exit 3'
	END
	job=$(timeout 10 sbatch --parsable -N2 -n4 --mem=1500 -J twosteps -o "$WORK/out" job.sh)
	wait_for 60 test -e running
	sleep 0.3
	run -0 "$WNODES" job list
	echo "$output"
	[ "$(grep -c "^$job\.0 *twosteps *running *done " <<<"$output")" = 2 ]
	[ "$(grep -c "^$job\.1 *twosteps *running *run " <<<"$output")" = 1 ]
	wait_for 60 no_job "$job"
	wait_for 10 all_gone
	"$WNODES" job show "$job" --json >job.json
	cat job.json
	jq -e '[.vms[].id] == ["'"$job.0"'", "'"$job.0"'", "'"$job.1"'"]' job.json
	jq -e '[.vms[:2][].node] | sort == ["'"$(sinfo -h -N -o %N | sort -u | paste -sd, | sed 's/,/", "/')"'"]' job.json
	jq -e 'all(.vms[]; .phase == "done" and .start == "clone" and .provision_us > 0 and .run_us >= 1000000)' job.json
	jq -e '.vms[2].run_us >= 3000000 and .vms[2].provision_us < 3000000' job.json
	run -0 "$WNODES" job show "$job.1"
	[ "$(grep -c '^Provisioning:' <<<"$output")" = 1 ]
	# A batch script's own VM is the step `batch`.
	job=$(timeout 10 sbatch --parsable --mem=1500 --vm-image=debian --vm-cpus=1 --vm-memory=1G -o out2 --wrap 'exit 4')
	wait_for 60 no_job "$job"
	jq -e '.state == "failed" and .vms[0].exit_status == 4' <<<"$("$WNODES" job show --json "$job.batch")"
}

@test "jobs: wnodes job without a controller tells what VMs told; a killed one is lost" {
	vmrun -J killed2 sh -c 'echo $SLURM_JOB_ID >number; sleep 100' >out 2>&1 &
	step=$!
	wait_for 60 test -s number
	wait_for 5 is_shown_in running run
	kill -9 $(ours "wnodes-bait")
	run wait $step
	wait_for 20 no_process_left
	wait_for 30 no_job "$(cat number)"
	"$WNODES" job show "$(cat number)"
	is_shown_in failed lost
	# As on a host where Slurm does not answer.
	mkdir bin
	printf '#!/bin/sh\necho "no answer" >&2\nexit 1\n' >bin/squeue
	chmod +x bin/squeue
	PATH=$WORK/bin:$PATH run -0 --separate-stderr "$WNODES" job show "$(cat number)"
	[[ "$output" == *"Phase: "*lost* ]]
	[[ "$stderr" == *"no answer"*"what follows is what VMs have told"* ]]
}

# The job of the file `number`: is_shown_in STATE PHASE
is_shown_in() {
	"$WNODES" job show --json "$(cat number)" | jq -e '.state == "'"$1"'" and .vms[0].phase == "'"$2"'"'
}

@test "jobs: wnodes job tells why there was no VM" {
	run -125 timeout 60 srun --quiet -n2 --mem=60 -J small --vm-image=debian true
	job=$(timeout 30 "$WNODES" job list --all --json | jq -r '[.[] | select(.name == "small")] | last | .id')
	[ "${job#*.}" = 0 ]
	"$WNODES" job show --json "$job" >job.json
	cat job.json
	jq -e '(.vms | length) == 1 and .vms[0].phase == "failed" and .vms[0].vm == null and .vms[0].exit_status == 125' job.json
	jq -e '.vms[0].reason | contains("MiB")' job.json
}

@test "jobs: of a job that was requeued, wnodes job lists the last VM and shows all" {
	cat >job.sh <<-'END'
		#!/bin/sh
		touch "started$SLURM_RESTART_COUNT"
		sleep 100
	END
	timeout 10 sbatch --parsable --requeue --mem=1500 --vm-image=debian --vm-cpus=1 --vm-memory=1G \
		-o out job.sh >number
	wait_for 60 test -e started
	scontrol requeue "$(cat number)"
	# Slurm lets a requeued job wait for two minutes, if it is let.
	wait_for 60 sh -c 'squeue -h -t PD -j "$(cat number)" | grep .'
	sleep 5 # a node that has not done with a job refuses it
	wait_for 30 scontrol update "jobid=$(cat number)" starttime=now
	wait_for 180 test -e started1
	wait_for 10 is_shown_last run
	"$WNODES" job show --json "$(cat number)" >job.json
	cat job.json
	jq -e '[.vms[].restart] == [0, 1]' job.json
	jq -e '.vms[0].phase | . == "done" or . == "failed" or . == "lost"' job.json
	run -0 "$WNODES" job list
	[ "$(grep -c "^$(cat number)\\." <<<"$output")" = 1 ]
	scancel "$(cat number)"
	wait_for 30 no_process_left
}

is_shown_last() {
	"$WNODES" job show --json "$(cat number)" | jq -e '.vms[-1].phase == "'"$1"'"'
}

@test "jobs: a slurmstepd that is killed takes the VM of its tasks with it" {
	timeout 100 srun --quiet -n2 --mem=1500 -J orphans --vm-image=debian --vm-start=boot --vm-cpus=1 \
		--vm-memory=1G sleep 90 >out 2>&1 &
	waiting=$!
	# It boots: the tasks have not come yet.
	wait_for 30 a_vm
	job=$(squeue -h -n orphans -o %A)
	kill -KILL "$(slurmstepd_of "$job.0")"
	wait_for 15 no_process_left
	# Slurm itself does not see it: srun would wait for ever.
	scancel "$job"
	wait "$waiting" || true
	wait_for 30 no_job "$job"
}

slurmstepd_of() {
	local pid
	for pid in $(pgrep -f "^slurmstepd: \[${1//./\\.}\]"); do
		grep -qF "$SLURM_TOP" "/proc/$pid/environ" && echo "$pid"
	done
}
