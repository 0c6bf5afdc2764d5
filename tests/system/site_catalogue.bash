# Shared by the tests of images with a real controller, its depot and real porters; load helpers, daemon and site first.

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

# A node with nothing of its own: start_node [LINE of [images]...]
start_node() {
	rm -rf "$STATE"
	site PUT "/v1/tokens/$(cat /proc/sys/kernel/random/uuid)" -d '{"kind":"join","lifetime_s":600}' | jq -r .token >token
	join
	PEER=127.0.0.1:$(free_port)
	site_config '[images]' "listen = $PEER" "address = https://$PEER" 'local_images = no' "$@"
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
	teardown_site
}

teardown_site() {
	[ -z "${site:-}" ] || kill -KILL "$site" 2>/dev/null || true
	[ -z "${other:-}" ] || kill -KILL "$other" 2>/dev/null || true
	[ -z "${daemon:-}" ] || kill -KILL "$daemon" 2>/dev/null || true
	[ ! -e "${WORK:-/}/site.err" ] || tail -20 "$WORK/site.err" | sed 's/^/site: /'
	[ ! -e "${WORK:-/}/daemon.err" ] || sed 's/^/daemon: /' "$WORK/daemon.err"
	[ ! -e "${WORK:-/}/other.err" ] || sed 's/^/other: /' "$WORK/other.err"
	[ -z "${WORK:-}" ] || TEST_CLONES='' teardown_work
}
