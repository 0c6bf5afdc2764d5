#!/usr/bin/env bats
# Two controllers on one PostgreSQL, with clients that get leases and give them back all the time: a
# controller is killed, then the database. No lease is given twice, and no client is told anything but
# to try again, which it does at the next controller.

load helpers

CLIENTS=64
SECONDS_OF_LOAD=14

# One with a directory, a socket and a port of its own, by kill_one and start_one.
start_one() {
	local name=$1 home=$WORK/$1
	mkdir -p "$home"
	printf '%s\n' '[controller]' "listen = 127.0.0.1:0" "socket = $home/socket" "state = $home/state" "user = root" \
		"database = $DATABASE" "address_connections = 500" >"$home/controller.conf"
	: >"$home/controller.err"
	ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0" "$CONTROLLER" --config "$home/controller.conf" \
		2>>"$home/controller.err" </dev/null 3>&- &
	pids[$name]=$!
	wait_for 20 grep -q "listens on $home/socket" "$home/controller.err"
}

kill_one() {
	kill -KILL "${pids[$1]}"
	wait "${pids[$1]}" || true
}

ask() {
	curl -sS --max-time 20 --unix-socket "$WORK/$1/socket" "${@:3}" "http://controller$2"
}

make_pool() {
	ask one /v1/pools/load -X PUT -H 'Content-Type: application/json' -d '{"vlan":0,
		"host_pattern":"wn-%04d","first_address":"10.1.0.1","size":100,"prefix":16,"mac_prefix":"52:54:01"}'
}

setup() {
	setup_work
	CONTROLLER=$WNODES_BUILD/wnodes-controller
	[ -x "$CONTROLLER" ] || skip "the controller was not built"
	POSTGRES=$BATS_TEST_DIRNAME/../postgres
	declare -gA pids=()
	chmod 711 "$WORK"
	DATABASE=$("$POSTGRES/up.sh" --open "$WORK/postgres" 2>"$WORK/postgres.err") ||
		{ [ $? -eq 77 ] && skip "there is no PostgreSQL server"; cat "$WORK/postgres.err"; false; }
}

teardown() {
	local name
	for name in one two; do
		[ -z "${pids[$name]:-}" ] || kill -KILL "${pids[$name]}" 2>/dev/null || true
		[ ! -e "$WORK/$name/controller.err" ] || tail -12 "$WORK/$name/controller.err" | sed "s/^/$name: /"
	done
	"$POSTGRES/down.sh" "$WORK/postgres" || true
	cd /
	rm -rf "$WORK"
}

# As a power cut ends it; then it starts again, from what is on its disk.
kill_database() {
	kill -KILL $(head -1 "$WORK/postgres/data/postmaster.pid")
	sleep 1
	"$POSTGRES/up.sh" --open "$WORK/postgres" >/dev/null 2>>"$WORK/postgres.err"
}

start_load() {
	timeout 120 "$WNODES_BUILD/tests/bench/site-load" leases --clients $CLIENTS --seconds $SECONDS_OF_LOAD --check \
		"unix:$WORK/one/socket" "unix:$WORK/two/socket" >load.json 2>load.err 3>&- &
	load=$!
}

@test "failover: controllers and the database are killed, and no lease is given twice or lost" {
	start_one one
	start_one two
	make_pool
	start_load
	sleep 2
	kill_one one
	sleep 2
	start_one one
	sleep 1
	kill_one two
	start_one two
	sleep 1
	kill_database
	ends_with 0 $load || { cat load.json load.err; false; }
	cat load.json
	jq -e '.pairs > 20 and .failed == 0 and .twice == 0 and .retried > 0' load.json
	# Whatever was asked twice was done once: at the end nobody holds anything.
	ask one /v1/leases | jq -e '.items == []'
	ask two /v1/pools/load | jq -e '.used == 0'
}
