#!/bin/sh
# Measures the goals of docs/performance.md: bench.sh [OPTIONS] [ROUNDS]; --help lists the options.
# Prints tables and keeps what it found in BUILD/bench.json, of which --goals makes the table of goals
# in docs/. Uses an image of its own (built if need be), software
# emulation, and medians of at least five paired rounds: A and B in turn, so that a machine that
# slows down slows both.
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
build=$(realpath "${BUILD:-$top/build}")
home=$build/bench-home
mkdir -p "$home/data" "$home/cache" "$home/config/wnodes" "$home/run"
chmod 700 "$home/run"
export XDG_DATA_HOME="$home/data" XDG_CACHE_HOME="$home/cache" XDG_CONFIG_HOME="$home/config" \
	XDG_RUNTIME_DIR="$home/run" BENCH_BUILD="$build"
export WNODES_SYSTEM_STORE="$home/no-system-store"
printf '[vm]\naccel = tcg\n' >"$home/config/wnodes/wnodes.conf"
if ! "$build/wnodes" image list --quiet | grep -qx debian:latest; then
	"$build/wnodes" image build debian >/dev/null
fi
exec python3 -B "$top/tests/bench/bench.py" "$@"
