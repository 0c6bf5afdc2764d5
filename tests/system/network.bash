# Machines in network namespaces of their own, on one bridge, which is in a namespace too: nothing of the host's
# network is touched. load network after helpers; what must have a name has a tag that follows from $WORK.

. "$BATS_TEST_DIRNAME/../slurm/cluster.bash"

NETWORK=10.78.0

# Makes the bridge: network_new, or skips where there can be none.
network_new() {
	skip_unless_root
	cluster_names "$WORK" # $tag and $bridge
	ip netns add "$tag-hub" 2>network.err && ip -n "$tag-hub" link add "$bridge" type bridge 2>>network.err ||
		skip "no network namespace can be made: $(tail -1 network.err)"
	ip -n "$tag-hub" link set "$bridge" up
	cp /etc/hosts hosts
	machines=0
}

# A machine that others know as NAME.test: network_add NAME
network_add() {
	local name=$tag-$1
	machines=$((machines + 1))
	ip netns add "$name"
	ip -n "$tag-hub" link add "$1" type veth peer name eth0 netns "$name"
	ip -n "$tag-hub" link set "$1" master "$bridge" up
	ip -n "$name" link set lo up
	ip -n "$name" addr add "$NETWORK.$machines/24" dev eth0
	ip -n "$name" link set eth0 up
	echo "$NETWORK.$machines $1.test" >>hosts
}

# As who pulls the cable, or plugs it in again: network_link NAME up|down
network_link() {
	ip -n "$tag-hub" link set "$1" "$2"
}

# Runs a command on a machine, in place of this process: network_on NAME COMMAND...
# (The host's name is the same on all of them.)
network_on() {
	local name=$1
	shift
	# shellcheck disable=SC2016 # for the shell inside
	exec nsenter --net="/run/netns/$tag-$name" unshare --mount --propagation slave sh -ec '
		mount --bind "$0" /etc/hosts
		exec "$@"' "$WORK/hosts" "$@"
}

# Ends all that runs on the machines, and removes them.
network_remove() {
	local name
	for name in $(ip netns list 2>/dev/null | awk -v tag="${tag:-none}-" 'index($1, tag) == 1 { print $1 }'); do
		end_node "$name"
		ip netns del "$name"
	done
}
