#!/bin/bash
# A cluster on this machine, to try WNoDeS on as its user and as its administrator: Slurm with two nodes, PostgreSQL, two
# controllers of a site, and a daemon with courier and porter on each node, all in network namespaces.
#
#   demo-cluster.sh demo              starts it, shows what it does (the tour), and ends it
#   demo-cluster.sh up                starts it, and leaves it
#   demo-cluster.sh tour [PART...]    the tour, or parts of it: user, admin
#   demo-cluster.sh shell [USER@]HOST     a shell there, or a command: alice@ctl, root@ctl, root@c1, root@w1 ...
#   demo-cluster.sh power HOST off|on     pulls the plug of w1, w2, c1 or c2: all that runs there is gone; or starts it again
#   demo-cluster.sh status            what is up
#   demo-cluster.sh down              ends all of it, also what is left of one that was killed
#
# Needs root, as network namespaces and Slurm's daemons do. There is one such cluster on a machine, in $WNODES_DEMO
# (/var/lib/wnodes-demo); no service is started, no account is made, and nothing is left when it is down, but
# the images debian:1 and debian:2 in build/demo-cluster, which are made once; --images STORE, before the verb, takes
# those of another store. The exit status is 77 where the machine lacks something.
set -eu

here=$(dirname "$(realpath "$0")")
tests=$here/../tests
. "$here/cluster/site.bash"
. "$here/cluster/tour.bash"

usage() {
	sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | head -n -1
}

# One command at a time; children do not have the lock, so that it is free when this process is gone.
take_lock() {
	exec 9>"$lock"
	flock -n 9 || fail "another demo-cluster.sh is at work; wait for its end"
}

# Ends the cluster when the demonstration ends, however it does.
end_demo() {
	local status=$?
	trap '' HUP INT TERM
	trap - EXIT
	step_kill
	demo_down 9>&-
	exit $status
}

end_at_signals() {
	trap end_demo EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

demo_demo() {
	end_at_signals
	demo_up || exit 1
	if [ -n "${STAY:-}" ]; then
		tell "It stays until this shell ends. You are alice, who has an account on this cluster only; as root, from another terminal: $0 shell root@c1"
		demo_shell alice@ctl || true
		exit 0
	fi
	tour || exit 1
}

images=
while [ "${1:-}" = --images ]; do
	images=$(realpath "${2?--images needs a store}") && shift 2
done
verb=${1:-demo}
[ $# -eq 0 ] || shift
case $verb in
demo | up | tour | down | shell | power | status) ;;
--help | help) usage && exit 0 ;;
*) usage >&2 && exit 2 ;;
esac
[ "$(id -u)" -eq 0 ] || lack "it needs root: network namespaces and Slurm's daemons are root's; use sudo"
case $verb in
demo | up | tour | down) take_lock ;;
esac
[ "$verb" != up ] || { end_at_signals && demo_up 9>&- && trap - EXIT && demo_hints && exit 0; }
[ "$verb" != tour ] || trap 'step_kill; exit 130' INT TERM HUP
"demo_$verb" "$@" 9>&-
