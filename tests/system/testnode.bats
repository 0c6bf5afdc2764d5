#!/usr/bin/env bats
# The node of the tests of volumes, networks and NFS can do what they need.

bats_require_minimum_version 1.5.0

load helpers
load testnode

setup_file() { testnode_start; }

teardown_file() { testnode_stop; }

setup() {
	skip_unless_testnode
	setup_work
}

@test "the node has thin volumes" {
	on_testnode sh -ec '
		vgcreate -q vg /dev/loop0 >/dev/null
		lvcreate -q -T -L 1G vg/pool >/dev/null
		lvcreate -q -T -V 512M -n volume vg/pool >/dev/null
		mke2fs -q /dev/vg/volume && lvcreate -q -s -n copy -kn vg/volume >/dev/null
		blkdiscard /dev/vg/copy
		vgremove -qqf vg >/dev/null && test ! -e /dev/vg'
}

@test "the node has VLANs, bridges, rates and a firewall" {
	on_testnode sh -ec '
		ip link add br0 type bridge vlan_filtering 1
		ip tuntap add tap0 mode tap vnet_hdr && ip link set tap0 master br0 up
		bridge vlan add vid 7 dev tap0
		ip link add link br0 name br0.7 type vlan id 7
		tc qdisc add dev tap0 root tbf rate 10mbit burst 32k latency 50ms
		nft add table bridge t && nft add chain bridge t c "{ type filter hook forward priority 0; }"
		nft add rule bridge t c iifname tap0 ether type arp drop
		nft list ruleset | grep -q tap0
		nft delete table bridge t && ip link del br0.7 && ip link del tap0 && ip link del br0'
}

@test "the node serves NFS" {
	on_testnode sh -ec '
		mkdir -p /srv/share /mnt/share && echo hello >/srv/share/file
		mount -t nfsd nfsd /proc/fs/nfsd
		exportfs -i -o rw,no_root_squash,fsid=0,no_subtree_check 127.0.0.1:/srv/share
		rpc.nfsd -N 3 1 && rpc.mountd -N 3
		mount -t nfs -o vers=4.2 127.0.0.1:/ /mnt/share
		grep -qx hello /mnt/share/file
		umount /mnt/share && rpc.nfsd 0 && exportfs -ua && pkill rpc.mountd && umount /proc/fs/nfsd'
}

@test "the programs of the build directory run on the node" {
	on_testnode sh -ec '"$WNODES" --version && "$WNODES-hypervisor" --help >/dev/null'
}
