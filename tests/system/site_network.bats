#!/usr/bin/env bats
# A site as it is in a machine room: two controllers on one PostgreSQL and three nodes, each on a machine of its own, by
# network namespaces. Links are cut, programs killed: what the controllers list is right afterwards, no lease is
# given twice, each record is there once. No VM is started.

bats_require_minimum_version 1.5.0
load helpers
load daemon
load site
load network

CONTROLLERS='one two' NODES='n1 n2 n3'

setup() {
	skip_unless_root
	TEST_CLONES='' setup_work
	chmod 755 "$WORK"
	CONTROLLER=$WNODES_BUILD/wnodes-controller
	[ -x "$CONTROLLER" ] || skip "the controller was not built"
	skip_if_closed
	skip_if_sanitized
	declare -gA pids=()
	network_new
	POSTGRES=$BATS_TEST_DIRNAME/../postgres
	DATABASE=$("$POSTGRES/up.sh" --open "$WORK/postgres" 2>postgres.err) ||
		{ [ $? -eq 77 ] && skip "there is no PostgreSQL server"; cat postgres.err; false; }
	start_site
}

teardown() {
	local name
	for name in $CONTROLLERS $NODES; do
		[ -z "${pids[$name]:-}" ] || kill -KILL "${pids[$name]}" 2>/dev/null || true
		[ ! -e "$WORK/$name/err" ] || tail -n 15 "$WORK/$name/err" | sed "s/^/$name: /"
	done
	network_remove
	[ ! -e "$WORK/postgres" ] || "$POSTGRES/down.sh" "$WORK/postgres" || true
	TEST_CLONES='' teardown_work
}

# The controllers, a pool with as many places as the nodes keep ready, and the nodes.
start_site() {
	local name
	for name in $CONTROLLERS $NODES; do
		network_add "$name"
		mkdir -p "$name/config/wnodes"
	done
	for name in $CONTROLLERS; do
		controller_config "$name"
		start_controller "$name"
	done
	FINGERPRINT=$(fingerprint one/state/ca.pem)
	site one PUT /v1/pools/batch -d '{"vlan":0,"host_pattern":"wn-%04d","first_address":"10.1.0.1","size":12,"prefix":24,
		"mac_prefix":"52:54:01"}' >pool.out
	site one PUT /v1/tokens/admin -d '{"kind":"bearer","name":"alice","roles":["administrator"]}' | jq -r .token >alice-token
	chmod 600 alice-token
	join_node n1 one
	join_node n2 one
	join_node n3 two
	wait_for 30 all_up one
}

# controller_config NAME [LINE...]
controller_config() {
	local name=$1
	shift
	printf '%s\n' '[controller]' 'listen = *:8443' "socket = $WORK/$name/socket" "state = $WORK/$name/state" 'user = root' \
		"names = $name.test" "database = $DATABASE" "$@" >"$name/controller.conf"
}

start_controller() {
	network_on "$1" env ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0" "$CONTROLLER" --config "$WORK/$1/controller.conf" \
		2>>"$1/err" </dev/null 3>&- &
	pids[$1]=$!
	wait_for 20 answers "$1"
}

# A node that joins by a controller: join_node NAME CONTROLLER
join_node() {
	local id
	id=$(cat /proc/sys/kernel/random/uuid)
	site "$2" PUT "/v1/tokens/$id" -d '{"kind":"join","lifetime_s":600}' | jq -er .token >token
	on "$1" "$WNODES" node join --token-file token --ca-fingerprint "$FINGERPRINT" --state "$WORK/$1/state" \
		--name "$1" "https://$2.test:8443" >"$1/join.out"
	printf '%s\n' '[run]' 'network = none' 'mount = none' '[vm]' 'accel = tcg' "broker = $WORK/$1/socket" '[node]' \
		"user = $MAKER_UID" 'lrms = none' '[site]' 'controllers = https://one.test:8443' \
		'controllers = https://two.test:8443' "user = $COURIER_UID" 'heartbeat = 1s' 'pool = batch' 'lease_block = 4' \
		"ca = $WORK/one/state/ca.pem" "token_file = $WORK/alice-token" >"$1/config/wnodes/wnodes.conf"
	start_node "$1"
}

start_node() {
	network_on "$1" "$WNODES-hypervisor" --socket "$WORK/$1/socket" --state "$WORK/$1/state" \
		--config "$WORK/$1/config/wnodes/wnodes.conf" 2>>"$1/err" </dev/null 3>&- &
	pids[$1]=$!
	wait_for 10 grep -q 'listens on' "$1/err"
}

kill_one() {
	kill -KILL "${pids[$1]}"
	wait "${pids[$1]}" || true
}

# Runs a command on a machine, with the settings of its users: on NAME COMMAND...
on() {
	local name=$1
	shift
	(network_on "$name" env XDG_CONFIG_HOME="$WORK/$name/config" "$@")
}

answers() {
	[ "$(site "$1" GET /healthz | jq -r .status)" = ok ]
}

# As root, on a controller's socket: site CONTROLLER METHOD PATH [CURL OPTION...]
site() {
	local name=$1 method=$2 path=$3
	shift 3
	curl -sS --max-time 20 --unix-socket "$WORK/$name/socket" -X "$method" -H 'Content-Type: application/json' "$@" \
		"http://controller$path"
}

# Does a controller say so, by jq: says CONTROLLER PATH FILTER
says() {
	site "$1" GET "$2" | jq -e "$3" >/dev/null
}

all_up() {
	says "$1" /v1/nodes '[.items[] | [.name, .state]] == [["n1", "up"], ["n2", "up"], ["n3", "up"]]'
}

state_of() {
	site "${2:-one}" GET "/v1/nodes/$1" | jq -r .state
}

# What a node's daemon says of itself: daemon_says NODE FILTER
daemon_says() {
	XDG_CONFIG_HOME=$WORK/$1/config "$WNODES" node show --json | jq -e "$2" >/dev/null
}

# By HTTPS, as who sits at a machine and has a token: list_nodes MACHINE
list_nodes() {
	on "$1" timeout 15 "$WNODES" node list --json
}

# As a node that has joined, from its machine: as_node NODE METHOD URL [CURL OPTION...]
as_node() {
	local node=$1 method=$2 url=$3
	shift 3
	on "$node" curl -sS --max-time 10 --cacert "$node/state/site/ca.pem" --cert "$node/state/site/certificate.pem" \
		--key "$node/state/site/key.pem" -X "$method" -H 'Content-Type: application/json' "$@" "$url"
}

sql() {
	timeout 20 psql -X -A -t -q -v ON_ERROR_STOP=1 "$DATABASE" -c "$1"
}

# The leases that a node believes to have: held_by NODE
held_by() {
	cat "$1"/state/site/leases/* 2>/dev/null | jq -r 'select(.state == "ready" or .state == "used") | .id' | sort
}

# A node believes what the database knows, which is this many: agrees NODE COUNT
agrees() {
	[ "$(held_by "$1")" = "$(sql "SELECT id FROM lease WHERE node = '$1' ORDER BY id COLLATE \"C\"")" ] &&
		[ "$(held_by "$1" | grep -c .)" -eq "$2" ]
}

# No name, card or address is lent twice, and each lease has one place.
none_twice() {
	[ "$(sql "SELECT (SELECT count(*) FROM lease) - count(DISTINCT name), (SELECT count(*) FROM lease) - count(DISTINCT mac),
		(SELECT count(*) FROM lease) - count(DISTINCT address),
		(SELECT count(*) FROM lease) - (SELECT count(*) FROM place JOIN lease ON place.lease = lease.id AND place.mac = lease.mac)
		FROM lease")" = '0|0|0|0' ]
}

# Writes a usage record on a node: record_on NODE
record_on() {
	# shellcheck disable=SC2034 # a_record uses them
	local NODE=$1 STATE=$WORK/$1/state
	a_record
}

# The records that nodes have written, each once: has_records NODE...
has_records() {
	local name files=()
	for name in "$@"; do
		files+=("$name/state/records.jsonl")
	done
	[ "$(jq -r .id "${files[@]}" | sort)" = "$(sql 'SELECT id FROM record' | sort)" ]
}

@test "network: nodes are up at two controllers that are known by their names, and nobody speaks for another" {
	local name
	all_up one
	all_up two
	for name in $NODES; do
		wait_for 20 agrees "$name" 4
		daemon_says "$name" '.site.controller | test("^https://(one|two)[.]test:8443$")'
	done
	none_twice
	list_nodes n3 | jq -es 'flatten | map(.name) == ["n1", "n2", "n3"]'
	for name in $CONTROLLERS; do
		as_node n2 GET "https://$name.test:8443/v1/whoami" | jq -e '.name == "n2" and .kind == "node"'
		# A certificate is for its names only: not for an address that is not in it.
		run -60 as_node n2 GET "https://$(awk -v name="$name.test" '$2 == name { print $1 }' hosts):8443/healthz"
	done
	# n2 says that it is n1, that n1 has drained and that its VMs are gone.
	lie='{"boot":"00000000-0000-4000-8000-000000000000","sequence":1,"state":"drained","full":true,"vms":[]}'
	for name in $CONTROLLERS; do
		as_node n2 POST "https://$name.test:8443/v1/nodes/n1/heartbeat" -d "$lie" | jq -e '.status == 403'
	done
	[ "$(state_of n1)" = up ]
	says two '/v1/events?kind=node.drained' '.items == []'
}

@test "network: the link of a controller is cut, and nodes and users go on with the other" {
	local name i
	record_on n1
	wait_for 20 has_records n1
	on_other() {
		daemon_says "$1" '.site.takes_vms and .site.controller == "https://two.test:8443" and .site.failure == null'
	}
	network_link one down
	cut=$(sql 'SELECT max(seen) FROM node')
	# Sooner than a request's time is over.
	for name in $NODES; do
		wait_for 10 on_other "$name"
	done
	for name in $NODES; do
		record_on "$name"
	done
	for i in 1 2 3; do
		list_nodes n3 | jq -es 'flatten | map(.state) == ["up", "up", "up"]'
	done
	wait_for 10 has_records $NODES
	[ "$(sql "SELECT count(*) FROM node WHERE seen > $cut AND state = 'up'")" = 3 ]
	network_link one up
	for name in $CONTROLLERS; do
		wait_for 20 eval 'as_node n1 GET "https://$name.test:8443/v1/whoami" | jq -e ".name == \"n1\""'
		all_up "$name"
	done
	says one '/v1/events?kind=node.lost' '.items == []'
	for name in $NODES; do
		wait_for 10 agrees "$name" 4
	done
	none_twice
}

# Asks a controller for a lease of nobody's until it gives one: take_lease ID
take_lease() {
	site two PUT "/v1/leases/$1" -d '{"pool":"batch"}' | tee taken | jq -e '.name' >/dev/null
}

@test "network: a node whose link is cut is lost and its leases are given to others, which it learns afterwards" {
	local name i ids=()
	for name in $CONTROLLERS; do
		controller_config "$name" 'lost_after = 8s' 'lease_grace = 2s'
		kill -HUP "${pids[$name]}"
	done
	for name in $NODES; do
		wait_for 20 agrees "$name" 4
	done
	wait_for 10 grep -qx 10 n3/state/site/leases-kept # it knows of the new settings
	held_by n3 >held
	names=$(sql "SELECT name FROM lease WHERE node = 'n3' ORDER BY name")
	daemon_says n3 '.site.leases_ready == 4'
	network_link n3 down
	record_on n3
	# All places are lent: there is one again when the grace is over, and no sooner.
	for i in 1 2 3 4; do
		ids[i]=$(cat /proc/sys/kernel/random/uuid)
		wait_for 30 take_lease "${ids[i]}"
		# The node does not hear of it, and lends none by then.
		daemon_says n3 '.site.leases_ready == 0'
	done
	[ "$(held_by n3)" = "$(cat held)" ]
	[ "$(sql "SELECT state, state_since - seen >= 8000000, (SELECT min(given) FROM lease WHERE node = '') - state_since >= 2000000
		FROM node WHERE name = 'n3'")" = 'lost|t|t' ]
	[ "$(sql "SELECT name FROM lease WHERE node = '' ORDER BY name")" = "$names" ]
	run ! take_lease "$(cat /proc/sys/kernel/random/uuid)"
	jq -e '.status == 409' taken
	none_twice
	[ "$(state_of n3 one)$(state_of n3 two)" = lostlost ]
	list_nodes n1 | jq -es 'flatten | map(.state) == ["up", "up", "lost"]'
	network_link n3 up
	wait_for 30 all_up one
	all_up two
	says one '/v1/events?kind=node.up' '[.items[] | select(.subject == "node:n3")] | last | .detail.before == "lost"'
	# It has none now, neither those from before nor others.
	wait_for 10 agrees n3 0
	daemon_says n3 '.site.leases_ready == 0'
	wait_for 10 has_records n3
	for i in 1 2 3 4; do
		site one DELETE "/v1/leases/${ids[i]}"
	done
	wait_for 20 agrees n3 4
	[ "$(held_by n3 | comm -12 - held)" = '' ]
	agrees n1 4
	agrees n2 4
	none_twice
}

# As a power cut ends it; then it starts again, from what is on its disk.
kill_database() {
	kill -KILL "$(head -1 postgres/data/postmaster.pid)"
	sleep 1
	"$POSTGRES/up.sh" --open "$WORK/postgres" >/dev/null 2>>postgres.err
}

# All nodes were heard of at most three seconds ago.
all_fresh() {
	all_up one && all_up two &&
		[ "$(sql 'SELECT bool_and(extract(epoch FROM now()) * 1000000 - seen < 3000000) FROM node')" = t ]
}

@test "network: controllers and the database are killed between heartbeats, and all is listed as it is" {
	local name node
	for name in one database two n2 two database one n2; do
		for node in $NODES; do
			record_on "$node"
		done
		case $name in
		database) kill_database ;;
		n*) kill_one "$name" && start_node "$name" ;;
		*) kill_one "$name" && start_controller "$name" ;;
		esac
		sleep 0.$((RANDOM % 9))
	done
	wait_for 40 all_fresh
	wait_for 30 has_records $NODES
	for name in $NODES; do
		wait_for 20 agrees "$name" 4
		daemon_says "$name" '.site.takes_vms'
	done
	none_twice
	[ "$(sql 'SELECT count(*) FROM lease')" -eq 12 ]
	wait_for 10 says one '/v1/events?kind=node.lost' '.items == []'
	[ "$(sql 'SELECT count(*) FROM node')" -eq 3 ]
}
