# The same verbs where there is Slurm: a real one, of one node, made for this file. Accounting, which
# needs a database, is not part of it.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
	local program
	export WHY_NOT=
	[ "$(id -u)" -eq 0 ] || WHY_NOT="needs root"
	for program in slurmctld slurmd munged mungekey sbatch squeue scancel; do
		command -v $program >/dev/null || WHY_NOT="$program is not installed"
	done
	[ -z "$WHY_NOT" ] || return 0
	export SLURM=$BATS_FILE_TMPDIR/slurm
	export SLURM_CONF=$SLURM/slurm.conf
	cluster_start
}

teardown_file() {
	local file pid
	[ -z "$WHY_NOT" ] || return 0
	for file in "$SLURM"/run/*.pid; do
		pid=$(cat "$file" 2>/dev/null) || continue
		kill "$pid" 2>/dev/null || continue
		wait_for 10 is_gone "$pid" || kill -9 "$pid"
	done
}

is_gone() {
	! kill -0 "$1" 2>/dev/null
}

cluster_start() {
	local host
	host=$(hostname -s)
	chmod 755 "$BATS_RUN_TMPDIR" "$BATS_FILE_TMPDIR" "$(dirname "$BATS_FILE_TMPDIR")"
	mkdir -p "$SLURM"/{run,state,spool,socket} && mkdir -m 700 "$SLURM/key"
	mungekey -c -k "$SLURM/key/munge.key"
	munged --key-file="$SLURM/key/munge.key" --socket="$SLURM/socket/munge" --pid-file="$SLURM/run/munged.pid" \
		--log-file="$SLURM/munged.log" --seed-file="$SLURM/key/munged.seed"
	cat >"$SLURM_CONF" <<-CONF
		ClusterName=queue
		SlurmctldHost=$host(127.0.0.1)
		SlurmUser=root
		SlurmdUser=root
		AuthType=auth/munge
		CredType=cred/munge
		AuthInfo=socket=$SLURM/socket/munge
		SlurmctldPort=26817
		StateSaveLocation=$SLURM/state
		SlurmdSpoolDir=$SLURM/spool/%n
		SlurmctldPidFile=$SLURM/run/slurmctld.pid
		SlurmdPidFile=$SLURM/run/slurmd-%n.pid
		SlurmctldLogFile=$SLURM/slurmctld.log
		SlurmdLogFile=$SLURM/slurmd-%n.log
		ProctrackType=proctrack/linuxproc
		TaskPlugin=task/none
		JobAcctGatherType=jobacct_gather/none
		AccountingStorageType=accounting_storage/none
		SelectType=select/cons_tres
		SelectTypeParameters=CR_Core_Memory
		ReturnToService=2
		MpiDefault=none
		KillWait=5
		EnforcePartLimits=ALL
		SlurmdParameters=config_overrides
		SchedulerParameters=sched_min_interval=10000,batch_sched_delay=0,bf_interval=1
		NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=27001 CPUs=2 RealMemory=4000 State=UNKNOWN
		PartitionName=p Nodes=ALL Default=YES MaxTime=INFINITE State=UP
	CONF
	slurmctld -f "$SLURM_CONF"
	slurmd -f "$SLURM_CONF" -N n1
	wait_for 30 sh -c 'timeout 5 sinfo -h -o %T | grep -qx idle'
}

setup() {
	[ -z "$WHY_NOT" ] || skip "$WHY_NOT"
	setup_work
	settings auto
}

settings() {
	export XDG_CONFIG_HOME=$WORK/config
	mkdir -p "$XDG_CONFIG_HOME/wnodes"
	cat "$TEST_HOME/config/wnodes/wnodes.conf" - >"$XDG_CONFIG_HOME/wnodes/wnodes.conf" <<-CONF
		[lrms]
		type = $1
	CONF
}

plain() {
	timeout 30 "$WNODES" submit --no-vm --memory 100M "$@"
}

wait_job() {
	timeout 90 "$WNODES" wait "$@"
}

# state ID
state() {
	timeout 30 "$WNODES" queue --all --json | jq -r ".[] | select(.id == \"$1\") | .state"
}

is_in_state() {
	[ "$(state "$1")" = "$2" ]
}

@test "queue in Slurm: a job runs where it was submitted, with its environment, umask, output and status" {
	mkdir "a dir" && cd "a dir"
	umask 027
	id=$(SUBMITTED="it's \$HOME" plain --name 'my job' -- sh -c 'pwd; umask; echo "$SUBMITTED" "$0" "$1"; echo oops >&2; exit 7' "a 'b' \$c" $'x\ty')
	[[ "$id" =~ ^[0-9]+$ ]]
	run -7 wait_job "$id"
	[ "$(cat "wnodes-$id.out")" = "$WORK/a dir
0027
it's \$HOME a 'b' \$c x	y" ]
	[ "$(cat "wnodes-$id.err")" = oops ]
	run -0 "$WNODES" queue --all --json
	[ "$(jq -r ".[] | select(.id == \"$id\") | \"\(.name) \(.state) \(.exit_status) \(.cpus) \(.memory_bytes) \(.argv[0]) \(.image)\"" <<<"$output")" = \
		"my job failed 7 1 104857600 sh null" ]
}

@test "queue in Slurm: a job is a VM" {
	id=$("$WNODES" submit --network none --memory 512M -- sh -c 'hostname; pwd; exit 5')
	run -5 wait_job "$id"
	[[ "$(head -1 "wnodes-$id.out")" == vm-* ]]
	[ "$(tail -1 "wnodes-$id.out")" = "$WORK" ]
	[ "$(timeout 30 "$WNODES" queue --all --json | jq -r ".[] | select(.id == \"$id\") | .image")" = debian ]
	jq -e '.state == "failed" and .vms[0].phase == "done" and .vms[0].exit_status == 5' \
		<<<"$(timeout 30 "$WNODES" job show --json "$id")"
	assert_nothing_left
}

@test "queue in Slurm: jobs wait, and are cancelled while they wait and while they run" {
	first=$(plain --cpus 2 -- sh -c 'touch ready; sleep 1000')
	second=$(plain --cpus 2 -- touch never)
	wait_for 30 test -e ready
	[ "$(state "$second")" = queued ]
	[ "$(timeout 30 "$WNODES" queue --quiet | sort -n | tr '\n' ' ')" = "$first $second " ]
	run -124 "$WNODES" wait --timeout 300ms "$first"
	"$WNODES" cancel "$second" "$first"
	run -143 wait_job "$second"
	run -143 wait_job "$first"
	[ "$(state "$first") $(state "$second")" = "cancelled cancelled" ]
	[ ! -e never ]
	run -125 "$WNODES" cancel "$first"
	[[ "$output" == *"has ended already: cancelled" ]]
}

@test "queue in Slurm: a signal reaches the command" {
	id=$(plain -- bash -c 'trap "exit 9" USR1; touch ready; while :; do sleep 0.1; done')
	wait_for 30 test -e ready
	"$WNODES" cancel --signal USR1 "$id"
	run -9 wait_job "$id"
}

@test "queue in Slurm: what it refuses is told, and what nobody knows" {
	run -125 plain --cpus 64 -- true
	[[ "$output" == *"'sbatch' failed"* ]]
	run -125 "$WNODES" wait 999999
	[[ "$output" == *"Slurm knows no job 999999"* ]]
	for id in x -1 '1;2' 1_2 ''; do
		run -125 "$WNODES" wait -- "$id"
		run -125 "$WNODES" cancel -- "$id"
	done
}

@test "queue in Slurm: the setting wins over what is there" {
	settings local
	[ "$(plain -- true)" = 1 ]
	wait_job 1
	settings slurm
	mkdir empty
	run -125 env PATH="$WORK/empty" "$WNODES" queue
	[[ "$output" == *"cannot start 'squeue': no such program"* ]]
}
