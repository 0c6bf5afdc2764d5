#!/usr/bin/env bats
# The site's controller as its clients see it: the program itself, by HTTPS and by its socket.

load helpers
load controller

GROUP='{"description":"a group"}'

@test "the published document is good, and answers are as it says" {
	start_controller
	controller_py document "$SOCKET"
	controller_py answers "$SOCKET"
}

@test "users of the socket are known, others show who they are" {
	start_controller
	has_status 200 "$(local_call GET /v1/nodes)"
	has_status 200 "$(remote_call GET /healthz)"
	has_status 401 "$(remote_call GET /v1/nodes)"
	has_status 401 "$(remote_call GET /v1/nodes -H 'Authorization: Bearer nonsense')"
	has_status 401 "$(remote_call GET /v1/nodes -H 'Authorization: Nonsense x')"
	has_status 405 "$(local_call DELETE /v1/nodes)"
	has_status 404 "$(local_call GET /v1/nothing)"
	has_status 404 "$(local_call GET /v1/nodes/nothing)"
}

@test "a token says by HTTPS who somebody is" {
	start_controller
	secret=$(put "/v1/tokens/$(cat /proc/sys/kernel/random/uuid)" '{"kind":"bearer","lifetime_s":600}' | head -1 | jq -r .token)
	has_status 200 "$(remote_call GET /v1/nodes -H "Authorization: Bearer $secret")"
	remote_call GET /v1/whoami -H "Authorization: Bearer $secret" | head -1 | jq -e '.name == "root" and .how == "token"'
	has_status 401 "$(remote_call GET /v1/nodes -H "Authorization: Bearer ${secret}x")"
}

@test "lists come in pages" {
	start_controller
	for i in 1 2 3 4 5; do
		put "/v1/groups/g$i" "$GROUP" >/dev/null
	done
	page=$(local_call GET '/v1/groups?limit=2' | head -1)
	[ "$(jq -r '[.items[].name] | join(" ")' <<<"$page")" = "g1 g2" ]
	page=$(local_call GET "/v1/groups?limit=2&after=$(jq -r .next <<<"$page")" | head -1)
	[ "$(jq -r '[.items[].name] | join(" ")' <<<"$page")" = "g3 g4" ]
	page=$(local_call GET "/v1/groups?limit=2&after=$(jq -r .next <<<"$page")" | head -1)
	[ "$(jq -r '[.items[].name, .next] | map(tostring) | join(" ")' <<<"$page")" = "g5 null" ]
	has_status 400 "$(local_call GET '/v1/groups?limit=0')"
	has_status 400 "$(local_call GET '/v1/groups?limt=1')"
	has_status 400 "$(local_call GET '/v1/groups?limit=1&limit=1')"
	has_status 400 "$(local_call GET '/v1/groups/%zz')"
}

@test "a change says which state it is based on" {
	start_controller
	put /v1/groups/g "$GROUP" -D headers >/dev/null
	etag=$(sed -n 's/^ETag: *\(".*"\).*/\1/Ip' headers)
	[ -n "$etag" ]
	has_status 200 "$(put /v1/groups/g '{"description":"other"}' -H "If-Match: $etag")"
	run put /v1/groups/g '{"description":"mine"}' -H "If-Match: $etag"
	has_status 412 "$output"
	has_status 200 "$(put /v1/groups/g '{"description":"mine"}' -H 'If-Match: *')"
	local_call GET /v1/groups/g | head -1 | jq -e '.description == "mine"'
}

@test "bodies are JSON, and have their size" {
	start_controller
	has_status 415 "$(local_call PUT /v1/groups/g -d "$GROUP" -H 'Content-Type: text/plain')"
	for body in '' '{' '[]' '{"description":"a","description":"b"}' '{"description":7}'; do
		has_status 400 "$(put /v1/groups/g "$body")"
	done
	has_status 400 "$(local_call GET /v1/groups -d '{}' -H 'Content-Type: application/json')"
	{ printf '{"description":"'; head -c 2000000 /dev/zero | tr '\0' x; printf '"}'; } >large
	has_status 413 "$(put /v1/groups/g @large)"
	has_status 413 "$(put /v1/groups/g @large -H 'Transfer-Encoding: chunked')"
	has_status 201 "$(put /v1/groups/g "$GROUP" -H 'Transfer-Encoding: chunked')"
	# Of those whom nobody knows, a smaller one.
	{ printf '{"token":"'; head -c 100000 /dev/zero | tr '\0' x; printf '"}'; } >large
	has_status 413 "$(local_call POST /v1/join -H 'Content-Type: application/json' -d @large)"
}

@test "whom nobody knows sends no large body" {
	start_controller
	{ printf '{"records":["'; head -c 15000000 /dev/zero | tr '\0' x; printf '"]}'; } >large
	# The answer does not wait for it. (It may be lost to who goes on sending: that is the client's.)
	sent() {
		curl -s --max-time 20 --cacert "$STATE/ca.pem" -w '%{http_code} %{size_upload}\n' -o /dev/null "$@" \
			-H 'Content-Type: application/json' -d @large "$URL/v1/records" || true
	}
	run sent
	[ "${output%% *}" = 401 ] || [ "${output%% *}" = 000 ]
	[ "${output##* }" -lt 8000000 ]
	run sent -H 'Authorization: Bearer nonsense'
	[ "${output##* }" -lt 8000000 ]
	has_status 401 "$(remote_call POST /v1/records -H 'Content-Type: application/json' -H 'Transfer-Encoding: chunked' -d @large)"
	# One who is known, and has no business with records.
	has_status 403 "$(head -c 100000 large | local_call POST /v1/records -H 'Content-Type: application/json' -d @-)"
	has_status 200 "$(local_call GET /healthz)"
}

@test "who fails too often to say who he is has to wait" {
	own_config 'failures = 5'
	start_controller
	id=$(cat /proc/sys/kernel/random/uuid)
	good=$(put "/v1/tokens/$id" '{"kind":"bearer"}' | head -1 | jq -r .token)
	for i in 1 2 3 4; do
		has_status 401 "$(remote_call GET /v1/whoami -H "Authorization: Bearer wnodes_user_$(printf %064d "$i")")"
	done
	has_status 200 "$(remote_call GET /v1/whoami -H "Authorization: Bearer $good")"
	has_status 403 "$(remote_call POST /v1/join -H 'Content-Type: application/json' -d '{"token":"x","node":"n","csr":"x"}')"
	run remote_call GET /v1/whoami -H "Authorization: Bearer $good" -D headers
	has_status 429 "$output"
	grep -i '^retry-after: [0-9]' headers
	has_status 429 "$(remote_call POST /v1/join -H 'Content-Type: application/json' -d '{"token":"x","node":"n","csr":"x"}')"
	# Who shows nothing, or comes from elsewhere, is not concerned.
	has_status 200 "$(remote_call GET /v1/ca)"
	has_status 200 "$(local_call GET /v1/whoami)"
	wait_for 20 eval 'has_status 200 "$(remote_call GET /v1/whoami -H "Authorization: Bearer $good")"'
}

@test "one user has so many tokens and streams and no more" {
	own_config 'user_tokens = 2' 'user_streams = 1'
	start_controller
	for i in 1 2; do
		has_status 201 "$(put "/v1/tokens/t$i" '{"kind":"bearer"}')"
	done
	has_status 200 "$(put /v1/tokens/t2 '{"kind":"bearer"}')"
	has_status 409 "$(put /v1/tokens/t3 '{"kind":"bearer"}')"
	has_status 201 "$(put /v1/tokens/t3 '{"kind":"bearer","name":"somebody-else"}')"
	has_status 204 "$(local_call DELETE /v1/tokens/t1)"
	has_status 201 "$(put /v1/tokens/t4 '{"kind":"bearer"}')"
	curl -sSN --max-time 20 --unix-socket "$SOCKET" -H 'Accept: text/event-stream' http://c/v1/events >stream 2>/dev/null 3>&- &
	follower=$!
	wait_for 5 grep -q retry stream
	has_status 429 "$(local_call GET /v1/events -H 'Accept: text/event-stream')"
	chmod 755 "$WORK" "$WORK/controller"
	setpriv --reuid=1 --regid=1 --clear-groups curl -sSN --max-time 2 --unix-socket "$SOCKET" \
		-H 'Accept: text/event-stream' http://c/v1/events | grep -q retry
	kill "$follower"
}

@test "malformed requests do no harm" {
	start_controller
	controller_py malformed "$SOCKET"
	has_status 200 "$(local_call GET /healthz)"
}

@test "an answer has the request's id, and no cache keeps it" {
	start_controller
	local_call HEAD /v1/nodes --head -H 'X-Request-Id: mine-1' -D headers >/dev/null
	grep -iq '^X-Request-Id: mine-1' headers
	grep -iq '^Cache-Control: no-store' headers
	[ "$(grep -ic ^Server: headers)" -eq 0 ]
	local_call GET /v1/nodes -H 'X-Request-Id: <script>' -D headers >/dev/null
	[ "$(grep -ic script headers)" -eq 0 ]
}

@test "events are followed, and taken up again where they were left" {
	start_controller
	put /v1/groups/g1 "$GROUP" >/dev/null
	curl -sSN --max-time 20 --unix-socket "$SOCKET" -H 'Accept: text/event-stream' 'http://c/v1/events?after=0' >stream 2>/dev/null 3>&- &
	follower=$!
	wait_for 5 grep -q '^event: group' stream
	put /v1/groups/g2 "$GROUP" >/dev/null
	wait_for 5 grep -q 'group:g2' stream
	kill $follower
	last=$(sed -n 's/^id: //p' stream | tail -1)
	put /v1/groups/g3 "$GROUP" >/dev/null
	# By another controller, as far as this one can tell.
	sqlite3 -cmd '.timeout 5000' "$STATE/site.db" "INSERT INTO event (sequence, time, kind, subject, actor, detail_json)
		SELECT max(sequence) + 1, 1795283460000000, 'node.lost', 'node:wn1', 'controller', '{}' FROM event"
	curl -sSN --max-time 20 --unix-socket "$SOCKET" -H 'Accept: text/event-stream' -H "Last-Event-ID: $last" http://c/v1/events >again 2>/dev/null 3>&- &
	follower=$!
	wait_for 5 grep -q 'node:wn1' again
	grep -q group:g3 again
	[ "$(grep -c group:g2 again)" -eq 0 ]
	# The end of the controller is that of the stream.
	stop_controller
	wait_for 5 is_gone $follower
}

@test "there are so many streams and no more" {
	own_config 'streams = 1'
	start_controller
	curl -sSN --max-time 20 --unix-socket "$SOCKET" -H 'Accept: text/event-stream' http://c/v1/events >stream 2>/dev/null 3>&- &
	follower=$!
	wait_for 5 grep -q retry stream
	has_status 503 "$(local_call GET /v1/events -H 'Accept: text/event-stream')"
	has_status 200 "$(local_call GET /v1/events)"
	has_status 400 "$(local_call GET '/v1/events?after=x' -H 'Accept: text/event-stream')"
	has_status 400 "$(local_call GET '/v1/events?subject=node:x' -H 'Accept: text/event-stream')"
	# A list of so many kinds is refused; a stream would never have told anything.
	has_status 400 "$(local_call GET "/v1/events?kind=$(seq -s, 51)" -H 'Accept: text/event-stream')"
	kill $follower
}

@test "a thousand idle connections and slow clients do not keep others out" {
	own_config 'request_time = 2s' 'idle_time = 3s'
	start_controller
	ulimit -n 4096 || skip "needs 4096 descriptors"
	controller_py idle "$SOCKET" 127.0.0.1 "$PORT" 1000
	controller_py slow "$SOCKET"
	has_status 200 "$(local_call GET /healthz)"
}

@test "clients that are slow in their handshake cost no processor time" {
	start_controller
	controller_py half_hello "$controller" 127.0.0.1 "$PORT"
	has_status 200 "$(local_call GET /healthz)"
	# Those that still wait do not keep it from ending.
	stop_controller
}

@test "one address has so many connections and no more" {
	own_config 'address_connections = 20' 'user_connections = 20'
	start_controller
	controller_py limit "$SOCKET" 127.0.0.1 "$PORT" 20
	has_status 200 "$(local_call GET /healthz)"
}

@test "numbers are as Prometheus reads them" {
	start_controller
	put /v1/groups/g "$GROUP" >/dev/null
	local_call GET /v1/nothing >/dev/null
	local_call GET /metrics | sed '$d' >metrics
	grep -q 'wnodes_controller_http_requests_total{method="PUT",route="/v1/groups/{name}",status="200"} 1' metrics ||
		grep -q 'wnodes_controller_http_requests_total{method="PUT",route="/v1/groups/{name}",status="201"} 1' metrics
	grep -q '^wnodes_controller_http_requests_total{method="",route="",status="404"} 1' metrics
	has_status 401 "$(remote_call GET /metrics)"
	command -v promtool >/dev/null || skip "there is no promtool"
	promtool check metrics <metrics
}

@test "settings are read again, and a mistake in them changes nothing" {
	start_controller
	own_config 'metrics_open = yes' 'log_format = json' 'log_level = debug' 'threads = 7'
	kill -HUP "$controller"
	wait_for 5 grep -q 'has read its settings again' controller.err
	has_status 200 "$(remote_call GET /metrics)"
	grep '"message":"request"' controller.err | tail -1 | jq -e '.route == "/metrics" and .status == 200'
	grep -q 'threads is taken over at the next start only' controller.err
	own_config 'metrics_open = no' 'nonsense = yes'
	kill -HUP "$controller"
	wait_for 5 grep -q 'settings stay as they were' controller.err
	has_status 200 "$(remote_call GET /metrics)"
}

@test "another certificate is shown without a restart" {
	start_controller
	other() {
		curl -sS --max-time 20 --cacert "$STATE/ca.pem" --resolve "other.example:$PORT:127.0.0.1" "https://other.example:$PORT/healthz"
	}
	run other
	[ "$status" -ne 0 ]
	own_config 'names = other.example'
	kill -HUP "$controller"
	wait_for 5 grep -q 'shows another certificate' controller.err
	other | jq -e '.status == "ok"'
	has_status 200 "$(remote_call GET /healthz)"
}

# The names of all groups, however many pages they fill.
all_groups() {
	local after='' page
	while [ "$after" != null ]; do
		page=$(local_call GET "/v1/groups?limit=1000${after:+&after=$after}" | head -1)
		jq -r '.items[].name' <<<"$page"
		after=$(jq -r .next <<<"$page")
	done
}

@test "what was answered is there after a kill" {
	start_controller
	for round in 1 2 3; do
		controller_py writes "$SOCKET" "$round" >"written$round" 3>&- &
		writer=$!
		wait_for 10 test -s "written$round"
		sleep 0.5
		stop_controller KILL
		wait $writer
		start_controller
		all_groups >there
		run comm -23 <(sort "written$round") <(sort there)
		[ -z "$output" ]
	done
}

@test "it ends in order while it is asked" {
	start_controller
	controller_py writes "$SOCKET" end >written 3>&- &
	writer=$!
	wait_for 10 test -s written
	stop_controller
	wait $writer
	[ ! -e "$SOCKET" ]
	start_controller
	local_call GET "/v1/groups?limit=1000" | head -1 | jq -r '.items[].name' >there
	while read -r name; do
		grep -qx "$name" there
	done <written
}

@test "a second one does not take the socket of the first" {
	start_controller
	own_config
	sed -i "s/127.0.0.1:$PORT/127.0.0.2:$PORT/" "$WORK/controller.conf"
	run "$CONTROLLER" --config "$WORK/controller.conf"
	[ "$status" -eq 125 ]
	grep -q 'another program does already' <<<"$output"
	has_status 200 "$(local_call GET /healthz)"
}

@test "settings and the database are checked" {
	start_controller
	"$CONTROLLER" check --config "$WORK/controller.conf" | grep -q 'database: good'
	own_config 'nonsense = 1'
	run "$CONTROLLER" check --config "$WORK/controller.conf"
	[ "$status" -eq 125 ]
	grep -q "unknown key 'nonsense'" <<<"$output"
	run "$CONTROLLER" check --config "$WORK/none"
	[ "$status" -eq 125 ]
	run "$CONTROLLER" nonsense
	[ "$status" -eq 125 ]
	"$CONTROLLER" --help | grep -q migrate
}

@test "a database is copied without its address in the command line" {
	start_controller
	has_status 201 "$(put /v1/groups/g "$GROUP")"
	stop_controller
	echo "sqlite:$WORK/copy.db" >url
	"$CONTROLLER" migrate --from "sqlite:$STATE/site.db" --to-file url
	[ "$(sqlite3 copy.db 'SELECT name FROM hostgroup')" = g ]
	run "$CONTROLLER" migrate --from "sqlite:$STATE/site.db" --to-file none
	[ "$status" -eq 125 ]
	grep -q "cannot read 'none'" <<<"$output"
	run "$CONTROLLER" migrate --from "sqlite:$STATE/site.db"
	[ "$status" -eq 125 ]
}
