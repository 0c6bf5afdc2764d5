# Shared by the tests of nodes of a site; load daemon first. The courier is a user of its own.

COURIER_UID=64201
# shellcheck disable=SC2034 # daemon.bash uses it: not that of tests that may run at the same time
MAKER_UID=64202
NODE=wn1

# A configuration with a site at $URL, and these lines for [site] or other sections: site_config LINE...
site_config() {
	own_config '[site]' "controllers = $URL" "user = $COURIER_UID" 'heartbeat = 1s' "$@"
}

join() {
	run -0 "$WNODES" node join --token-file token --ca-fingerprint "$FINGERPRINT" --state "$STATE" --name "$NODE" "$URL" "$@"
}

fingerprint() {
	openssl x509 -in "$1" -noout -fingerprint -sha256 | cut -d= -f2
}

# Does the daemon say so of its node, by jq: node_says FILTER
node_says() {
	"$WNODES" node show --json | jq -e "$1" >/dev/null
}

# The courier of this test's daemon.
# shellcheck disable=SC2154 # daemon.bash has it
courier() {
	pgrep -P "$daemon" -f wnodes-courier
}

# A usage record of this node, which began its life as a line: a_record [JQ CHANGE]
a_record() {
	jq -cn --arg id "$(cat /proc/sys/kernel/random/uuid)" --arg node "$NODE" \
		"{schema: 1, id: \$id, vm: \"vm-1\", node: \$node, user: \"alice\", uid: 64123, gid: 64123,
		started: \"2026-11-21T17:51:00Z\", ended: \"2026-11-21T17:52:00Z\", source: \"both\"} | ${1:-.}" >>"$STATE/records.jsonl"
}
