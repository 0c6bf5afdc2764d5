#!/bin/bash
# The unit tests that have threads (suite "threads"), with the thread sanitizer: tsan.sh
# BUILD is the build directory, build-tsan by default.
set -u

cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build-tsan}
if [ ! -e "$build/build.ninja" ]; then
	CC=clang meson setup -Dwerror=true -Db_sanitize=thread -Db_lundef=false "$build" >/dev/null || exit 1
fi
output=$(ninja -C "$build" build.ninja 2>&1) || { echo "$output"; exit 1; }
programs=$(meson introspect --tests "$build" | jq -r '.[] | select(.suite[] | endswith("threads")) | .cmd[0]') &&
	[ -n "$programs" ] || exit 1
output=$(ninja -C "$build" $(realpath --relative-to="$build" $programs) 2>&1) || { echo "$output"; exit 1; }

# Ends at the first finding.
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
status=0
for program in $programs; do
	result=0
	output=$(timeout 300 "$program" </dev/null 2>&1) || result=$?
	if [ $result -eq 0 ]; then
		echo "ok $(basename "$program")"
	else
		echo "not ok $(basename "$program") (status $result)"
		tail -60 <<<"$output"
		status=1
	fi
done
exit $status
