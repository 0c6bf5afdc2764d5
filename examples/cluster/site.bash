# The cluster of demo-cluster.sh: how it is started and ended, and how one gets onto its hosts.
# shellcheck disable=SC2034,SC2154 # variables of demo-cluster.sh, and for it

top=${WNODES_DEMO:-/var/lib/wnodes-demo}
state=$top/state
# In memory, where there are thousands of small files to make and to remove; and who works on it.
depot=/run/wnodes-demo${top//\//-} lock=$depot.lock
build=$(realpath "${BUILD:-$here/../build}")
. "$tests/slurm/cluster.bash"
say() {
	echo "demo-cluster: $*" >&2
}

fail() {
	say "$*"
	exit 1
}

# The machine is not one for this.
lack() {
	say "$*"
	exit 77
}

# What the cluster runs is a copy, which all of its accounts can read, wherever the build directory is.
copy_programs() {
	local file
	[ -x "$build/wnodes-controller" ] || lack "$build has no wnodes-controller: run make first"
	[ -e "$build/src/lrms/slurm/plugin/wnodes_slurm.so" ] ||
		lack "$build has no plugin for Slurm: tools/install-dependencies slurm, then rm -r $build and make"
	for file in $(cd "$build" && find . -maxdepth 1 -type f -name 'wnodes*' -perm -u+x) src/guest/wnodes-guest \
		src/guest/wnodes-guest.service src/lrms/slurm/plugin/wnodes_slurm.so; do
		install -D -m 755 "$build/$file" "$top/build/$file"
	done
}

# The first time takes some minutes.
make_images() {
	local tag digest
	if [ -z "$images" ]; then
		images=$build/demo-cluster/wnodes
		build_images
	fi
	# Cut into chunks once, too: else the first one would be sent to the site each time.
	tag=$(ls "$images/names/debian" | head -1)
	digest=$(head -1 "$images/names/debian/$tag")
	chunks=$(dirname "$images")/depot
	[ -e "$chunks/manifest/$digest.json" ] ||
		XDG_DATA_HOME=$(dirname "$images") "$build/wnodes" image publish --depot "$chunks" "debian:$tag" >"$top/image.log" 2>&1 ||
		{ tail -5 "$top/image.log" >&2 && fail "the image cannot be cut into $chunks"; }
}

build_images() {
	local tag
	for tag in 1 2; do
		[ ! -e "$images/names/debian/$tag" ] || continue
		say "making the image debian:$tag, which is needed once ..."
		XDG_DATA_HOME=$build/demo-cluster "$build/wnodes" image build debian --tag $tag --size 2G --packages python3-minimal \
			--script "$here/cluster/image.sh" >"$top/image.log" 2>&1 ||
			{ tail -5 "$top/image.log" >&2 && fail "the image was not made: see $top/image.log"; }
	done
}

write_settings() {
	printf '%s\n' '[vm]' 'broker = /run/wnodes/hypervisor' '[run]' 'network = none' '[node]' 'failures = 3' '[site]' \
		'heartbeat = 2s' '[images]' 'local_images = no' >"$top/wnodes.conf"
}

# People of the cluster, and a directory that they share.
make_homes() {
	local user
	mkdir -p "$top/home" "$top/shared"
	chmod 1777 "$top/shared"
	for user in alice:64301 bob:64302; do
		install -d -m 700 -o "${user#*:}" -g "${user#*:}" "$top/home/${user%:*}"
	done
	cp "$here"/cluster/{words.py,words.sbatch,eat.py} "$top/home/alice"
	chown 64301:64301 "$top"/home/alice/*
}

demo_is_up() {
	[ -e "$top/up" ] && demo_status >/dev/null
}

demo_up() {
	local url begin
	if demo_is_up; then
		say "it is up already"
		return 0
	fi
	demo_down
	mkdir -p "$top"
	chmod 755 "$top"
	make_images
	begin=$(date +%s%3N)
	copy_programs
	write_settings
	make_homes
	mkdir -p "$top/empty"/{blobs,names}
	say "starting PostgreSQL, Slurm, the site's controllers and nodes ..."
	url=$("$tests/postgres/up.sh" --open "$top/postgres" 2>"$top/postgres.log") ||
		not_started $? PostgreSQL postgres
	"$tests/slurm/up.sh" --state "$state" --build "$top/build" --cpus 2 --memory 4000 --hypervisor "$top/empty" \
		--settings "$top/wnodes.conf" --plugin "$top/build/src/lrms/slurm/plugin/wnodes_slurm.so bait=$top/build/wnodes-bait policy=yes" \
		--controllers 2 --database "$url" --depot "$depot" --user "alice:64301:$top/home/alice" \
		--user "bob:64302:$top/home/bob" >/dev/null 2>"$top/slurm.log" ||
		not_started $? 'the cluster' slurm
	echo "$url" >"$top/database"
	echo "$images" >"$top/images"
	load_cluster
	first_image
	begin=$(($(date +%s%3N) - begin))
	echo $((begin / 1000)).$((begin % 1000 / 100)) >"$top/up"
	say "ready after $(cat "$top/up") s"
}

not_started() {
	tail -20 "$top/$3.log" >&2
	[ "$1" -ne 77 ] || lack "$2 cannot be started on this machine; tools/install-dependencies demo"
	fail "$2 does not start: see above"
}

# The image that jobs start from, approved, and on both nodes.
first_image() {
	cp -r "$chunks"/{chunks,index,manifest} "$depot"
	chown -R 64191:64191 "$depot"
	on root@c1 env XDG_DATA_HOME="${images%/wnodes}" wnodes image publish --site --as debian:1 --endorsed \
		--reason 'the first image' "debian:$(ls "$images/names/debian" | head -1)" >"$top/publish.log" 2>&1 &&
		on root@c1 wnodes image approve --reason 'for the demonstration' debian:1 >>"$top/publish.log" 2>&1 &&
		on root@c1 wnodes image tag --site debian:1 debian:latest --reason 'the one that jobs get' >>"$top/publish.log" 2>&1 ||
		{ cat "$top/publish.log" >&2 && fail "the image was not published"; }
	on root@c1 wnodes image stage --all debian:1 >>"$top/publish.log" 2>&1 || { cat "$top/publish.log" >&2 && fail "the image did not get to the nodes"; }
}

# The names of a cluster that is there, and its programs.
load_cluster() {
	[ -e "$state/options" ] || fail "there is no cluster: $0 up"
	cluster_names "$(realpath "$state")"
	index=$(cat "$state/index")
	PATH=$top/build:$PATH
	. "$state/env"
}

# Runs a command on a host: on USER@HOST COMMAND...
on() {
	local user=${1%@*} host=${1#*@}
	shift
	case $user in
	root) enter_host "$host" "$@" ;;
	*) enter_host_as "$host" "$user" "$@" ;;
	esac
}

demo_shell() {
	local who=${1:-alice@ctl}
	[[ $who == *@* ]] || who=root@$who
	load_cluster
	[ "${who#*@}" = ctl ] || [ -e "/run/netns/$tag-${who#*@}" ] || fail "there is no host '${who#*@}'; there are ctl, c1, c2, w1, w2"
	if [ $# -le 1 ]; then
		set -- "$who" env PS1='\u@\h:\w\$ ' bash --norc
	fi
	shift
	on "$who" "$@"
}

# The namespace stays: it is the socket in the wall.
demo_power() {
	local host=${1:-} what=${2:-}
	load_cluster
	[ "$host" != ctl ] && [ -e "/run/netns/$tag-$host" ] || fail "power: there is no host '$host'; there are w1, w2, c1, c2"
	case $what in
	off) ip -n "$tag-$host" link set eth0 down && end_node "$tag-$host" ;;
	on)
		ip -n "$tag-$host" link set eth0 up
		ip -n "$tag-$host" route replace default via "10.77.$index.1"
		case $host in
		w*)
			keep_running "$host" hypervisor "$top/build/wnodes-hypervisor"
			on "root@$host" slurmd -f "$SLURM_CONF"
			;;
		*) keep_running "$host" controller "$top/build/wnodes-controller" ;;
		esac
		;;
	*) fail "power: '$what' is neither on nor off" ;;
	esac
}

demo_tour() {
	demo_is_up || fail "there is no cluster: $0 up"
	load_cluster
	tour "$@"
}

demo_status() {
	[ -e "$top/up" ] || { echo "down" && return 1; }
	load_cluster
	pid_of "$state/run/slurmctld.pid" >/dev/null || { echo "broken: Slurm's controller has ended; $0 down" && return 1; }
	on root@ctl timeout 10 sinfo -N || return 1
	on root@c1 timeout 10 wnodes node list || return 1
}

demo_hints() {
	echo "a user's shell:         $0 shell alice@ctl      (srun --vm-image=debian ..., sbatch, wnodes job list)"
	echo "an administrator's:     $0 shell root@c1        (wnodes site status, wnodes node list, ...)"
	echo "the tour, and the end:  $0 tour; $0 down"
}

# People's programs on ctl, which has no namespace of its own, such as a srun that waits.
end_programs() {
	local pid ancestors=' ' p=$$
	while [ "$p" -gt 1 ]; do
		ancestors+="$p "
		p=$(awk '/^PPid/ { print $2 }' "/proc/$p/status")
	done
	for pid in $(grep -lszF "SLURM_CONF=$state/" /proc/[0-9]*/environ | cut -d/ -f3); do
		[[ $ancestors == *" $pid "* ]] || kill -KILL "$pid" 2>/dev/null || true
	done
}

demo_down() {
	[ -d "$top" ] || return 0
	rm -f "$top/up"
	"$tests/slurm/down.sh" --state "$state"
	end_programs
	"$tests/postgres/down.sh" "$top/postgres" 2>>"$top/postgres.log" || true
	rm -rf "$depot" "$top"
}
