#!/bin/sh
# On the test node: a VM of a user without rights, whose scratch disk is a volume: volume_node.sh STORE [OPTION...]
set -e
cd /
top=/var/volumes-vm
rm -rf $top
mkdir -p $top/state $top/config/wnodes $top/user/run
chmod 755 $top
chmod 700 $top/user/run
chown -R 1234:1234 $top/user
cp -a --sparse=always "$1/blobs" "$1/names" $top/state/
shift
# The image is larger than the pool of the other tests.
lvs vg/large >/dev/null 2>&1 || lvcreate -q -T -L 2G --poolmetadatasize 16M vg/large >/dev/null
printf '%s\n' '[run]' 'network = none' 'mount = none' '[vm]' 'accel = tcg' "broker = $top/socket" '[template]' \
	'automatic = no' '[deadline]' 'boot = 20m' 'prepare = 20m' '[node]' 'user = 64200' 'lrms = none' \
	'volume_group = vg' 'thin_pool = large' 'volumes_ready = 0' 'scratch = lvm' >$top/config/wnodes/wnodes.conf
"$WNODES-hypervisor" --socket $top/socket --state $top/state --config $top/config/wnodes/wnodes.conf 2>$top/err &
daemon=$!
trap 'kill $daemon' EXIT
sleep 3
export XDG_CONFIG_HOME=$top/config WNODES_SYSTEM_STORE=$top/state HOME=$top/user XDG_RUNTIME_DIR=$top/user/run \
	XDG_DATA_HOME=$top/user/data XDG_CACHE_HOME=$top/user/cache XDG_STATE_HOME=$top/user/state
setpriv --reuid 1234 --regid 1234 --clear-groups "$WNODES" run "$@" --image debian --memory 256M --scratch 64M -- \
	sh -ec 'df /scratch; dd if=/dev/zero of=/scratch/file bs=1M count=20 && sync; echo written'
