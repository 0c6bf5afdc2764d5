# The local queue: jobs wait, run, end and are remembered, whatever is killed. Most of them are plain
# ones (--no-vm); what a VM does in one is what `wnodes run` does.

bats_require_minimum_version 1.5.0
load helpers

setup() {
	setup_work
	settings
	QUEUE=$XDG_STATE_HOME/wnodes/queue-$(hostname)
}

teardown() {
	local pid
	# Who could still start a job goes first.
	for pid in $(ours); do kill -9 "$pid" 2>/dev/null || true; done
	for pid in $(ours); do kill -9 "$pid" 2>/dev/null || true; done
	cd /
	rm -rf "$WORK"
}

# All processes of this test but its shells: by their environment, that of a runner and its jobs.
ours() {
	local file pid
	for file in $(grep -lazx "WNODES_TEST=$WORK" /proc/[0-9]*/environ 2>/dev/null); do
		pid=${file#/proc/}
		pid=${pid%/environ}
		tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qE 'bats|^bash ' || echo "$pid"
	done
}

# The settings of the queue, for this test.
settings() {
	export XDG_CONFIG_HOME=$WORK/config
	mkdir -p "$XDG_CONFIG_HOME/wnodes"
	{
		cat "$TEST_HOME/config/wnodes/wnodes.conf"
		printf '[lrms]\ntype = local\ncpus = 2\nmemory = 4G\ngrace = 1s\n'
	} >"$XDG_CONFIG_HOME/wnodes/wnodes.conf"
}

plain() {
	"$WNODES" submit --no-vm --memory 1M "$@"
}

# state ID: and nothing else; does not wake anybody.
state() {
	sql "SELECT state FROM job WHERE id = $1"
}

sql() {
	sqlite3 -cmd '.timeout 10000' "$QUEUE/queue.db" "$@"
}

is_in_state() {
	[ "$(state "$1")" = "$2" ]
}

# The pid of the runner: who holds the lock.
runner() {
	local inode
	inode=$(stat -c %i "$QUEUE/runner.lock")
	awk -v inode="$inode" '$2 == "FLOCK" && $4 == "WRITE" && $6 ~ ":" inode "$" {print $5}' /proc/locks | head -1
}

no_runner() {
	[ -z "$(runner)" ]
}

a_runner() {
	! no_runner
}

keeper() {
	sql "SELECT keeper_pid FROM job WHERE id = $1"
}

# Kills, and returns when they are gone.
kill_hard() {
	local pid
	kill -9 "$@"
	for pid; do wait_for 10 is_gone "$pid"; done
}

is_gone() {
	! grep -q '^State:.[^ZX]' "/proc/$1/status"
}

wait_job() {
	timeout 60 "$WNODES" wait "$@"
}

@test "queue: a job runs where it was submitted, with its environment, umask, output and status" {
	mkdir "a dir" && cd "a dir"
	umask 027
	id=$(SUBMITTED=yes plain -- sh -c 'pwd; umask; echo "$SUBMITTED $WNODES_JOB_ID"; echo oops >&2; exit 7')
	[ "$id" = 1 ]
	run -7 wait_job "$id"
	[ "$(cat wnodes-1.out)" = "$WORK/a dir
0027
yes 1" ]
	[ "$(cat wnodes-1.err)" = oops ]
	[ "$(stat -c %a wnodes-1.out)" = 640 ]
	run -0 "$WNODES" queue
	[ "${#lines[@]}" -eq 1 ]
	run -0 "$WNODES" queue --all
	[[ "${lines[1]}" == *" sh "*" failed "*"exit status 7" ]]
}

@test "queue: a job is a VM, and its options are those of wnodes run" {
	id=$("$WNODES" submit --network none --memory 512M --report report.json --name first \
		-- sh -c 'id -u; pwd; echo $WNODES_JOB_ID; grep -c kB /proc/meminfo >mem; hostname; exit 5')
	run -5 wait_job "$id"
	run -0 cat "wnodes-$id.out"
	[ "${lines[0]}" = "$(id -u)" ]
	[ "${lines[1]}" = "$WORK" ]
	[ "${lines[2]}" = "$id" ]
	[[ "${lines[3]}" == vm-* ]]
	[ -s mem ]
	[ "$(jq .exit_status report.json)" = 5 ]
	run -0 "$WNODES" queue --all --json
	[ "$(jq -r '.[0] | "\(.id) \(.name) \(.state) \(.image) \(.memory_bytes) \(.exit_status) \(.argv | length)"' <<<"$output")" = \
		"1 first failed debian 536870912 5 3" ]
	wait_for 10 no_runner
	assert_nothing_left
}

@test "queue: a VM's job is cancelled with its VM, and its time limit is its state" {
	long=$("$WNODES" submit --network none -- sleep 1000)
	short=$("$WNODES" submit --network none --timeout 1s -- sleep 1000)
	wait_for 30 a_vm
	"$WNODES" cancel "$long"
	run -143 wait_job "$long"
	[ "$(state "$long")" = cancelled ]
	run -124 wait_job "$short"
	[ "$(state "$short")" = timeout ]
	wait_for 10 no_vm
	wait_for 10 no_runner
	assert_nothing_left
}

@test "queue: jobs start in their order, and none overtakes a big one" {
	script='echo $WNODES_JOB_ID start >>order; sleep 0.5; echo $WNODES_JOB_ID end >>order'
	plain --cpus 1 -- sh -c "$script"
	plain --cpus 2 -- sh -c "$script"
	plain --cpus 1 -- sh -c "$script"
	wait_job 1 2 3
	[ "$(tr '\n' ' ' <order)" = "1 start 1 end 2 start 2 end 3 start 3 end " ]
}

@test "queue: no more runs than there are CPUs and memory for" {
	for ((i = 0; i < 12; i++)); do
		"$WNODES" submit --no-vm --memory "$((i % 3 + 1))G" --cpus 1 -- sleep 0.2
	done
	wait_job $(seq 12)
	# Whatever was running when a job started, it had room besides.
	[ "$(sql 'SELECT count(*) FROM job')" = 12 ]
	run -0 sql "SELECT max(cpus), max(memory) >> 30 FROM (SELECT
		(SELECT sum(b.cpus) FROM job b WHERE b.started <= a.started AND b.ended > a.started) AS cpus,
		(SELECT sum(b.memory) FROM job b WHERE b.started <= a.started AND b.ended > a.started) AS memory
		FROM job a)"
	[ "$output" = "2|4" ] || [ "$output" = "2|3" ]
}

@test "queue: what can never run is refused at once, with the numbers" {
	run -125 plain --cpus 3 -- true
	[[ "$output" == *"asks for 3 CPUs and the queue has 2"* ]]
	run -125 "$WNODES" submit --no-vm --memory 5G -- true
	[[ "$output" == *"asks for 5 GiB of memory and the queue has 4 GiB"* ]]
	run -125 "$WNODES" submit --image nosuch -- true
	[[ "$output" == *"no image 'nosuch'"* ]]
	run -125 "$WNODES" submit --mount /no/such -- true
	[[ "$output" == *"/no/such"* ]]
	run -125 plain --image debian -- true
	[[ "$output" == *"--image needs a VM"* ]]
	run -125 plain --output /no/such/file -- true
	[[ "$output" == *"no file can be made in '/no/such'"* ]]
	run -125 plain --output . -- true
	[[ "$output" == *"is a directory"* ]]
	run -125 plain --workdir /no/such -- true
	[[ "$output" == *"'/no/such' is no directory"* ]]
	run -125 plain --name "$(printf 'a\nb')" -- true
	run -125 plain --name '' -- true
	run -125 plain
	[ "$(sql 'SELECT count(*) FROM job')" = 0 ]
	# Nobody is left who would wait for them.
	wait_for 5 no_runner
}

@test "queue: settings that shrink do not block the queue for ever" {
	plain --cpus 2 -- sleep 2
	plain --cpus 2 -- true
	plain --cpus 1 -- true
	sed -i 's/^cpus = .*/cpus = 1/' "$XDG_CONFIG_HOME/wnodes/wnodes.conf"
	wait_job 1
	run -125 wait_job 2
	[[ "$(sql 'SELECT reason FROM job WHERE id = 2')" == *"asks for 2 CPUs and the queue has 1"* ]]
	wait_job 3
}

@test "queue: output goes where --output and --error say, and both may be one file" {
	id=$(plain --output 'all-%j-%%.log' --error 'all-%j-%%.log' -- sh -c 'echo one; echo two >&2; echo three')
	wait_job "$id"
	[ "$(cat "all-$id-%.log")" = $'one\ntwo\nthree' ]
	echo old content that is longer >same
	wait_job "$(plain --output same -- echo new)"
	[ "$(cat same)" = new ]
	mkfifo pipe
	run -125 wait_job "$(plain --output pipe -- echo new)"
	[[ "$(sql 'SELECT reason FROM job WHERE id = 3')" == *"cannot open '$WORK/pipe'"* ]]
}

@test "queue: what cannot be started has failed, as in a shell" {
	run -127 wait_job "$(plain -- no-such-command)"
	grep -q "no such program" wnodes-1.err
	echo data >plain && run -126 wait_job "$(plain -- ./plain)"
	run -127 wait_job "$(plain -- ./missing)"
	mkdir gone
	plain --cpus 2 -- sleep 1
	id=$(cd gone && plain --cpus 2 --output /dev/null --error /dev/null -- pwd)
	rm -r gone
	run ! wait_job "$id"
	[ "$(state "$id")" = failed ]
	# The job's own PATH counts, not that of whoever has started the runner.
	mkdir bin && printf '#!/bin/sh\nexit 9\n' >bin/mine && chmod +x bin/mine
	run -9 wait_job "$(PATH=$WORK/bin:$PATH plain -- mine)"
}

@test "queue: a queued job is cancelled, a running one with all that it has started" {
	cat >stubborn <<-'SH'
		#!/bin/bash
		trap '' TERM
		setsid sh -c 'trap "" TERM; while :; do sleep 1; done' &
		(trap '' TERM; while :; do sleep 1; done) &
		touch ready
		while :; do sleep 1; done
	SH
	chmod +x stubborn
	plain --cpus 2 -- ./stubborn
	plain --cpus 2 -- touch never
	wait_for 10 test -e ready
	# The runner, the keeper, and four of the job: what is looked for below is to be seen here.
	[ "$(ours | wc -l)" -ge 5 ]
	"$WNODES" cancel 2
	run -143 wait_job 2
	"$WNODES" cancel 1
	run -137 wait_job 1
	[ "$(state 1) $(state 2)" = "cancelled cancelled" ]
	[ ! -e never ]
	wait_for 5 no_runner
	[ -z "$(ours)" ]
	run -125 "$WNODES" cancel 1
	[[ "$output" == *"job 1 has ended already: cancelled" ]]
	run -125 "$WNODES" cancel 77
	run -125 "$WNODES" cancel x
	run -125 "$WNODES" cancel -- -1
}

@test "queue: a job may end itself well within the grace" {
	plain -- bash -c 'trap "echo saved; exit 3" TERM; touch ready; while :; do sleep 0.1; done'
	wait_for 10 test -e ready
	"$WNODES" cancel 1
	run -3 wait_job 1
	[ "$(cat wnodes-1.out)" = saved ]
	[ "$(state 1)" = cancelled ]
}

@test "queue: --signal is sent to the job, which goes on" {
	plain -- bash -c 'trap "echo got" USR1; touch ready; while [ ! -e end ]; do sleep 0.1; done'
	wait_for 10 test -e ready
	"$WNODES" cancel --signal USR1 1
	wait_for 10 grep -q got wnodes-1.out
	"$WNODES" cancel --signal sigusr1 1
	wait_for 10 sh -c '[ $(grep -c got wnodes-1.out) -eq 2 ]'
	touch end
	wait_job 1
	[ "$(state 1)" = done ]
	plain -- sh -c 'trap "" TERM; sleep 1000'
	wait_for 10 is_in_state 2 running
	"$WNODES" cancel --signal KILL 2
	run -137 wait_job 2
	[ "$(state 2)" = cancelled ]
	run -125 "$WNODES" cancel --signal NONE 2
	[[ "$output" == *"no signal 'NONE'"* ]]
}

@test "queue: what a job leaves behind ends with it" {
	plain -- sh -c 'setsid sleep 1000 & sleep 1000 & exit 4'
	run -4 wait_job 1
	[ "$(state 1)" = failed ]
	wait_for 5 no_runner
	[ -z "$(ours)" ]
}

@test "queue: the time limit of a plain job" {
	plain --timeout 500ms -- sh -c 'sleep 1000'
	run -124 wait_job 1
	[ "$(state 1)" = timeout ]
	[[ "$(sql 'SELECT reason FROM job')" == *"time limit of 0.50 s"* ]]
}

@test "queue: wait gives the worst status, 125 for what is unknown, 124 when its time is out" {
	plain -- true
	plain -- sh -c 'exit 3'
	plain -- sh -c 'kill -SEGV $$'
	run -0 wait_job 1
	run -139 wait_job 1 2 3
	run -125 wait_job 1 77
	[[ "$output" == *"no job 77"* ]]
	[ "${#lines[@]}" -eq 1 ]
	plain -- sleep 1000
	run -124 "$WNODES" wait --timeout 300ms 4
	[[ "$output" == *"job 4 has not ended"* ]]
}

@test "queue: a thousand arguments, odd bytes and quotes reach the command" {
	run -0 wait_job "$(plain --output out -- printf '%s\n' "it's" '$HOME "x"' $'a\tb' '' $'\xff\xfe' "$(head -c 100000 /dev/zero | tr '\0' x)")"
	printf '%s\n' "it's" '$HOME "x"' $'a\tb' '' $'\xff\xfe' "$(head -c 100000 /dev/zero | tr '\0' x)" | cmp - out
	run -0 "$WNODES" queue --all --json
	[ "$(jq '.[0].argv | length' <<<"$output")" = 8 ]
	"$WNODES" queue --all >list
	run -1 grep -P '[\x00-\x08\x0e-\x1f]' list
}

@test "queue: the environment of a job is forgotten when it has ended, and nobody else can read it" {
	SECRET=hunter2 plain -- true
	wait_job 1
	[ "$(sql 'SELECT environment IS NULL AND command IS NULL FROM job')" = 1 ]
	[ "$(stat -c %a "$QUEUE/queue.db")" = 600 ]
	[ "$(stat -c %a "$QUEUE")" = 700 ]
}

@test "queue: killing the runner again and again loses nothing and runs nothing twice" {
	local rounds=${QUEUE_ROUNDS:-25} i pid
	for ((i = 1; i <= rounds; i++)); do
		plain --output /dev/null --error /dev/null -- \
			sh -c 'echo $WNODES_JOB_ID >>began; sleep 0.0$((WNODES_JOB_ID % 10)); echo $WNODES_JOB_ID >>ended; exit $((WNODES_JOB_ID % 7))'
		sleep "0.0$((RANDOM % 90 + 10))"
		pid=$(runner)
		[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
	done
	wait_job $(seq $rounds) || true
	[ "$(sort -n began | tr '\n' ' ')" = "$(seq $rounds | tr '\n' ' ')" ]
	[ "$(sort -n ended | tr '\n' ' ')" = "$(seq $rounds | tr '\n' ' ')" ]
	# The status of each was learned, whoever was alive when it ended.
	[ "$(sql 'SELECT count(*) FROM job WHERE exit_status = id % 7')" = "$rounds" ]
	wait_for 10 no_runner
}

@test "queue: killing everything at random: each job has one end, and none ran twice" {
	local rounds=${QUEUE_ROUNDS:-25} i pid victims
	for ((i = 1; i <= rounds; i++)); do
		plain --output /dev/null --error /dev/null -- \
			sh -c 'echo $WNODES_JOB_ID >>began; sleep 0.1 & wait; echo $WNODES_JOB_ID >>ended'
		sleep "0.0$((RANDOM % 90 + 10))"
		# One of the runner, the keepers and the jobs.
		mapfile -t victims < <(runner
			sql "SELECT keeper_pid FROM job WHERE state = 'running' UNION SELECT pid FROM job WHERE state = 'running'")
		[ ${#victims[@]} -eq 0 ] || kill -9 "${victims[RANDOM % ${#victims[@]}]}" 2>/dev/null || true
	done
	wait_job $(seq $rounds) || true
	[ "$(sql "SELECT count(*) FROM job WHERE state IN ('done', 'failed') AND ended IS NOT NULL")" = "$rounds" ]
	[ -z "$(sort began | uniq -d)" ]
	# Who is done has ended; who has failed has a reason.
	[ "$(sql "SELECT id FROM job WHERE state = 'done'" | sort | join -v 1 - <(sort ended) | wc -l)" = 0 ]
	[ "$(sql "SELECT count(*) FROM job WHERE state = 'failed' AND reason IS NULL")" = 0 ]
	wait_for 10 no_runner
	[ -z "$(ours)" ]
}

@test "queue: a job whose keeper is killed has failed, and nothing of it is left" {
	plain -- sh -c 'setsid sleep 1000 & touch ready; sleep 1000'
	wait_for 10 test -e ready
	kill -9 "$(keeper 1)"
	run -125 wait_job 1
	[[ "$output" == *"nobody saw its end"* ]]
	[ "$(state 1)" = failed ]
	wait_for 10 no_runner
	[ -z "$(ours)" ]
}

@test "queue: the same when nobody but wnodes queue looks" {
	plain --cpus 2 -- sh -c 'setsid sleep 1000 & touch ready; sleep 1000'
	plain --cpus 2 -- touch second
	wait_for 10 test -e ready
	kill_hard "$(runner)" "$(keeper 1)"
	[ "$(state 1)" = running ]
	run -0 "$WNODES" queue
	[[ "$output" != *" running "*1000* ]]
	[ "$(state 1)" = failed ]
	# It has started a runner, too, for what is queued.
	wait_for 10 test -e second
}

@test "queue: a running job does not notice that the runner is gone" {
	plain -- sh -c 'touch ready; while [ ! -e go ]; do sleep 0.1; done; exit 6'
	wait_for 10 test -e ready
	kill -9 "$(runner)"
	wait_for 5 no_runner
	touch go
	# The end is noted by the job's keeper, with no runner.
	wait_for 10 is_in_state 1 failed
	[ "$(sql 'SELECT exit_status FROM job')" = 6 ]
	no_runner
}

@test "queue: after a reboot, what ran has failed and what waited runs" {
	plain --cpus 2 -- sh -c 'touch ready; sleep 1000'
	plain --cpus 2 -- touch second
	wait_for 10 test -e ready
	kill_hard "$(runner)" "$(keeper 1)"
	# The pid may be anybody's by now, and even the time of its start agree.
	sql "UPDATE job SET boot = '00000000-0000-0000-0000-000000000000', keeper_pid = $$,
		keeper_start = $(awk '{print $22}' /proc/$$/stat) WHERE id = 1"
	run -125 wait_job 1
	[[ "$output" == *"the machine went down while it ran"* ]]
	wait_job 2
	[ -e second ]
	kill -0 $$
}

@test "queue: a keeper's pid that is another process by now is not taken for it" {
	plain -- sh -c 'touch ready; sleep 1000'
	wait_for 10 test -e ready
	kill_hard "$(runner)" "$(keeper 1)"
	sql "UPDATE job SET keeper_pid = $$ WHERE id = 1"
	run -125 "$WNODES" cancel --signal TERM 77
	"$WNODES" cancel 1
	run -143 wait_job 1
	kill -0 $$
}

@test "queue: a runner that is told to end leaves the jobs alone" {
	plain -- sh -c 'touch ready; while [ ! -e go ]; do sleep 0.1; done'
	wait_for 10 test -e ready
	kill "$(runner)"
	wait_for 5 no_runner
	[ "$(state 1)" = running ]
	# The next one looks after them.
	plain --cpus 2 -- touch second
	touch go
	wait_job 1 2
	[ -e second ]
}

@test "queue: only one runner works, however many are started" {
	plain -- sh -c 'touch ready; sleep 2'
	wait_for 10 test -e ready
	for i in 1 2 3 4; do timeout 20 "$WNODES" runner & done
	sleep 0.3
	[ "$(awk -v inode="$(stat -c %i "$QUEUE/runner.lock")" '$2 == "FLOCK" && $6 ~ ":" inode "$"' /proc/locks | wc -l)" = 1 ]
	wait_job 1
	wait
	wait_for 10 no_runner
}

@test "queue: many submit at once, and all jobs run once" {
	for i in 1 2 3 4 5 6 7 8; do
		{
			for j in 1 2 3 4 5; do
				plain --name "$i-$j" --output /dev/null --error /dev/null -- sh -c 'echo $WNODES_JOB_ID >>ran'
			done
		} &
	done
	wait
	wait_job $(seq 40)
	[ "$(sort -n ran | tr '\n' ' ')" = "$(seq 40 | tr '\n' ' ')" ]
}

@test "queue: a foreign, a damaged and a newer database are told, and left alone" {
	mkdir -p "$QUEUE" && chmod 700 "$QUEUE"
	sqlite3 "$QUEUE/queue.db" 'CREATE TABLE cookies (x); INSERT INTO cookies VALUES (1)'
	before=$(sha256sum <"$QUEUE/queue.db")
	run -125 plain -- true
	[[ "$output" == *"queue.db': it is the database of another program"* ]]
	[ "$(sha256sum <"$QUEUE/queue.db")" = "$before" ]
	head -c 8192 /dev/urandom >"$QUEUE/queue.db"
	run -125 "$WNODES" queue
	[[ "$output" == *"it is no database; move it away"* ]]
	rm "$QUEUE/queue.db"
	wait_job "$(plain -- true)"
	wait_for 10 no_runner
	sql 'PRAGMA user_version = 2'
	run -125 plain -- true
	[[ "$output" == *"its version is 2, this WNoDeS knows 1"* ]]
	# A table that is another than its version says.
	sql 'PRAGMA user_version = 1; DROP TABLE job; CREATE TABLE job (id)'
	run -125 "$WNODES" queue
	[[ "$output" == *"queue.db'"* ]]
}

@test "queue: a directory that cannot be written is told" {
	run -125 env XDG_STATE_HOME=/proc/self "$WNODES" queue
	[[ "$output" == *"cannot make '/proc/self/wnodes"* ]]
	mkdir -p "$QUEUE" && chmod 777 "$QUEUE"
	run -125 "$WNODES" queue
	[[ "$output" == *"is not a directory that only you can write to"* ]]
	chmod 700 "$QUEUE"
	wait_job "$(plain -- true)"
	wait_for 10 no_runner
	[ "$(id -u)" -ne 0 ] || skip "root may write everywhere"
	chmod 500 "$QUEUE"
	run -125 plain -- true
	chmod 700 "$QUEUE"
	[[ "$output" == *"queue '"* ]]
}

@test "queue: a full disk is told, and nothing is lost" {
	skip_unless_root
	mkdir small && mount -t tmpfs -o size=256k,mode=700 none small || skip "cannot mount"
	export XDG_STATE_HOME=$WORK/small
	QUEUE=$XDG_STATE_HOME/wnodes/queue-$(hostname)
	plain --cpus 2 -- sh -c 'touch ready; while [ ! -e go ]; do sleep 0.1; done; exit 3'
	wait_for 10 test -e ready
	head -c 1m /dev/zero >"$XDG_STATE_HOME/filler" || true
	for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
		run plain -- true
		[ "$status" -eq 0 ] || break
	done
	[ "$status" -eq 125 ]
	[[ "$output" == *"no space is left on its disk"* ]] || { umount -l small; false; }
	# The end of a job that ends now is noted when there is room again.
	touch go
	sleep 1.5
	rm "$XDG_STATE_HOME/filler"
	run wait_job 1
	umount -l small
	[ "$status" -eq 3 ]
}

@test "queue: a disk that is read-only is told" {
	skip_unless_root
	wait_job "$(plain -- true)"
	wait_for 10 no_runner
	mount --bind "$XDG_STATE_HOME" "$XDG_STATE_HOME" || skip "cannot mount"
	mount -o remount,bind,ro "$XDG_STATE_HOME"
	run plain -- true
	umount -l "$XDG_STATE_HOME"
	[ "$status" -eq 125 ]
	[[ "$output" == *"queue '"*"queue.db'"* ]]
}

@test "queue: others' jobs are not to be seen, and old ones are forgotten" {
	run -125 "$WNODES" queue --user nobody-else
	[[ "$output" == *"the local queue is"* ]]
	wait_job "$(plain -- true)"
	wait_for 10 no_runner
	sql 'UPDATE job SET ended = 1000000'
	wait_job "$(plain -- true)"
	run -0 "$WNODES" queue --all --quiet
	[ "$output" = 2 ]
}

@test "queue: a queue belongs to one machine, as the home directory may be that of many" {
	skip_unless_root
	plain --cpus 2 -- sh -c 'touch ready; sleep 1000'
	wait_for 10 test -e ready
	run -0 unshare --uts sh -c "hostname elsewhere; '$WNODES' queue --quiet"
	[ -z "$output" ]
	[ "$(state 1)" = running ]
}

@test "queue: as an unprivileged user" {
	skip_unless_user
	as_user sh -c 'mkdir -p config/wnodes; printf "[lrms]\ntype = local\n" >>config/wnodes/wnodes.conf'
	export XDG_STATE_HOME=$WORK/user/state
	run -0 as_user sh -c "'$WNODES' wait \$('$WNODES' submit --no-vm -- id -u); cat wnodes-1.out"
	[ "$output" = "$TEST_UID" ]
	# Not in a directory of somebody else's.
	chmod 755 "$WORK" && mkdir -m 777 "$WORK/open"
	run -125 env XDG_STATE_HOME="$WORK/user/state" "$WNODES" queue
	[[ "$output" == *"is not a directory that only you can write to"* ]]
}

# The phases that a VM of a job has been in: phases ID
phases() {
	"$WNODES" job show "$1" --json | jq -r '[.vms[].phases[].phase] | join(" ")'
}

is_in_phase() {
	[ "$("$WNODES" job show "$1" --json | jq -r '.vms[0].phase')" = "$2" ]
}

@test "queue: wnodes job tells a VM's phases, its provisioning apart from the run" {
	id=$("$WNODES" submit --name mine --network none --memory 512M --start boot -- sh -c 'sleep 2; exit 5')
	plain=$(plain -- sh -c 'until [ -e go ]; do sleep 0.1; done')
	wait_for 60 is_in_phase "$id" run
	run -0 "$WNODES" job list
	[[ "${lines[0]}" == ID*NAME*STATE*PHASE*NODE*PROVISION*RUN*REASON ]]
	[[ "${lines[1]}" =~ ^$id\ +mine\ +running\ +run\ +$(hostname -s)\ +[0-9.]+\ s\ +[0-9.]+\ s\ +-$ ]]
	[[ "${lines[2]}" =~ ^$plain\ +sh\ +running\ +-\  ]]
	run -5 wait_job "$id"
	[ "$(phases "$id")" = "fetch boot prepare run stop" ]
	"$WNODES" job show "$id" --json >job.json
	jq -e '.state == "failed" and .vms[0].phase == "done" and .vms[0].exit_status == 5 and .vms[0].start == "boot"' job.json
	# The sum of what came before is the provisioning; the command took its two seconds.
	jq -e '.vms[0] | .run_us >= 2000000 and .run_us < 30000000 and .provision_us > 100000' job.json
	jq -e '.vms[0] | (.phases[] | select(.phase == "run") | .start_us) == .provision_us' job.json
	run -0 "$WNODES" job show "$id"
	[[ "$output" == *"Provisioning: "*" s"*"Run: "*" s"*"PHASE "*"boot "*"stop "* ]]
	# Ended jobs are in the list of all only.
	touch go
	wait_job "$plain"
	run -0 "$WNODES" job list
	[ "${#lines[@]}" -eq 1 ]
	run -0 "$WNODES" job list --all
	[ "${#lines[@]}" -eq 3 ]
}

@test "queue: a VM that ended without telling is lost" {
	id=$("$WNODES" submit --network none --memory 512M -- sleep 100)
	wait_for 60 is_in_phase "$id" run
	kill -9 "$("$WNODES" job show "$id" --json | jq '.vms[0].pid')"
	run -137 wait_job "$id"
	is_in_phase "$id" lost
	run -0 "$WNODES" job list --all
	[[ "${lines[1]}" == *" failed "*" lost "*"last known phase: run"* ]]
	# Its time does not go on.
	"$WNODES" job show "$id" --json | jq '.vms[0].run_us' >first
	sleep 0.1
	"$WNODES" job show "$id" --json | jq '.vms[0].run_us' | cmp - first
}

@test "queue: a job whose image is not there any more has failed in fetch, with the reason" {
	export XDG_DATA_HOME=$WORK/data
	mkdir -p "$XDG_DATA_HOME"
	copy_store "$TEST_HOME/data/wnodes" "$XDG_DATA_HOME"
	# It waits behind one that takes all CPUs.
	plain --cpus 2 -- sh -c 'until [ -e go ]; do sleep 0.1; done'
	id=$("$WNODES" submit --network none --memory 512M -- true)
	"$WNODES" image remove debian
	touch go
	run -125 wait_job "$id"
	is_in_phase "$id" failed
	[[ "$("$WNODES" job show "$id" --json | jq -r '.vms[0].reason')" == *debian* ]]
	[ "$(phases "$id")" = fetch ]
}

@test "queue: wnodes job refuses what is no job, and passes over what is no status" {
	run -125 "$WNODES" job show 77
	[ "$output" = "wnodes: there is no job 77; see \`wnodes job list --all\`" ]
	for id in '' x/y .. 1. .1 1.2/3 -- "$(printf 'a\nb')"; do
		run -125 "$WNODES" job show -- "$id"
		[ -n "$output" ]
	done
	id=$(plain -- true)
	wait_job "$id"
	jobs=$XDG_STATE_HOME/wnodes/jobs/local-$(hostname -s)
	mkdir -p "$jobs"
	mkfifo "$jobs/$id.vm.0-a"
	mkdir "$jobs/$id.vm.0-b"
	ln -s /dev/zero "$jobs/$id.vm.0-c"
	head -c 100000 /dev/zero >"$jobs/$id.vm.0-d"
	echo '{"version":1,"job":"1"}' >"$jobs/$id.vm.0-e"
	printf '\xff\xfe{' >"$jobs/$id.vm.0-f"
	run -0 --separate-stderr timeout 10 "$WNODES" job list --all
	[ "${#lines[@]}" -eq 2 ]
	[ -z "$stderr" ]
	[ "$("$WNODES" job show "$id" --json | jq '.vms | length')" = 0 ]
	run -125 "$WNODES" job show "$id.0"
}

@test "queue: a state directory that takes no files hinders no job" {
	mkdir -p "$XDG_STATE_HOME/wnodes"
	touch "$XDG_STATE_HOME/wnodes/jobs"
	id=$("$WNODES" submit --network none --memory 512M -- true)
	run -0 wait_job "$id"
	run -1 grep -F "$XDG_STATE_HOME" "wnodes-$id.err"
	run "$WNODES" job list --all
	[ "$status" -eq 125 ]
	[[ "$output" == *"$XDG_STATE_HOME/wnodes/jobs"* ]]
}
