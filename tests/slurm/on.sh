#!/bin/bash
# Runs a command on a host of the Slurm cluster of up.sh, as root: on.sh [--state DIR] HOST COMMAND...
# HOST is a node or "ctl". The command's input is empty.
set -eu

. "$(dirname "$(realpath "$0")")/cluster.bash"

state=${XDG_RUNTIME_DIR:-/tmp}/wnodes-slurm
if [ "${1:-}" = --state ]; then
	state=${2?--state needs a directory} && shift 2
fi
[ $# -gt 1 ] || { sed -n '2,3s/^# //p' "$0" >&2 && exit 2; }
cluster_names "$(realpath -m "$state")"
[ -e "$state/cluster" ] || { say "there is no cluster in $state" && exit 1; }
# shellcheck source=/dev/null
. "$state/env"
on_host "$@"
