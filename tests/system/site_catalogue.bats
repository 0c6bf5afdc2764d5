# Images of a site, from the controller to a VM: the real controller, its depot, the real porter and daemon.

bats_require_minimum_version 1.5.0
load helpers
load daemon
load site

start_site() {
	skip_if_closed
	skip_if_sanitized
	CONTROLLER=$WNODES_BUILD/wnodes-controller
	[ -x "$CONTROLLER" ] && [ -x "$WNODES_BUILD/wnodes-porter" ] || skip "controller or porter were not built"
	PORT=$(free_port) SITE=$WORK/site
	URL=https://localhost:$PORT
	mkdir -p "$SITE"
	printf '%s\n' '[controller]' "listen = 127.0.0.1:$PORT" "socket = $SITE/socket" "state = $SITE/state" "user = root" \
		"database = sqlite:$SITE/state/site.db" "depot = $SITE/depot" >"$SITE/controller.conf"
	start_controller
	# shellcheck disable=SC2034 # site.bash uses it
	FINGERPRINT=$(fingerprint "$SITE/state/ca.pem")
}

start_controller() {
	"$CONTROLLER" --config "$SITE/controller.conf" 2>>site.err </dev/null 3>&- &
	site=$!
	wait_for 20 site_answers
}

free_port() {
	python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

site_answers() {
	[ "$(site GET /healthz | jq -r .status)" = ok ]
}

# As root, on the controller's socket: site METHOD PATH [CURL OPTION...]
site() {
	local method=$1 path=$2
	shift 2
	curl -sS --max-time 20 --unix-socket "$SITE/socket" -X "$method" -H 'Content-Type: application/json' "$@" "http://controller$path"
}

# Cuts an image of a store into the depot, publishes it, and prints its digest: publish STORE NAME:TAG
publish() {
	XDG_DATA_HOME=$1 "$WNODES" image publish --depot "$SITE/depot" --json "$2" >release.json
	jq --rawfile manifest "$SITE/depot/manifest/$(jq -r .digest release.json).json" --arg name "${2%:*}" --arg tag "${2#*:}" \
		'{digest, name: $name, tag: $tag, manifest: $manifest, reason: "a test", parts: .parts}' release.json >wish.json
	site POST /v1/images -d @wish.json >published.json
	jq -re .digest published.json || { cat published.json >&2; return 1; }
}

# change DIGEST endorse|approve|expire|revoke
change() {
	site POST "/v1/images/$1/$2" -H 'If-Match: *' -d '{"reason":"a test of it"}' >changed.json
	jq -e .digest changed.json >/dev/null || { cat changed.json >&2; return 1; }
}

approve() {
	change "$1" endorse || return 1
	change "$1" approve
}

# A node with nothing of its own.
start_node() {
	rm -rf "$STATE"
	site PUT "/v1/tokens/$(cat /proc/sys/kernel/random/uuid)" -d '{"kind":"join","lifetime_s":600}' | jq -r .token >token
	join
	PEER=127.0.0.1:$(free_port)
	site_config '[images]' "listen = $PEER" "address = https://$PEER" 'local_images = no'
	start_daemon
	follows
}

# What the site says now is in force on the node, within the ten seconds that are promised.
follows() {
	wait_for 10 node_says ".images.catalogue == \"$(site GET /v1/catalogue | jq -r .revision)\""
}

images() {
	"$PYTHON" -B "$BATS_TEST_DIRNAME/images.py" "$@"
}

# Asks for an image as a user: ask UID IMAGE [WORD...]
ask() {
	local uid=$1
	shift
	as "$uid" "$PYTHON" -B "$BATS_TEST_DIRNAME/images.py" open "$SOCKET" "$@"
}

# Does the user get this one? gets IMAGE DIGEST
gets() {
	ask $ONE "$1" >gets.out
	[ "$(tail -1 gets.out | jq -r '[.digest, .right] | @csv')" = "\"$2\",true" ]
}

is_refused() {
	! ask $ONE "$1" >refused.out
}

# Does the site tell others that the node has it?
site_knows_peer() {
	curl -sS --max-time 10 --cacert "$SITE/state/ca.pem" --cert state2/site/certificate.pem --key state2/site/key.pem \
		"$URL/v1/images/$1/peers" | jq -e '.peers | length > 0'
}

# Has the controller chosen what it gave, instead of having been asked for one chunk after the other?
has_chosen() {
	site GET /metrics >metrics.out
	grep -q '^wnodes_controller_pick_bytes_total [1-9]' metrics.out && ! grep 'route="/depot/chunks/.*status="200"' metrics.out
}

porter() {
	pgrep -P "$daemon" -f wnodes-porter
}

teardown() {
	[ -z "${site:-}" ] || kill -KILL "$site" 2>/dev/null || true
	[ -z "${other:-}" ] || kill -KILL "$other" 2>/dev/null || true
	[ -z "${daemon:-}" ] || kill -KILL "$daemon" 2>/dev/null || true
	[ ! -e "${WORK:-/}/site.err" ] || tail -20 "$WORK/site.err" | sed 's/^/site: /'
	[ ! -e "${WORK:-/}/daemon.err" ] || sed 's/^/daemon: /' "$WORK/daemon.err"
	[ ! -e "${WORK:-/}/other.err" ] || sed 's/^/other: /' "$WORK/other.err"
	[ -z "${WORK:-}" ] || TEST_CLONES='' teardown_work
}

@test "catalogue: a VM starts on a node that has nothing, from what the site has approved, until it is revoked" {
	start_site
	digest=$(publish "$(dirname "$TEST_STORE")" debian:latest)
	start_node
	run -125 as $ONE "$WNODES" run --memory 256M -- true
	[[ "$output" == *"was not approved yet"* ]]
	run -125 as $ONE "$WNODES" run --memory 256M --image other -- true
	[[ "$output" == *"is not in the site's catalogue"* ]]
	approve "$digest"
	follows
	run -0 as $ONE "$WNODES" run --memory 256M -- echo hello
	[[ "$output" == *"waiting for the image: fetching debian"*hello* ]]
	[ "$(find "$STATE/kept" -type f -printf '%f')" = "$digest" ]
	change "$digest" revoke
	follows
	is_refused debian
	grep -q 'is revoked since .*a test of it' refused.out
	wait_for 10 test ! -e "$STATE/kept/$digest"
}

@test "catalogue: a tag moves, the new image reuses the old one, and another node takes it from here" {
	start_site
	images store store/wnodes el9:1 8000000
	images store store/wnodes el9:2 8000000
	first=$(publish "$PWD/store" el9:1)
	second=$(publish "$PWD/store" el9:2)
	approve "$first"
	site PUT /v1/tags/el9:latest -H 'If-None-Match: *' -d "{\"digest\":\"$first\",\"reason\":\"x\"}" >tag.out
	start_node
	gets el9 "$first"
	has_chosen
	approve "$second"
	site PUT /v1/tags/el9:latest -H 'If-Match: *' -d "{\"digest\":\"$second\",\"reason\":\"x\"}" >tag.out
	wait_for 15 test -e "$STATE/kept/$second"
	gets el9 "$second"
	gets "$first" "$first"
	# Another node, for which there is no depot any more.
	rm -rf "$SITE/depot"/chunks/*
	site PUT "/v1/tokens/$(cat /proc/sys/kernel/random/uuid)" -d '{"kind":"join","lifetime_s":600}' | jq -r .token >token
	run -0 "$WNODES" node join --token-file token --ca-fingerprint "$FINGERPRINT" --state "$WORK/state2" --name wn2 "$URL"
	sed "s/$PEER/127.0.0.1:$(free_port)/" config/wnodes/wnodes.conf >two.conf
	daemon --socket "$WORK/node/socket2" --state "$WORK/state2" --config "$WORK/two.conf" 2>>other.err </dev/null 3>&- &
	other=$!
	wait_for 20 grep -q 'catalogue .* is in force' other.err
	wait_for 20 site_knows_peer "$second"
	run -0 as $ONE "$PYTHON" -B "$BATS_TEST_DIRNAME/images.py" open "$WORK/node/socket2" el9
	[ "$(jq -r '[.digest, .right] | @csv' <<<"${lines[-1]}")" = "\"$second\",true" ]
}

@test "catalogue: porter, daemon and controller are killed while images come, and each comes whole" {
	start_site
	for i in 1 2 3; do images store store/wnodes "el$i:x" 30000000; done
	for i in 1 2 3; do digest[i]=$(publish "$PWD/store" "el$i:x"); done
	for i in 1 2 3; do approve "${digest[i]}"; done
	start_node
	follows
	for i in 1 2 3; do
		ask $ONE "el$i:x" >"ask$i.out" 3>&- &
		pids[i]=$!
		sleep 0.$((RANDOM % 4))
		kill -KILL "$(porter)" 2>/dev/null || true
		sleep 0.$((RANDOM % 4))
		case $i in
		1) kill -KILL $site && start_controller ;;
		2) kill_daemon KILL && start_daemon ;;
		esac
	done
	for i in 1 2 3; do
		ends_with 0 "${pids[i]}" || true
		wait_for 30 gets "el$i:x" "${digest[i]}"
	done
	[ "$(find "$STATE/kept" -type f | wc -l)" = 3 ]
	[ -z "$(ls "$STATE/fetch")" ]
}
