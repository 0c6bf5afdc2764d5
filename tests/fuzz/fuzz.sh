#!/bin/bash
# Runs every fuzzer for some time: fuzz.sh [SECONDS] [--but] [TARGET...]
#
#   SECONDS   for each target, 60 if not given; two run at a time
#   TARGET    "qmp" or "frame_host"; all if none is given; with --but, all others
#
# One line for each: what it ran, what it reached. What it finds to be new is kept in the build
# directory for the next time; the seeds in corpus/ stay as they are. The exit status is 0 if
# nothing was found, else the lines say how to see it again. FUZZ_BUILD is the build directory.
set -u

cd "$(dirname "$0")/../.." || exit 1
seconds=60
case ${1:-} in [0-9]*) seconds=$1 && shift ;; esac
but=
[ "${1-}" != --but ] || { but=yes && shift; }
wanted=("$@")
build=${FUZZ_BUILD:-build-fuzz}

# As the fuzzers see an error: it ends them.
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export ASAN_OPTIONS=detect_leaks=1

build_all() {
	if [ ! -e "$build/build.ninja" ]; then
		CC=clang meson setup "$build" -Dfuzzers=true -Db_sanitize=address,undefined \
			-Db_lundef=false >/dev/null || return 1
	fi
	local output
	output=$(ninja -C "$build" 2>&1) || { echo "$output"; return 1; }
}

# Each target with its program and its seeds. The guest's is beside the guest's sources.
targets() {
	local source name
	for source in tests/fuzz/fuzz_*.c; do
		name=$(basename "$source" .c)
		name=${name#fuzz_}
		echo "$name $build/tests/fuzz/fuzz_$name tests/fuzz/corpus/$name"
	done
	echo "frame_guest $build/src/guest/guest_fuzz src/guest/guest_fuzz.corpus"
}

is_wanted() {
	[ ${#wanted[@]} -gt 0 ] || return 0
	if [[ " ${wanted[*]} " == *" $1 "* ]]; then [ -z "$but" ]; else [ -n "$but" ]; fi
}

# Runs one target and says how it went: fuzz_one NAME PROGRAM SEEDS
fuzz_one() {
	local name=$1 program=$2 seeds=$3 found=$build/fuzz/$1 log=$build/fuzz/$1.log
	local coverage runs crash
	mkdir -p "$found"
	if [ -z "$(ls "$seeds" 2>/dev/null)" ]; then
		echo "$name: no seeds in $seeds"
		return 1
	fi
	"$program" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2560 -print_final_stats=1 \
		-artifact_prefix="$found-" "$found" "$seeds" >"$log" 2>&1
	local status=$?
	coverage=$(grep -oE 'cov: [0-9]+' "$log" | tail -1)
	runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
	printf '%-12s %10s runs, %s\n' "$name" "${runs:-?}" "${coverage:-no coverage}"
	[ $status -ne 0 ] || return 0
	crash=$(sed -n 's/.*Test unit written to //p' "$log" | tail -1)
	grep -E 'ERROR: |SUMMARY: |runtime error: |Assertion' "$log" | head -5
	echo "$name FAILED; see $log, and again with:"
	echo "  UBSAN_OPTIONS=$UBSAN_OPTIONS $program ${crash:-$seeds/*}"
	return 1
}

build_all || exit 1
failed=0
while read -r name program seeds; do
	is_wanted "$name" || continue
	while [ "$(jobs -r | wc -l)" -ge 2 ]; do
		wait -n || failed=1
	done
	fuzz_one "$name" "$program" "$seeds" </dev/null &
done < <(targets)
while [ -n "$(jobs -p)" ]; do
	wait -n || failed=1
done
exit $failed
