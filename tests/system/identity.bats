#!/usr/bin/env bats
# Who is taken for whom by the site's controller: nodes with certificates, users by MUNGE, by token and by
# the socket; and what they may then.

bats_require_minimum_version 1.5.0
load helpers
load controller

# What a test has started ends with it, whatever its outcome.
teardown() {
	[ -z "${server:-}" ] || kill "$server" 2>/dev/null || true
	for pid in "$WORK"/*/munged.pid; do
		[ ! -e "$pid" ] || kill "$(cat "$pid")" 2>/dev/null || true
	done
	teardown_controller
}

# Makes NAME.key and NAME.csr: make_request NAME
make_request() {
	openssl ecparam -name prime256v1 -genkey -noout -out "$1.key" 2>/dev/null
	openssl req -new -key "$1.key" -subj /CN=anybody -out "$1.csr"
}

# Prints a token to join with: invite ID [MORE-MEMBERS]
invite() {
	put "/v1/tokens/$1" "{\"kind\":\"join\"${2:-}}" | head -1 | jq -er .token
}

# join TOKEN NODE NAME-OF-REQUEST
join() {
	jq -n --arg token "$1" --arg node "$2" --rawfile csr "$3.csr" '{$token, $node, $csr}' |
		remote_call POST /v1/join -H 'Content-Type: application/json' -d @-
}

# A node with NODE.key and NODE.pem: make_node NODE [MORE-MEMBERS-OF-ITS-TOKEN]
make_node() {
	local answer
	make_request "$1"
	answer=$(join "$(invite "for-$1" "${2:-}")" "$1" "$1")
	has_status 201 "$answer"
	head -1 <<<"$answer" | jq -ejr .certificate >"$1.pem"
}

# node_call NODE METHOD PATH [CURL OPTION...]
node_call() {
	local node=$1 method=$2 path=$3
	shift 3
	remote_call "$method" "$path" --cert "$node.pem" --key "$node.key" "$@"
}

# On the socket, as another user: user_call USER METHOD PATH [BODY]
user_call() {
	local user=$1 method=$2 path=$3
	shift 3
	[ $# -eq 0 ] || set -- -H 'Content-Type: application/json' -d "$1"
	chmod 755 "$WORK" "$WORK/controller"
	setpriv --reuid="$user" --regid="$user" --clear-groups curl -sS --max-time 20 --unix-socket "$SOCKET" \
		-X "$method" -w '\n%{http_code}\n' "$@" "http://controller$path"
}

# The program that the commands use, with these lines for [site]: call LINES ARGUMENT...
call() {
	mkdir -p "$WORK/config/wnodes"
	printf '[site]\n%s\n' "$1" >"$WORK/config/wnodes/wnodes.conf"
	shift
	XDG_CONFIG_HOME=$WORK/config "$WNODES_BUILD/wnodes-call" "$@"
}

# Another certificate of the site's authority, from 40 to 20 days ago: make_old NAME EXTENSIONS, prints its serial
make_old() {
	sqlite3 -cmd '.timeout 5000' "$STATE/site.db" "SELECT value FROM site WHERE name = 'ca.key'" >ca.key
	printf '%s\n' "$2" >extensions
	faketime -f -40d openssl x509 -req -in "$1.csr" -CA "$STATE/ca.pem" -CAkey ca.key -days 20 -extfile extensions -out "$1.pem" 2>/dev/null
	openssl x509 -in "$1.pem" -noout -serial | sed 's/serial=//' | tr A-F a-f
}

@test "a machine joins by a token that serves once" {
	start_controller
	make_request n1
	make_request other
	token=$(invite first)
	answer=$(join "$token" n1 n1)
	has_status 201 "$answer"
	head -1 <<<"$answer" | jq -ejr .certificate >n1.pem
	head -1 <<<"$answer" | jq -ejr .ca >ca.pem
	cmp ca.pem "$STATE/ca.pem"
	openssl verify -CAfile ca.pem -purpose sslclient n1.pem
	[ "$(openssl x509 -in n1.pem -noout -subject)" = "subject=CN = n1" ]
	node_call n1 GET /v1/whoami | head -1 | jq -e '.kind == "node" and .name == "n1" and .roles == ["node"]'
	# The answer was lost: the same again. Anything else is somebody else.
	[ "$(join "$token" n1 n1 | head -1 | jq -S .certificate)" = "$(head -1 <<<"$answer" | jq -S .certificate)" ]
	has_status 403 "$(join "$token" n1 other)"
	has_status 403 "$(join "$token" n2 n1)"
	[ "$(local_call GET /v1/certificates | head -1 | jq '.items | length')" -eq 1 ]
	# Nor does another token make it another machine's, unless it is for this one.
	has_status 409 "$(join "$(invite second)" n1 other)"
	has_status 200 "$(node_call n1 GET /v1/whoami)"
	has_status 201 "$(join "$(invite third ',"name":"n1"')" n1 other)"
	has_status 401 "$(node_call n1 GET /v1/whoami)"
	# What a token says is nowhere on the controller's disk.
	run ! grep -rq "$token" "$STATE" controller.err
}

@test "a node renews its own certificate, and no other's" {
	start_controller
	make_node n1
	make_node n2
	make_request next
	jq -n --rawfile csr next.csr '{$csr}' >body
	answer=$(node_call n1 POST /v1/nodes/n1/certificate -H 'Content-Type: application/json' -d @body)
	has_status 201 "$answer"
	head -1 <<<"$answer" | jq -ejr .certificate >next.pem
	has_status 200 "$(node_call next GET /v1/whoami)"
	has_status 200 "$(node_call n1 GET /v1/whoami)"
	has_status 403 "$(node_call n2 POST /v1/nodes/n1/certificate -H 'Content-Type: application/json' -d @body)"
	has_status 403 "$(node_call n1 GET /v1/roles)"
}

@test "what is revoked is refused on connections that are open" {
	start_controller
	make_node n1
	serial=$(node_call n1 GET /v1/whoami | head -1 | jq -r .serial)
	mkfifo go
	timeout 60 python3 "$BATS_TEST_DIRNAME/identity.py" hold "$PORT" "$STATE/ca.pem" n1.pem n1.key <go >said 3>&- &
	exec 8>go
	wait_for 10 grep -qx 200 said
	has_status 200 "$(local_call POST "/v1/certificates/$serial/revoke" -H 'Content-Type: application/json' -d '{"reason":"stolen"}')"
	echo >&8
	wait_for 10 grep -q '^401 .*was revoked: stolen' said
	exec 8>&-
	wait $!
	local_call GET '/v1/events?kind=certificate.revoked' | head -1 | jq -e '.items[0].actor == "user:root"'
}

@test "a certificate that has expired is none, and the controller's own is made anew" {
	command -v faketime >/dev/null || skip "there is no faketime"
	start_controller
	make_request n1
	serial=$(make_old n1 extendedKeyUsage=clientAuth)
	sqlite3 -cmd '.timeout 5000' "$STATE/site.db" "INSERT INTO certificate (serial, node, issued, not_after, revoked, reason)
		VALUES ('$serial', 'anybody', 1, 9000000000000000, 0, '')"
	run node_call n1 GET /v1/whoami
	has_status 401 "$output"
	grep -q 'expired' <<<"$output"
	stop_controller
	make_request controller
	make_old controller "subjectAltName=DNS:localhost,DNS:$(hostname),IP:127.0.0.1,IP:::1" >/dev/null
	cp controller.pem controller.key "$STATE/"
	run call "controllers = $URL
ca = $STATE/ca.pem" GET /healthz
	[ "$status" -eq 3 ]
	start_controller
	run ! cmp -s controller.pem "$STATE/controller.pem"
	call "controllers = $URL
ca = $STATE/ca.pem" GET /healthz
}

@test "a clock that is hours wrong does no harm" {
	command -v faketime >/dev/null || skip "there is no faketime"
	start_controller
	make_node n1
	FAKETIME_DONT_FAKE_MONOTONIC=1 faketime -f -5h curl -sS --max-time 20 --cacert "$STATE/ca.pem" --cert n1.pem --key n1.key "$URL/v1/whoami" |
		jq -e '.name == "n1"'
}

@test "strangers are not nodes, and nodes are not controllers" {
	start_controller
	make_node n1
	openssl req -x509 -newkey rsa:2048 -nodes -keyout stranger.key -out stranger.pem -subj /CN=n1 -days 2 2>/dev/null
	has_status 401 "$(node_call stranger GET /v1/whoami)"
	openssl s_server -accept 127.0.0.1:0 -cert n1.pem -key n1.key -www -naccept 5 >served 2>&1 3>&- &
	server=$!
	wait_for 10 grep -q '^ACCEPT' served
	run call "controllers = https://localhost:$(sed -n 's/^ACCEPT .*:\([0-9]*\)$/\1/p' served)
ca = $STATE/ca.pem" GET /v1/nodes
	[ "$status" -eq 3 ]
	grep -qi 'certificate' <<<"$output"
}

@test "users elsewhere have tokens, with which they are no more than they are" {
	start_controller
	secret=$(put /v1/tokens/portal '{"kind":"bearer","name":"portal-user"}' | head -1 | jq -er .token)
	(umask 077 && echo "$secret" >token)
	site="controllers = https://localhost:1
controllers = $URL
ca = $STATE/ca.pem
token_file = $WORK/token"
	call "$site" GET /v1/whoami | jq -e '.name == "portal-user" and .how == "token" and .roles == ["user"]'
	run -1 call "$site" GET /v1/roles
	jq -e '.status == 403' <<<"$output"
	put /v1/roles/portal '{"subject":"user:portal-user","role":"administrator"}' >/dev/null
	run -1 call "$site" GET /v1/roles
	put /v1/tokens/portal2 '{"kind":"bearer","name":"portal-user","roles":["administrator"]}' | head -1 | jq -er .token >token
	[ "$(call "$site" --list GET /v1/roles | jq -r .subject)" = user:portal-user ]
	call "$site" PUT /v1/groups/g <<<'{"description":"by token"}' | jq -e '.name == "g"'
	# It cannot live on in another one.
	run -1 call "$site" PUT /v1/tokens/more <<<'{"kind":"bearer"}'
	has_status 204 "$(local_call DELETE /v1/tokens/portal2)"
	run -1 call "$site" GET /v1/whoami
	jq -e '.status == 401 and (.error | test("withdrawn"))' <<<"$output"
	chmod 644 token
	run -125 call "$site" GET /v1/whoami
	grep -q 0600 <<<"$output"
}

@test "administrators of host groups touch their nodes only" {
	skip_unless_root
	start_controller
	put /v1/groups/a '{"description":""}' >/dev/null
	put /v1/groups/b '{"description":""}' >/dev/null
	make_node n1 ',"hostgroup":"a"'
	make_node n2 ',"hostgroup":"b"'
	put /v1/roles/one '{"subject":"user:daemon","role":"administrator","hostgroup":"a"}' >/dev/null
	user_call daemon GET /v1/whoami | head -1 | jq -e '.name == "daemon" and .hostgroups == ["a"] and .how == "socket"'
	one=$(node_call n1 GET /v1/whoami | head -1 | jq -r .serial)
	two=$(node_call n2 GET /v1/whoami | head -1 | jq -r .serial)
	[ "$(user_call daemon GET /v1/certificates | head -1 | jq -r '.items[].node')" = n1 ]
	has_status 201 "$(user_call daemon PUT /v1/tokens/mine '{"kind":"join","hostgroup":"a"}')"
	has_status 403 "$(user_call daemon PUT /v1/tokens/other '{"kind":"join","hostgroup":"b"}')"
	has_status 403 "$(user_call daemon PUT /v1/tokens/other '{"kind":"join","name":"n2"}')"
	has_status 404 "$(user_call daemon POST "/v1/certificates/$two/revoke" '{"reason":"x"}')"
	has_status 403 "$(user_call bin POST "/v1/certificates/$one/revoke" '{"reason":"x"}')"
	has_status 200 "$(node_call n1 GET /v1/whoami)"
	has_status 200 "$(user_call daemon POST "/v1/certificates/$one/revoke" '{"reason":"x"}')"
	has_status 401 "$(node_call n1 GET /v1/whoami)"
	has_status 200 "$(node_call n2 GET /v1/whoami)"
	has_status 403 "$(user_call daemon PUT /v1/roles/two '{"subject":"user:daemon","role":"administrator"}')"
	# What is taken back is gone at once.
	has_status 204 "$(local_call DELETE /v1/roles/one)"
	has_status 403 "$(user_call daemon GET /v1/certificates)"
}

# A munged of the test's own, with a key of its own: start_munged NAME
start_munged() {
	chmod 755 "$WORK"
	mkdir -p "$WORK/$1"
	chmod 700 "$WORK/$1"
	mkdir -p "$WORK/$1-socket"
	chmod 755 "$WORK/$1-socket"
	[ -e "$WORK/$1/key" ] || mungekey --create --keyfile "$WORK/$1/key"
	munged --key-file="$WORK/$1/key" --socket="$WORK/$1-socket/socket" --pid-file="$WORK/$1/munged.pid" \
		--log-file="$WORK/$1/log" --seed-file="$WORK/$1/seed" 3>&-
	wait_for 10 test -S "$WORK/$1-socket/socket"
}

stop_munged() {
	local pid
	pid=$(cat "$WORK/$1/munged.pid")
	kill "$pid"
	wait_for 10 is_gone "$pid"
}

# A credential for a request, with the body in a file: credential NAME METHOD PATH [FILE]
credential() {
	printf '%s %s %s' "$2" "$3" "$(sha256sum <"${4:-/dev/null}" | cut -d' ' -f1)" | munge --socket="$WORK/$1-socket/socket"
}

@test "MUNGE says who users of the cluster are" {
	skip_unless_root
	command -v munged >/dev/null || skip "there is no munged"
	start_munged site
	start_munged stranger
	own_config "munge = $WORK/site-socket/socket"
	start_controller
	export WNODES_MUNGE_SOCKET=$WORK/site-socket/socket
	call "controllers = $URL
ca = $STATE/ca.pem
munge = yes" GET /v1/whoami >caller 2>&1 || { grep -q 'built without MUNGE' caller && skip "built without MUNGE"; false; }
	jq -e '.name == "root" and .how == "munge" and .roles == ["user"]' caller
	chmod 755 "$WORK" "$WORK/controller" "$STATE" "$WORK"/config "$WORK"/config/wnodes
	XDG_CONFIG_HOME=$WORK/config setpriv --reuid=daemon --regid=daemon --clear-groups \
		"$WNODES_BUILD/wnodes-call" GET '/v1/nodes?limit=7' | jq -e '.items == []'
	c=$(credential site GET /v1/whoami)
	has_status 401 "$(remote_call GET /v1/nodes -H "Authorization: MUNGE $c")"
	c=$(credential site GET /v1/whoami)
	has_status 200 "$(remote_call GET /v1/whoami -H "Authorization: MUNGE $c")"
	run remote_call GET /v1/whoami -H "Authorization: MUNGE $c"
	has_status 401 "$output"
	grep -q 'served already' <<<"$output"
	# A long body is for whoever is known before it is there, and has to be the one that was meant.
	id=$(cat /proc/sys/kernel/random/uuid)
	{ printf '{"kind":"bearer","x":"'; head -c 200000 /dev/zero | tr '\0' x; printf '"}'; } >long
	tr x y <long >other
	c=$(credential site PUT "/v1/tokens/$id" long)
	has_status 401 "$(remote_call PUT "/v1/tokens/$id" -H "Authorization: MUNGE $c" -H 'Content-Type: application/json' -d @other)"
	c=$(credential site PUT "/v1/tokens/$id" long)
	has_status 201 "$(remote_call PUT "/v1/tokens/$id" -H "Authorization: MUNGE $c" -H 'Content-Type: application/json' -d @long)"
	c=$(credential site GET /v1/whoami)
	has_status 200 "$(remote_call GET /v1/whoami -H "Authorization: MUNGE $c")"
	# Also when munged has forgotten it.
	stop_munged site
	run remote_call GET /v1/whoami -H "Authorization: MUNGE $c"
	has_status 503 "$output"
	start_munged site
	has_status 401 "$(remote_call GET /v1/whoami -H "Authorization: MUNGE $c")"
	# Nobody is believed who has another key.
	c=$(credential stranger GET /v1/whoami)
	has_status 401 "$(remote_call GET /v1/whoami -H "Authorization: MUNGE $c")"
	stop_munged site
	stop_munged stranger
}

@test "a controller is one for its names only" {
	start_controller
	run call "controllers = https://127.0.0.1:$PORT
ca = $STATE/ca.pem" GET /healthz
	[ "$status" -eq 0 ]
	openssl req -x509 -newkey rsa:2048 -nodes -keyout other.key -out other.pem -subj /CN=localhost -addext subjectAltName=DNS:localhost -days 2 2>/dev/null
	run call "controllers = $URL
ca = $WORK/other.pem" GET /healthz
	[ "$status" -eq 3 ]
	stop_controller
	own_config "certificate = $WORK/other.pem" "key = $WORK/other.key"
	start_controller
	run call "controllers = $URL
ca = $WORK/other.pem" GET /healthz
	[ "$status" -eq 0 ]
}
