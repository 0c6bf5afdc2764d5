#!/bin/bash
# The unit and system tests with the address, leak and undefined behaviour sanitizers:
#   asan.sh [FILE.bats...]   as tests/check.sh
#
# Every process of ours writes what its sanitizer finds to a file of its own: a finding fails the
# whole even where a test expects a failure. The agent inside VMs is built by another compiler,
# without sanitizers; its unit tests have them. BUILD is the build directory, build-asan by default.
set -u

cd "$(dirname "$0")/.." || exit 1
export BUILD=${BUILD:-build-asan}
options=(--prefix=/usr --libexecdir=libexec -Dwerror=true '-Db_sanitize=address,undefined' -Db_lundef=false)
if [ ! -e "$BUILD/build.ninja" ]; then
	CC=clang meson setup "${options[@]}" "$BUILD" >/dev/null || exit 1
fi
output=$(ninja -C "$BUILD" 2>&1) || { echo "$output"; exit 1; }

# Some tests run as other users.
reports=$(realpath "$BUILD")/sanitizer
rm -rf "$reports" && mkdir -m 1777 "$reports" || exit 1
export ASAN_OPTIONS=detect_leaks=1:log_path=$reports/report:log_exe_name=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1:log_path=$reports/report:log_exe_name=1

tests/check.sh "$@"
status=$?
for report in "$reports"/*; do
	[ -s "$report" ] || continue
	echo "sanitizer: $report"
	grep -E -A 12 'ERROR: |runtime error: ' "$report" | head -30
	status=1
done
exit $status
