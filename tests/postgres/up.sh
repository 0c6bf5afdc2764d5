#!/bin/bash
# Starts a PostgreSQL server of one's own, for tests or to try WNoDeS with one:
#
#   url=$(tests/postgres/up.sh [OPTIONS] DIR)    makes it in DIR, or starts the one that is there again
#   tests/postgres/down.sh DIR                   ends it and removes DIR
#
# Prints the URL of an empty database in it, and all else on stderr. It listens on a socket in DIR only,
# which none but root and the server's user can reach. Who reaches it is believed to be who they say.
#
#   --open       everybody on this machine can reach it
#   --while PID  it is ended and removed when this process has ended
#
# Root's runs as the user postgres, or nobody, as PostgreSQL refuses root. The exit status is 77 where
# PostgreSQL is not installed, or cannot run.
set -eu

here=$(dirname "$(realpath "$0")")
. "$here/server.bash"

mode=700 holder=
while [ $# -gt 1 ]; do
	case $1 in
	--open) mode=711 && shift ;;
	--while) holder=$2 && shift 2 ;;
	*) break ;;
	esac
done
[ $# -eq 1 ] && [[ $1 != -* ]] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2 && exit 2; }
server_names "$1"
[[ $dir =~ ^[A-Za-z0-9/._-]{1,80}$ ]] || { say "the path '$dir' is too long for a socket, or has special characters" && exit 1; }
[ -n "$programs" ] || { say "there is no PostgreSQL server; apt-get install postgresql-15" && exit 77; }

id -un >/dev/null 2>&1 || { say "PostgreSQL does not run as a user who has no name" && exit 77; }

make() {
	[ -z "$(ls -A "$dir" 2>/dev/null)" ] || { say "'$dir' is not empty, and no server's" && exit 1; }
	mkdir -p "$dir"
	[ -z "$user" ] || chown "$user" "$dir"
	as_server "$programs/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >&2
	as_server tee -a "$dir/data/postgresql.conf" >/dev/null <<-END
		listen_addresses = ''
		unix_socket_directories = '$dir'
		shared_buffers = 64MB
	END
}

[ -e "$dir/data/PG_VERSION" ] || make
chmod $mode "$dir"
# Of a server that was killed, what is left may take a moment to end.
deadline=$((SECONDS + 30))
until server_is_up || as_server "$programs/pg_ctl" -s -w -t 60 -D "$dir/data" -l "$dir/log" start >&2; do
	[ $SECONDS -lt $deadline ] || { tail -20 "$dir/log" >&2; say "the server does not start" && exit 1; }
	sleep 0.2
done
if [ ! -e "$dir/data/made" ]; then
	timeout 60 "$programs/psql" -q -v ON_ERROR_STOP=1 -h "$dir" -U postgres >&2 <<-END
		CREATE ROLE wnodes LOGIN;
		CREATE DATABASE wnodes OWNER wnodes;
	END
	as_server touch "$dir/data/made"
fi
if [ -n "$holder" ]; then
	(cd / && while kill -0 "$holder" 2>/dev/null; do sleep 1; done; exec "$here/down.sh" "$dir") </dev/null >/dev/null 2>&1 &
fi
echo "postgresql://wnodes@/wnodes?host=$dir"
