#!/bin/bash
# Starts a Slurm cluster on this machine, one controller and some nodes in network namespaces:
#
#   eval "$(tests/slurm/up.sh [OPTIONS])"      then srun, sbatch, sacct ... talk to it
#   tests/slurm/down.sh [--state DIR]          ends it
#
#   --state DIR        where all of it lies (${XDG_RUNTIME_DIR:-/tmp}/wnodes-slurm)
#   --nodes N          nodes (2)
#   --cpus N           CPUs of a node, which shares the machine's with the others (2)
#   --memory MIB       memory of a node (4000)
#   --tracking KIND    how a job's processes are known: cgroup, or linuxproc, with which no limit is enforced
#                      (cgroup where the machine has cgroup v1)
#   --no-accounting    without slurmdbd and MariaDB, and so without sacct
#   --plugin 'LINE'    the plugin's path, and its arguments, as in plugstack.conf; that of the build, if
#                      it is there, or "none"
#   --hypervisor STORE  a daemon wnodes-hypervisor on each node, with the images of this store (a directory
#                      with blobs and names); each node has its own /run/wnodes and /var/lib/wnodes, and
#                      $state/etc/wnodes as /etc/wnodes; the account "wnodes" is there
#   --settings FILE    the nodes' wnodes.conf
#   --controllers N    controllers of a site (wnodes-controller), on hosts c1, c2 ..., which the nodes have joined
#                      and users of ctl ask; only with --hypervisor
#   --database URL     theirs; needed for more than one
#   --depot DIR        where they keep images (in the cluster's directory); not removed with the cluster
#   --user NAME:UID[:HOME]  an account that only this cluster's daemons and jobs know; may be repeated
#   --build DIR        the build directory ($WNODES_BUILD, or build/ of the tree)
#
# It prints the lines to evaluate on stdout, and all else on stderr. Where the cluster is up already with
# the same options, it only prints them. The exit status is 77 where the machine lacks something that a
# cluster needs, and 1 where one cannot be started; the lines to evaluate then end with that status.
set -eu

here=$(dirname "$(realpath "$0")")
. "$here/cluster.bash"
. "$here/site.bash"

nodes=2 cpus=2 memory=4000 accounting=yes plugin='' users=() store='' settings='' wanted='' controllers=0 database='' depot=''
state=${XDG_RUNTIME_DIR:-/tmp}/wnodes-slurm
build=${WNODES_BUILD:-$here/../../build}

# Ends with a status that the shell which evaluates our output gets too: leave STATUS TEXT
leave() {
	say "$2"
	echo "(exit $1)"
	exit "$1"
}

check_number() {
	[[ $2 =~ ^[1-9][0-9]{0,6}$ ]] || leave 2 "$1: '$2' is no number"
}

all=("$@")
while [ $# -gt 0 ]; do
	case $1 in
	--no-accounting) accounting=no && shift && continue ;;
	--help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2 && exit 0 ;;
	esac
	[ $# -gt 1 ] || leave 2 "unknown option '$1', or one without its value; see up.sh --help"
	case $1 in
	--state) state=$2 ;;
	--nodes) check_number "$@" && nodes=$2 ;;
	--cpus) check_number "$@" && cpus=$2 ;;
	--memory) check_number "$@" && memory=$2 ;;
	--tracking) wanted=$2 ;;
	--plugin) plugin=$2 ;;
	--hypervisor) store=$2 ;;
	--settings) settings=$2 ;;
	--controllers) check_number "$@" && controllers=$2 ;;
	--database) database=$2 ;;
	--depot) depot=$2 ;;
	--user) users+=("$2") ;;
	--build) build=$2 ;;
	*) leave 2 "unknown option '$1'; see up.sh --help" ;;
	esac
	shift 2
done
[ -z "$store" ] || [ -d "$store/blobs" ] || leave 2 "--hypervisor: $store is no image store"
[ -z "$store" ] || [ -x "$build/wnodes-hypervisor" ] || leave 2 "--hypervisor: $build has no wnodes-hypervisor"
[ -z "$settings" ] || [ -e "$settings" ] || leave 2 "--settings: there is no $settings"
[ "$controllers" -eq 0 ] || [ -n "$store" ] || leave 2 "--controllers: a site needs --hypervisor"
[ "$controllers" -le 1 ] || [ -n "$database" ] || leave 2 "--controllers: more than one need --database"
[ "$controllers" -le 8 ] || leave 2 "--controllers: at most 8"
[[ $wanted =~ ^(cgroup|linuxproc)?$ ]] || leave 2 "--tracking: '$wanted' is neither cgroup nor linuxproc"
[ "$nodes" -le 200 ] || leave 2 "--nodes: at most 200"
build=$(realpath -m "$build")
cluster_names "$(realpath -m "$state")"

# What the machine must have.
check_machine() {
	local program
	[ "$(id -u)" -eq 0 ] || leave 77 "starting a cluster needs root"
	for program in slurmctld slurmd munged mungekey srun $([ $accounting = no ] || echo slurmdbd mariadbd) ip nsenter unshare; do
		command -v "$program" >/dev/null || leave 77 "there is no $program; tools/install-dependencies slurm"
	done
	unshare --net --mount --uts true 2>/dev/null || leave 77 "the machine gives no network namespaces"
}

# Does a v1 controller take groups of ours?
has_controller() {
	local probe=/sys/fs/cgroup/$1/$tag.probe
	[ -e "/sys/fs/cgroup/$1/release_agent" ] && mkdir "$probe" 2>/dev/null && rmdir "$probe"
}

choose_tracking() {
	local controller
	tracking=cgroup
	for controller in freezer cpuset memory cpuacct; do
		has_controller $controller || tracking=linuxproc
	done
	if [ "$wanted" = linuxproc ]; then
		tracking=linuxproc
	elif [ $tracking = linuxproc ] && [ "$wanted" = cgroup ]; then
		leave 77 "no cgroup v1 with freezer, cpuset, memory and cpuacct"
	elif [ $tracking = linuxproc ]; then
		say "no cgroup v1 with freezer, cpuset, memory and cpuacct: processes are tracked by proctrack/linuxproc, and no limit is enforced"
	fi
	constrain_cores=yes
	if [ "$cpus" -gt "$(nproc)" ]; then
		constrain_cores=no
		say "nodes have more CPUs than the machine: cores are not constrained"
	fi
}

write_slurm_conf() {
	cat <<-END
		ClusterName=wnodes
		SlurmctldHost=ctl($network.1)
		SlurmUser=root
		SlurmdUser=root
		AuthType=auth/munge
		CredType=cred/munge
		AuthInfo=socket=$state/socket/munge
		SlurmctldPort=$port
		StateSaveLocation=$state/ctld
		SlurmdSpoolDir=$state/spool/%n
		SlurmctldPidFile=$state/run/slurmctld.pid
		SlurmdPidFile=$state/run/slurmd-%n.pid
		SlurmctldLogFile=$state/log/slurmctld.log
		SlurmdLogFile=$state/log/slurmd-%n.log
		SlurmctldDebug=info
		SlurmdDebug=verbose
		SelectType=select/cons_tres
		SelectTypeParameters=CR_Core_Memory
		SchedulerType=sched/backfill
		SchedulerParameters=sched_min_interval=10000,batch_sched_delay=0,bf_interval=1,default_queue_depth=1000
		PriorityType=priority/basic
		ReturnToService=2
		MpiDefault=none
		SlurmctldTimeout=30
		SlurmdTimeout=30
		KillWait=15
		EnforcePartLimits=ALL
		MinJobAge=600
		SlurmdParameters=config_overrides
		TmpFS=$state/tmp/%n
		PlugStackConfig=$state/etc/plugstack.conf
	END
	if [ $tracking = cgroup ]; then
		# Tasks cannot be bound to CPUs that the machine does not have.
		printf '%s\n' ProctrackType=proctrack/cgroup \
			"TaskPlugin=task/cgroup$([ $constrain_cores = no ] || echo ,task/affinity)" \
			JobAcctGatherType=jobacct_gather/cgroup JobAcctGatherFrequency=task=1
	else
		printf '%s\n' ProctrackType=proctrack/linuxproc TaskPlugin=task/none \
			JobAcctGatherType=jobacct_gather/linux JobAcctGatherFrequency=task=1
	fi
	if [ $accounting = yes ]; then
		printf '%s\n' AccountingStorageType=accounting_storage/slurmdbd \
			"AccountingStorageHost=127.0.0.1" "AccountingStoragePort=$((port + 1))" \
			"AccountingStoragePass=$state/socket/munge"
	else
		printf '%s\n' AccountingStorageType=accounting_storage/none JobCompType=jobcomp/filetxt \
			"JobCompLoc=$state/log/jobcomp.txt"
	fi
	for k in $(seq "$nodes"); do
		echo "NodeName=$(node_name "$k") NodeAddr=$network.$((10 + k)) CPUs=$cpus RealMemory=$memory State=UNKNOWN"
	done
	echo "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefMemPerCPU=$((memory / cpus)) OverSubscribe=NO State=UP"
}

write_cgroup_conf() {
	cat <<-END
		CgroupPlugin=cgroup/v1
		CgroupMountpoint=/sys/fs/cgroup
		CgroupAutomount=no
		ConstrainCores=$constrain_cores
		ConstrainRAMSpace=yes
		ConstrainDevices=no
	END
}

write_slurmdbd_conf() {
	cat <<-END
		AuthType=auth/munge
		AuthInfo=socket=$state/socket/munge
		DbdHost=localhost
		DbdAddr=127.0.0.1
		DbdPort=$((port + 1))
		SlurmUser=root
		LogFile=$state/log/slurmdbd.log
		PidFile=$state/run/slurmdbd.pid
		StorageType=accounting_storage/mysql
		StorageHost=localhost
		StorageUser=root
		StorageLoc=slurm_acct_db
		DebugLevel=info
	END
}

# The accounts of the machine, and those of --user.
write_accounts() {
	local user name uid home
	cp /etc/passwd "$state/etc/passwd"
	cp /etc/group "$state/etc/group"
	[ -z "$store" ] || users+=(wnodes:64190)
	[ "$controllers" -eq 0 ] || users+=(wnodes-controller:64191 wnodes-courier:64192)
	for user in "${users[@]}"; do
		IFS=: read -r name uid home <<<"$user"
		[[ $name =~ ^[a-z_][a-z0-9_-]*$ && $uid =~ ^[1-9][0-9]*$ ]] ||
			leave 2 "--user: '$user' is not NAME:UID[:HOME]"
		echo "$name:x:$uid:$uid::${home:-/nonexistent}:/bin/sh" >>"$state/etc/passwd"
		echo "$name:x:$uid:" >>"$state/etc/group"
	done
}

# What nodes have of their own: settings, and the directories of their daemons.
write_wnodes() {
	local k name
	mkdir "$state/etc/wnodes"
	[ -z "$settings" ] || install -m 644 "$settings" "$state/etc/wnodes/wnodes.conf"
	[ -n "$store" ] || return 0
	for k in $(seq "$nodes"); do
		name=$(node_name "$k")
		mkdir -p "$state/nodes/$name"/{run,lib}
		cp -al "$store"/{blobs,names} "$state/nodes/$name/lib" 2>/dev/null ||
			cp -a --reflink=auto "$store"/{blobs,names} "$state/nodes/$name/lib"
	done
	[ "$controllers" -eq 0 ] || site_write
}

# plugstack.conf: the plugin that was asked for, or that of the build.
write_plugstack() {
	local file=$build/src/lrms/slurm/plugin/wnodes_slurm.so
	[ -n "$plugin" ] || [ ! -e "$file" ] || plugin="$(realpath "$file") bait=$build/wnodes-bait"
	[ -z "$plugin" ] || [ "$plugin" = none ] || echo "optional $plugin"
}

write_files() {
	umask 022
	mkdir -p "$state"/{etc,run,log,ctld,spool,socket,tmp}
	mkdir "$state"/{munge,mariadb}
	chmod 700 "$state"/{munge,mariadb}
	chmod 755 "$state" "$state/socket"
	chmod 1777 "$state/tmp"
	network=10.77.$index
	port=$((16800 + 4 * index))
	write_slurm_conf >"$state/etc/slurm.conf"
	write_cgroup_conf >"$state/etc/cgroup.conf"
	write_plugstack >"$state/etc/plugstack.conf"
	(umask 077 && write_slurmdbd_conf >"$state/etc/slurmdbd.conf")
	write_accounts
	write_wnodes
	{
		echo "127.0.0.1 localhost"
		echo "$network.1 ctl"
		for k in $(seq "$controllers"); do echo "$network.$((1 + k)) c$k"; done
		for k in $(seq "$nodes"); do echo "$network.$((10 + k)) $(node_name "$k")"; done
	} >"$state/etc/hosts"
	{
		echo "export SLURM_CONF=$state/etc/slurm.conf"
		[ "$controllers" -eq 0 ] || echo "export WNODES_MUNGE_SOCKET=$state/socket/munge"
		[ ! -x "$build/wnodes" ] || echo "export PATH=\"$build:\$PATH\""
	} >"$state/env"
}

# Puts a host on the bridge: add_host NAME NUMBER, whose address ends in NUMBER
add_host() {
	ip netns add "$tag-$1"
	ip link add "$tag.$2" type veth peer name eth0 netns "$tag-$1"
	ip link set "$tag.$2" master "$bridge" up
	ip -n "$tag-$1" link set lo up
	ip -n "$tag-$1" addr add "$network.$2/24" dev eth0
	ip -n "$tag-$1" link set eth0 up
	ip -n "$tag-$1" route add default via "$network.1"
}

start_network() {
	local k
	ip link add "$bridge" type bridge
	ip addr add "$network.1/24" dev "$bridge"
	ip link set "$bridge" up
	for k in $(seq "$controllers"); do
		add_host "c$k" $((1 + k))
	done
	for k in $(seq "$nodes"); do
		add_host "$(node_name "$k")" $((10 + k))
	done
}

start_munge() {
	mungekey --create --keyfile "$state/munge/key"
	munged --key-file="$state/munge/key" --socket="$state/socket/munge" --pid-file="$state/run/munged.pid" \
		--log-file="$state/log/munged.log" --seed-file="$state/munge/seed" >>"$state/log/start.log" 2>&1
}

# The empty database takes longer to make than all else together, and is the same each time.
database_files() {
	local cache
	cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/wnodes-slurm/mariadb-$(mariadbd --version | sha256sum | cut -c 1-12).tar
	tar -C "$state/mariadb" -xf "$cache" 2>/dev/null && return 0
	rm -rf "$state/mariadb/data"
	mariadb-install-db --no-defaults --user=root --datadir="$state/mariadb/data" --skip-test-db \
		--auth-root-authentication-method=normal --innodb-log-file-size=8M >>"$state/log/start.log" 2>&1 || return 1
	mkdir -p "$(dirname "$cache")" && tar -C "$state/mariadb" -cSf "$cache.$$" data 2>/dev/null &&
		mv "$cache.$$" "$cache" || rm -f "$cache.$$"
}

start_database() {
	database_files || return 1
	setsid mariadbd --no-defaults --user=root --datadir="$state/mariadb/data" --socket="$state/mariadb/socket" \
		--pid-file="$state/run/mariadbd.pid" --skip-networking --innodb-buffer-pool-size=64M \
		--innodb-log-file-size=8M --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=0 --innodb-flush-method=nosync \
		--log-error="$state/log/mariadbd.log" </dev/null >>"$state/log/start.log" 2>&1 &
	echo $! >"$state/run/mariadbd.pid"
	wait_until 20 test -S "$state/mariadb/socket" || return 1
	# It finds its database's socket by this, and makes the database itself.
	MYSQL_UNIX_PORT=$state/mariadb/socket slurmdbd >>"$state/log/start.log" 2>&1 || return 1
	wait_until 20 add_cluster
}

add_cluster() {
	timeout 5 sacctmgr -i add cluster wnodes >>"$state/log/start.log" 2>&1
}

start_hypervisor() {
	keep_running "$1" hypervisor "$build/wnodes-hypervisor"
	wait_until 10 test -S "$state/nodes/$1/run/hypervisor"
}

start_nodes() {
	local k name
	for k in $(seq "$nodes"); do
		name=$(node_name "$k")
		mkdir -p "$state/tmp/$name" && chmod 1777 "$state/tmp/$name"
		[ "$controllers" -eq 0 ] || site_join "$name" || return 1
		[ -z "$store" ] || start_hypervisor "$name" || return 1
		on_host "$name" slurmd -f "$SLURM_CONF" >>"$state/log/start.log" 2>&1 || return 1
	done
}

all_idle() {
	[ "$(timeout 5 sinfo -h -N -o %T 2>/dev/null | grep -cx idle)" -eq "$nodes" ]
}

registered() {
	[ -n "$(timeout 5 sacctmgr -nP show cluster format=controlhost 2>/dev/null)" ]
}

start_all() {
	export SLURM_CONF=$state/etc/slurm.conf
	start_network || return 1
	start_munge || return 1
	if [ $accounting = yes ]; then
		start_database || return 1
	fi
	on_host ctl slurmctld -f "$SLURM_CONF" >>"$state/log/start.log" 2>&1 || return 1
	[ "$controllers" -eq 0 ] || site_start || return 1
	start_nodes || return 1
	wait_until 20 all_idle || return 1
	[ $accounting = no ] || wait_until 10 registered || return 1
	[ "$controllers" -eq 0 ] || wait_until 20 site_is_up || return 1
	timeout 20 srun -N "$nodes" --mem=1 true </dev/null >>"$state/log/start.log" 2>&1
}

is_up() {
	local k
	[ "$(cat "$state/options" 2>/dev/null)" = "${all[*]}" ] || return 1
	index=$(cat "$state/index" 2>/dev/null) || return 1
	for k in $(seq "$nodes"); do
		pid_of "$state/run/slurmd-$(node_name "$k").pid" >/dev/null || return 1
	done
	pid_of "$state/run/slurmctld.pid" >/dev/null && SLURM_CONF=$state/etc/slurm.conf all_idle_or_busy
}

all_idle_or_busy() {
	[ "$(timeout 5 sinfo -h -N -o %T 2>/dev/null | grep -cxE 'idle|mixed|allocated|completing')" -eq "$nodes" ]
}

# What the logs say, when a cluster does not come up.
show_logs() {
	local log
	for log in "$state"/log/*.log; do
		[ ! -s "$log" ] || { echo "--- $log" && tail -n 5 "$log"; } >&2
	done
}

finish() {
	local status=$?
	trap - EXIT
	[ "$status" -ne 0 ] && [ -n "${started:-}" ] || exit "$status"
	show_logs
	cluster_remove || true
	leave 1 "the cluster did not start"
}

closed_to_others() {
	local directory=$state
	while [ "$directory" != / ]; do
		[ $((0$(stat -c %a "$directory") & 1)) -eq 1 ] || { echo "$directory" && return; }
		directory=$(dirname "$directory")
	done
}

check_machine
if is_up; then
	cat "$state/env"
	exit 0
fi
begin=$(date +%s%3N)
choose_tracking
cluster_remove || exit 1
mkdir -p "$state"
touch "$state/cluster"
started=yes
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
cluster_claim || exit 1
write_files
start_all || exit 1
printf '%s' "${all[*]}" >"$state/options"
trap - EXIT
took=$(($(date +%s%3N) - begin))
say "$nodes nodes, $(timeout 5 env SLURM_CONF="$state/etc/slurm.conf" sinfo -h -o %N), ready after $((took / 1000)).$((took % 1000 / 100)) s; down.sh --state $state ends them"
closed=$(closed_to_others)
[ -z "$closed" ] || say "only root can use it: $closed is closed to others"
cat "$state/env"
