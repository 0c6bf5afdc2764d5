#!/usr/bin/env bats
# The cluster of make demo-cluster: it comes up, a user's job runs in a VM on it, and nothing is left of it, however it
# ends.

bats_require_minimum_version 1.5.0
load helpers

setup() {
	skip_unless_root
	WORK=$(mktemp -d /tmp/wnodes-test.XXXXXX)
	cd "$WORK" || return 1
	export WNODES_DEMO=$WORK/demo BUILD=$WNODES_BUILD
	DEMO=$BATS_TEST_DIRNAME/../../examples/demo-cluster.sh
	! nm -D "$WNODES" | grep -q __asan_init || skip "Slurm's own programs cannot load a sanitized plugin"
	chmod 755 "$WORK"
	before=$(traces)
}

teardown() {
	[ -z "${DEMO:-}" ] || "$DEMO" down
	cd /
	rm -rf "$WORK" "/run/wnodes-demo${WORK//\//-}-demo.lock"
}

# What a cluster has outside of its directory, but for what others on this machine have: all have its tag in the name.
traces() {
	ip netns list
	ip -brief link show type bridge
	pgrep -f "$WORK/demo/" || true
	grep -F "$WORK/demo" /proc/self/mounts || true
	find /sys/fs/cgroup -maxdepth 2 -name 'slurm_*' 2>/dev/null
	ls /run/wnodes-slurm 2>/dev/null || true
}

nothing_left() {
	[ ! -e "$WORK/demo" ] && [ ! -e "/run/wnodes-demo${WORK//\//-}-demo" ] && [ "$(traces | grep -vxFf <(echo "$before"))" = '' ]
}

# Starts it with the tests' own image, or skips where there can be none.
start() {
	local status=0
	"$DEMO" --images "$TEST_STORE" up >up.log 2>&1 || status=$?
	[ $status -ne 77 ] || skip "no cluster here: $(tail -1 up.log)"
	[ $status -eq 0 ] || { cat up.log && return 1; }
}

# As alice on the submit host: alice COMMAND...
alice() {
	timeout -k 5 120 "$DEMO" shell alice@ctl "$@"
}

@test "demo cluster: it comes up, a user's job runs in a VM on it, and nothing is left of it" {
	start
	run -0 alice srun --quiet --mem=1000 --vm-image=debian sh -c 'echo "$(id -un) $(uname -n)"'
	[[ "${lines[-1]}" =~ ^alice\ vm-.*-w[a-z]*1$ ]]
	run -3 alice sh -c 'exit 3'
	"$DEMO" shell root@c2 wnodes node list --json | jq -es 'flatten | map(.state) == ["up", "up"]'
	# A second one is not started beside it.
	run -0 "$DEMO" up
	[[ "$output" == *"it is up already"* ]]
	"$DEMO" down
	nothing_left
	run -0 "$DEMO" down
}

@test "demo cluster: what is left of one that was killed goes with the next command" {
	[ -n "${WNODES_TEST_SLOW:-}" ] || skip "takes a minute; WNODES_TEST_SLOW=1"
	local i
	for i in 2 7 14; do
		setsid "$DEMO" --images "$TEST_STORE" up >up.log 2>&1 3>&- &
		sleep $i
		kill -KILL -- -$! 2>/dev/null || true
		"$DEMO" down
		wait_for 10 nothing_left
	done
	# Ctrl-C, which all of its process group get.
	for i in 3 9; do
		setsid "$DEMO" --images "$TEST_STORE" up >up.log 2>&1 3>&- &
		up=$!
		sleep $i
		kill -TERM -- -$up 2>/dev/null || true
		wait $up || true
		wait_for 10 nothing_left
	done
}

@test "demo cluster: the tour is as it should be" {
	[ -n "${WNODES_TEST_SLOW:-}" ] || skip "takes ten minutes, and builds two images; WNODES_TEST_SLOW=1"
	"$DEMO" demo
	nothing_left
}
