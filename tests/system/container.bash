# Shared by the tests of packages: a fresh Debian in a container that its own systemd has started.
# bats's setup_file and teardown_file have no function in common with tests but what is exported.

CACHE=$WNODES_BUILD/package-home
CONTAINER=$CACHE/container

# Makes the root file system of a Debian, in a file that serves for a week: make_debian NAME PACKAGES
make_debian() {
	local file=$CACHE/$1.tar
	mkdir -p "$CACHE/archives"
	find "$CACHE" -maxdepth 1 -name "$1.tar" -mtime +7 -delete
	[ -s "$file" ] || {
		mmdebstrap --variant=minbase --include="$2" --skip=cleanup/apt/lists --format=tar \
			"$(. /etc/os-release && echo "$VERSION_CODENAME")" "$file.new" >"$CACHE/$1.log" 2>&1 &&
			mv "$file.new" "$file"
	}
}

unpack_debian() {
	rm -rf "$2"
	mkdir -p "$2"
	tar -xf "$CACHE/$1.tar" -C "$2"
}

# Starts it; the packages are in /packages, new ones in /packages-next, and what apt has loaded is kept.
start_container() {
	local keep=--keep-unit
	[ ! -d /run/systemd/system ] || keep=
	unpack_debian base "$CONTAINER"
	# shellcheck disable=SC2086
	systemd-nspawn --quiet --register=no $keep --directory="$CONTAINER" --console=pipe \
		--bind="$CACHE/archives:/var/cache/apt/archives" --bind-ro="$WNODES_BUILD/deb:/packages" \
		--bind-ro="$WNODES_BUILD/deb-next:/packages-next" /usr/lib/systemd/systemd \
		>"$CACHE/container.log" 2>&1 </dev/null 3>&- &
	echo $! >"$BATS_FILE_TMPDIR/nspawn"
	wait_for 60 container_runs
}

container_runs() {
	pgrep -P "$(cat "$BATS_FILE_TMPDIR/nspawn")" >"$BATS_FILE_TMPDIR/leader" &&
		inside systemctl is-system-running
}

# Who is killed with the first process of a container is everybody in it.
stop_container() {
	local nspawn
	[ -e "$BATS_FILE_TMPDIR/nspawn" ] || return 0
	nspawn=$(cat "$BATS_FILE_TMPDIR/nspawn")
	kill -KILL "$(cat "$BATS_FILE_TMPDIR/leader")" 2>/dev/null || true
	wait_for 20 sh -c "! kill -0 $nspawn" || kill -KILL "$nspawn"
	rm -rf "$CONTAINER"
	rmdir "/sys/fs/cgroup/systemd/payload" "/sys/fs/cgroup/systemd/supervisor" 2>/dev/null || true
}

# Runs a command in the container, as root.
inside() {
	nsenter --target "$(cat "$BATS_FILE_TMPDIR/leader")" --all env --chdir=/ -i LANG=C.UTF-8 HOME=/root \
		DEBIAN_FRONTEND=noninteractive PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# Runs a command in the container, as a user with a home.
inside_as() {
	local user=$1
	shift
	inside setpriv --reuid="$user" --regid="$user" --init-groups --reset-env \
		sh -c 'cd; exec "$@"' - "$@"
}

# Prints the names in the container of our packages in a directory: packages_in /packages
packages_in() {
	local package
	for package in $PACKAGES; do
		inside find "$1" -name "${package}_*.deb"
	done
}

# Installs files and packages, with what they depend on.
install_inside() {
	inside apt-get -qq -y --no-install-recommends -o APT::Keep-Downloaded-Packages=true \
		-o DPkg::Options::=--force-unsafe-io -o DPkg::Use-Pty=0 install "$@"
}

# A command in a VM in the container that says "up", reads a line, and ends with 7: living_inside USER
living_inside() {
	mkfifo "$WORK/in"
	inside_as "$1" wnodes run -- sh -c 'echo up; read -r x; echo down; exit 7' \
		>"$WORK/out" 2>"$WORK/err" <"$WORK/in" 3>&- &
	vm=$!
	exec {hold}>"$WORK/in"
	wait_for 120 grep -q up "$WORK/out" || { cat "$WORK/err"; return 1; }
}

end_living_inside() {
	echo >&"$hold"
	exec {hold}>&-
	ends_with 7 "$vm" || { cat "$WORK/err"; return 1; }
	grep -q down "$WORK/out"
}

daemon_pid() {
	inside systemctl show --property=MainPID --value wnodes-hypervisor
}
