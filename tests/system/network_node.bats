#!/usr/bin/env bats
# Networks of a node, on a node with a whole kernel: what VMs' taps reach, what they may send, and that nothing is left.

bats_require_minimum_version 1.5.0

load helpers
load testnode

setup_file() { testnode_start; }

teardown_file() { testnode_stop; }

setup() {
	skip_unless_testnode
	setup_work
}

network_node() {
	run on_testnode python3 "$BATS_TEST_DIRNAME/network_node.py" /tmp/network "$@"
	echo "$output"
	[ "$status" -eq 0 ]
}

@test "a VM on a VLAN of the node sends with its own addresses, or not at all" { network_node connected; }

@test "what VMs of a node send one another, and the node, does not leave it" { network_node local; }

@test "a closed network reaches outside, and not the site" { network_node closed; }

@test "a VLAN of the administrator's bridge is lent" { network_node bridge; }

@test "who may not be on a network is told why" { network_node refusals; }

@test "the connection's end takes a tap back, also of the next daemon" { network_node ends; }

@test "a tap's own MAC address is not its VM's to change" { network_node forged; }

@test "a VM has the addresses and the name of a lease of its site, public ones too" { network_node leases; }

@test "each VM has its guaranteed share of the way out, and what others leave" { network_node shares; }

@test "a VM keeps to its rates" { network_node rates; }

@test "nothing is left of a daemon that is killed" {
	[ -n "${WNODES_TEST_SLOW:-}" ] || skip "two minutes; set WNODES_TEST_SLOW=1"
	network_node kills
}

@test "200 taps with VLAN, rules, rates and shares are made and removed, and nothing is left" {
	[ -n "${WNODES_TEST_SLOW:-}" ] || skip "a minute; set WNODES_TEST_SLOW=1"
	network_node bench
	echo "# $(grep 'a second made' <<<"$output")" >&3
}
