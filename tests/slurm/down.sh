#!/bin/bash
# Ends the Slurm cluster of up.sh, with its jobs, and removes its directory: down.sh [--state DIR]
# Does nothing if there is none.
set -eu

. "$(dirname "$(realpath "$0")")/cluster.bash"

state=${XDG_RUNTIME_DIR:-/tmp}/wnodes-slurm
while [ $# -gt 0 ]; do
	case $1 in
	--state) state=${2?--state needs a directory} && shift 2 ;;
	--help) sed -n '2,3s/^# //p' "$0" && exit 0 ;;
	*) say "unknown argument '$1'; write down.sh [--state DIR]" && exit 2 ;;
	esac
done
if [ "$(id -u)" -ne 0 ] && [ -e "$state" ]; then
	say "ending a cluster needs root"
	exit 1
fi
cluster_names "$(realpath -m "$state")"
cluster_remove
