#!/bin/bash
# Runs the unit tests and the system tests and ends with "N passed, N failed[, N skipped]".
#   check.sh [FILE.bats...]   only these system tests, without the unit tests
# BUILD is the build directory. The exit status is 0 when nothing failed.
set -u

top=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "$top" && realpath "${BUILD:-build}")
logs=$build/test-logs
passed=0 failed=0 skipped=0
mkdir -p "$logs"

# One line of TAP for each test, from cmocka's programs by way of meson, and from bats.
count() {
	passed=$((passed + $(grep -c '^ok ' "$1") - $(grep -c '^ok .* # skip' "$1")))
	failed=$((failed + $(grep -c '^not ok ' "$1")))
	skipped=$((skipped + $(grep -c '^ok .* # skip' "$1")))
}

unit_tests() {
	local program name tap
	for program in $(meson introspect --tests "$build" | jq -r '.[] | select(.suite[] | endswith("unit")) | .cmd[0]'); do
		name=$(basename "$program")
		tap=$logs/$name.tap
		CMOCKA_MESSAGE_OUTPUT=TAP timeout 120 "$program" >"$tap" 2>"$logs/$name.err"
		status=$?
		count "$tap"
		if [ $status -ne 0 ]; then
			grep -q '^not ok' "$tap" || failed=$((failed + 1))
			echo "not ok $name (status $status)"
			grep -A 20 '^not ok' "$tap" || true
			tail -20 "$logs/$name.err"
		else
			echo "ok $name: $(grep -c '^ok ' "$tap") tests"
		fi
	done
}

system_tests() {
	export WNODES_BUILD=$build
	bats --tap "$@" 2>&1 | tee "$logs/system.tap"
	[ "${PIPESTATUS[0]}" -eq 0 ] || grep -q '^not ok ' "$logs/system.tap" || failed=$((failed + 1))
	count "$logs/system.tap"
	if grep -q '# skip' "$logs/system.tap"; then
		echo "skipped:"
		sed -n 's/^ok [0-9]* \(.*\) # skip/  \1:/p' "$logs/system.tap"
	fi
}

if [ $# -eq 0 ]; then
	ninja -C "$build" --quiet || exit 1
	unit_tests
	system_tests "$top/tests/system"
else
	system_tests "$@"
fi
echo "$passed passed, $failed failed$([ $skipped -eq 0 ] || echo ", $skipped skipped")"
[ $failed -eq 0 ]
