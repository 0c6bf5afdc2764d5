# The node's daemon: what it lends, to whom, within which limits, and that nothing is lost when it is
# killed. The machine's store is the tests' own image; its users are uids without an account.

bats_require_minimum_version 1.5.0
load helpers
load daemon

a_template() {
	[ -n "$(template_key)" ]
}

template_key() {
	find "$STATE/templates" -maxdepth 1 -regextype egrep -regex '.*/[0-9a-f]{64}' -printf '%f\n' | head -1
}

@test "hypervisor: the first user's VM boots, the second user's is a clone of the machine's template" {
	skip_if_closed
	skip_if_sanitized
	start_daemon
	run -0 --separate-stderr as $ONE "$WNODES" run --memory 256M --report "$WORK/user-$ONE/report" -- sh -c 'echo first; id -u'
	[ "${lines[0]}" = first ] && [ "${lines[1]}" = $ONE ] && [ -z "$stderr" ]
	jq -e '.start.how == "boot"' "$WORK/user-$ONE/report"
	wait_for 120 a_template
	run -0 --separate-stderr as $TWO "$WNODES" run --memory 256M --report "$WORK/user-$TWO/report" -- sh -c 'echo second; id -u'
	[ "${lines[0]}" = second ] && [ "${lines[1]}" = $TWO ] && [ -z "$stderr" ]
	jq -e '.start.how == "clone"' "$WORK/user-$TWO/report"
	# It is root's, and its maker has nothing left.
	[ "$(stat -c %u "$STATE"/templates/*/memory)" = 0 ]
	wait_for 10 bash -c "! ls '$STATE'/maker/cache/wnodes/templates-*/*/memory"
	# Both at once, from one memory.
	living a $ONE
	living b $TWO
	wait_for 60 grep -q up a.out
	wait_for 60 grep -q up b.out
	run -0 as $ONE $PYTHON -B "$BATS_TEST_DIRNAME/hypervisor.py" "$SOCKET" lent "$(template_key)"
	end_living a
	end_living b
	run -0 as $TWO "$WNODES" run --memory 256M --start clone -- echo still good
}

@test "hypervisor: a scratch disk, and an image that there is not" {
	start_daemon
	run -0 as $ONE "$WNODES" run --memory 256M --scratch 200M -- sh -c 'df -m --output=size /scratch | tail -1; touch /scratch/x'
	[ "${lines[0]}" -gt 150 ] && [ "${lines[0]}" -lt 220 ]
	run -125 as $ONE "$WNODES" run --image nosuch -- true
	[[ "$output" == *nosuch* ]]
	run -125 as $ONE "$WNODES" run --memory 8M -- true
	[ -z "$(ls -A "$STATE/instances")" ]
}

@test "hypervisor: no setting of a user raises the node's limit of disks" {
	own_config 'disk_rate = 16M'
	start_daemon
	own_config 'disk_rate = 0'
	run -0 --separate-stderr as $ONE "$WNODES" run --verbose --memory 256M --disk-rate 100M --disk-iops 200 -- true
	[[ "$stderr" == *'"iops-total":200,"bps-total":16777216'* ]]
}

# With the daemon, files that are a group's are so in the VM, too; and no groups are anybody's but the user's.
@test "hypervisor: groups of a user count in files that virtiofs brings" {
	skip_if_closed
	unshare --user true 2>/dev/null && [ -x /usr/lib/qemu/virtiofsd ] || skip "no virtiofs here"
	start_daemon
	as $ONE true
	mkdir "$WORK/project" "$WORK/project/ours" "$WORK/project/theirs"
	chown $TWO:64301 "$WORK/project/ours" && chmod 2770 "$WORK/project/ours"
	chown $TWO:64303 "$WORK/project/theirs" && chmod 2770 "$WORK/project/theirs"
	local home=$WORK/user-$ONE
	in_groups() {
		cd / && HOME=$home XDG_DATA_HOME=$home/data XDG_CACHE_HOME=$home/cache XDG_RUNTIME_DIR=$home/run \
			XDG_STATE_HOME=$home/state setpriv --reuid=$ONE --regid=$ONE --groups=64301,64302 "$@"
	}
	run -0 in_groups "$WNODES" run --memory 384M --mount "$WORK/project:/p:gateway=virtiofs" -- sh -c '
		echo x >/p/ours/file && chgrp 64302 /p/ours/file && stat -c %g /p/ours /p/ours/file
		chgrp 64303 /p/ours/file 2>/dev/null || echo no; ls /p/theirs 2>/dev/null || echo closed'
	[ "${lines[*]}" = "64301 64302 no closed" ]
	[ "$(stat -c %u:%g "$WORK/project/ours/file")" = $ONE:64302 ]
}

@test "hypervisor: what exceeds a limit waits with its place, or is refused with the reason" {
	own_config 'vms = 1' 'memory = 512M'
	start_daemon
	living a $ONE
	wait_for 60 grep -q up a.out
	living b $TWO
	wait_for 10 grep -q 'waiting for the node, place 1: the node runs 1 VMs at a time' b.err
	[ ! -s b.out ]
	run -125 as $ONE "$WNODES" run --memory 1G -- true
	[[ "$output" == *"the node has 512 MiB of memory for VMs"* ]]
	end_living a
	wait_for 60 grep -q up b.out
	end_living b
}

@test "hypervisor: who waits can be ended, and gives up its place" {
	own_config 'vms = 1'
	start_daemon
	living a $ONE
	wait_for 60 grep -q up a.out
	as $TWO "$WNODES" run --memory 256M -- true 2>wait.err 3>&- &
	pid=$!
	wait_for 10 grep -q 'waiting for the node' wait.err
	waiter=$(ours "^$WNODES run --memory 256M -- true")
	[ -n "$waiter" ]
	kill -TERM $waiter
	ends_with 143 $pid
	end_living a
	run -0 as $ONE "$WNODES" run --memory 256M -- echo free
}

@test "hypervisor: it is killed and started anew, and VMs do not notice" {
	start_daemon
	living a $ONE
	living b $TWO
	wait_for 60 grep -q up a.out
	wait_for 60 grep -q up b.out
	kill_daemon KILL
	start_daemon
	wait_for 10 bash -c "[ \"\$('$WNODES' node show --json | jq .vms)\" = 2 ]"
	[ "$(node '[.vm_list[].uid] | sort | map(tostring) | join(" ")')" = "$ONE $TWO" ]
	kill_daemon TERM
	start_daemon
	wait_for 10 bash -c "[ \"\$('$WNODES' node show --json | jq .vms)\" = 2 ]"
	end_living a
	end_living b
	wait_for 5 bash -c "[ \"\$('$WNODES' node show --json | jq .vms)\" = 0 ]"
}

@test "hypervisor: killed at random moments under load, no job is lost and nothing is left" {
	own_config 'vms = 3' 'connections = 1000'
	start_daemon
	for i in 1 2 3 4 5 6 7 8; do
		as $((64123 + i % 2)) "$WNODES" run --memory 256M -- echo "job $i" >"job$i.out" 2>"job$i.err" 3>&- &
		pids[i]=$!
	done
	for i in 1 2 3 4 5; do
		sleep 0.$((RANDOM % 9 + 1))
		kill_daemon KILL
		start_daemon
	done
	for i in 1 2 3 4 5 6 7 8; do
		ends_with 0 ${pids[i]} || { cat "job$i.err"; false; }
		[ "$(cat "job$i.out")" = "job $i" ]
	done
	wait_for 10 bash -c "[ \"\$('$WNODES' node show --json | jq .vms)\" = 0 ]"
	[ -z "$(ls -A "$STATE/instances")" ]
	[ -z "$(vms)" ] || wait_for 120 no_vm # the maker's
}

@test "hypervisor: what a crash has left is removed at the start" {
	mkdir -p "$STATE/instances" "$STATE/templates/making-$(printf 'x%.0s' {1..64})"
	echo x >"$STATE/instances/.tmp-1"
	mkdir -p "$STATE/templates/dead-1234"
	start_daemon
	[ -z "$(ls -A "$STATE/instances")" ]
	[ ! -e "$STATE/templates/dead-1234" ]
	# Another one on the same directory is refused, and harms nothing.
	run -125 daemon --socket "$WORK/other" --state "$STATE" --config "$WORK/config/wnodes/wnodes.conf"
	[[ "$output" == *"another wnodes-hypervisor uses"* ]]
	[ "$(node .vms)" = 0 ]
}

@test "hypervisor: without it VMs start by the user's own rights, or say what to do" {
	own_config
	sed -i 's/^broker = .*/broker = auto/' "$WORK/config/wnodes/wnodes.conf"
	run -0 --separate-stderr "$WNODES" run --memory 256M -- echo alone
	[ "$output" = alone ] && [ -z "$stderr" ]
	sed -i "s|^broker = .*|broker = $SOCKET|" "$WORK/config/wnodes/wnodes.conf"
	run -125 "$WNODES" run --memory 256M -- true
	[[ "$output" == *"wnodes-hypervisor, does not answer at '$SOCKET'"*"administrator"* ]]
}

@test "hypervisor: users cannot change what is lent, claim what is not theirs, or exhaust it" {
	skip_if_closed
	own_config 'connections = 40' 'requests = 100' 'user_memory = 4G'
	start_daemon
	[ "$(node .vms)" = 0 ] # it has all that it opens but once
	before=$(ls "/proc/$daemon/fd" | wc -l)
	for what in claims nonsense "flood 40"; do
		run -0 as $ONE $PYTHON -B "$BATS_TEST_DIRNAME/hypervisor.py" "$SOCKET" $what
		[[ "$output" != *"not ok"* ]]
	done
	# Each of hundreds would stay: a store that it happens to look into is none of them.
	wait_for 30 bash -c "[ \$(ls /proc/$daemon/fd | wc -l) -le $((before + 4)) ]"
	run -0 as $TWO "$WNODES" run --memory 256M -- echo served
}

@test "hypervisor: it keeps few of root's rights" {
	start_daemon
	grep -q '^NoNewPrivs:.1' "/proc/$daemon/status"
	grep -q '^Seccomp:.2' "/proc/$daemon/status"
	# chown, dac_read_search, kill, setgid, setuid, net_admin
	grep -q '^CapEff:.00000000000010e5' "/proc/$daemon/status"
	grep -q '^CapBnd:.00000000000010e5' "/proc/$daemon/status"
	[ "$(stat -c %a "$STATE/templates")" = 700 ] && [ "$(stat -c %a "$STATE/instances")" = 700 ]
}

@test "hypervisor: a job is known by its cgroup" {
	skip_if_closed
	cgroup=/sys/fs/cgroup/freezer/slurm
	mkdir -p $cgroup/uid_$ONE/job_4711/step_0 2>/dev/null || skip "needs cgroup version 1"
	start_daemon
	as $ONE sh -c "echo \$\$ >'$WORK/user-$ONE/pid'; sleep 1; exec '$WNODES' run --memory 256M -- sh -c 'echo up; sleep 3'" >out 2>err 3>&- &
	pid=$!
	wait_for 5 test -s "$WORK/user-$ONE/pid"
	cat "$WORK/user-$ONE/pid" >$cgroup/uid_$ONE/job_4711/step_0/cgroup.procs
	wait_for 60 grep -q up out
	job=$(node '.vm_list[0].job')
	ends_with 0 $pid
	rmdir $cgroup/uid_$ONE/job_4711/step_0 $cgroup/uid_$ONE/job_4711
	rmdir $cgroup/uid_$ONE || true # another test may have a job there
	[ "$job" = 4711.0 ]
}

@test "hypervisor: a drained node refuses VMs with the reason, also after a restart" {
	start_daemon
	"$WNODES" node drain "broken fan"
	run -125 as $ONE "$WNODES" run --memory 256M -- true
	[[ "$output" == *"the node is drained: broken fan"* ]]
	kill_daemon KILL
	start_daemon
	[ "$(node .drain.reason)" = "broken fan" ]
	run -125 as $ONE "$WNODES" node resume
	[[ "$output" == *"only root"* ]]
	"$WNODES" node resume
	run -0 as $ONE "$WNODES" run --memory 256M -- true
}

@test "hypervisor: a node whose VMs fail to start one after the other drains itself, and Slurm is told" {
	mkdir bin
	printf '#!/bin/sh\nprintf "%%s\\n" "$@" >>%s/scontrol.args\n' "$WORK" >bin/scontrol
	printf '#!/bin/sh\nexit 1\n' >bin/qemu
	chmod +x bin/*
	PATH=$WORK/bin:$PATH
	own_config 'failures = 2' 'name = n17'
	sed -i "s|^lrms = .*|lrms = slurm|; s|^accel = .*|&\nqemu = $WORK/bin/qemu|" "$WORK/config/wnodes/wnodes.conf"
	start_daemon
	run -125 as $ONE "$WNODES" run --memory 256M -- true
	[ "$(node .drain.drained)" = false ] && [ "$(node .drain.failures)" = 1 ]
	run -125 as $ONE "$WNODES" run --memory 256M -- true
	wait_for 30 is_drained
	wait_for 5 grep -q "^reason=wnodes: 2 VMs in a row did not start" scontrol.args
	[ "$(head -3 scontrol.args | tr '\n' ' ')" = "update nodename=n17 state=drain " ]
	run -125 as $TWO "$WNODES" run --memory 256M -- true
	[[ "$output" == *"the node is drained"* ]]
	"$WNODES" node resume
	wait_for 5 grep -q "^state=resume" scontrol.args
}

is_drained() {
	[ "$(node .drain.drained)" = true ]
}

@test "hypervisor: a user whose VMs do not start drains no node" {
	skip_if_closed
	skip_if_sanitized
	own_config 'failures = 2'
	start_daemon
	cp -r config broken
	sed -i 's|^accel = .*|&\nqemu = /bin/false|' broken/wnodes/wnodes.conf
	for _ in 1 2; do
		XDG_CONFIG_HOME=$WORK/broken run -125 as $ONE "$WNODES" run --memory 256M -- true
	done
	wait_for 60 grep -q "a VM of the node's own has started: it is not the node" daemon.err
	[ "$(node .drain.drained)" = false ] && [ "$(node .drain.failures)" = 0 ]
	# Nothing is left of it.
	wait_for 10 no_process_of $MAKER_UID
}

no_process_of() {
	! pgrep -u "$1"
}

@test "hypervisor: wnodes node tells what the node can do, and what it lends" {
	run -0 "$WNODES" node check --json
	jq -e 'map(select(.name == "qemu"))[0] | .usable and .needed and (.found | test("version"))' <<<"$output"
	jq -e 'map(.name) | contains(["kvm", "huge_pages", "vhost", "queues", "vlan", "lvm", "virtiofsd", "cgroup", "memory", "disk"])' <<<"$output"
	jq -e 'map(select(.name == "daemon"))[0].usable == false' <<<"$output"
	run -125 "$WNODES" node show
	[[ "$output" == *"does not answer at '$SOCKET'"* ]]
	start_daemon
	"$WNODES" node check --json | jq -e 'map(select(.name == "daemon"))[0].usable'
	living a $ONE
	wait_for 60 grep -q up a.out
	run -0 "$WNODES" node show
	[[ "$output" == *"State"*"up"*"debian"*"256 MiB"* ]]
	# Of other users' VMs only how many there are.
	run -0 as $TWO "$WNODES" node show --json
	jq -e '.vms == 1 and .vm_list == []' <<<"$output"
	end_living a
	# Without QEMU no VM runs.
	printf '%s\n' '[vm]' 'qemu = /no/such/qemu' >"$WORK/config/wnodes/wnodes.conf"
	run -1 "$WNODES" node check
}
