# Shared by the tests with a daemon of a node: the machine's store is the tests' own image; its users
# are uids without an account.

MAKER_UID=64200
# shellcheck disable=SC2034 # for the tests
ONE=64123 TWO=64124

# One that users without rights may run, too.
# shellcheck disable=SC2034
PYTHON=/usr/bin/python3

setup() {
	skip_unless_root
	TEST_CLONES='' setup_work
	chmod 755 "$WORK"
	STATE=$WORK/state SOCKET=$WORK/node/socket daemon=
	mkdir "$STATE"
	copy_store "$TEST_STORE"/{blobs,names} "$STATE"
	export WNODES_SYSTEM_STORE=$STATE XDG_DATA_HOME=$WORK/data
	own_config
}

# A configuration for the daemon and its users, with these lines for [node].
# shellcheck disable=SC2120
own_config() {
	mkdir -p "$WORK/config/wnodes"
	printf '%s\n' '[run]' 'network = none' 'mount = none' '[vm]' 'accel = tcg' "broker = $SOCKET" '[node]' \
		"user = $MAKER_UID" 'lrms = none' "$@" >"$WORK/config/wnodes/wnodes.conf"
	export XDG_CONFIG_HOME=$WORK/config
}

# The daemon, without the leak sanitizer: that needs ptrace(2), which the daemon and its children may not use.
daemon() {
	exec env ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0" "$WNODES-hypervisor" "$@"
}

# For a test in which the daemon's children, who do not get our environment, have to end well.
skip_if_sanitized() {
	! nm -D "$WNODES" | grep -q __asan_init || skip "the leak sanitizer needs ptrace"
}

# For a test in which users execute what is in the build directory, or in the tests', by themselves.
skip_if_closed() {
	setpriv --reuid="$ONE" --regid="$ONE" --clear-groups sh -c 'test -x "$0" && test -r "$1"' "$WNODES" \
		"$BATS_TEST_DIRNAME" 2>/dev/null || skip "$WNODES_BUILD is closed to other users"
}

start_daemon() {
	daemon --socket "$SOCKET" --state "$STATE" --config "$WORK/config/wnodes/wnodes.conf" \
		2>>daemon.err </dev/null 3>&- &
	daemon=$!
	wait_for 10 grep -q "listens on" daemon.err
}

kill_daemon() {
	kill -"${1:-KILL}" "$daemon"
	wait "$daemon" || true
	: >daemon.err
}

teardown() {
	[ -z "${daemon:-}" ] || kill -KILL "$daemon" 2>/dev/null || true
	[ ! -e "$WORK/daemon.err" ] || sed 's/^/daemon: /' "$WORK/daemon.err"
	[ -z "${WORK:-}" ] || TEST_CLONES='' teardown_work
}

teardown_work() {
	cd /
	wait_for 10 all_killed
	! mountpoint -q "$WORK/full" || umount -l "$WORK/full"
	rm -rf "$WORK"
}

# Runs a command as a user with directories of its own: as UID COMMAND...
as() {
	local uid=$1 home=$WORK/user-$1
	shift
	if [ ! -d "$home" ]; then # several at once may be the first
		mkdir -p "$home.$BASHPID"/{run,cache,data}
		chmod 700 "$home.$BASHPID/run"
		chown -R "$uid:$uid" "$home.$BASHPID"
		mv -T "$home.$BASHPID" "$home" 2>/dev/null || rm -rf "$home.$BASHPID"
	fi
	(
		cd / || exit 1
		HOME=$home XDG_DATA_HOME=$home/data XDG_CACHE_HOME=$home/cache XDG_RUNTIME_DIR=$home/run \
			XDG_STATE_HOME=$home/state \
			setpriv --reuid="$uid" --regid="$uid" --clear-groups "$@"
	)
}

# What the daemon says of its node, by jq: node FILTER
node() {
	"$WNODES" node show --json | jq -r "$1"
}

# Starts a VM in the background that says "up" and ends with $WORK/stop-NAME: living NAME UID
living() {
	mkfifo -m 666 "$WORK/in-$1"
	as "$2" "$WNODES" run --memory 256M -- sh -c 'echo up; read -r x; echo down' >"$1.out" 2>"$1.err" <"$WORK/in-$1" 3>&- &
	exec {hold}>"$WORK/in-$1"
	eval "hold_$1=$hold pid_$1=$!"
}

end_living() {
	local hold=hold_$1 pid=pid_$1
	echo >&"${!hold}"
	exec {hold}>&-
	ends_with 0 "${!pid}"
	grep -q down "$1.out"
}
