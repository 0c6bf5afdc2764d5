#!/bin/bash
# Runs the unit tests and the system tests and ends with "N passed, N failed[, N skipped]".
#   check.sh [FILE.bats...]   only these system tests, without the unit tests
# BUILD is the build directory, JOBS how many files of system tests run at the same time (2),
# SYSTEM_FILES the system tests if not all, CLONE_FILES those that run once more with VMs that are
# cloned instead of booted, USER_FILES those that run once more as an unprivileged user when root runs
# the tests. With RETRY=1 a file of which a test failed is run once more, alone, when all others have
# ended: what passes then is counted as passed, and told as unsteady. The exit status is 0 when nothing
# failed.
set -u

top=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "$top" && realpath "${BUILD:-build}")
logs=$build/test-logs
passed=0 failed=0 skipped=0
rm -rf "$logs"
mkdir -p "$logs"
export WNODES_BUILD=$build logs

user_files=${USER_FILES-run signal vm template queue}
clone_files=${CLONE_FILES-run}
user_id=64123

# One line of TAP for each test, from cmocka's programs and from bats.
count() {
	passed=$((passed + $(grep -c '^ok ' "$1") - $(grep -c '^ok .* # skip' "$1")))
	failed=$((failed + $(grep -c '^not ok ' "$1")))
	skipped=$((skipped + $(grep -c '^ok .* # skip' "$1")))
}

# unit_test PROGRAM [ARGUMENT...]: runs it, shows its results, and leaves them in $logs.
unit_test() {
	local name=${1#"$WNODES_BUILD"/} tap status=0
	name=${name#src/} name=${name//\//-} # of which two directories may have one
	tap=$logs/$name.tap
	CMOCKA_MESSAGE_OUTPUT=TAP timeout 300 "$@" </dev/null >"$tap" 2>"$logs/$name.err" || status=$?
	# As cmocka writes it, a test that is skipped would count as failed.
	sed -i 's/^not ok \([0-9]*\) # SKIP \(.*\)/ok \1 - \2 # skip/' "$tap"
	if [ $status -eq 0 ]; then
		echo "ok $name: $(grep -c '^ok ' "$tap") tests"
		return
	fi
	# One that fails without a test that does has crashed, or could not start.
	grep -q '^not ok ' "$tap" || echo "not ok - $name ended with status $status" >>"$tap"
	echo "not ok $name (status $status)"
	grep -A 20 '^not ok' "$tap"
	tail -20 "$logs/$name.err"
}

# Many of them wait for a database that they start, so that a third has something to do.
unit_tests() {
	local file
	export -f unit_test
	meson introspect --tests "$build" | jq -r '.[] | select(.suite[] | endswith("unit")) | .cmd | join(" ")' |
		xargs -P $((${JOBS:-2} + 1)) -L 1 bash -c 'unit_test "$@"' -
	for file in "$logs"/*_test.tap; do
		count "$file"
	done
}

# system_test LOG COMMAND...: runs bats, shows its results when it is done.
system_test() {
	local log=$1 status=0 start=$SECONDS
	shift
	printf '%q ' "$@" >"$log.command"
	timeout 1500 "$@" >"$log" 2>&1 || status=$?
	[ $status -eq 0 ] || grep -q '^not ok' "$log" || echo "not ok - $(basename "$log" .tap) ended with status $status" >>"$log"
	echo "== $(basename "$log" .tap): $((SECONDS - start)) s"
	cat "$log"
}

# The whole of it once more, as somebody without rights.
user_tests() {
	local home=$build/test-user-home name clones
	rm -rf "$home"
	if ! setpriv --reuid=$user_id --regid=$user_id --clear-groups test -x "$build/wnodes"; then
		echo "ok 1 system tests as an unprivileged user # skip $build is closed to other users" >"$logs/user.tap"
		return
	fi
	"$top/tests/system/user-home" "${TEST_HOME:-$build/test-home}" "$home" $user_id
	for name in $user_files; do
		clones=
		# The others look at what happens while a VM boots.
		[ "$name" != run ] || clones=1
		echo "$logs/$name-as-user.tap" setpriv --reuid=$user_id --regid=$user_id --clear-groups \
			env "HOME=$home" "TEST_HOME=$home" TEST_CLONES=$clones bats --tap --print-output-on-failure "$top/tests/system/$name.bats"
	done
}

clone_tests() {
	local name
	for name in $clone_files; do
		echo "$logs/$name-cloned.tap" env TEST_CLONES=1 bats --tap --print-output-on-failure "$top/tests/system/$name.bats"
	done
}

# Not to hide what fails now and then, but to tell it from what fails.
retry_failed() {
	local log
	for log in $(grep -l '^not ok' "$logs"/*.tap); do
		[ -e "$log.command" ] || continue # a unit test: they depend on nobody's pace
		sed -n "s|^not ok [0-9]* |unsteady? $(basename "$log" .tap): |p" "$log"
		mv "$log" "$log.first"
		eval "system_test $log $(cat "$log.command")"
	done
}

system_tests() {
	local file
	export -f system_test
	# The image and the rest of the set-up are made once, before the files run side by side.
	timeout 1500 bats --tap "$top/tests/system/help.bats" >/dev/null 2>&1
	{
		for file in "$@"; do
			echo "$logs/$(basename "$file" .bats).tap" bats --tap --print-output-on-failure "$file"
		done
		[ $# -eq 1 ] || clone_tests
		[ $# -eq 1 ] || [ -z "$user_files" ] || [ "$(id -u)" -ne 0 ] || user_tests
	} | xargs -P "${JOBS:-2}" -L 1 bash -c 'system_test "$@"' -
	[ -z "${RETRY:-}" ] || retry_failed
	for file in "$logs"/*.tap; do
		case $file in *_test.tap) ;; *) count "$file" ;; esac
	done
	if grep -q '# skip' "$logs"/*.tap; then
		echo "skipped:"
		sed -n 's/^ok [0-9]* \(.*\) # skip/  \1:/p' "$logs"/*.tap
	fi
}

if [ $# -eq 0 ]; then
	ninja -C "$build" --quiet || exit 1
	unit_tests
	# Those that take longest first, so that the two lanes end together.
	files=${SYSTEM_FILES:-template volume hypervisor site_faults site_failover volume_node nfs_node site_network site_node site_leases recipe imagelist site_images site_catalogue site_refresh catalogue porter porter_node porter_faults fetch depot testnode network_node names tap gateway gateway_sshfs run record jobs jobs_wide mpi jobnet node slurm signal queue failure vm image cloud queue_slurm demo_cluster accel policy memory help documents structure bench posix completion controller identity site_cli}
	system_tests $(printf "$top/tests/system/%s.bats\n" $files)
else
	system_tests "$@"
fi
# What failed, in few lines, at the end.
sed -n 's/^not ok [0-9]* /unsteady, or failed: /p' "$logs"/*.tap.first 2>/dev/null
sed -n 's/^not ok [0-9]* /failed: /p' "$logs"/*.tap
echo "$passed passed, $failed failed$([ $skipped -eq 0 ] || echo ", $skipped skipped")"
[ $failed -eq 0 ]
