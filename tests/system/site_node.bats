# Nodes of a site with the real controller, on SQLite: what it sees of them, and that nothing is lost, whoever is
# killed. Two nodes are two daemons with a directory and a socket each.

bats_require_minimum_version 1.5.0
load helpers
load daemon
load site

# A controller at $URL: start_site
start_site() {
	skip_if_closed
	skip_if_sanitized
	CONTROLLER=$WNODES_BUILD/wnodes-controller
	[ -x "$CONTROLLER" ] || skip "the controller was not built"
	if [ -z "${PORT:-}" ]; then
		PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
		URL=https://localhost:$PORT SITE=$WORK/site
		mkdir -p "$SITE"
		printf '%s\n' '[controller]' "listen = 127.0.0.1:$PORT" "socket = $SITE/socket" "state = $SITE/state" "user = root" \
			"database = sqlite:$SITE/state/site.db" >"$SITE/controller.conf"
	fi
	"$CONTROLLER" --config "$SITE/controller.conf" 2>>site.err </dev/null 3>&- &
	site=$!
	wait_for 20 site_answers
	FINGERPRINT=$(fingerprint "$SITE/state/ca.pem")
}

site_answers() {
	[ "$(site GET /healthz | jq -r .status)" = ok ]
}

kill_site() {
	kill -KILL $site
	wait $site || true
}

# As root, on the controller's socket: site METHOD PATH [CURL OPTION...]
site() {
	local method=$1 path=$2
	shift 2
	curl -sS --max-time 20 --unix-socket "$SITE/socket" -X "$method" -H 'Content-Type: application/json' "$@" "http://controller$path"
}

# Does the site say so, by jq: site_says PATH FILTER
site_says() {
	site GET "$1" | jq -e "$2" >/dev/null
}

make_token() {
	site PUT "/v1/tokens/$(cat /proc/sys/kernel/random/uuid)" -d '{"kind":"join","lifetime_s":600}' | jq -r .token >token
}

start_node() {
	start_site
	site PUT /v1/pools/batch -d '{"vlan":7,"domain":"","host_pattern":"wn-%04d","first_address":"10.1.0.1","size":20,
		"prefix":24,"gateway":"10.1.0.254","nameservers":["10.1.0.253"],"mac_prefix":"52:54:01"}' >pool.out
	make_token
	join
	site_config "$@"
	start_daemon
	wait_for 20 site_says /v1/nodes/$NODE '.state == "up"'
}

# The records that the site has of the daemon's: all, and each once.
has_all_records() {
	[ "$(site GET '/v1/records?limit=1000' | jq -r '.items[].id' | sort)" = "$(jq -r .id "$STATE/records.jsonl" | sort)" ]
}

teardown() {
	[ -z "${site:-}" ] || kill -KILL "$site" 2>/dev/null || true
	[ -z "${other:-}" ] || kill -KILL "$other" 2>/dev/null || true
	[ -z "${daemon:-}" ] || kill -KILL "$daemon" 2>/dev/null || true
	[ ! -e "${WORK:-/}/site.err" ] || tail -20 "$WORK/site.err" | sed 's/^/site: /'
	[ ! -e "${WORK:-/}/daemon.err" ] || sed 's/^/daemon: /' "$WORK/daemon.err"
	[ -z "${WORK:-}" ] || TEST_CLONES='' teardown_work
}

@test "site: a node joins, its VM is listed by the name of its lease, and its record comes" {
	start_node 'pool = batch' 'lease_block = 3'
	wait_for 20 node_says '.site.leases_ready == 3'
	mkfifo -m 666 in-a
	as $ONE "$WNODES" run --memory 256M -- sh -c 'hostname; echo up; read -r x; echo down' <in-a >a.out 2>a.err 3>&- &
	pid=$!
	exec {hold}>in-a
	wait_for 90 grep -q up a.out
	name=$(head -1 a.out)
	[[ "$name" == wn-00[0-2][0-9] ]]
	site_says '/v1/leases' "[.items[].name] | index(\"$name\")"
	wait_for 10 site_says "/v1/vms?node=$NODE" '.items | length == 1 and .[0].state == "running" and .[0].uid == 64123 and (.[0].name | test("^vm-"))'
	id=$(site GET /v1/vms | jq -r '.items[0].id')
	wait_for 10 site_says /v1/leases "[.items[] | select(.vm == \"$id\") | [.name, .user]] == [[\"$name\", \"uid64123\"]]"
	echo >&$hold
	exec {hold}>&-
	ends_with 0 $pid
	wait_for 20 has_all_records
	[ "$(jq -r .id "$STATE/records.jsonl")" = "$id" ]
	wait_for 10 site_says /v1/vms '.items == []'
	wait_for 10 site_says '/v1/leases' '(.items | length == 3) and (.items | all(.vm == null))'
}

@test "site: courier, daemon and controller are killed at random under VMs, and each record is there once" {
	start_node
	for i in 1 2 3 4; do
		as $((64123 + i % 2)) "$WNODES" run --memory 256M -- sh -c 'sleep 1; echo done' >"job$i.out" 2>"job$i.err" 3>&- &
		pids[i]=$!
	done
	for i in $(seq 10); do
		sleep $((RANDOM % 3)).$((RANDOM % 9))
		case $((RANDOM % 3)) in
		0) kill -KILL "$(courier)" 2>/dev/null || true ;;
		1) kill_daemon KILL && start_daemon ;;
		2) kill_site && start_site ;;
		esac
	done
	for i in 1 2 3 4; do
		ends_with 0 ${pids[i]} || { cat "job$i.err"; false; }
	done
	wait_for 60 has_all_records
	[ "$(wc -l <"$STATE/records.jsonl")" -ge 4 ]
	wait_for 60 site_says /v1/vms '.items == []'
}

@test "site: the controller is away: VMs start on the block, their records come later; then none starts" {
	start_node 'pool = batch' 'lease_block = 2' 'autonomy = 45s'
	wait_for 20 node_says '.site.leases_ready == 2'
	kill_site
	run -0 --separate-stderr as $ONE "$WNODES" run --memory 256M -- hostname
	[[ "${lines[0]}" == wn-* ]]
	wait_for 20 node_says '.site.autonomous_since'
	wait_for 90 node_says '.site.takes_vms | not'
	run -125 as $ONE "$WNODES" run --memory 256M -- true
	[[ "$output" == *"[site] autonomy"* ]]
	start_site
	wait_for 40 node_says '.site.takes_vms'
	wait_for 20 has_all_records
	run -0 as $ONE "$WNODES" run --memory 256M -- true
}

@test "site: configuration and drains go to the node, and its own drain is seen" {
	start_node
	site PUT /v1/configuration/site -H 'If-None-Match: *' -d '{"text":"[node]\nvms = 9\n"}' >conf.out
	wait_for 10 node_says '.limits.vms == 9'
	wait_for 10 site_says /v1/nodes/$NODE '.configuration != ""'
	etag=$(site GET /v1/nodes/$NODE -D - | sed -n 's/^ETag: *\(".*"\).*/\1/Ip')
	site PATCH /v1/nodes/$NODE -H "If-Match: $etag" -d '{"drained":true,"reason":"the site moves"}' >patch.out
	wait_for 10 node_says '.drain.drained and .drain.reason == "the site moves"'
	wait_for 10 site_says /v1/nodes/$NODE '.state == "drained"'
	run -125 as $ONE "$WNODES" run --memory 256M -- true
	[[ "$output" == *"the node is drained: the site moves"* ]]
	etag=$(site GET /v1/nodes/$NODE -D - | sed -n 's/^ETag: *\(".*"\).*/\1/Ip')
	site PATCH /v1/nodes/$NODE -H "If-Match: $etag" -d '{"drained":false}' >patch.out
	wait_for 10 site_says /v1/nodes/$NODE '.state == "up"'
	run -0 "$WNODES" node drain 'by hand'
	wait_for 5 site_says /v1/nodes/$NODE '.state == "drained" and .reason == "by hand"'
}

@test "site: a second node joins by a token of its own, and cannot speak of the first one's VM" {
	start_node
	living a $ONE
	wait_for 90 grep -q up a.out
	wait_for 10 site_says "/v1/vms?node=$NODE" '.items | length == 1'
	vm=$(site GET /v1/vms | jq -c '.items[0]')
	# The first one's token has served.
	run -125 "$WNODES" node join --token-file token --ca-fingerprint "$FINGERPRINT" --state "$WORK/state2" --name wn2 "$URL"
	[[ "$output" == *"token has served"* ]]
	make_token
	run -0 "$WNODES" node join --token-file token --ca-fingerprint "$FINGERPRINT" --state "$WORK/state2" --name wn2 "$URL"
	daemon --socket "$WORK/node/socket2" --state "$WORK/state2" --config "$WORK/config/wnodes/wnodes.conf" 2>>other.err </dev/null 3>&- &
	other=$!
	wait_for 20 site_says /v1/nodes/wn2 '.state == "up"'
	# It lies: by its own certificate, of another's VM, and as the other node.
	lie=$(jq -cn --argjson vm "$vm" '{boot: "00000000-0000-4000-8000-000000000000", sequence: 1, state: "up", full: true,
		vms: [{id: $vm.id, name: "vm-stolen", state: "running", user: "mallory", uid: 1}]}')
	as_node() {
		curl -sS --max-time 10 --cacert "$SITE/state/ca.pem" --cert state2/site/certificate.pem --key state2/site/key.pem \
			-H 'Content-Type: application/json' -d "$lie" "$URL$1"
	}
	as_node /v1/nodes/wn2/heartbeat | jq -e '.refused | length == 1'
	as_node /v1/nodes/$NODE/heartbeat | jq -e '.status == 403'
	[ "$(site GET /v1/vms | jq -c '[.items[] | [.node, .user != "mallory"]]')" = "[[\"$NODE\",true]]" ]
	site_says '/v1/events?kind=node.refused' '.items | length >= 1'
	end_living a
	wait_for 20 has_all_records
}

@test "site: a node that has left is told of, and one that is removed speaks no more" {
	start_node
	site DELETE /v1/nodes/$NODE -H 'If-Match: *' >delete.out
	wait_for 20 node_says '.site.failure'
	run -0 "$WNODES" node leave --state "$STATE"
	wait_for 10 node_says '.site == null'
	run -0 as $ONE "$WNODES" run --memory 256M -- echo alone
	make_token
	join
	wait_for 20 site_says /v1/nodes/$NODE '.state == "up"'
	wait_for 20 has_all_records
}
