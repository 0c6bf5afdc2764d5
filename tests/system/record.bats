# Usage records: one of every VM, whoever is killed. With real VMs, without a daemon and with one.

bats_require_minimum_version 1.5.0
load helpers
load daemon

records() {
	cat "$STATE/records.jsonl"
}

# The records, by jq as one list: recorded FILTER
recorded() {
	records | jq -se "$1"
}

# Is there exactly one record, and one for which the filter holds? one_record FILTER
one_record() {
	recorded "length == 1 and (.[0] | $1)" >/dev/null && return
	records
	return 1
}

own_records() {
	cat "$WORK/user-$ONE/state/wnodes/records.jsonl"
}

# Waits until QEMU runs and has said what the test waits for: up NAME
up() {
	wait_for 60 grep -q up "$1.out"
}

no_notes() {
	[ -z "$(find "$STATE/loans" "$WORK/node/records" -mindepth 1)" ]
}

# Kills the program that runs a VM: kill_client NAME
kill_client() {
	local pid=pid_$1 hold=hold_$1 program
	program=$(ours "^$WNODES run --memory 256M --env=NAME=$1 ")
	kill -KILL "$program" || return 1
	wait "${!pid}" || true
	exec {hold}>&-
}

# As living(), with a name by which the process is found: running NAME UID
running() {
	mkfifo -m 666 "$WORK/in-$1"
	as "$2" "$WNODES" run --memory 256M --env="NAME=$1" -- sh -c 'echo up; read -r x; echo down' >"$1.out" 2>"$1.err" <"$WORK/in-$1" 3>&- &
	exec {hold}>"$WORK/in-$1"
	eval "hold_$1=$hold pid_$1=$!"
	up "$1"
}

@test "record: without a daemon it is in the user's own file" {
	skip_if_closed
	own_config
	sed -i '/^broker/d' "$WORK/config/wnodes/wnodes.conf"
	printf '%s\n' '[vm]' 'broker = none' '[lrms]' 'type = local' >>"$WORK/config/wnodes/wnodes.conf"
	# A command by hand has none, unless one is asked for.
	as $ONE "$WNODES" run --memory 256M -- true
	[ ! -e "$WORK/user-$ONE/state/wnodes/records.jsonl" ]
	printf '%s\n' '[record]' "file = $WORK/user-$ONE/state/wnodes/records.jsonl" >>"$WORK/config/wnodes/wnodes.conf"
	run -3 as $ONE "$WNODES" run --memory 256M -- sh -c 'head -c 5000000 /dev/zero >/root-file 2>/dev/null || true; exit 3'
	own_records | jq -se --arg uid "$ONE" 'length == 1 and (.[0] |
		.exit_status == 3 and .reason == null and .uid == ($uid | tonumber) and .user == "uid" + $uid and
		.source == "user" and .job == null and .image.name == "debian" and (.image.digest | length) == 64 and
		.shape.memory_bytes == 268435456 and .start == "boot" and .usage.cpu_user_s > 0.1 and
		.usage.memory_peak_bytes > 50000000 and .usage.disk_read_bytes > 0 and .usage.guest_oom_kills == 0 and
		(.phases | map(.phase)) == ["fetch", "boot", "prepare", "run", "stop"])'
	# A job says whose it is; what never was a VM has no record.
	as $ONE env SLURM_JOB_ID=17 SLURM_STEP_ID=2 SLURM_JOB_NAME=$'a\nb' SLURM_JOB_ACCOUNT=physics \
		"$WNODES" run --memory 256M -- true
	run -125 as $ONE "$WNODES" run --image nosuch -- true
	own_records | jq -se 'length == 2 and (.[1].job | .system == "slurm" and .id == "17" and .step == "2" and
		.name == "a\nb" and .account == "physics" and .verified == false)'
	run -0 as $ONE "$WNODES" record list --json
	jq -e 'length == 2' <<<"$output"
	run -0 as $ONE "$WNODES" record list --job 17 --json
	jq -e 'length == 1 and .[0].job.id == "17"' <<<"$output"
	job=$(as $ONE "$WNODES" submit --memory 256M --output "$WORK/user-$ONE/%j.out" --error "$WORK/user-$ONE/%j.err" -- sh -c 'exit 6')
	run -6 as $ONE "$WNODES" wait "$job"
	own_records | jq -se --arg job "$job" 'length == 3 and (.[2] | .job.system == "local" and .job.id == $job and .exit_status == 6)'
	run -0 as $ONE "$WNODES" record list --since 1h --until 2020-01-01
	[ "${#lines[@]}" -le 2 ]
}

@test "record: a disk that is full is a warning, and none is written where none is wanted" {
	own_config
	for file in /dev/full /proc/nowhere/records; do
		printf '%s\n' '[vm]' 'accel = tcg' 'broker = none' '[run]' 'network = none' 'mount = none' '[record]' \
			"file = $file" >"$WORK/config/wnodes/wnodes.conf"
		run -4 --separate-stderr as $ONE "$WNODES" run --memory 256M -- sh -c 'echo done; exit 4'
		[ "$output" = "done" ]
		[[ "$stderr" == *"no usage record"* ]]
	done
	mkdir -p "$WORK/full"
	mount -t tmpfs -o size=64k tmpfs "$WORK/full" || skip "cannot mount"
	chmod 777 "$WORK/full"
	head -c 65536 /dev/zero >"$WORK/full/x" || true
	sed -i "s|^file = .*|file = $WORK/full/records|" "$WORK/config/wnodes/wnodes.conf"
	run -5 --separate-stderr as $ONE "$WNODES" run --memory 256M -- sh -c 'exit 5'
	umount "$WORK/full"
	[[ "$stderr" == *"No space left"* ]]
	sed -i "s|^file = .*|file = none|" "$WORK/config/wnodes/wnodes.conf"
	run -0 --separate-stderr as $ONE "$WNODES" run --memory 256M -- true
	[ -z "$stderr" ]
	[ ! -e "$WORK/user-$ONE/state/wnodes" ]
}

@test "record: with a daemon it is the node's, and says what the daemon knows" {
	skip_if_closed
	own_config 'name = n17'
	start_daemon
	# A user's word about whose job it is counts for nothing more than that.
	run -3 as $ONE env SLURM_JOB_ID=17 "$WNODES" run --memory 256M -- sh -c 'exit 3'
	one_record '.exit_status == 3 and .node == "n17" and .uid == '$ONE' and .source == "both" and
		.user == "uid'$ONE'" and .job.id == "17" and .job.verified == false and
		.image.name == "debian" and (.image.digest | length) == 64 and .usage.cpu_user_s > 0.1 and
		.usage.disk_read_bytes > 0 and .started <= .lent and .lent < .ended and .reason == null'
	[ "$(stat -c '%u %a' "$STATE/records.jsonl")" = "0 640" ]
	[ ! -e "$WORK/user-$ONE/state/wnodes/records.jsonl" ]
	run -125 as $TWO "$WNODES" run --image nosuch -- true
	as $TWO "$WNODES" run --memory 256M -- true
	recorded 'length == 2 and (map(.id) | unique | length) == 2'
	no_notes
	run -0 "$WNODES" record list
	[[ "$output" == *"uid$ONE"*"uid$TWO"* ]]
	run -0 "$WNODES" record list --user uid$TWO --json
	jq -e 'length == 1' <<<"$output"
}

@test "record: a job is the one of its cgroup, whatever it says" {
	skip_if_closed
	cgroup=/sys/fs/cgroup/freezer/slurm
	mkdir -p $cgroup/uid_$ONE/job_4712/step_0 2>/dev/null || skip "needs cgroup version 1"
	start_daemon
	as $ONE sh -c "echo \$\$ >'$WORK/user-$ONE/pid'; sleep 1; SLURM_JOB_ID=1 SLURM_JOB_ACCOUNT=rich exec '$WNODES' run --memory 256M -- true" 3>&- &
	pid=$!
	wait_for 5 test -s "$WORK/user-$ONE/pid"
	cat "$WORK/user-$ONE/pid" >$cgroup/uid_$ONE/job_4712/step_0/cgroup.procs
	ends_with 0 $pid
	rmdir $cgroup/uid_$ONE/job_4712/step_0 $cgroup/uid_$ONE/job_4712
	rmdir $cgroup/uid_$ONE || true # another test may have a job there
	one_record '.job.id == "4712" and .job.step == "0" and .job.verified and .job.account == null'
}

@test "record: of a VM whose program was killed the daemon tells" {
	start_daemon
	running a $ONE
	sleep 6 # it is looked at every five seconds
	kill_client a
	wait_for 10 one_record true
	one_record '.exit_status == null and .source == "node" and (.reason | test("killed")) and
		.usage.cpu_user_s > 0.1 and .usage.memory_peak_bytes > 50000000'
	no_notes
}

@test "record: a daemon that is killed during the run, and is there again at its end" {
	start_daemon
	running a $ONE
	kill_daemon KILL
	[ "$(ls "$STATE/loans" | wc -l)" = 1 ]
	start_daemon
	wait_for 10 bash -c "[ \"\$('$WNODES' node show --json | jq .vms)\" = 1 ]"
	end_living a
	wait_for 5 one_record '.exit_status == 0 and .source == "both"'
	no_notes
}

@test "record: a daemon that is dead when the VM ends reads it later" {
	start_daemon
	running a $ONE
	running b $TWO
	kill_daemon KILL
	end_living a
	end_living b
	[ ! -s a.err ]
	[ ! -e "$STATE/records.jsonl" ]
	[ "$(stat -c '%u %a' "$WORK"/node/records/* | sort -u | tr '\n' ' ')" = "$ONE 600 $TWO 600 " ]
	start_daemon
	wait_for 10 recorded 'length == 2'
	recorded 'all(.exit_status == 0 and .source == "both") and (map(.uid) | sort) == ['$ONE', '$TWO']'
	wait_for 5 no_notes
	kill_daemon KILL
	start_daemon
	sleep 12
	recorded 'length == 2'
}

@test "record: both are killed" {
	start_daemon
	running a $ONE
	kill_daemon KILL
	kill_client a
	start_daemon
	wait_for 30 one_record '.exit_status == null and .source == "node" and (.reason | test("killed")) and .uid == '$ONE
	wait_for 5 no_notes
}

@test "record: a daemon that ends in order leaves VMs their record" {
	start_daemon
	running a $ONE
	kill_daemon TERM
	[ "$(ls "$STATE/loans" | wc -l)" = 1 ]
	start_daemon
	end_living a
	wait_for 15 one_record '.exit_status == 0'
}

@test "record: what others leave in the spool harms nobody" {
	start_daemon
	running a $ONE
	id=$(ls "$STATE/loans")
	spool=$WORK/node/records
	record() {
		jq -nc --arg id "$1" --argjson uid "$2" '{schema: 1, id: $id, uid: $uid, user: "root", ended: "2026-01-01T00:00:00Z",
			started: "2026-01-01T00:00:00Z", node: "other", job: {system: "slurm", id: "1", verified: true}}'
	}
	secret=$WORK/secret
	record 00000000-0000-4000-8000-00000000000a 0 >"$secret"
	chmod 600 "$secret"
	# For another's VM; a false uid; links; what is no record; what is too long; a directory; a device.
	record "$id" $ONE | as $TWO tee "$spool/forged" >/dev/null
	record 00000000-0000-4000-8000-00000000000b 0 | as $TWO tee "$spool/false-uid" >/dev/null
	as $TWO ln -s "$secret" "$spool/link"
	as $TWO sh -c "echo nonsense >'$spool/nonsense'; touch -d '2 minutes ago' '$spool/nonsense'"
	as $TWO sh -c "head -c 100000 /dev/zero >'$spool/long'; mkdir '$spool/directory'; mkfifo '$spool/fifo'"
	run -1 as $TWO rm "$secret"
	wait_for 20 bash -c "[ -z \"\$(ls -A '$spool' | grep -v forged)\" ]"
	one_record '.uid == '$TWO' and .user == "uid'$TWO'" and .source == "spool" and .job.verified == false and
		.node != "other" and .id == "00000000-0000-4000-8000-00000000000b"'
	[ -s "$secret" ]
	end_living a
	wait_for 20 no_notes
	recorded 'length == 2 and (.[1] | .uid == '$ONE' and .exit_status == 0)'
	# The same once more is not written twice, and there is an end to what is made up.
	record 00000000-0000-4000-8000-00000000000b 0 | as $TWO tee "$spool/again" >/dev/null
	for i in $(seq 10 50); do
		record 00000000-0000-4000-8000-0000000000$i 0 | as $TWO tee "$spool/$i" >/dev/null
	done
	wait_for 20 no_notes
	recorded 'length == 21'
}

@test "record: a daemon whose disk is full writes when there is room" {
	own_config 'templates_an_hour = 0'
	mkdir "$WORK/full"
	mount -t tmpfs -o size=100m tmpfs "$WORK/full" || skip "cannot mount"
	ln -s "$STATE"/{blobs,names} "$WORK/full"
	export STATE=$WORK/full WNODES_SYSTEM_STORE=$WORK/full
	start_daemon
	running a $ONE
	head -c 1G /dev/zero >"$WORK/full/filler" 2>/dev/null || true
	end_living a
	[ ! -s "$STATE/records.jsonl" ]
	[ "$(ls "$WORK/node/records" | wc -l)" = 1 ]
	rm "$WORK/full/filler"
	wait_for 20 one_record '.exit_status == 0'
	wait_for 10 no_notes
	kill_daemon TERM
	umount "$WORK/full"
}

@test "record: a guest whose memory is full is told so, and the record says it" {
	start_daemon
	run -137 --separate-stderr as $ONE "$WNODES" run --memory 256M -- sh -c 'exec tail /dev/zero'
	[[ "$stderr" == *"memory"*"was full"* ]]
	one_record '.exit_status == 137 and .usage.guest_oom_kills >= 1 and (.reason | test("memory"))'
}

@test "record: the tasks of a step are told as well, and have one record" {
	skip_if_closed
	own_config
	sed -i "s|^broker = .*|broker = none|" "$WORK/config/wnodes/wnodes.conf"
	# One parent for both, as slurmstepd is.
	cat >step <<-END
		task() {
			exec env SLURM_JOB_ID=17 SLURM_STEP_ID=0 SLURM_LOCALID=\$1 SLURM_PROCID=\$1 "$WNODES_BUILD/wnodes-bait" \
				--lrms slurm --image debian --cpus 1 --memory 256M --network none --mount none --start boot \
				--local-tasks 2 -- "\$2" "\$3" "\$4"
		}
		cd "$WORK/user-$ONE" || exit
		task 0 sh -c 'sleep 5; exit 3' >0.out 2>0.err &
		first=\$!
		(task 1 tail -n1 /dev/zero) >1.out 2>1.err
		echo \$? >1.status
		wait \$first
		echo \$? >0.status
	END
	as $ONE true
	as $ONE sh "$WORK/step"
	cd "$WORK/user-$ONE"
	[ "$(cat 0.status 1.status | tr '\n' ' ')" = "3 137 " ]
	grep -q "the VM's memory was full" 1.err
	run -1 grep "the VM's memory was full" 0.err
	wait_for 10 own_records
	own_records | jq -se 'length == 1 and (.[0] | .job.id == "17" and .job.step == "0" and .exit_status == null and
		.usage.guest_oom_kills >= 1 and .source == "user")'
}

@test "record: daemon and programs are killed at random moments, and each VM has exactly one record" {
	own_config
	start_daemon
	started=0 killed=0
	for i in $(seq 8); do
		running "a$i" $ONE
		running "b$i" $TWO
		started=$((started + 2))
		sleep 0.$((RANDOM % 10))
		if [ $((RANDOM % 4)) -gt 0 ]; then kill_daemon KILL; fi
		for name in "a$i" "b$i"; do
			if [ $((RANDOM % 2)) -eq 0 ]; then
				kill_client "$name"
				killed=$((killed + 1))
			else
				end_living "$name"
			fi
		done
		if ! kill -0 "$daemon" 2>/dev/null; then start_daemon; fi
	done
	wait_for 60 no_notes
	recorded "length == $started and (map(.id) | unique | length) == $started" || { records; echo "$started $killed"; return 1; }
	recorded "(map(select(.exit_status == 0)) | length) == $((started - killed))"
	[ -z "$(vms)" ]
}
