# The same verbs where there is Slurm: a real one, without accounting, which needs a database.

bats_require_minimum_version 1.5.0
load helpers
load cluster

setup_file() {
	cluster_setup queue --no-accounting --nodes 1 --cpus 2 --memory 4000 --plugin none
}

teardown_file() {
	cluster_teardown
}

setup() {
	[ -z "${WHY_NOT:-}" ] || skip "$WHY_NOT"
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
