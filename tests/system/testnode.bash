# A node with a kernel that can do everything: Debian's, in a VM of ours. Load testnode after helpers.
#
# A file of tests starts it once, and runs commands in it as root: the daemon from the build directory, too, which
# lies at its own path. Nested VMs are very slow there: look at descriptors, devices and rules instead.
#
#	setup_file() { testnode_start; }
#	teardown_file() { testnode_stop; }
#	on_testnode vgs

# Makes the image, unless there is one of this recipe: one at a time, as files of tests run side by side. It has a store of its
# own, as tests of images look at all that is in theirs.
testnode_build() {
	local stamp
	exec 9>"$TEST_HOME/testnode-lock"
	flock 9
	stamp=$(cat "$WNODES_BUILD/src/guest/wnodes-guest" "$BATS_TEST_DIRNAME/testnode.recipe" | sha256sum | cut -d' ' -f1)
	if [ "$(cat "$TEST_HOME/testnode-stamp" 2>/dev/null)" != "$stamp" ]; then
		XDG_DATA_HOME=$TEST_HOME/testnode "$WNODES" image build testnode --recipe "$BATS_TEST_DIRNAME/testnode.recipe" \
			>"$TEST_HOME/testnode-build.log" 2>&1 || {
			cat "$TEST_HOME/testnode-build.log" >&2
			return 1
		}
		echo "$stamp" >"$TEST_HOME/testnode-stamp"
	fi
	exec 9>&-
}

# Starts the node, with options of `wnodes run` such as --memory. It has an empty disk for volumes, /dev/loop0, and sees
# the build directory, the tests and $BATS_FILE_TMPDIR: testnode_start [OPTION...]
testnode_start() {
	export TESTNODE=$BATS_FILE_TMPDIR/testnode
	[ "$(id -u)" -eq 0 ] || return 0
	testnode_build || return 1
	testnode_boot "$@" && return
	# QEMU 7.2 crashes now and then while it emulates two processors that boot: that is tried again.
	grep -q 'QEMU was killed by signal 11' "$TESTNODE/err" || return 1
	exec {hold}>&-
	rm -rf "$TESTNODE"
	testnode_boot "$@"
}

testnode_boot() {
	local tests
	tests=$(realpath "$BATS_TEST_DIRNAME/..")
	mkdir -p "$TESTNODE/run" "$TESTNODE/cache"
	mkfifo "$TESTNODE/in"
	XDG_RUNTIME_DIR=$TESTNODE/run XDG_CACHE_HOME=$TESTNODE/cache XDG_DATA_HOME=$TEST_HOME/testnode \
		"$WNODES" run --image testnode --cpus 2 --memory 1G --network none --mount "$WNODES_BUILD" --mount "$tests" \
		--mount "$BATS_FILE_TMPDIR" --workdir / "$@" -- \
		sh -c 'truncate -s 8G /var/disk && losetup /dev/loop0 /var/disk && echo up && exec cat' \
		<"$TESTNODE/in" >"$TESTNODE/out" 2>"$TESTNODE/err" 3>&- &
	echo $! >"$TESTNODE/pid"
	exec {hold}>"$TESTNODE/in"
	wait_for 180 testnode_is_settled
	TESTNODE_VM=$(XDG_RUNTIME_DIR=$TESTNODE/run "$WNODES" vm list --json | jq -r '.[0].name')
	export TESTNODE_VM
	grep -qx up "$TESTNODE/out" || { cat "$TESTNODE/err" >&2; return 1; }
}

testnode_is_settled() {
	grep -qx up "$TESTNODE/out" || ! kill -0 "$(cat "$TESTNODE/pid")"
}

# Runs a command in the node, as root, with what the tests' helpers use of the environment, for at most
# $TESTNODE_TIMEOUT seconds (240): on_testnode COMMAND...
on_testnode() {
	XDG_RUNTIME_DIR=$TESTNODE/run timeout -k 5 "${TESTNODE_TIMEOUT:-240}" "$WNODES" vm exec --env WNODES_BUILD="$WNODES_BUILD" \
		--env WNODES="$WNODES" --env BATS_TEST_DIRNAME="$BATS_TEST_DIRNAME" \
		--env BATS_FILE_TMPDIR="$BATS_FILE_TMPDIR" --env WNODES_TEST_ROUNDS "$TESTNODE_VM" -- "$@"
}

# All is gone with the VM.
testnode_stop() {
	local pid
	[ -e "$TESTNODE/pid" ] || return 0
	pid=$(cat "$TESTNODE/pid")
	exec {hold}>&- 2>/dev/null || true
	kill "$pid" 2>/dev/null || true
	wait_for 20 eval "! kill -0 $pid" || kill -KILL "$pid"
}

# For the tests of such a file.
skip_unless_testnode() {
	skip_unless_root
	[ -n "${TESTNODE_VM:-}" ] || skip "no node for tests"
}
