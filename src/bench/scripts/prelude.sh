#!/bin/sh
# What comes before each of the scripts here, which run in the place that is measured: on the host, or
# in a VM. They get QUICK (1: small sizes), CPUS, MEMORY_MIB, WORK (a directory to write to) and, where
# there is one, SERVER. What they print is read line by line:
#
#   figure KEY VALUE       a number of the trial's table
#   program NAME VERSION   what has measured it: other versions are not compared
#   size TEXT              what was measured: other sizes are not compared
#   begin KEY, end KEY     between them the host's own processor time is taken, as KEY_host_cpu
#   missing PROGRAM PACKAGE
#
# All else is for whoever looks with --verbose.
# shellcheck disable=SC2034 # QUICK and its like come from outside
set -u
export LC_ALL=C
QUICK=${QUICK:-0} CPUS=${CPUS:-1} MEMORY_MIB=${MEMORY_MIB:-512} WORK=${WORK:-/tmp} SERVER=${SERVER:-}
PATH=$PATH:/usr/local/bin:/usr/sbin:/sbin

figure() {
	case $2 in
	'' | *[!0-9.e+-]*) echo "no figure $1: '$2'" ;;
	*) echo "figure $1 $2" ;;
	esac
}

# need PROGRAM PACKAGE: ends the script where it is not installed.
need() {
	command -v "$1" >/dev/null && return
	echo "missing $1 $2"
	exit 0
}

program() {
	echo "program $1 $2"
}

# Of a Debian package that has the program.
program_of() {
	program "$1" "$(dpkg-query -W -f '${Version}' "$1" 2>/dev/null || echo unknown)"
}

# Processor time that this system has used, in seconds, from its start on.
cpu_seconds() {
	awk '/^cpu / { printf "%.2f\n", ($2 + $3 + $4 + $7 + $8) / 100 }' /proc/stat
}

# measured KEY COMMAND...: with the processor time of this system and of the host.
measured() {
	key=$1 before=$(cpu_seconds)
	shift
	echo "begin $key"
	"$@"
	echo "end $key"
	figure "${key}_cpu" "$(echo "$before $(cpu_seconds)" | awk '{ printf "%.2f\n", $2 - $1 }')"
}

# Makes a directory of its own, gone at the end, and goes there.
enter_work() {
	work=$(mktemp -d "$WORK/wnodes-bench.XXXXXX") || exit 1
	trap 'cd /; rm -rf "$work"' EXIT
	cd "$work" || exit 1
}

# fio's terse output of one job: fields are counted from 1 in its manual, "TERSE OUTPUT".
fio_terse() {
	fio --minimal --name=bench --directory="$PWD" --end_fsync=1 --fallocate=none "$@" 2>&1 | grep '^3;' | tail -1
}

# kib_to_mb KIB: as the field gives rates, in 10^6 bytes.
kib_to_mb() {
	echo "${1:-x}" | awk '/^[0-9.]+$/ { printf "%.3f\n", $1 * 1024 / 1000000 }'
}
