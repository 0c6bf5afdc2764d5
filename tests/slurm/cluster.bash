# A Slurm cluster on this machine: what up.sh and down.sh share.
#
# Everything of a cluster lies in one directory, $state. What must have a name outside of it (bridge,
# network namespaces, veth pairs) has $tag in it, a digest of the directory's path, so that two clusters
# do not meet; addresses, ports and node names go by $index, which a cluster claims by a symbolic link
# in $claims.

claims=/run/wnodes-slurm

say() {
	echo "slurm: $*" >&2
}

# Names that follow from the state directory.
cluster_names() {
	state=$1
	tag=wn$(printf '%s' "$state" | sha256sum | cut -c 1-8)
	bridge=$tag
	mount_points=
	[ ! -d "$state/nodes" ] || mount_points='/etc/wnodes /run/wnodes /var/lib/wnodes'
	[ ! -d "$state/controllers" ] || mount_points+=' /run/wnodes-controller /var/lib/wnodes-controller'
}

# Takes the lowest index that is free, and whose network no route but the default one leads to.
cluster_claim() {
	local network
	mkdir -p "$claims"
	for index in $(seq 1 60); do
		network=10.77.$index
		cluster_drop_stale_claim "$index"
		[ -z "$(ip -4 route show root 10.0.0.0/8 match $network.1/32 | grep -v '^default')" ] || continue
		ln -s "$state" "$claims/$index" 2>/dev/null || continue
		echo "$index" >"$state/index"
		return 0
	done
	say "all networks 10.77.1.0/24 to 10.77.60.0/24 are taken: end clusters with down.sh (see $claims)"
	return 1
}

# A claim counts as long as its directory says so too.
cluster_drop_stale_claim() {
	local owner
	owner=$(readlink "$claims/$1") || return 0
	[ "$(cat "$owner/index" 2>/dev/null)" = "$1" ] || rm -f "$claims/$1"
}

cluster_release_claim() {
	local index
	index=$(cat "$state/index" 2>/dev/null) || return 0
	[ "$(readlink "$claims/$index")" != "$state" ] || rm -f "$claims/$index"
	rmdir "$claims" 2>/dev/null || true
}

# Node number K's name: w1, w2, and in a second cluster beside it wb1, wb2, as cgroups are called after
# nodes.
node_name() {
	local letters=abcdefghijklmnopqrstuvwxyz
	case $index in
	1) echo "w$1" ;;
	*) echo "w${letters:index / 26:1}${letters:index % 26:1}$1" | sed 's/^wa/w/' ;;
	esac
}

# The process of a pid file, if it lives and is of this cluster: pid_of FILE
pid_of() {
	local pid
	pid=$(cat "$1" 2>/dev/null) || return 1
	[[ $pid =~ ^[0-9]+$ ]] || return 1
	# All daemons are started with a path in $state, in their arguments or their environment.
	{ tr '\0' '\n' <"/proc/$pid/cmdline" && tr '\0' '\n' <"/proc/$pid/environ"; } 2>/dev/null |
		grep -qF "$state/" || return 1
	echo "$pid"
}

# Waits until a command succeeds: wait_until SECONDS COMMAND...
wait_until() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

gone() {
	! pid_of "$1" >/dev/null
}

# Ends a daemon by its pid file: TERM, then KILL.
end_daemon() {
	local pid
	pid=$(pid_of "$1") || { rm -f "$1"; return 0; }
	kill -TERM "$pid" 2>/dev/null || true
	wait_until "${2:-5}" gone "$1" || kill -KILL "$pid" 2>/dev/null || true
	wait_until 5 gone "$1" || say "process $pid does not end"
	rm -f "$1"
}

# Runs a program on a host of the cluster, "ctl", a node or a controller of the site, with its name, its
# network, the cluster's hosts and accounts, and the host's own directories: enter_host NAME COMMAND...
# (`ip netns exec` would hide the cgroups: it mounts a new /sys.)
enter_host() {
	local name=$1 netns=
	shift
	[ "$name" = ctl ] || netns=/run/netns/$tag-$name
	make_mount_points
	# shellcheck disable=SC2016 # for the shell inside
	${netns:+nsenter --net=$netns} unshare --uts --mount --propagation slave sh -ec '
		hostname "$0"
		for file in hosts passwd group; do mount --bind "$1/etc/$file" "/etc/$file"; done
		if [ -d "$1/nodes/$0" ]; then
			mount --bind "$1/etc/wnodes" /etc/wnodes
			mount --bind "$1/nodes/$0/run" /run/wnodes
			mount --bind "$1/nodes/$0/lib" /var/lib/wnodes
		elif [ -d "$1/controllers/$0" ]; then
			mount --bind "$1/controllers/$0/etc" /etc/wnodes
			mount --bind "$1/controllers/$0/run" /run/wnodes-controller
			mount --bind "$1/controllers/$0/lib" /var/lib/wnodes-controller
		fi
		shift
		exec "$@"' "$name" "$state" "$@"
}

# The same without input.
on_host() {
	enter_host "$@" </dev/null
}

# As a service manager would: it is started anew when it ends: keep_running HOST NAME PROGRAM, of which NAME-HOST
# is the name of its pid file and its log.
keep_running() {
	# shellcheck disable=SC2016 # for the shell inside
	on_host "$1" setsid sh -c 'echo $$ >"$1"; while :; do "$0"; sleep 0.2; done' "$3" \
		"$state/run/$2-$1.pid" >>"$state/log/$2-$1.log" 2>&1 &
}

# As a user of the cluster, in the user's home and with an environment of its own:
# enter_host_as NAME USER COMMAND...
enter_host_as() {
	local name=$1 user=$2 home
	shift 2
	home=$(awk -F: -v user="$user" '$1 == user { print $6 }' "$state/etc/passwd")
	[ -d "$home" ] || { say "the user '$user' has no home here" && return 1; }
	(cd "$home" && enter_host "$name" setpriv --reuid="$user" --regid="$user" --init-groups \
		env -i HOME="$home" USER="$user" LOGNAME="$user" PATH="$PATH" TERM="${TERM:-dumb}" LANG=C.UTF-8 \
		SLURM_CONF="$state/etc/slurm.conf" WNODES_MUNGE_SOCKET="$state/socket/munge" "$@")
}

# Where hosts have directories of their own, the machine has some to mount them on.
make_mount_points() {
	local directory
	for directory in ${mount_points-}; do
		[ -d "$directory" ] || { mkdir -p "$directory" && echo "$directory" >>"$state/mount-points"; }
	done
}

# Those that were made here go, unless something is in them.
remove_mount_points() {
	[ ! -e "$state/mount-points" ] || tac "$state/mount-points" | xargs -r rmdir 2>/dev/null || true
}

# What runs in a node's network namespace, which is nothing but the node's jobs once slurmd is gone.
end_node() {
	local pids='' end=$((SECONDS + 3))
	while [ $SECONDS -lt $end ]; do
		pids=$(ip netns pids "$1" 2>/dev/null) || return 0
		[ -n "$pids" ] || return 0
		# shellcheck disable=SC2086 # a list of pids
		kill -KILL $pids 2>/dev/null || true
		sleep 0.05
	done
	say "processes in $1 do not end: $pids"
}

# The cgroups that slurmd made for a node, deepest first.
remove_cgroups() {
	local root
	for root in /sys/fs/cgroup/*/"slurm_$1"; do
		[ ! -d "$root" ] || find "$root" -depth -type d -exec rmdir {} + 2>/dev/null || true
	done
}

# The network namespaces of the cluster's hosts.
cluster_namespaces() {
	ip netns list 2>/dev/null | awk -v tag="$tag-" 'index($1, tag) == 1 { print $1 }'
}

# Ends all that there is of the cluster in $state, whole or half, and removes it. Nothing to do is no
# failure.
cluster_remove() {
	local file name
	[ -d "$state" ] || return 0
	if [ ! -e "$state/cluster" ]; then
		rmdir "$state" 2>/dev/null && return 0
		say "$state is not a cluster's directory"
		return 1
	fi
	for file in "$state"/run/slurmd-*.pid "$state"/run/hypervisor-*.pid "$state"/run/controller-*.pid; do
		end_daemon "$file"
	done
	for name in $(cluster_namespaces); do
		end_node "$name"
		ip netns del "$name"
		remove_cgroups "${name#"$tag-"}"
	done
	end_daemon "$state/run/slurmctld.pid"
	end_daemon "$state/run/slurmdbd.pid" 10
	end_daemon "$state/run/mariadbd.pid" 20
	end_daemon "$state/run/munged.pid"
	# The kernel removes what was in a namespace some time later, and the next cluster has the same names.
	for name in $(ip -o link show type veth 2>/dev/null | sed -n "s/^[0-9]*: \(${tag}[.][0-9]*\)@.*/\1/p"); do
		ip link del "$name" 2>/dev/null || true
	done
	ip link del "$bridge" 2>/dev/null || true
	remove_mount_points
	cluster_release_claim
	rm -rf "$state"
}
