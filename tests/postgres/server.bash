# A PostgreSQL server in a directory: what up.sh and down.sh both know of it.

say() {
	echo "postgres: $*" >&2
}

# server_names DIR: sets $dir, $programs (empty: none), and $user whom root's runs as.
server_names() {
	dir=$(realpath -m "$1")
	programs=
	local candidate
	for candidate in /usr/lib/postgresql/*/bin $(pg_config --bindir 2>/dev/null); do
		[ ! -x "$candidate/initdb" ] || programs=$candidate
	done
	user=
	[ "$(id -u)" -ne 0 ] || user=postgres
	[ -z "$user" ] || id -u "$user" >/dev/null 2>&1 || user=nobody
}

as_server() {
	# Not from a directory that the server's user may not enter.
	(cd / && exec ${user:+setpriv --reuid=$user --regid="$(id -g "$user")" --clear-groups} timeout 120 "$@")
}

# One that was killed just now still has a process, but answers no more.
server_is_up() {
	timeout 10 "$programs/pg_isready" -q -t 5 -h "$dir"
}
