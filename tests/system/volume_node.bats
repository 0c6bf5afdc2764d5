#!/usr/bin/env bats
# The volumes of a node's volume group, which its daemon lends to VMs, on the test node; volume_node.py has the cases.

bats_require_minimum_version 1.5.0

load helpers
load testnode

setup_file() {
	testnode_start
	[ -z "${TESTNODE_VM:-}" ] || on_testnode sh -ec '
		vgcreate -q vg /dev/loop0
		lvcreate -q -T -L 512M --poolmetadatasize 16M vg/wnodes' >/dev/null
}

teardown_file() { testnode_stop; }

setup() {
	skip_unless_testnode
	setup_work
}

# Runs a case, and shows what its daemon said if it fails.
volumes() {
	run on_testnode sh -c 'timeout 200 python3 "$BATS_TEST_DIRNAME/volume_node.py" "$0" && exit 0
		tail -20 /var/volumes-test/log | sed "s/^/daemon: /"; lvs -a vg; exit 1' "$1"
	[ "$status" -eq 0 ] || { echo "$output"; return 1; }
}

@test "a volume is lent with an empty file system, and leaves nothing behind" {
	volumes lend_and_return
}

@test "who keeps a volume that was taken back has nothing of it" {
	volumes a_volume_in_use
}

@test "the volume of a VM survives the daemon" {
	volumes a_daemon_that_is_killed
}

@test "nobody claims another's volume" {
	volumes a_stranger_claims
}

@test "whatever is killed at whatever step, no volume is left" {
	volumes killed_at_each_step
}

@test "a pool without room is told, and a file serves instead" {
	volumes a_pool_that_is_full
}

@test "without a volume group scratch disks are files, sparse or preallocated" {
	volumes without_a_group
}

@test "a root disk is a snapshot of the image, which is written to a volume once" {
	volumes root_disks
}

@test "a qcow2 image is unpacked to a volume, and a VM's volumes survive the daemon" {
	volumes root_disk_of_qcow2
}

@test "a root disk on a volume is refused with the reason" {
	volumes root_disk_refusals
}

@test "who is killed while an image is written leaves nothing that a VM would see" {
	volumes root_disk_killed
}

# Nested, under emulation: two minutes.
@test "a VM has its scratch disk on a volume, with no rights to the device" {
	[ -n "${WNODES_TEST_SLOW:-}" ] || skip "slow: set WNODES_TEST_SLOW=1"
	TESTNODE_TIMEOUT=600 run -0 on_testnode sh -c 'sh "$BATS_TEST_DIRNAME/volume_node.sh" "$0"' "$TEST_STORE"
	[[ "$output" == *"/dev/vdb"*"/scratch"*"written"* ]]
}

@test "a VM has its root disk on a volume" {
	[ -n "${WNODES_TEST_SLOW:-}" ] || skip "slow: set WNODES_TEST_SLOW=1"
	TESTNODE_TIMEOUT=1800 run -0 on_testnode sh -c 'sh "$BATS_TEST_DIRNAME/volume_node.sh" "$0" --root lvm' "$TEST_STORE"
	[[ "$output" == *"/dev/vdb"*"/scratch"*"written"* ]]
}
