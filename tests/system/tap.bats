#!/usr/bin/env bats
# A VM on one of the node's networks, from its tap to its command. What lends the tap is no daemon but a program of the
# test's, in a network of its own: network_node.bats has the daemon.

bats_require_minimum_version 1.5.0

load helpers

setup() {
	skip_unless_root
	TEST_CLONES='' setup_work
	[ -w /dev/net/tun ] || skip "no taps here"
}

teardown() {
	[ -z "${holder:-}" ] || kill "$holder" 2>/dev/null || true
	[ -z "${lender:-}" ] || kill "$lender" 2>/dev/null || true
	cd /
	wait_for 10 all_killed
	rm -rf "$WORK"
}

# In a network in which there is the lender: within COMMAND...
within() {
	nsenter --net="/proc/$holder/ns/net" "$@"
}

start_lender() {
	unshare --net sh -c 'ip link set lo up; echo up; exec sleep 300' >holder.out 3>&- &
	holder=$!
	wait_for 10 grep -q up holder.out
	within python3 "$BATS_TEST_DIRNAME/tap_daemon.py" "$WORK/socket" >lender.out 2>&1 3>&- &
	lender=$!
	wait_for 10 grep -q ready lender.out
	mkdir -p config/wnodes
	printf '[vm]\naccel = tcg\nbroker = %s\n[template]\nautomatic = no\n' "$WORK/socket" >config/wnodes/wnodes.conf
	export XDG_CONFIG_HOME=$WORK/config
}

# What a command in the VM sees of its network.
# shellcheck disable=SC2016
LOOK='for host in 2001:db8:77::1 10.77.0.1; do exec 3<>/dev/tcp/$host/8000; cat <&3 | tr -d x; done
	cat /sys/class/net/e*/address /sys/class/net/e*/mtu /etc/resolv.conf; grep 10.77 /etc/hosts'

check_look() {
	[[ "$output" == *"hello 2001:db8:77::2"*end*"hello 10.77.0.2"*end* ]]
	[[ "$output" == *52:57:0a:4d:00:02*1400*"nameserver 10.77.0.53"* ]]
	[[ "$output" == *"10.77.0.2"*vm-* ]]
}

@test "tap: a VM that boots has the address that it was lent, and reaches its network" {
	start_lender
	run -0 within "$WNODES" run --start boot --network lab --mount none -- bash -c "$LOOK"
	check_look
	grep -qx "open lab" lender.out
}

@test "tap: a clone has it as well, of the template that serves all networks" {
	start_lender
	run -0 within "$WNODES" image warm --quiet --network user --shares 0 debian
	run -0 within "$WNODES" run --start clone --network lab --mount none --report report.json -- bash -c "$LOOK"
	check_look
	[ "$(jq -r .network report.json)" = lab ]
}

@test "tap: a VM of four CPUs has a queue for each, and its clone the first of them" {
	start_lender
	# shellcheck disable=SC2016
	queues='ls -d /sys/class/net/e*/queues/rx-* | wc -l; grep -c "virtio.*-input" /proc/interrupts'
	run -0 within "$WNODES" run --start boot --cpus 4 --network lab --mount none -- bash -c "$LOOK; $queues"
	check_look
	[[ "$output" == *$'\n4\n4' ]]
	run -0 within "$WNODES" image warm --quiet --cpus 4 --network user --shares 0 debian
	run -0 within "$WNODES" run --start clone --cpus 4 --network lab --mount none -- bash -c "$LOOK; $queues"
	check_look
	[[ "$output" == *$'\n1\n1' ]]
}

@test "tap: a network of the node's needs the node's daemon" {
	run -125 --separate-stderr "$WNODES" run --network lab --mount none -- true
	[[ "$stderr" == *"the network 'lab' is the node's, and no daemon"*"--network user"* ]]
	run -125 --separate-stderr "$WNODES" run --network ../lab --mount none -- true
	[[ "$stderr" == *"'../lab' is no network"* ]]
}
