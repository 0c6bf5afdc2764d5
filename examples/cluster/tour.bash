# The tour of demo-cluster.sh: what a user and an administrator do on a cluster, each command with what came of it.
# shellcheck disable=SC2154 # $top and $state are site.bash's

step_pid='' problems=0

bold() {
	if [ -t 1 ]; then printf '\033[1m%s\033[0m\n' "$*"; else echo "$*"; fi
}

tell() {
	printf '\n'
	fold -s -w 100 <<<"$*" | sed 's/ *$//; s/^/# /'
}

chapter() {
	printf '\n'
	bold "== $*"
}

# What the step that runs has started, also where it does not listen to Ctrl-C.
step_kill() {
	[ -z "$step_pid" ] || kill -KILL -- "-$step_pid" 2>/dev/null || true
}

# Runs a command as somebody on a host, and shows both: try [--status N] [--like REGEX] USER@HOST COMMAND
# USER@HOST may be "plug", which is who stands at the machines: plug 'w2 off'
# The tour goes on when it is not what was expected, and says so at its end.
try() {
	local expected=0 like='' status=0 out=$top/step.out
	while [[ $1 == --* ]]; do
		case $1 in
		--status) expected=$2 ;;
		--like) like=$2 ;;
		esac
		shift 2
	done
	bold "$1\$ $2"
	: >"$out"
	# In the background and in a group of its own, so that Ctrl-C is heard at once.
	set -m
	case $1 in
	plug) demo_power ${2% *} "${2#* }" </dev/null >"$out" 2>&1 & ;;
	*) on "$1" timeout -k 5 300 sh -c "$2" </dev/null >"$out" 2>&1 & ;;
	esac
	step_pid=$!
	set +m
	wait "$step_pid" || status=$?
	step_pid=
	sed 's/^/    /' "$out"
	[ "$status" -eq 0 ] || echo "    (exit status $status)"
	[ "$status" -eq "$expected" ] || problem "the status should have been $expected"
	[ -z "$like" ] || grep -qE "$like" "$out" || problem "the output should have had '$like'"
}

problem() {
	problems=$((problems + 1))
	bold "    !! $*"
}

# Waits for what takes its time: until_so SECONDS USER@HOST COMMAND
until_so() {
	echo "    ... until: $3"
	wait_until "$1" so "$2" "$3" || problem "waited in vain for: $3"
}

# Nodes have the site's catalogue of images as it is now, some seconds after a change of it.
until_followed() {
	local node revision
	revision=$(on root@c1 curl -s --unix-socket /run/wnodes-controller/socket http://controller/v1/catalogue | jq -r .revision)
	for node in w1 w2; do
		until_so 30 root@$node "wnodes node show | grep 'Catalogue of images: *$revision\$'"
	done
}

so() {
	on "$1" timeout 20 sh -c "$2" </dev/null >/dev/null 2>&1 || { sleep 0.5 && return 1; }
}

tour() {
	local part
	problems=0
	[ $# -gt 0 ] || set -- user admin
	for part in "$@"; do
		case $part in
		user) tour_user ;;
		admin) tour_images && tour_nodes && tour_database ;;
		*) fail "tour: there is no part '$part'; there are user, admin" ;;
		esac
	done
	if [ "$problems" -gt 0 ]; then
		bold "== the end of the tour: $problems things were not as they should be"
		return 1
	fi
	bold "== the end of the tour: all was as it should be"
}

tour_user() {
	local limited
	chapter "A user of the cluster: alice, who has no rights on it"
	tell "The cluster as Slurm has it. Nothing tells of VMs: they are asked for by a flag of srun, sbatch and salloc."
	try --like 'w1.*idle' alice@ctl 'sinfo -N'
	try --like '^[0-9]+$' alice@ctl 'sbatch --parsable --time=1 --mem=600 --vm-image=debian --output=limited.out --wrap "
trap \"echo the time is over: I tidy up; exit 3\" TERM
echo I count sheep; while :; do sleep 0.2; done"'
	limited=$(tail -1 "$top/step.out")
	tell "(It has a minute, and we look at it again at the end.) A command in a VM of the image 'debian': the same account, the same" \
		"directory, another machine. On the node it has to boot, and who waits is told."
	try --like '^vm-' alice@ctl 'srun --mem=1000 --vm-image=debian sh -c "uname -n; uname -r; id -un; pwd; ls"'
	tell "The exit status is the command's own, as is what it reads and writes."
	try --status 7 alice@ctl 'seq 3 | srun --quiet --mem=1000 --vm-image=debian sh -c "cat; exit 7"'
	tell "An array of jobs: each counts the words of a text in a shared directory, with Python of the image. Meanwhile the" \
		"nodes have made a template, from which VMs are cloned: PROVISION is what a user waits for."
	try alice@ctl 'mkdir -p texts counts; for i in 1 2 3; do seq $((i * 50)) | sed "s/$/ tree/" >texts/$i.txt; done; cat words.sbatch; sbatch --wait words.sbatch'
	try --like '600 words|300 words' alice@ctl 'cat words-*.out; head -3 counts/2.txt; wnodes job list --all'
	tell "What cannot be is refused with what to ask for, before there is a VM."
	try --status 125 --like 'ask for' alice@ctl 'srun --quiet --mem=200 --vm-image=debian true'
	try --status 125 --like 'not in the site' alice@ctl 'srun --quiet --mem=1000 --vm-image=windows true'
	tell "Too little memory in the VM: the node does not suffer, and the job is told."
	try --status 137 --like 'ask for more' alice@ctl 'srun --quiet --mem=500 --vm-image=debian python3 eat.py'
	tell "And the job of the beginning: SIGTERM came to the script in the VM when the minute was over."
	until_so 150 alice@ctl "! squeue -h -j $limited | grep ."
	try --like 'the time is over' alice@ctl 'cat limited.out'
	try --like 'TIMEOUT' alice@ctl "sacct -X -j $limited -o jobid,state,elapsed,exitcode; wnodes job show $limited"
}

tour_images() {
	chapter "An administrator of the site, on the controllers c1 and c2: policy and images"
	try --like 'ok' root@c1 'wnodes site status'
	try --like 'w2.*up' root@c2 'wnodes node list'
	tell "A policy for all nodes: jobs whose name begins with prod- run in the image that was validated, whatever they ask for."
	try root@c1 'printf "%s\n" "[policy production]" "job-name = ^prod-" "vm = force" "image = debian:1" "locked = image" | wnodes config set -'
	until_so 20 root@w1 'wnodes policy list | grep production'
	until_so 20 root@w2 'wnodes policy list | grep production'
	try --like 'vm-' alice@ctl 'srun --quiet --mem=1000 -J prod-1 uname -n'
	tell "A new image goes into the site's catalogue, is vouched for and approved, brought to the nodes, and gets the name that" \
		"jobs ask for. Only chunks that the site does not have are sent, and nodes give them to each other."
	try --like 'chunks were sent' root@c1 "XDG_DATA_HOME=$(dirname "$(cat "$top/images")") wnodes image publish --site debian:2 --reason 'the new Python'"
	try root@c1 'wnodes image endorse debian:2 --reason "its checks have passed" && wnodes image approve debian:2 --expires 90d --reason "ran for a week"'
	try --like '0 failed' root@c1 'wnodes image stage debian:2 --all'
	try root@c1 'wnodes image tag --site debian:2 debian:latest --reason "the December update"'
	until_followed
	try alice@ctl 'srun --quiet --mem=1000 --vm-image=debian cat /etc/made'
	tell "It turns out to be bad. From this moment on no VM starts from it; those that run are named."
	try root@c2 'wnodes image revoke debian:2 --reason "its libssl has a hole"'
	until_followed
	try --status 125 --like 'hole' alice@ctl 'srun --quiet --mem=1000 --vm-image=debian true'
	try root@c1 'wnodes image tag --site debian:1 debian:latest --reason "back to the last good one"; wnodes image history debian:2'
	until_so 20 alice@ctl 'srun --quiet --mem=1000 --vm-image=debian true'
}

tour_nodes() {
	local job
	chapter "An administrator: nodes"
	tell "A node is drained, by the site; Slurm is told. What runs there goes on."
	try root@c1 'wnodes node drain --node w1 "memory module to be changed"'
	until_so 20 alice@ctl 'sinfo -h -n w1 -o %T | grep drain'
	try --like 'memory module' alice@ctl 'sinfo -R'
	try root@c1 'wnodes node resume --node w1'
	until_so 20 alice@ctl 'sinfo -h -n w1 -o %T | grep idle'
	tell "The plug of w2 is pulled while a job runs there. Slurm puts the job back, and it runs on w1."
	try --like '^[0-9]+$' alice@ctl 'sbatch --parsable -w w2 --mem=600 --vm-image=debian --output=moved.out --open-mode=append --wrap "
echo on \$(uname -n), time \$SLURM_RESTART_COUNT; sleep 20; echo done"'
	job=$(tail -1 "$top/step.out")
	until_so 60 alice@ctl 'grep on moved.out'
	try plug 'w2 off'
	try root@ctl "scontrol update nodename=w2 state=down reason='no power'; scontrol update jobid=$job nodelist= starttime=now"
	until_so 90 alice@ctl 'grep done moved.out'
	try --like 'w2.*lost' root@c1 'wnodes node list'
	try --like 'on vm-.*-w1' alice@ctl 'cat moved.out'
	try plug 'w2 on'
	until_so 60 root@c1 'wnodes node list | grep "w2.*up"'
	until_so 60 alice@ctl 'sinfo -h -n w2 -o %T | grep idle'
	tell "The plug of a controller is pulled. Nodes and users go on with the other."
	try plug 'c1 off'
	try --like 'c2:8443.*ok' alice@ctl 'wnodes site status; wnodes node list; srun --quiet --mem=1000 --vm-image=debian uname -n'
	try plug 'c1 on'
	until_so 30 root@c1 'wnodes site status | grep "ok  *ok"'
	tell "Somebody has read the key of w1. Its certificates are revoked, the node is refused from then on, and joins again."
	try root@c1 'for serial in $(wnodes certificate list --node w1 --json | jq -r ".[] | select(.revoked == null) | .serial"); do wnodes certificate revoke $serial "its key was stolen"; done'
	try root@w1 "wnodes node leave"
	try root@c1 "(umask 077; wnodes token create --join --node w1 --expires 1h >$top/shared/token)"
	try root@w1 "wnodes node join --token-file $top/shared/token --ca /etc/wnodes/ca.pem https://c2:8443; rm $top/shared/token; pkill -HUP -P \$(cat $state/run/hypervisor-w1.pid)"
	until_so 60 root@c1 'wnodes node list | grep "w1.*up"'
}

tour_database() {
	local url other
	url=$(cat "$top/database")
	other=${url/'@/wnodes?'/'@/site2?'}
	chapter "An administrator: the site's database"
	tell "A backup is a dump of the database (and, after it, a copy of the depot)."
	try root@c1 'wnodes group create gpu && wnodes group add gpu w1 w2'
	try root@ctl "pg_dump --format=custom --file=$top/site.dump '$url' && ls -s $top/site.dump"
	try root@c1 'wnodes group add --none w1 w2 && wnodes group remove gpu; wnodes group list'
	tell "Somebody has removed what should not have been. Controllers are stopped, the dump is read back, and they go on."
	try plug 'c1 off'
	try plug 'c2 off'
	try root@ctl "pg_restore --clean --if-exists --no-owner --dbname='$url' $top/site.dump"
	try plug 'c1 on'
	until_so 60 root@c1 'wnodes group list | grep "gpu"'
	until_so 60 root@c1 'wnodes node list | grep "w1.*up"'
	tell "A site that began with SQLite moves to PostgreSQL. Here it goes there and back: c1 alone on SQLite, then both on a" \
		"new database."
	try plug 'c1 off'
	try root@c1 "setpriv --reuid=wnodes-controller --regid=wnodes-controller --clear-groups wnodes-controller migrate --from '$url' --to sqlite:/var/lib/wnodes-controller/site.db"
	try root@c1 "sed -i 's|^database = .*|database = sqlite:/var/lib/wnodes-controller/site.db|' /etc/wnodes/controller.conf"
	try plug 'c1 on'
	until_so 60 root@c1 'wnodes node list | grep "w2.*up"'
	try --like 'gpu' root@c1 'wnodes group list'
	try plug 'c1 off'
	try root@ctl "psql -q -h $top/postgres -U postgres -c 'CREATE DATABASE site2 OWNER wnodes'"
	try root@c1 "wnodes-controller migrate --from sqlite:/var/lib/wnodes-controller/site.db --to '$other'"
	try root@c1 "sed -i 's|^database = .*|database = $other|' /etc/wnodes/controller.conf"
	try root@c2 "sed -i 's|^database = .*|database = $other|' /etc/wnodes/controller.conf"
	try plug 'c1 on'
	try plug 'c2 on'
	until_so 60 root@c2 'wnodes node list | grep "w2.*up"'
	try --like 'gpu' root@c2 'wnodes group list; wnodes node list'
	tell "And jobs have gone on all the time."
	try alice@ctl 'srun -N2 --quiet --mem=1000 --vm-image=debian uname -n'
}
