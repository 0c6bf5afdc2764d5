#!/bin/bash
# Kills parts of a cluster at random moments and sees that no job is lost and nothing is left:
#
#   tests/soak/kill.sh [ROUNDS [SEED]]      100 rounds take about half an hour
#
# A Slurm cluster of two nodes with their daemons is started for it, and ended. STORE is the image store
# ($WNODES_SYSTEM_STORE or /var/lib/wnodes when not set); it must have the image "debian". The exit status is 77
# where the machine lacks something.
set -eu

here=$(dirname "$(realpath "$0")")
build=$(realpath "${WNODES_BUILD:-$here/../../build}")
store=${STORE:-${WNODES_SYSTEM_STORE:-/var/lib/wnodes}}
top=$(mktemp -d /tmp/wnodes-soak.XXXXXX)
state=$top/state status=0
chmod 755 "$top"
trap '"$here/../slurm/down.sh" --state "$state"; rm -rf "$top"' EXIT
printf '%s\n' '[run]' 'network = none' '[vm]' 'accel = tcg' 'broker = /run/wnodes/hypervisor' '[node]' 'failures = 0' >"$top/wnodes.conf"
lines=$("$here/../slurm/up.sh" --state "$state" --build "$build" --cpus 4 --memory 6000 --hypervisor "$store" \
	--settings "$top/wnodes.conf" --user tester:64321:"$top/home") || status=$?
[ $status -eq 0 ] || exit $status
eval "$lines"
mkdir "$top/home"
chown 64321:64321 "$top/home"
python3 "$here/kill.py" "$state" "${1:-100}" "${2:-$RANDOM}"
