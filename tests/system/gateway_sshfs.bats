# Host directories by sshfs: a server of ours on the host, sshfs in the guest, a port of the VM between
# them.

bats_require_minimum_version 1.5.0
load helpers

setup() {
	setup_work
	SHARE=$WORK/share
	mkdir "$SHARE"
}

# sshfs_vm [OPTION...] -- COMMAND...: $SHARE is /s
sshfs_vm() {
	"$WNODES" run --network none --mount none --mount "$SHARE:/s:gateway=sshfs" "$@"
}

clones() {
	mkdir -p "$XDG_CACHE_HOME/wnodes"
	ln -s "$TEST_TEMPLATES" "$XDG_CACHE_HOME/wnodes/"
}

servers() {
	ours '^[^ ]*wnodes-sftp '
}

no_server() {
	[ -z "$(servers)" ]
}

# What every share must do, in one VM.
uses_of_a_share() {
	cat <<'END'
set -e
cd /s
[ "$(cat in)" = 41 ]
echo $(($(cat in) + 1)) >out
mkdir -p d/e && mv out d/e/out && ln -s e/out d/link && ln d/e/out hard && [ "$(cat d/link)" = 42 ]
ln -s /etc/passwd absolute && [ "$(readlink absolute)" = /etc/passwd ] && grep -q root absolute
chmod 640 hard && touch -d '2001-02-03 04:05:06' hard
echo 1 >a && echo 2 >b && exec 3<a && mv b a && [ "$(cat <&3)$(cat a)" = 12 ]
echo more >>a && truncate -s 3 a
rmdir d 2>/dev/null && exit 1
[ -x in ] && exit 1
dd if=/dev/urandom of=big bs=64k count=40 status=none && cp big copy && cmp big copy
[ "$(stat -f -c %T .)" = fuseblk ] || stat -f . >/dev/null
[ "$(cat "/sys/class/bdi/$(mountpoint -d .)/read_ahead_kb")" = 512 ]
grep ' /s ' /proc/mounts
END
}

check_uses() {
	[ "$(cat "$SHARE/d/e/out")" = 42 ]
	[ "$(readlink "$SHARE/d/link")" = e/out ]
	[ "$(stat -c '%a %h %y' "$SHARE/hard" | cut -c1-25)" = '640 2 2001-02-03 04:05:06' ]
	[ "$(cat "$SHARE/a")" = "2
m" ]
	cmp "$SHARE/big" "$SHARE/copy"
	[[ "$output" == *" fuse.sshfs rw,nosuid,nodev"* ]]
}

@test "sshfs: files are read, written, linked, renamed and cut off; what was written is there at the end" {
	echo 41 >"$SHARE/in"
	run -0 sshfs_vm -- sh -c "$(uses_of_a_share)"
	check_uses
	no_server
	assert_nothing_left
}

@test "sshfs: a clone has its share at once, and no other mount that would hang" {
	clones
	echo 41 >"$SHARE/in"
	run -0 sshfs_vm --start clone -- sh -c "$(uses_of_a_share) && df >/dev/null && ! grep wnodes-sshfs /proc/mounts"
	check_uses
	no_server
}

@test "sshfs: two shares, one inside of the other, the outer one for reading only" {
	mkdir "$SHARE/inner" "$WORK/other"
	echo file >"$SHARE/file"
	run -0 sshfs_vm --mount "$SHARE:/t:ro:gateway=sshfs" --mount "$WORK/other:/t/inner:gateway=sshfs" -- rootsh -p -c '
		echo 1 >/t/inner/made || exit 1
		for command in "touch /t/x" "rm /t/file" "chmod 777 /t/file" "mv /t/file /t/y" "truncate -s 0 /t/file"; do
			$command 2>/dev/null && echo "worked: $command"
		done
		mount -o remount,rw /t 2>/dev/null; touch /t/x 2>/dev/null && echo "worked: remount"
		cat /t/file'
	[ "$output" = file ]
	[ "$(cat "$WORK/other/made")" = 1 ]
	[ "$(ls "$SHARE")" = "file
inner" ]
}

@test "sshfs: root of the guest is only the user on the host" {
	skip_unless_root
	chmod 777 "$SHARE"
	echo secret >"$SHARE/roots" && chmod 600 "$SHARE/roots"
	echo all >"$SHARE/all" && chmod 644 "$SHARE/all"
	mkdir "$SHARE/closed" && chmod 700 "$SHARE/closed"
	run -0 as_user "$WNODES" run --network none --mount none --mount "$SHARE:/s:gateway=sshfs" -- rootsh -p -c '
		cd /s; id -u; cat all; touch mine
		try() { "$@" >/dev/null 2>&1 && echo "worked: $*"; }
		try cat roots; try ls closed; try touch closed/x; try chmod 666 roots; try chown 0 mine; try chgrp 0 mine
		try mknod device c 1 3; try mknod block b 7 0; try sh -c "echo x >>all"
		cp /usr/bin/id mine-id && chmod 4755 mine-id; ./mine-id -u; true'
	[ "$output" = "0
all
0" ] # and the set-uid bit is no right, as the mount says nosuid
	[ "$(stat -c %u "$SHARE/mine")" = "$TEST_UID" ]
	[ "$(cat "$SHARE/roots")" = secret ]
	[ ! -e "$SHARE/device" ] && [ ! -e "$SHARE/block" ]
}

@test "sshfs: nothing outside of the share is reached, whatever a guest asks the host for" {
	echo outside >"$WORK/outside" && chmod 600 "$WORK/outside"
	mkdir "$SHARE/d" && touch "$SHARE/mine"
	ln -s .. "$SHARE/up" && ln -s ../outside "$SHARE/link"
	cp "$BATS_TEST_DIRNAME/sftp_client.pl" "$WORK"
	before=$(stat -c '%a %s %y' "$WORK/outside")
	run -0 sshfs_vm -- rootsh -p -c 'cat >/tmp/client.pl && perl /tmp/client.pl org.wnodes.share.0 /s' <"$WORK/sftp_client.pl"
	echo "$output"
	[ "$output" = "done" ]
	[ "$(stat -c '%a %s %y' "$WORK/outside")" = "$before" ]
	[ ! -e "$SHARE/stolen" ] && [ ! -e "$WORK/taken" ]
}

@test "sshfs: a server that dies is an error in the guest, which mounts what another serves" {
	clones
	echo mine >"$SHARE/file"
	for start in boot clone; do
		rm -f "$SHARE/started" "$SHARE/new"
		sshfs_vm --start $start --workdir /s -- sh -c 'echo started >started
			while ls . >/dev/null; do sleep 0.1; done; echo errors; cd /
			i=0; until cat /s/file; do sleep 1; i=$((i + 1)); [ $i -lt 60 ] || exit 1; done; echo after >/s/new' >out 2>&1 &
		vm=$!
		wait_for 60 test -s "$SHARE/started"
		kill -9 $(servers)
		ends_with 0 $vm
		cat out
		grep -q errors out && grep -q "the gateway sshfs of '$SHARE' has ended" out
		[ "$(cat "$SHARE/new")" = after ]
		assert_nothing_left
	done
}

@test "sshfs: the server ends with wnodes, however that ends" {
	"$WNODES" run --network none --mount none --mount "$SHARE:/s:gateway=sshfs" -- sh -c 'echo started >/s/started; sleep 60' >out 2>&1 &
	vm=$!
	wait_for 60 test -s "$SHARE/started"
	[ -n "$(servers)" ]
	kill -9 $vm
	wait_for 5 no_server
	wait_for 5 no_vm
}

@test "sshfs: many files are open at once" {
	count=2000
	[ -z "${WNODES_TEST_SLOW:-}" ] || count=10000
	touch "$SHARE/file"
	run -0 sshfs_vm --start auto -- rootsh -p -c "ulimit -n 20000 && perl -e '
		for (1 .. $count) { open(\$f[\$_], q(<), q(/s/file)) or die qq(\$_: \$!) } print scalar(@f) - 1'"
	[ "$output" = $count ]
}
