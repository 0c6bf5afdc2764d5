#!/bin/sh
# On the test node: a VM of a user without rights, with a directory by the node's NFS server: nfs_node.sh STORE
set -e
cd /
top=/var/nfs-vm
rm -rf $top
mkdir -p $top/state $top/config/wnodes $top/user/run $top/user/share
chmod 755 $top
chmod 700 $top/user/run
echo hello >$top/user/share/file
chown -R 1234:1234 $top/user
cp -a --sparse=always "$1/blobs" "$1/names" $top/state/
printf '%s\n' '[run]' 'mount = none' '[vm]' 'accel = tcg' "broker = $top/socket" '[template]' 'automatic = no' \
	'[deadline]' 'boot = 8m' 'prepare = 8m' >$top/config/wnodes/wnodes.conf
printf '%s\n' '[node]' 'user = 64200' 'lrms = none' 'nfs = yes' '[network lab]' 'addresses = 10.7.0.10-10.7.0.11/24' \
	'node_address = 10.7.0.1/24' >$top/node.conf
[ -e /proc/fs/nfsd/threads ] || mount -t nfsd nfsd /proc/fs/nfsd
pgrep -x rpc.mountd >/dev/null || rpc.mountd -N 3 </dev/null >/dev/null 2>&1
rpc.nfsd -N 3 8
"$WNODES-hypervisor" --socket $top/socket --state $top/state --config $top/node.conf 2>$top/err &
daemon=$!
trap 'kill $daemon' EXIT
sleep 3
export XDG_CONFIG_HOME=$top/config WNODES_SYSTEM_STORE=$top/state HOME=$top/user XDG_RUNTIME_DIR=$top/user/run \
	XDG_DATA_HOME=$top/user/data XDG_CACHE_HOME=$top/user/cache XDG_STATE_HOME=$top/user/state
setpriv --reuid 1234 --regid 1234 --clear-groups "$WNODES" run --image debian --memory 256M --network lab \
	--mount $top/user/share:/s:gateway=nfs -- \
	sh -ec 'grep /s /proc/mounts; cat /s/file; echo "guest: $(id -u)"; echo from the guest >/s/new; sync'
[ "$(stat -c %u $top/user/share/new)" = 1234 ] && echo written by 1234
sleep 2
! grep /run/wnodes/nfs /proc/mounts && [ -z "$(ls /run/wnodes/nfs)" ] && echo nothing left
