# Signals and terminals reach the command in the VM.

bats_require_minimum_version 1.5.0
load helpers

# Starts a command in the background and waits until it has written "ready".
start() {
	# As a shell starts a job, even if the tests run under nohup.
	env --default-signal=HUP "$WNODES" run --network none "$@" >out 2>err </dev/null 3>&- &
	pid=$!
	wait_for 60 grep -q ready out
}

@test "signal: TERM, INT, HUP, USR1 and USR2 reach the command" {
	start -- sh -c 'for s in TERM INT HUP USR1 USR2; do trap "echo got $s" $s; done; echo ready; while [ ! -e stop ]; do sleep 0.1; done'
	for s in USR1 USR2 HUP INT TERM; do
		kill -$s $pid
		wait_for 10 grep -q "got $s" out
	done
	touch stop
	wait $pid
	assert_nothing_left
}

@test "signal: a command that dies of TERM gives 143" {
	start -- sh -c 'echo ready; exec sleep 60'
	kill -TERM $pid
	ends_with 143 $pid
}

@test "signal: STOP and CONT act on the command" {
	start -- sh -c 'echo ready; i=0; while :; do i=$((i+1)); echo $i >count; sleep 0.1; done'
	wait_for 10 test -s count
	kill -TSTP $pid
	sleep 1
	before=$(cat count)
	sleep 1
	[ "$(cat count)" = "$before" ]
	kill -CONT $pid
	wait_for 10 sh -c "[ \$(cat count) -gt $before ]"
	kill -TERM $pid
	wait $pid || true
}

@test "signal: a second TERM ends the VM of a command that ignores it" {
	start -- sh -c 'trap "echo got" TERM; echo ready; while :; do sleep 0.2; done'
	kill -TERM $pid
	wait_for 10 grep -q got out
	kill -TERM $pid
	ends_with 143 $pid
	grep -q 'a second SIGTERM' err
	assert_nothing_left
}

@test "signal: ten seconds after TERM the VM of a command that ignores it ends" {
	start -- sh -c 'trap "" TERM; echo ready; while :; do sleep 1; done'
	start=$SECONDS
	kill -TERM $pid
	ends_with 143 $pid
	[ $((SECONDS - start)) -ge 9 ]
	[ $((SECONDS - start)) -le 60 ]
	assert_nothing_left
}

@test "signal: TERM while the VM boots cancels it" {
	"$WNODES" run --network none -- true 3>&- &
	pid=$!
	wait_for 20 a_vm
	kill -TERM $pid
	ends_with 143 $pid
	assert_nothing_left
}

@test "signal: KILL of wnodes takes the VM along, and the next run cleans what is left" {
	start -- sh -c 'echo ready; sleep 300'
	kill -KILL $pid
	wait $pid || true
	wait_for 5 no_vm
	"$WNODES" run --network none -- true
	assert_nothing_left
}

@test "signal: KILL of wnodes at random moments leaves nothing, 10 rounds" {
	for round in 1 2 3 4 5 6 7 8 9 10; do
		"$WNODES" run --network none --scratch 64M -- sleep 300 >/dev/null 2>&1 3>&- &
		pid=$!
		sleep 0.$((RANDOM % 10))
		[ $((round % 3)) -ne 0 ] || sleep 2
		kill -KILL $pid
		wait $pid || true
	done
	wait_for 5 no_vm
	"$WNODES" run --network none -- true
	assert_nothing_left
}

@test "terminal: size, resize, Ctrl-C, job control and the end of a shell" {
	cat >script <<-'EOF'
	set timeout 30
	spawn -noecho sh -c "stty rows 33 columns 101; exec $env(WNODES) run --network none --tty -- bash --norc"
	expect_after timeout {send_error "timed out\n"; exit 99}
	expect -re {bash-.*[#$] } {send "stty size; tty\r"}
	expect "33 101"
	expect -re {/dev/pts/[0-9]+}
	stty rows 40 columns 90 < $spawn_out(slave,name)
	sleep 1
	expect -re {[#$] } {send "stty size\r"}
	expect "40 90"
	expect -re {[#$] } {send "sleep 100\r"}
	sleep 1
	send "\x03"
	expect -re {[#$] } {send "echo status=\$?\r"}
	expect "status=130"
	expect -re {[#$] } {send "sleep 200\r"}
	sleep 1
	send "\x1a"
	expect "Stopped"
	expect -re {[#$] } {send "kill -KILL %1; while jobs -s | grep -q .; do sleep 0.1; done; exit 9\r"}
	expect eof
	catch wait result
	exit [lindex $result 3]
	EOF
	run -9 expect script
	assert_nothing_left
}

@test "terminal: when it goes away, so do the shell and its VM, at once or after the grace" {
	mkdir -p conf/wnodes
	printf '[deadline]\ngrace = 2s\n[vm]\naccel = tcg\n[template]\nautomatic = no\n' >conf/wnodes/wnodes.conf
	cat >script <<-'EOF'
	set timeout 30
	expect_after timeout {send_error "timed out\n"; exit 99}
	spawn -noecho $env(WNODES) run --network none --tty -- bash --norc
	expect -re {[#$] } {send "cat /dev/tty\r"}
	sleep 1
	close
	if {[lindex [wait] 3] != 129} {exit 1}
	set env(XDG_CONFIG_HOME) $env(WORK)/conf
	spawn -noecho $env(WNODES) run --network none --tty -- sh -c {trap "" HUP TERM; echo ready; while :; do sleep 1; done}
	expect ready
	close
	if {[lindex [wait] 3] != 129} {exit 2}
	exit 0
	EOF
	run -0 expect script
	assert_nothing_left
}

@test "terminal: an end of stdin is an end of file, also in mid-line" {
	run -0 "$WNODES" run --network none --tty -- cat </dev/null
	run -0 bash -c "printf x | timeout 60 '$WNODES' run --network none --tty -- sh -c 'stty -echo; cat; echo end'"
	[[ "$output" == *xend* ]]
}

@test "terminal: the user's terminal is as it was afterwards" {
	cat >script <<-'EOF'
	set timeout 30
	spawn -noecho bash --norc
	expect_after timeout {send_error "timed out\n"; exit 99}
	send "stty -a >before; $env(WNODES) run --network none --tty -- true; stty -a >after; exit\r"
	expect eof
	EOF
	expect script
	diff before after
}

@test "terminal: progress is one line that is wiped before the command runs" {
	cat >script <<-'EOF'
	set timeout 30
	spawn -noecho $env(WNODES) run --network none -- echo visible
	expect_after timeout {send_error "timed out\n"; exit 99}
	expect -re {wnodes: boot [0-9.]+ s}
	expect "visible"
	expect eof
	EOF
	expect script >screen
	grep -q $'\033\\[Kvisible' screen
}
