#!/bin/bash
# Ends the PostgreSQL server of up.sh: down.sh [--keep] DIR
# Removes DIR, but for --keep. Does nothing if there is none.
set -eu

. "$(dirname "$(realpath "$0")")/server.bash"

keep=
[ "${1-}" != --keep ] || { keep=yes && shift; }
[ $# -eq 1 ] && [[ $1 != -* ]] || { sed -n '2,3s/^# //p' "$0" >&2 && exit 2; }
server_names "$1"
[ -e "$dir/data/PG_VERSION" ] || exit 0
if server_is_up; then
	as_server "$programs/pg_ctl" -s -w -t 20 -m fast -D "$dir/data" stop >&2 ||
		as_server "$programs/pg_ctl" -s -w -t 20 -m immediate -D "$dir/data" stop >&2 || ! server_is_up
fi
[ -n "$keep" ] || rm -rf "$dir"
