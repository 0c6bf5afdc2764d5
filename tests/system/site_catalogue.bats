# Images of a site, from the controller to a VM: the real controller, its depot, the real porter and daemon.

bats_require_minimum_version 1.5.0
load helpers
load daemon
load site
load site_catalogue

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
	export other=$!
	wait_for 20 grep -q 'catalogue .* is in force' other.err
	wait_for 20 site_knows_peer "$second"
	run -0 as $ONE "$PYTHON" -B "$BATS_TEST_DIRNAME/images.py" open "$WORK/node/socket2" el9
	[ "$(jq -r '[.digest, .right] | @csv' <<<"${lines[-1]}")" = "\"$second\",true" ]
}

@test "catalogue: porter, daemon and controller are killed while images come, and each comes whole" {
	start_site
	for i in 1 2 3; do images store store/wnodes "el$i:x" 30000000; done
	for i in 1 2 3; do digests[i]=$(publish "$PWD/store" "el$i:x"); done
	for i in 1 2 3; do approve "${digests[i]}"; done
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
		wait_for 30 gets "el$i:x" "${digests[i]}"
	done
	[ "$(find "$STATE/kept" -type f | wc -l)" = 3 ]
	[ -z "$(ls "$STATE/fetch")" ]
}

@test "catalogue: a user's own image starts for him at once, and for others when it was approved for all" {
	local owner
	owner=$(getent passwd 1 | cut -d: -f1) && getent passwd 2 >/dev/null || skip "users 1 and 2 have no account"
	start_site
	images store store/wnodes mine:1 4000000
	XDG_DATA_HOME=$PWD/store "$WNODES" image publish --depot "$SITE/depot" --json mine:1 >release.json
	digest=$(jq -r .digest release.json)
	jq --rawfile manifest "$SITE/depot/manifest/$digest.json" \
		'{digest, name: "mine", tag: "1", private: true, manifest: $manifest, reason: "my own", parts: .parts}' release.json >wish.json
	chmod 755 "$SITE"
	run -0 as 1 curl -sS --max-time 20 --unix-socket "$SITE/socket" -H 'Content-Type: application/json' -d "@$WORK/wish.json" \
		http://controller/v1/images
	jq -e --arg owner "$owner" '.state == "approved" and .private and .owner == $owner' <<<"$output"
	start_node
	run -0 ask 1 mine:1
	[ "$(jq -r '[.digest, .right] | @csv' <<<"${lines[-1]}")" = "\"$digest\",true" ]
	run ! ask 2 "$digest"
	[[ "$output" == *"another user's own"* ]]
	run ! ask 2 mine:1
	change "$digest" endorse
	follows
	run ! ask 2 "$digest"
	change "$digest" approve
	follows
	run -0 ask 2 "$digest"
}
