# A node whose controller errs, lies and is away: nothing of the node's own suffers, and nothing is lost.
# No VM is started but in one.

bats_require_minimum_version 1.5.0
load helpers
load daemon
load site

# A controller of python's: start_site
start_site() {
	mkdir -p site
	python3 "$BATS_TEST_DIRNAME/faulty_controller.py" site 2>site.err 3>&- &
	site=$!
	wait_for 20 test -s site/port
	URL=https://localhost:$(cat site/port) FINGERPRINT=$(fingerprint site/ca.pem)
	echo the-token >token
}

kill_site() {
	kill -KILL $site
	wait $site || true
}

teardown() {
	[ -z "${site:-}" ] || kill -KILL "$site" 2>/dev/null || true
	[ ! -e "${WORK:-/}/site.err" ] || sed 's/^/site: /' "$WORK/site.err"
	[ -z "${daemon:-}" ] || kill -KILL "$daemon" 2>/dev/null || true
	[ ! -e "${WORK:-/}/daemon.err" ] || sed 's/^/daemon: /' "$WORK/daemon.err"
	[ -z "${WORK:-}" ] || TEST_CLONES='' teardown_work
}

start_node() {
	skip_if_closed
	skip_if_sanitized
	start_site
	join
	site_config "$@"
	start_daemon
	wait_for 10 node_says '.site.controller'
}

mode() {
	echo "$1" >site/mode
}

# How many records the site has, and how many deliveries of them.
stored() {
	find site/records -type f 2>/dev/null | wc -l
}

has_stored() {
	[ "$(stored)" = "$1" ]
}

has_heartbeat() {
	tail -n "${2:-1}" site/heartbeats | jq -e "$1" >/dev/null
}

@test "site: a node joins by the fingerprint of the authority, and nobody reads its key" {
	start_site
	run -125 "$WNODES" node join --token the-token --state "$STATE" "$URL"
	[[ "$output" == *"add --ca-fingerprint"* ]]
	run -125 "$WNODES" node join --token the-token --state "$STATE" --ca-fingerprint 00 "$URL"
	[[ "$output" == *"is not the site's"* ]]
	[ ! -e site/used ] # nothing was told to it
	run -125 "$WNODES" node join --token wrong --state "$STATE" --ca-fingerprint "$FINGERPRINT" "$URL"
	[[ "$output" == *"this is no token"* ]]
	join
	[ "$(stat -c %a:%u "$STATE/site/key.pem")" = 600:0 ]
	openssl x509 -in "$STATE/site/certificate.pem" -noout -subject | grep -q "CN = $NODE"
	openssl verify -CAfile "$STATE/site/ca.pem" "$STATE/site/certificate.pem"
	join # once more
	run -125 "$WNODES" node join --token the-token --state "$STATE" --name other --ca-fingerprint "$FINGERPRINT" "$URL"
	run -0 "$WNODES" node leave --state "$STATE"
	[ ! -e "$STATE/site/key.pem" ] && [ ! -e "$STATE/site/certificate.pem" ]
}

@test "site: a node that was killed while it joined, or lost the answer, joins with the same token" {
	start_site
	mode 'lose the answer'
	join # it asks again, and is answered the same
	cmp site/joined.pem "$STATE/site/certificate.pem"
	[ ! -e "$STATE/site/request.json" ]
	for _ in 1 2 3 4 5 6; do
		"$WNODES" node leave --state "$STATE"
		rm -f site/used
		timeout -s KILL 0.0$((RANDOM % 10)) "$WNODES" node join --token-file token --ca site/ca.pem --state "$STATE" "$URL" || true
		[ ! -e "$STATE/site/key.pem" ] || [ "$(stat -c %a "$STATE/site/key.pem")" = 600 ]
		run -0 "$WNODES" node join --token-file token --ca site/ca.pem --state "$STATE" "$URL"
	done
}

@test "site: heartbeats say what is, and the courier has no rights" {
	start_node
	wait_for 10 has_heartbeat '.node == "wn1" and .state == "up" and .cpus > 0 and .full == false'
	[ "$(awk '/^Uid/ { print $2, $3, $4 }' "/proc/$(courier)/status")" = "$COURIER_UID $COURIER_UID $COURIER_UID" ]
	grep -q '^CapEff:.*0000000000000000$' "/proc/$(courier)/status"
	grep -q '^NoNewPrivs:.1$' "/proc/$(courier)/status"
	run -1 grep -E 'libcurl|libssl' "/proc/$daemon/maps"
	run -0 "$WNODES" node drain 'a disk is to be changed'
	wait_for 5 has_heartbeat '.state == "drained" and .reason == "a disk is to be changed"'
	run -0 "$WNODES" node resume
	wait_for 5 has_heartbeat '.state == "up"'
}

@test "site: whatever the controller answers, the node goes on, and the records come later" {
	start_node 'autonomy = 1h'
	for fault in 500 garbage array huge close half revoked lies; do
		mode $fault
		a_record
		sleep 2
		node_says '.site.takes_vms' || { echo "not with $fault"; false; }
	done
	run -0 courier
	has_stored 0
	mode ok
	wait_for 30 has_stored 8
	wait_for 5 node_says '.site.failure == null'
}

@test "site: a controller that is slow holds up nobody" {
	start_node
	mode slow
	for _ in 1 2 3 4 5; do
		start=$EPOCHREALTIME
		node_says .version
		[ $((${EPOCHREALTIME/./} - ${start/./})) -lt 10000000 ]
		sleep 0.5
	done
}

@test "site: a record that is refused for good is kept apart, with the reason, and holds up no other" {
	start_node
	mode 'bad batch'
	for _ in 1 2 3 4 5; do a_record; done
	a_record '.vm = "vm-bad"'
	echo 'no record' >>"$STATE/records.jsonl"
	for _ in 1 2 3; do a_record; done
	wait_for 30 has_stored 8
	[ "$(jq -r '.reason, .record.vm' "$STATE/records-refused.jsonl" | paste -sd' ')" = "this record is bad vm-bad" ]
}

@test "site: records that are rotated, compressed and removed before they are delivered come all the same" {
	start_node
	mode 500
	for _ in 1 2 3; do a_record; done
	wait_for 10 test -e "$STATE/site/outbox/1"
	mv "$STATE/records.jsonl" "$STATE/records.jsonl.1"
	gzip -c "$STATE/records.jsonl.1" >"$STATE/records.jsonl.1.gz"
	rm "$STATE/records.jsonl.1"
	for _ in 1 2; do a_record; done
	wait_for 10 test -e "$STATE/site/outbox/2"
	kill_daemon KILL
	mv "$STATE/records.jsonl" "$STATE/records.jsonl.2"
	start_daemon
	a_record
	mode ok
	wait_for 30 has_stored 6
	wait_for 10 test ! -e "$STATE/site/outbox/1"
	jq -s 'map(.known) | add' site/deliveries | grep -qx 0
}

@test "site: courier, daemon and controller are killed at random, and each record comes once" {
	start_node
	for _ in $(seq 12); do
		for _ in $(seq $((RANDOM % 30 + 1))); do a_record; done
		case $((RANDOM % 3)) in
		0) kill -KILL "$(courier)" 2>/dev/null || true ;;
		1) kill_daemon KILL && start_daemon ;;
		2) kill_site && start_site ;;
		esac
		sleep 0.$((RANDOM % 9))
	done
	wait_for 90 has_stored "$(wc -l <"$STATE/records.jsonl")"
	[ "$(jq -s 'map(.stored) | add' site/deliveries)" -le "$(stored)" ]
}

@test "site: a configuration is pushed; one that is no good is not taken, and the last one holds" {
	start_node
	printf '[node]\nvms = 7\n[policy a]\nvm = forbid\n' >site/configuration
	wait_for 10 node_says '.limits.vms == 7'
	[ "$(stat -c %a "$STATE/site/wnodes.conf")" = 644 ]
	wait_for 10 has_heartbeat ".configuration == \"$(sha256sum site/configuration | cut -d' ' -f1)\""
	printf '[node]\nvms = many\n' >site/configuration
	wait_for 10 grep -q 'configuration is not taken: .*wnodes.conf.checked:2' daemon.err
	sleep 2
	node_says '.limits.vms == 7'
	[ "$(grep -c 'configuration is not taken' daemon.err)" -le 2 ]
	kill_daemon KILL
	start_daemon
	node_says '.limits.vms == 7'
	# What stands on the node itself holds.
	site_config '[node]' 'vms = 3'
	kill -HUP $daemon
	wait_for 5 node_says '.limits.vms == 3'
	printf '[node]\nvms = 8\n' >site/configuration
	wait_for 10 grep -q 'vms = 8' "$STATE/site/wnodes.conf"
	sleep 1
	node_says '.limits.vms == 3'
}

@test "site: a drain that the site wants is as an administrator's, and is heard once" {
	start_node
	echo true >site/wish
	wait_for 10 node_says '.drain.drained and .drain.reason == "as the test wishes"'
	run -0 "$WNODES" node resume
	sleep 3
	node_says '.drain.drained | not'
	kill_daemon KILL
	start_daemon
	sleep 2
	node_says '.drain.drained | not'
	echo false >site/wish
	sleep 3
	run -0 "$WNODES" node drain 'by hand'
	sleep 3
	node_says '.drain.drained'
	echo null >site/wish
	sleep 2
	node_says '.drain.drained'
	echo false >site/wish
	wait_for 10 node_says '.drain.drained | not'
}

@test "site: on its own for too long, a node takes no VMs, says so, and counts over restarts" {
	start_node 'autonomy = 4s'
	mode 500
	wait_for 10 node_says '.site.autonomous_since'
	wait_for 10 node_says '.site.takes_vms | not'
	run -125 as $ONE "$WNODES" run --memory 256M -- true
	[[ "$output" == *"no controller of its site has answered since "*"[site] autonomy"* ]]
	kill_daemon KILL
	start_daemon
	wait_for 10 node_says '.site.takes_vms | not'
	[ "$(grep -c 'is on its own' daemon.err)" = 1 ]
	mode ok
	wait_for 20 node_says '.site.takes_vms and .site.autonomous_since == null'
	grep -q 'answers again' daemon.err
}

@test "site: a certificate is renewed when two thirds of its life are over" {
	skip_if_closed
	skip_if_sanitized
	start_site
	echo '-25d' >site/since
	join
	before=$(openssl x509 -in "$STATE/site/certificate.pem" -noout -serial)
	rm site/since
	# Also where nothing else can be told: a record that cannot be read ends the courier.
	mkdir -p "$STATE/site/outbox/1"
	site_config
	start_daemon
	renewed() {
		[ "$(openssl x509 -in "$STATE/site/certificate.pem" -noout -serial)" != "$before" ]
	}
	wait_for 20 renewed
	wait_for 10 node_says '.site.failure == null and .site.controller'
	sleep 2
	[ "$(wc -l <site/renewals)" = 1 ]
}

@test "site: a site that gives up nodes sooner hears of them more often than they would" {
	skip_if_closed
	skip_if_sanitized
	start_site
	echo 1 >site/interval
	join
	own_config '[site]' "controllers = $URL" "user = $COURIER_UID" 'heartbeat = 60s'
	start_daemon
	wait_for 20 sh -c '[ "$(wc -l <site/heartbeats)" -ge 7 ]'
}

@test "site: the lease's name is the VM's, it is kept over a restart, and none is given twice" {
	seq -f 'wn-%02g' 30 >site-pool
	skip_if_closed
	skip_if_sanitized
	start_site
	mv site-pool site/pool
	join
	site_config 'pool = batch' 'lease_block = 3'
	start_daemon
	wait_for 20 node_says '.site.leases_ready == 3'
	mode 500 # on its block alone
	run -0 --separate-stderr as $ONE "$WNODES" run --memory 256M -- hostname
	[[ "${lines[0]}" == wn-[0-3][0-9] ]] || { echo "$output"; "$WNODES" node show; false; }
	mode ok
	living a $ONE
	living b $TWO
	wait_for 90 grep -q up a.out
	wait_for 90 grep -q up b.out
	wait_for 10 node_says '.site.leases_used == 2 and .site.leases_ready == 3'
	kill_daemon KILL
	# The site thinks that the node has one more, which the node knows nothing of.
	jq '. + {"5a5a5a5a-0000-4000-8000-000000000001": "wn-30"}' site/leases >leases
	mv leases site/leases
	start_daemon
	wait_for 10 node_says '.vms == 2'
	wait_for 10 sh -c '! grep -q 5a5a5a5a site/leases'
	node_says '.site.leases_used == 2'
	wait_for 10 has_heartbeat '[.vms[].state] == ["running", "running"] and ([.vms[].name] | all(test("^vm-"))) and .vms[0].id' 9
	end_living a
	end_living b
	wait_for 10 node_says '.site.leases_used == 0 and .site.leases_ready == 3'
	[ "$(jq -r '.[]' site/leases | sort | uniq -d)" = "" ]
}
