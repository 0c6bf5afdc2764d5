# wnodes vm: looking at running VMs, and acting on them.

bats_require_minimum_version 1.5.0
load helpers

setup() {
	setup_work
	"$WNODES" run --network none -- sh -c 'echo ready; while [ ! -e stop ]; do sleep 0.1; done; exit 5' \
		>out 2>err </dev/null 3>&- &
	pid=$!
	wait_for 60 grep -q ready out
	vm=$("$WNODES" vm list --quiet)
}

@test "vm: list and show tell what runs, for people and as JSON" {
	run -0 "$WNODES" vm list
	[[ "${lines[1]}" == "$vm "*debian:latest*run*tcg*"sh -c"* ]]
	"$WNODES" vm list --json | jq -e --arg vm "$vm" '.[0].name == $vm and .[0].phase == "run" and .[0].cpus == 1'
	run -0 "$WNODES" vm show "$vm"
	[[ "$output" == *"$WORK on $WORK"* ]]
	"$WNODES" vm show --json "$vm" | jq -e '.qemu_pid > 0 and (.phases | length) == 4'
	# A unique beginning of the name will do.
	"$WNODES" vm show "${vm:0:6}"
	touch stop
	ends_with 5 $pid
	run -0 "$WNODES" vm list --quiet
	[ -z "$output" ]
}

@test "vm: exec runs a command beside the first one, as the caller" {
	run -7 --separate-stderr "$WNODES" vm exec --env A=b "$vm" -- sh -c 'id -u; echo $A; cat; echo err >&2; exit 7' <<<"from stdin"
	[ "$output" = "$(printf '%s\nb\nfrom stdin' "$(id -u)")" ]
	[ "$stderr" = err ]
	run -0 "$WNODES" vm exec --workdir "$WORK" "$vm" -- ls
	[[ "$output" == *out* ]]
	run -127 "$WNODES" vm exec "$vm" -- nosuch
	[ "$output" = "wnodes: in the VM: cannot run 'nosuch': No such file or directory" ]
	GIVEN=mine run -0 "$WNODES" vm exec -e GIVEN -e NOTSET "$vm" -- env
	[[ "$output" == *GIVEN=mine* && "$output" != *NOTSET* ]]
	run -0 "$WNODES" vm exec --workdir . "$vm" -- pwd
	[ "$output" = "$WORK" ]
	head -c 20000000 /dev/urandom >data
	"$WNODES" vm exec "$vm" -- cat <data | cmp - data
	touch stop
	ends_with 5 $pid
}

@test "vm: exec passes signals on, and its command ends with it" {
	"$WNODES" vm exec --workdir "$WORK" "$vm" -- sh -c 'trap "echo got >got; exit 3" TERM; echo up >up; while :; do sleep 0.1; done' 3>&- &
	exec_pid=$!
	wait_for 10 test -e up
	kill -TERM $exec_pid
	ends_with 3 $exec_pid
	[ -e got ]
	"$WNODES" vm exec "$vm" -- sleep 987 3>&- &
	exec_pid=$!
	wait_for 10 "$WNODES" vm exec "$vm" -- pgrep -f 'sleep 987'
	kill -KILL $exec_pid
	wait_for 10 bash -c "! '$WNODES' vm exec $vm -- pgrep -f 'sleep 98[7]'"
	touch stop
	ends_with 5 $pid
}

@test "vm: exec with a terminal" {
	cat >script <<-EOF
	set timeout 30
	spawn -noecho $WNODES vm exec --tty $vm -- sh
	expect_after timeout {exit 99}
	expect -re {[#\$] } {send "tty; exit 4\r"}
	expect "/dev/pts/"
	expect eof
	catch wait result
	exit [lindex \$result 3]
	EOF
	run -4 expect script
	kill $pid
	wait $pid || true
}

@test "vm: ssh gives a shell by the agent where the image has no sshd, without a network" {
	run -7 --separate-stderr "$WNODES" vm ssh "$vm" 'cat; echo a  b; exit 7' <<<"from stdin"
	[ "$output" = "$(printf 'from stdin\na b')" ]
	run -0 "$WNODES" vm ssh "$vm" -- pwd
	[ "$output" = "$HOME" ] || [ "$output" = / ]
	run -125 "$WNODES" vm ssh -L 8080:localhost:80 "$vm"
	[[ "$output" == *"ssh's options need"* ]]
	cat >script <<-EOF
	set timeout 30
	spawn -noecho $WNODES vm ssh $vm
	expect_after timeout {exit 99}
	expect -re {[#\$] } {send "tty; exit 4\r"}
	expect "/dev/pts/"
	expect eof
	catch wait result
	exit [lindex \$result 3]
	EOF
	run -4 expect script
	touch stop
	ends_with 5 $pid
	# With the VM its keys are gone.
	assert_nothing_left
}

@test "vm: console shows what the kernel said" {
	skip_unless_root
	"$WNODES" vm exec "$vm" -- sh -c 'echo "a mark of ours" >/dev/console'
	sleep 0.5
	run -0 "$WNODES" vm console "$vm"
	[[ "$output" == *"a mark of ours"* ]]
	"$WNODES" vm console --follow "$vm" >follow 3>&- &
	follower=$!
	"$WNODES" vm exec "$vm" -- sh -c 'echo "another mark" >/dev/console'
	wait_for 10 grep -q "another mark" follow
	touch stop
	ends_with 5 $pid
	ends_with 0 $follower
}

@test "vm: list shows one that does not answer, soon" {
	kill -STOP $pid
	start=$SECONDS
	run -0 --separate-stderr "$WNODES" vm list
	[ $((SECONDS - start)) -lt 30 ]
	[[ "${lines[1]}" == "$vm "*'?'* ]]
	[[ "$stderr" == *"$vm does not answer"* ]]
	kill -CONT $pid
	touch stop
	ends_with 5 $pid
}

@test "vm: stop ends a VM and its run" {
	run -0 "$WNODES" vm stop "$vm"
	ends_with 143 $pid
	grep -q 'stopped by' err
	assert_nothing_left
}

@test "vm: console is there while the VM boots" {
	kill $pid
	wait $pid || true
	"$WNODES" run --network none --start boot -- true 3>&- &
	pid=$!
	wait_for 20 a_vm
	wait_for 5 bash -c "'$WNODES' vm console --follow \$('$WNODES' vm list --quiet) >console"
	ends_with 0 $pid
}

@test "vm: wrong names and other users' sockets" {
	run -125 "$WNODES" vm show vm-nosuch
	[[ "$output" == *"vm-nosuch"*"vm list"* ]]
	run -125 "$WNODES" vm exec "$vm"
	run -125 "$WNODES" vm ssh vm-nosuch
	[[ "$output" == *"vm-nosuch"*"vm list"* ]]
	run -125 "$WNODES" vm stop
	if [ "$(id -u)" -eq 0 ]; then
		# Another user sees none of ours, and is turned away at the socket even if he finds it.
		run -0 as_user "$WNODES" vm list --quiet
		[ -z "$output" ]
		chmod 777 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR"/wnodes/"$vm" "$XDG_RUNTIME_DIR"/wnodes/"$vm"/control
		run as_user python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(5)
s.connect(sys.argv[1])
s.send(b"{\"op\":\"show\"}")
print("answer", s.recv(1000))' "$XDG_RUNTIME_DIR/wnodes/$vm/control"
		chmod 700 "$XDG_RUNTIME_DIR"
		[[ "$output" != *'"vm"'* ]]
	fi
	touch stop
	ends_with 5 $pid
}
