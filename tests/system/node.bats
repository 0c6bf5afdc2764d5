# Jobs of a cluster whose nodes have their daemons: templates of the machine, limits, drains, and jobs that
# go back into the queue.

bats_require_minimum_version 1.5.0
load helpers
load cluster

setup_file() {
	[ "$(id -u)" -eq 0 ] || { export WHY_NOT="a cluster needs root" && return; }
	settings=$(mktemp)
	settings >"$settings"
	cluster_setup node --hypervisor "$TEST_STORE" --settings "$settings"
	rm -f "$settings"
}

teardown_file() {
	cluster_teardown
}

setup() {
	[ -z "${WHY_NOT:-}" ] || skip "$WHY_NOT"
	TEST_CLONES='' setup_work
	chmod 755 "$WORK"
	NODES=$SLURM_TOP/state/nodes
	# shellcheck disable=SC2046 # words
	read -r W1 W2 < <(echo $(sinfo -h -N -o %N))
}

# The nodes' settings, with these lines for [node]. Each node has a "QEMU" of its own to break.
settings() {
	printf '%s\n' '[run]' 'network = none' '[vm]' 'accel = tcg' 'qemu = /run/wnodes/qemu' '[node]' "$@"
}

# Gives the nodes these settings: their daemons are started anew, as by a service manager.
configure() {
	settings "$@" >"$SLURM_TOP/state/etc/wnodes/wnodes.conf"
	ln -sf "$(command -v qemu-system-x86_64)" "$NODES/$W1/run/qemu"
	ln -sf "$(command -v qemu-system-x86_64)" "$NODES/$W2/run/qemu"
	local name old
	for name in $W1 $W2; do
		old=$(daemon_of $name)
		kill -KILL "$old"
		wait_for 10 answers $name "$old"
	done
}

daemon_of() {
	pgrep -P "$(cat "$SLURM_TOP/state/run/hypervisor-$1.pid")" -x wnodes-hypervis
}

answers() {
	[ "$(daemon_of "$1")" != "$2" ] && on "$1" wnodes node show
}

# What the daemon of a node says, by jq: node NAME FILTER
node() {
	on "$1" wnodes node show --json | jq -r "$2"
}

# A job of the user: vmrun [OPTIONS] COMMAND
vmrun() {
	as "$TEST_UID" timeout -k 5 120 srun --quiet --mem=1000 --vm-image=debian --vm-cpus=1 --vm-memory=256M "$@"
}

# Submits a batch script of these lines to the cluster: batch [OPTIONS] LINES. Prints its id.
batch() {
	local script=$WORK/job.sh
	printf '%s\n' '#!/bin/sh' "${@: -1}" >"$script"
	as "$TEST_UID" timeout 20 sbatch --parsable --mem=1000 --vm-image=debian --vm-cpus=1 --vm-memory=256M \
		-o "$SLURM_TOP/home/%j.out" "${@:1:$#-1}" "$script"
}

output() {
	cat "$SLURM_TOP/home/$1.out"
}

is_waiting() {
	[ "$(squeue -h -j "$1" -o %t)" = PD ]
}

is_running() {
	[ "$(squeue -h -j "$1" -o %t)" = R ] && [[ "$(output "$1")" == *up* ]]
}

a_template() {
	[ -n "$(find "$NODES/$1/lib/templates" -maxdepth 1 -regextype egrep -regex '.*/[0-9a-f]{64}')" ]
}

state_of() {
	sinfo -h -n "$1" -o %T
}

@test "node: the first job boots, and the next is a clone of the node's own template" {
	configure
	run -0 --separate-stderr vmrun -w $W1 sh -c 'hostname; id -un'
	[[ "${lines[0]}" = vm-* ]] && [ "${lines[1]}" = "$SLURM_USER" ]
	wait_for 120 a_template $W1
	# Several tasks too, and nothing else will do.
	run -0 --separate-stderr vmrun -w $W1 --vm-start=clone -n2 hostname
	[ "${lines[0]}" = "${lines[1]}" ]
	[ "$(stat -c %u "$NODES/$W1"/lib/templates/*/memory)" = 0 ]
	[ "$(node "$W1" '.vm_list | length')" = 0 ]
}

@test "node: the daemon knows which job a VM is of" {
	id=$(batch -w $W1 'echo up; sleep 30')
	wait_for 60 is_running "$id"
	[ "$(node $W1 '.vm_list[0] | "\(.uid) \(.state)"')" = "$TEST_UID lent" ]
	if grep -q proctrack/cgroup "$SLURM_CONF"; then
		[ "$(node $W1 '.vm_list[0].job')" = "$id.batch" ]
	fi
	scancel "$id"
	wait_for 30 no_job "$id"
	wait_for 10 is_empty $W1
}

is_empty() {
	[ "$(node "$1" '.vm_list | length')" = 0 ] && [ -z "$(find "$NODES/$1/lib/instances" -type f)" ]
}

@test "node: a job over the node's limit waits for its place, and says so" {
	configure 'vms = 1'
	id=$(batch -w $W1 'echo up; sleep 4')
	wait_for 60 is_running "$id"
	run -0 --separate-stderr vmrun -w $W1 echo mine
	[ "$output" = mine ]
	[[ "$stderr" == *"waiting for the node, place 1: "* ]]
	wait_for 60 no_job "$id"
}

@test "node: on a node where no VM starts, jobs go back into the queue, and it is drained" {
	configure 'failures = 2'
	broken_qemu $W1
	one=$(batch 'echo "on $SLURMD_NODENAME after $SLURM_RESTART_COUNT"')
	two=$(batch 'echo "on $SLURMD_NODENAME after $SLURM_RESTART_COUNT"')
	wait_for 60 is_drained $W1
	wait_for 60 is_waiting "$one"
	wait_for 60 is_waiting "$two"
	[[ "$(output "$one")" == *"QEMU failed: no such luck"*"put back into the queue, to start on another node (1 of 3)"* ]]
	[[ "$(sinfo -R -h -o %E -n $W1)" == "wnodes: 2 VMs in a row did not start: "* ]]
	# Slurm would let them wait for two minutes.
	sleep 5 # as a node that has not done with a job refuses it
	as "$TEST_UID" scontrol update jobid="$one" starttime=now
	as "$TEST_UID" scontrol update jobid="$two" starttime=now
	wait_for 90 no_job_left
	[[ "$(output "$one")" == *"on $W2 after 1"* ]] && [[ "$(output "$two")" == *"on $W2 after 1"* ]]
	on $W1 wnodes node resume
	wait_for 10 is_up $W1
}

broken_qemu() {
	rm -f "$NODES/$1/run/qemu"
	printf '%s\n' '#!/bin/sh' '[ "$1" != --version ] || exec qemu-system-x86_64 --version' \
		'echo "no such luck" >&2; exit 3' >"$NODES/$1/run/qemu"
	chmod 755 "$NODES/$1/run/qemu"
}

is_drained() {
	[[ "$(state_of "$1")" == drain* ]]
}

is_up() {
	[ "$(state_of "$1")" = idle ]
}

no_job_left() {
	[ -z "$(squeue -h)" ]
}

@test "node: a job that somebody waits for is told of a drained node, and a batch job leaves it" {
	configure 'lrms = none'
	on $W1 wnodes node drain "new disks"
	run -125 --separate-stderr vmrun -w $W1 true
	[[ "$stderr" == *"the node is drained: new disks"* ]]
	id=$(batch -w $W1 true)
	wait_for 30 is_waiting_again "$id"
	[[ "$(output "$id")" == *"the node is drained: new disks"* ]]
	scancel "$id"
	on $W1 wnodes node resume
}

is_waiting_again() {
	is_waiting "$1" && [ "$(squeue -h -j "$1" -O RestartCnt:5 | tr -d ' ')" = 1 ]
}

@test "node: who drains a node drains it in Slurm, too, and resumes it there" {
	configure
	on $W1 wnodes node drain "new disks"
	wait_for 10 is_drained $W1
	[ "$(sinfo -R -h -o %E -n $W1)" = "new disks" ]
	run -0 --separate-stderr vmrun sh -c 'echo $SLURMD_NODENAME'
	[ "$output" = $W2 ]
	on $W1 wnodes node resume
	wait_for 10 is_up $W1
}

@test "node: a job does not go round for ever" {
	configure 'failures = 0' '[lrms]' 'requeues = 1'
	broken_qemu $W1
	id=$(batch -w $W1 true)
	wait_for 30 is_waiting_again "$id"
	sleep 5 # a node that has not done with a job refuses it
	as "$TEST_UID" scontrol update jobid="$id" starttime=now
	wait_for 60 no_job "$id"
	[[ "$(output "$id")" == *"has been put back into the queue 1 times already, and fails"* ]]
	wait_for 10 has_failed "$id" || { sacct -D -j "$id" && return 1; }
}

has_failed() {
	[ "$(sacct -nXP -j "$1" -o state,exitcode)" = "FAILED|125:0" ]
}

@test "node: a job whose image is not there fails, and the node is none the worse" {
	configure 'failures = 1'
	run -125 --separate-stderr as "$TEST_UID" timeout 60 srun --quiet -w $W1 --mem=1000 --vm-image=nonesuch true
	[[ "$stderr" == *nonesuch* ]]
	[ "$(node $W1 .drain.drained)" = false ]
}
