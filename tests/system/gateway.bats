# The ways in which a host directory gets into a VM: what each promises, and what root of the guest can do through it.
# As root, the users of these tests are uids without an account.

bats_require_minimum_version 1.5.0
load helpers

# With WNODES_VIRTIOFSD, a program, all of them use it: the one in Rust, say, which Debian 12 does not have.
setup() {
	setup_work
	[ -z "${WNODES_VIRTIOFSD:-}" ] || settings "virtiofsd = $WNODES_VIRTIOFSD"
}

# A directory of the user's, with what is somebody else's in it, in which all may look: make_share NAME
make_share() {
	mkdir "$WORK/$1" "$WORK/$1/private" "$WORK/outside"
	chmod 755 "$WORK"
	echo mine >"$WORK/$1/mine"
	echo secret >"$WORK/$1/private/secret"
	chmod 700 "$WORK/$1/private"
	echo OUTSIDE >"$WORK/outside/file"
	ln -s "$WORK/outside/file" "$WORK/$1/way-out"
	[ "$(id -u)" -ne 0 ] || chown -R $TEST_UID:$TEST_UID "$WORK/$1" "$WORK/outside"
	if [ "$(id -u)" -eq 0 ]; then
		mkdir "$WORK/$1/theirs"
		echo "of root" >"$WORK/$1/theirs/closed"
		chmod 600 "$WORK/$1/theirs/closed"
		install -m 4755 /bin/true "$WORK/$1/set-uid"
	fi
}

# Can users have namespaces of their own here?
skip_without_virtiofs() {
	as_user unshare --user true 2>/dev/null || skip "users have no user namespaces here"
	ls /usr/libexec/virtiofsd /usr/lib/virtiofsd /usr/lib/qemu/virtiofsd >/dev/null 2>&1 || [ -e /usr/lib/qemu/virtiofsd ] ||
		skip "virtiofsd is not installed"
}

run_vm() {
	as_user "$WNODES" run --mount none --network none --memory 384M --start boot "$@"
}

@test "gateway: each is the one that was asked for, and is told" {
	skip_without_virtiofs
	make_share a
	make_share_more b
	as_user touch "$WORK/a/of-host"
	run -0 run_vm --report "$WORK/a/report" --mount "$WORK/a:/9p:gateway=9p" --mount "$WORK/b:/fs:gateway=virtiofs:ro" -- sh -c '
		grep -E "^[^ ]+ /(9p|fs) " /proc/mounts | cut -d" " -f2,3
		cat /9p/private/secret /fs/mine
		echo back >/9p/new; mkdir /9p/d; echo x >/9p/d/y; chmod 640 /9p/new
		! echo no 2>/dev/null >/fs/new
		# Not even root of the guest writes to what is shared to be read.
		rootsh -pc "mount -o remount,rw /fs; echo no >/fs/mine || echo refused" 2>/dev/null'
	[ "${lines[0]}" = "/9p 9p" ] && [ "${lines[1]}" = "/fs virtiofs" ]
	[ "${lines[2]}" = secret ] && [ "${lines[3]}" = mine ]
	[[ "$output" == *refused* ]]
	[ "$(cat "$WORK/a/new")" = back ] && [ "$(stat -c %a "$WORK/a/new")" = 640 ] && [ -e "$WORK/a/d/y" ]
	[ "$(cat "$WORK/b/mine")" = mine ] && [ ! -e "$WORK/b/new" ]
	jq -e '[.mounts[].gateway] == ["9p", "virtiofs"]' "$WORK/a/report"
	# Who wants to know why hears it.
	run -0 run_vm --verbose --mount "$WORK/a" -- true
	[[ "$output" == *"'$WORK/a': by 9p, the best for a VM that boots"* ]]
	assert_no_helper
}

make_share_more() {
	mkdir "$WORK/$1"
	echo mine >"$WORK/$1/mine"
	[ "$(id -u)" -ne 0 ] || chown -R $TEST_UID:$TEST_UID "$WORK/$1"
}

# No program of a gateway is left.
assert_no_helper() {
	wait_for 10 no_helper
}

no_helper() {
	[ -z "$(virtiofsds)" ]
}

# The virtiofsd of this test's VMs, its parts.
virtiofsds() {
	ours 'virtiofsd.* --fd=[0-9]'
}

@test "gateway: what cannot be is said, with what to do" {
	make_share a
	run -125 run_vm --mount "$WORK/a:gateway=smoke" -- true
	[[ "$output" == *"gateway"*"smoke"* ]]
	run -125 run_vm --start clone --mount "$WORK/a:gateway=virtiofs" -- true
	[[ "$output" == *"not possible in a clone"*"--start auto"* ]]
	settings 'virtiofsd = /nonexistent/virtiofsd' 'gateway = virtiofs'
	run -125 run_vm --mount "$WORK/a" -- true
	[[ "$output" == *"/nonexistent/virtiofsd"* ]]
	# What is written at a share comes before the setting.
	run -0 run_vm --mount "$WORK/a:/in:gateway=auto" -- grep -c '/in 9p' /proc/mounts
}

# Lines for [vm] in the user's settings.
settings() {
	as_user sh -c 'printf "[vm]\naccel = tcg\n" >"$XDG_CONFIG_HOME/wnodes/wnodes.conf"
		printf "%s\n" "$@" "[template]" "automatic = no" >>"$XDG_CONFIG_HOME/wnodes/wnodes.conf"' sh "$@"
}

# What root of the guest tries, each with what must not become of it.
write_attack() {
	cat >"$WORK/a/attack" <<'END'
cd "$1" || exit 1
[ "$(id -u)" = 0 ] || exit 1
cat theirs/closed && echo BAD read what is root\'s
echo x >theirs/closed && echo BAD wrote what is root\'s
echo x >theirs/new && echo BAD wrote where root alone may
rm -f theirs/closed && echo BAD removed what is root\'s
mknod disk b 8 0 && cat disk && echo BAD a device
mknod null c 1 3 && [ -c null ] && echo x >null && echo BAD a device
cp /bin/true mine
chown 0:0 mine && echo BAD gave a file to root
chmod 4755 mine
chown 1:1 mine && echo BAD gave a file away
ln theirs/closed link && cat link && echo BAD a link to what is root\'s
chmod 666 theirs/closed && echo BAD opened what is root\'s
cat way-out && echo BAD followed a link of the host
ln -s ../../../../../../etc/passwd up; cat ../outside/file && echo BAD went up
true
END
}

attack() {
	run -0 run_vm --mount "$WORK/a:/in:gateway=$1" -- rootsh -p /in/attack /in
	[[ "$output" != *BAD* ]]
	# On the host nothing is root's that was not, nothing set-uid but for the user, no device.
	[ "$(cat "$WORK/a/theirs/closed")" = "of root" ]
	[ -z "$(find "$WORK/a" -type b -o -type c)" ]
	[ -z "$(find "$WORK/a" ! -user $TEST_UID ! -path "*/theirs*" ! -name attack ! -name set-uid)" ]
	[ "$(stat -c %u:%a "$WORK/a/set-uid")" = 0:4755 ]
	[ -z "$(find "$WORK/a" -perm /6000 ! -user $TEST_UID ! -name set-uid)" ]
}

@test "gateway: root of the guest is only the user, by 9p and by virtiofs" {
	skip_unless_root
	skip_without_virtiofs
	make_share a
	write_attack
	attack 9p
	attack virtiofs
}

@test "gateway: a directory that becomes a link while it is looked into leads nowhere" {
	skip_without_virtiofs
	make_share a
	as_user mkdir "$WORK/a/real" "$WORK/a/x"
	as_user sh -c "echo inside >$WORK/a/real/file; echo inside >$WORK/a/x/file"
	# Between the two, as fast as it goes.
	as_user timeout 60 perl -e 'chdir $ARGV[0]; while (!-e "stop") {
		rename "x", "y"; symlink "../outside", "x"; unlink "x"; rename "y", "x"; }' "$WORK/a" 3>&- &
	run -0 run_vm --mount "$WORK/a:/9p:gateway=9p" --mount "$WORK/a:/fs:gateway=virtiofs" -- \
		rootsh -pc 'for d in /9p /fs; do
			i=0; while [ $i -lt 100 ]; do cat $d/x/file; cat $d/y/file; i=$((i + 1)); done 2>/dev/null; done | sort | uniq -c; touch /9p/stop'
	[[ "$output" == *inside* ]] && [[ "$output" != *OUTSIDE* ]]
	wait
}

@test "gateway: thousands of files are open at a time" {
	skip_without_virtiofs
	make_share a
	local files=${WNODES_TEST_SLOW:+10000}
	ulimit -n 12000 2>/dev/null || skip "no more than $(ulimit -n) open files here"
	run -0 run_vm --mount "$WORK/a:/9p:gateway=9p" --mount "$WORK/a:/fs:gateway=virtiofs" -- \
		perl -e 'for my $d ("/9p", "/fs") { my @open;
			for (1 .. $ARGV[0]) { open my $f, "<", "$d/mine" or die "$d $_: $!"; push @open, $f }
			print scalar(@open), " ", readline($open[-1]) }' "${files:-1500}"
	[ "${lines[0]}" = "${files:-1500} mine" ] && [ "${lines[1]}" = "${files:-1500} mine" ]
}

another_serves() {
	[ -n "$(virtiofsds)" ] && [ "$(virtiofsds)" != "$1" ]
}

@test "gateway: a virtiofsd that dies is an error in the guest, which goes on and mounts what another serves" {
	skip_without_virtiofs
	make_share a
	mkfifo -m 666 "$WORK/in"
	# What waits for the dead one gets an error, too: it stands still when it is asked. What is open keeps the guest
	# from mounting again.
	run_vm --mount "$WORK/a:/in:gateway=virtiofs" --mount "$WORK/outside:/in/below:gateway=9p" -- rootsh -pc '
		exec 5</in/mine; echo ready; read -r x
		echo asking; ls -R /in/private && echo BAD served
		cat <&5 && echo BAD open
		echo lost >/in/mine && echo BAD written
		echo errors; exec 5<&-
		i=0; until cat /in/private/secret; do sleep 1; i=$((i + 1)); [ $i -lt 60 ] || exit 1; done
		cat /in/below/file; echo after >/in/mine' \
		<"$WORK/in" >"$WORK/out" 2>"$WORK/err" 3>&- &
	local vm=$! old
	exec {hold}>"$WORK/in"
	wait_for 60 grep -q ready "$WORK/out"
	old=$(virtiofsds)
	kill -STOP $old
	echo >&$hold
	wait_for 60 grep -q asking "$WORK/out"
	kill -9 $old
	wait_for 60 grep -q errors "$WORK/out" || cat "$WORK/out" "$WORK/err"
	exec {hold}>&-
	wait $vm || { cat "$WORK/out" "$WORK/err" && false; }
	grep -q secret "$WORK/out" && grep -q OUTSIDE "$WORK/out"
	[ "$(grep -c BAD "$WORK/out")" -eq 0 ]
	[ "$(cat "$WORK/a/mine")" = after ]
	grep -q "the gateway virtiofs of '$WORK/a' has ended" "$WORK/err"
	assert_no_helper
}

@test "gateway: a virtiofsd that dies again and again is the VM's end, and it is told why" {
	skip_without_virtiofs
	make_share a
	mkfifo -m 666 "$WORK/in"
	run_vm --mount "$WORK/a:/in:gateway=virtiofs" -- sh -c 'cat /in/mine; read -r x; echo after' \
		<"$WORK/in" >"$WORK/out" 2>"$WORK/err" 3>&- &
	local vm=$! pids
	exec {hold}>"$WORK/in"
	wait_for 60 grep -q mine "$WORK/out"
	pids=none
	for _ in 1 2 3 4 5 6; do
		wait_for 30 another_serves "$pids"
		pids=$(virtiofsds)
		kill -9 $pids || true
	done
	ends_with 125 $vm
	exec {hold}>&-
	cat "$WORK/err"
	grep -q "the gateway virtiofs of '$WORK/a' has ended; .* out of the VM's reach" "$WORK/err"
	[ "$(grep -c after "$WORK/out")" -eq 0 ]
	assert_no_helper
}

@test "gateway: no program of one outlives wnodes, whatever becomes of it" {
	skip_without_virtiofs
	make_share a
	mkfifo -m 666 "$WORK/in"
	run_vm --mount "$WORK/a:/in:gateway=virtiofs" -- sh -c 'cat /in/mine; read -r x' <"$WORK/in" >"$WORK/out" 2>&1 3>&- &
	exec {hold}>"$WORK/in"
	wait_for 60 grep -q mine "$WORK/out"
	kill -9 $(ours "^$WNODES run")
	assert_no_helper
	exec {hold}>&-
	wait
}

@test "gateway: a mount point within another share is made" {
	skip_without_virtiofs
	make_share a
	make_share_more b
	run -0 run_vm --mount "$WORK/a:/in:gateway=virtiofs" --mount "$WORK/b:/in/deep/below:gateway=virtiofs" -- cat /in/deep/below/mine
	[ "$output" = mine ]
	[ -d "$WORK/a/deep/below" ]
}

# Its options are others. The program is not in Debian 12: this one says that it is it.
@test "gateway: the virtiofsd in Rust is known, and asked in its own words" {
	skip_without_virtiofs
	[ -x /usr/lib/qemu/virtiofsd ] || skip "no virtiofsd of QEMU's"
	make_share a
	cat >"$WORK/virtiofsd" <<'END'
#!/bin/sh
[ "$1" != --version ] || { echo "virtiofsd 1.10.0"; exit; }
echo "$@" >"$0.arguments"
exec /usr/lib/qemu/virtiofsd "$1" -o source=/sys -o modcaps=-chown:-dac_override:-fowner:-fsetid:-mknod:-setfcap --rlimit-nofile=0
END
	chmod 755 "$WORK/virtiofsd"
	: >"$WORK/virtiofsd.arguments"
	chmod 666 "$WORK/virtiofsd.arguments"
	settings "virtiofsd = $WORK/virtiofsd"
	run -0 run_vm --mount "$WORK/a:/in:gateway=virtiofs" -- cat /in/mine
	[ "$output" = mine ]
	grep -qE -- '^--fd=[0-9]+ --rlimit-nofile=0 --shared-dir /sys --cache auto ' "$WORK/virtiofsd.arguments"
}
