#!/usr/bin/env bats
# Directories that VMs have by the node's NFS server, on the test node, which has one; nfs_node.py has the cases.

bats_require_minimum_version 1.5.0

load helpers
load testnode

setup_file() { testnode_start; }

teardown_file() { testnode_stop; }

setup() {
	skip_unless_testnode
	setup_work
}

nfs_node() {
	run on_testnode timeout 230 python3 "$BATS_TEST_DIRNAME/nfs_node.py" "$1"
	echo "$output"
	[ "$status" -eq 0 ]
}

@test "nfs: files are read, written, linked and renamed as the user, also by root of the guest" { nfs_node files; }

@test "nfs: what is to be read only is, and what is mounted in a share is not served" { nfs_node read_only; }

@test "nfs: no handle that root of the guest makes leads out of the share" { nfs_node handles; }

@test "nfs: a VM reaches its own alone, and who takes its addresses does not" { nfs_node others; }

@test "nfs: on a closed network the server is reached, by VMs that have something there, and nothing else" { nfs_node closed; }

@test "nfs: what cannot be served is refused, with what to do" { nfs_node refusals; }

@test "nfs: a server that is dead is an I/O error in the guest, not a hang" { nfs_node dead; }

@test "nfs: whoever ends, in whatever order, nothing is left" { nfs_node ends; }

@test "nfs: nothing is left of daemons that are killed" {
	[ -n "${WNODES_TEST_SLOW:-}" ] || skip "three minutes; set WNODES_TEST_SLOW=1"
	nfs_node kills
}

@test "nfs keeps what a directory promises, but for what is known" {
	[ -n "${WNODES_TEST_SLOW:-}" ] || skip "a minute; set WNODES_TEST_SLOW=1"
	nfs_node posix
	grep -q '^1\.\.[1-9]' <<<"$output" # it has come to its end
	diff "$BATS_TEST_DIRNAME/../posix/known/nfs" <(sed -n 's/^not ok [0-9]* - \([a-z_]*\).*/\1/p' <<<"$output" | sort)
}

# Nested, under emulation: some minutes.
@test "nfs: a VM of a user has a directory by the node's NFS server" {
	[ -n "${WNODES_TEST_SLOW:-}" ] || skip "slow: set WNODES_TEST_SLOW=1"
	TESTNODE_TIMEOUT=900 run -0 on_testnode sh -c 'sh "$BATS_TEST_DIRNAME/nfs_node.sh" "$0"' "$TEST_STORE"
	[[ "$output" == *"10.7.0.1:/run/wnodes/nfs/"*"hello"*"guest: "*"written by 1234"*"nothing left"* ]]
}
