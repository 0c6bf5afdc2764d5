# Shared by the system tests: load helpers

setup() {
	setup_work
}

setup_work() {
	WORK=$(mktemp -d /tmp/wnodes-test.XXXXXX)
	export WORK
	cd "$WORK" || return 1
	# The tests' own home, so that nothing of the developer's is shared or written.
	export HOME=$WORK/home
	mkdir -p "$HOME"
	# Nothing is shared with other tests, which may run at the same time, but the image store.
	export XDG_RUNTIME_DIR=$WORK/run XDG_CACHE_HOME=$WORK/cache XDG_STATE_HOME=$WORK/state
	mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_CACHE_HOME"
	# All of run.bats and others are run with VMs that boot, and with clones.
	if [ -n "${TEST_CLONES:-}" ]; then
		mkdir "$XDG_CACHE_HOME/wnodes"
		ln -s "$TEST_TEMPLATES" "$XDG_CACHE_HOME/wnodes/"
	fi
	# By this its VMs are known from those of others on the machine.
	export WNODES_TEST=$WORK
}

teardown() {
	cd /
	# What a test started is gone with it, whatever the test's outcome; also what makes a template
	# in the background, which would go on to write.
	[ -z "${server:-}" ] || kill "$server" 2>/dev/null || true
	wait_for 10 all_killed
	rm -rf "$WORK"
}

# The processes of this test whose command line matches: ours REGEX
ours() {
	local pid
	for pid in $(pgrep -f "$1"); do
		{ tr '\0' '\n' <"/proc/$pid/environ"; } 2>/dev/null | grep -qx "WNODES_TEST=$WORK" && echo "$pid"
	done
	true
}

# The QEMU processes of this test.
vms() {
	ours '^[^ ]*qemu[^ ]* -nodefaults'
}

all_killed() {
	local left
	left=$(ours "^($WNODES|/proc/self/exe) |^[^ ]*qemu[^ ]* -nodefaults")
	[ -z "$left" ] || kill -9 $left 2>/dev/null || true
	[ -z "$left" ]
}

# Fails if a VM, a run directory or a file of one is left.
assert_nothing_left() {
	local left
	left=$(vms)
	[ -z "$left" ] || { echo "QEMU left: $left"; return 1; }
	left=$(find "$XDG_RUNTIME_DIR/wnodes" -mindepth 1 ! -path '*/wnodes/steps' 2>/dev/null) || true
	[ -z "$left" ] || { echo "run files left: $left"; return 1; }
	left=$(find "$XDG_CACHE_HOME/wnodes" -type f ! -name accel ! -name making ! -name qemu-digest ! -name 'seed-*' 2>/dev/null) || true
	[ -z "$left" ] || { echo "cache files left: $left"; return 1; }
}

# Files of an image store, which never change: hard links, where they can be made (others' files cannot be linked,
# nor those of another file system), else copies: copy_store SOURCE... DIRECTORY
copy_store() {
	cp -al "$@" 2>/dev/null || cp -a --remove-destination --sparse=always "$@"
}

# Waits until a command succeeds: wait_for SECONDS COMMAND... The seconds are what a machine at rest
# may need; one that runs all tests at once has four times as much.
wait_for() {
	local end=$((SECONDS + 4 * $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || { echo "waited in vain for: $*"; return 1; }
		sleep 0.1
	done
}

# No VM of this test runs.
no_vm() {
	[ -z "$(vms)" ]
}

# A VM of this test runs.
a_vm() {
	! no_vm
}

# The exit status of a background process of this shell: ends_with STATUS PID
ends_with() {
	local status=0
	wait "$2" || status=$?
	[ "$status" -eq "$1" ] || { echo "status $status instead of $1"; return 1; }
}

# Runs a command as an unprivileged user with a home and a store of its own.
TEST_UID=64123
as_user() {
	if [ "$(id -u)" -ne 0 ]; then
		"$@"
		return
	fi
	local home=$WORK/user
	if [ ! -d "$home" ]; then
		chmod 755 "$WORK"
		"$BATS_TEST_DIRNAME/user-home" "$TEST_HOME" "$home" $TEST_UID
	fi
	(
		cd "$home" || exit 1
		HOME=$home XDG_DATA_HOME=$home/data XDG_CONFIG_HOME=$home/config \
			XDG_CACHE_HOME=$home/cache XDG_RUNTIME_DIR=$home/run XDG_STATE_HOME=$home/state \
			setpriv --reuid=$TEST_UID --regid=$TEST_UID --clear-groups "$@"
	)
}

# The name that the caller has in a VM: a uid without an account on the host gets one there.
user_name() {
	getent passwd "$(id -u)" | cut -d: -f1 | grep . || echo "uid$(id -u)"
}

skip_unless_root() {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
}

# For tests whose unprivileged user starts programs that start wnodes.
skip_unless_user() {
	skip_unless_root
	as_user test -x "$WNODES" || skip "$WNODES_BUILD is closed to other users"
}
