#!/usr/bin/env bats
# The site's images: from a publisher's store into the controller's depot and catalogue, with the states
# that people bring them to, and with what goes wrong on the way.

bats_require_minimum_version 1.5.0
load helpers
load controller

setup() {
	setup_controller
	chmod 711 "$WORK"
	mkdir -m 755 "$WORK/controller"
	own_config 'munge = none'
	export XDG_CONFIG_HOME=$WORK/config XDG_DATA_HOME=$WORK/data TZ=UTC
	mkdir -p "$XDG_CONFIG_HOME/wnodes"
	printf '[site]\ncontrollers = unix:%s\nmunge = no\n' "$SOCKET" >"$XDG_CONFIG_HOME/wnodes/wnodes.conf"
	POSTGRES=$BATS_TEST_DIRNAME/../postgres
	small=
}

teardown() {
	[ ! -e "$WORK/postgres" ] || "$POSTGRES/down.sh" "$WORK/postgres" || true
	teardown_depot
	teardown_controller
}

teardown_depot() {
	[ -z "$small" ] || {
		[ -z "${controller:-}" ] || stop_controller KILL
		umount "$small"
	}
	small=
}

# An image in our own store, of random bytes and a boot sector: make_image NAME TAG [MIB]
make_image() {
	local mib=${3:-3}
	head -c $((mib * 1048576)) /dev/urandom >"$1-$2.raw"
	truncate -s $((mib + 9))M "$1-$2.raw"
	printf '\x80\x00\x02\x00\x83\x00\x00\x00\x00\x08\x00\x00\x00\x40\x00\x00' |
		dd of="$1-$2.raw" bs=1 seek=446 conv=notrunc status=none
	printf '\x55\xaa' | dd of="$1-$2.raw" bs=1 seek=510 conv=notrunc status=none
	"$WNODES" image import --name "$1" --tag "$2" "$1-$2.raw" >/dev/null
}

# The digest that a name has at the site, and a member of the image: site_image NAME [MEMBER]
site_image() {
	"$WNODES" image list --site --json | jq -r --arg name "$1" ".[] | select(.name == \$name) | .${2:-digest}"
}

# As somebody else of this machine: as_nobody METHOD PATH [CURL OPTION...]
as_nobody() {
	setpriv --reuid=65534 --regid=65534 --clear-groups curl -sS --max-time 20 --unix-socket "$SOCKET" -X "$1" \
		-w '\n%{http_code}\n' "${@:3}" "http://controller$2"
}

# What is in the depot is what it is called, and nothing is half.
depot_is_sound() {
	local depot=${1:-$STATE/depot} file
	for file in "$depot"/chunks/*/*.cacnk; do
		[ -e "$file" ] || break
		[ "$(zstd -dc "$file" | sha256sum | cut -c-64)" = "$(basename "$file" .cacnk)" ]
	done
	for file in "$depot"/manifest/*.json; do
		[ -e "$file" ] || break
		[ "$(sha256sum <"$file" | cut -c-64)" = "$(basename "$file" .json)" ]
	done
}

# The disk as stock casync has it from the depot: extract NAME FILE
extract() {
	command -v casync >/dev/null || { cp "$2" out.raw; return; }
	casync extract --store="$STATE/depot/chunks" "$STATE/depot/index/$(site_image "$1" 'parts[0].digest').caibx" out.raw
}

approve() {
	"$WNODES" image endorse "$1" --reason "it is good"
	"$WNODES" image approve "$1" --reason "it was tried" "${@:2}"
}

says() {
	[[ $output == *"$1"* ]] || { echo "not said: $1"; echo "$output"; return 1; }
}

whole_life() {
	make_image el9 1
	run -0 "$WNODES" image publish --site el9:1 --reason 'the first'
	says "is pending"
	run -125 "$WNODES" image approve el9:1 --reason early
	says "nobody has endorsed"
	run -0 approve el9:1
	says "approved"
	# Its parts are served as they are, to everybody and for ever.
	disk=$(site_image el9 'parts[0].digest')
	extract el9 el9-1.raw
	cmp out.raw el9-1.raw
	[ "$(curl -sSk "$URL/depot/manifest/$(site_image el9).json" | sha256sum | cut -c-64)" = "$(site_image el9)" ]
	[ "$(curl -sSk "$URL/depot/index/$disk.caibx" | sha256sum | cut -c-64)" = "$(site_image el9 'parts[0].index')" ]
	# The next version sends what is new only; the tag moves when it is approved.
	cp el9-1.raw el9-2.raw
	printf new | dd of=el9-2.raw bs=1 seek=2000000 conv=notrunc status=none
	"$WNODES" image import --name el9 --tag 2 el9-2.raw >/dev/null
	run -0 "$WNODES" image publish --site el9:2
	[[ $output =~ [^0-9][123]\ chunks ]] || { echo "$output"; false; }
	run -0 "$WNODES" image tag --site el9:1 el9:latest
	run -125 "$WNODES" image tag --site el9:2 el9:latest
	says "is pending"
	run -0 approve el9:2
	run -0 "$WNODES" image tag --site el9:2 el9:latest --reason 'after a week'
	run -0 "$WNODES" image tag --site el9:1 el9:latest --reason 'NFS fails'
	run -0 "$WNODES" image revoke el9:2 --reason 'a hole'
	says "is revoked"
	run -125 "$WNODES" image approve el9:2 --reason again
	says "revoked, which is for ever"
	run -0 "$WNODES" image history --json
	jq -e '[.[].action] == ["published","endorsed","approved","tagged","published","tagged","endorsed","approved",
		"tagged","tagged","tagged","revoked"] and (.[-1].reason == "a hole") and .[-1].actor == "user:root"' <<<"$output"
}

@test "an image is published, approved, tagged and revoked, and all of it is known" {
	start_controller
	whole_life
	depot_is_sound
}

@test "and on PostgreSQL" {
	# shellcheck disable=SC2034 # own_config has it
	DATABASE=$("$POSTGRES/up.sh" --open "$WORK/postgres" 2>postgres.err) ||
		{ [ $? -eq 77 ] && skip "there is no PostgreSQL server"; cat postgres.err; false; }
	own_config 'munge = none'
	start_controller
	whole_life
}

@test "files of the depot say that they never change, and nothing else is served" {
	start_controller
	make_image el9 1
	"$WNODES" image publish --site el9:1
	for method in GET HEAD; do
		curl -sSk -o body ${method:+$([ $method = GET ] || echo --head)} -D headers "$URL/depot/manifest/$(site_image el9).json"
		grep -iq '^Cache-Control: public, max-age=31536000, immutable' headers
		grep -iq '^Content-Type: application/json' headers
	done
	for path in manifest/x.json 'manifest/..%2f..%2fsite.db' lock chunks/0000/0.cacnk index/ ''; do
		[ "$(curl -sSk -o /dev/null -w '%{http_code}' "$URL/depot/$path")" = 404 ]
	done
}

@test "who has no role brings private images, which nobody else sees" {
	skip_unless_root
	own_config 'munge = none' 'private_images = 1'
	start_controller
	make_image el9 1
	# By another user with the same tool: the depot is filled by us, the catalogue is asked by nobody.
	"$WNODES" image publish --site --private el9:1 --as mine
	digest=$(site_image mine)
	[ "$(site_image mine state)" = approved ]
	has_status 404 "$(as_nobody GET "/v1/images/$digest")"
	has_status 404 "$(as_nobody GET "/v1/images/$digest/history")"
	has_status 404 "$(as_nobody GET "/v1/images/$digest/nodes")"
	for list in images tags history events; do
		as_nobody GET "/v1/$list" | head -1 | jq -e '.items | all(tostring | contains("mine") | not)'
	done
	as_nobody GET /v1/catalogue | head -1 | jq -e '.images == [] and .private_tags == []'
	for verb in endorse approve; do
		has_status 403 "$(as_nobody POST "/v1/images/$digest/$verb" -H 'If-Match: *' \
			-H 'Content-Type: application/json' -d '{"reason":"mine"}')"
	done
	for verb in expire revoke; do
		has_status 404 "$(as_nobody POST "/v1/images/$digest/$verb" -H 'If-Match: *' \
			-H 'Content-Type: application/json' -d '{"reason":"mine"}')"
	done
	has_status 403 "$(as_nobody PUT /v1/tags/el9:latest -H 'Content-Type: application/json' -d "{\"digest\":\"$digest\"}")"
	has_status 403 "$(as_nobody POST /v1/stagings -H 'Content-Type: application/json' -d '{}')"
	# One more is too many.
	make_image el9 2
	run -125 "$WNODES" image publish --site --private el9:2 --as mine2
	says "may have 1"
}

@test "an image expires by the clock alone" {
	start_controller
	make_image el9 1
	"$WNODES" image publish --site el9:1
	run approve el9:1 --expires 4s
	[ "$(site_image el9 state)" = approved ]
	etag=$(local_call GET /v1/catalogue -D headers >/dev/null; sed -n 's/^ETag: *"\(.*\)".*/\1/Ip' headers)
	has_status 304 "$(local_call GET /v1/catalogue -H "If-None-Match: \"$etag\"")"
	sleep 4
	[ "$(site_image el9 state)" = expired ]
	run -125 "$WNODES" image tag --site el9:1 el9:latest
	says "is expired"
	wait_for 15 sh -c "'$WNODES' image history --action expired --json | jq -e '.[0].actor == \"controller\"'"
	has_status 200 "$(local_call GET /v1/catalogue -H "If-None-Match: \"$etag\"")"
	# Also where no controller was there at that time.
	run -0 "$WNODES" image approve el9:1 --reason again --expires 1s
	stop_controller
	sleep 1.2
	start_controller
	[ "$(site_image el9 state)" = expired ]
	# The controller writes it down at the same time.
	wait_for 15 "$WNODES" image approve el9:1 --reason 'once more' --expires 1d
}

@test "hostile bodies are refused, and leave nothing" {
	start_controller
	bytes=(-H 'Content-Type: application/octet-stream')
	head -c 3000000 /dev/urandom >random
	head -c 17000000 /dev/zero >large
	has_status 400 "$(local_call POST /v1/depot/chunks "${bytes[@]}" --data-binary @random)"
	has_status 413 "$(local_call POST /v1/depot/chunks "${bytes[@]}" --data-binary @large)"
	has_status 413 "$(local_call POST /v1/depot/chunks "${bytes[@]}" -H 'Transfer-Encoding: chunked' --data-binary @large)"
	has_status 415 "$(local_call POST /v1/depot/chunks -H 'Content-Type: application/json' -d '{}')"
	has_status 400 "$(local_call POST /v1/depot/chunks "${bytes[@]}")"
	has_status 401 "$(remote_call POST /v1/depot/chunks "${bytes[@]}" --data-binary @random)"
	has_status 401 "$(remote_call POST /v1/depot/chunks "${bytes[@]}" -H 'Authorization: Bearer x' --data-binary @random)"
	# A bomb: what it says it is, and what comes out.
	head -c 100000000 /dev/zero | zstd -q -19 >bomb
	{
		head -c 32 /dev/zero
		python3 -c 'import struct, sys; sys.stdout.buffer.write(struct.pack("<II", 1048576, int(sys.argv[1])))' "$(stat -c %s bomb)"
		cat bomb
	} >piece
	has_status 400 "$(local_call POST /v1/depot/chunks "${bytes[@]}" --data-binary @piece)"
	has_status 400 "$(local_call PUT "/v1/depot/index/$(sha256sum <random | cut -c-64)" "${bytes[@]}" --data-binary @random)"
	has_status 400 "$(local_call PUT /v1/depot/index/x "${bytes[@]}" --data-binary @random)"
	[ -z "$(find "$STATE/depot/chunks" "$STATE/depot/index" "$STATE/depot/manifest" "$STATE/depot/tmp" -type f)" ]
	has_status 200 "$(local_call GET /healthz)"
}

@test "a controller that is killed while an image is sent has nothing half, and the next goes on" {
	start_controller
	make_image el9 1 12
	for i in 1 2 3; do
		"$WNODES" image publish --site --depot "$WORK/own" el9:1 >publish.out 2>&1 3>&- &
		publisher=$!
		sleep "0.$((i * 3))"
		stop_controller KILL
		kill "$publisher" 2>/dev/null || true
		wait "$publisher" || true
		depot_is_sound
		start_controller
		[ -z "$(site_image el9)" ] || break
	done
	run -0 "$WNODES" image publish --site --depot "$WORK/own" el9:1
	depot_is_sound
	[ -z "$(find "$STATE/depot/tmp" -type f)" ]
	extract el9 el9-1.raw
	cmp out.raw el9-1.raw
	# And is there as a whole once only.
	run -0 "$WNODES" image publish --site --depot "$WORK/own" el9:1
	says " 0 chunks"
	[ "$("$WNODES" image history --json | jq length)" = 1 ]
}

@test "a depot that is full says so, keeps nothing half, and goes on where it was" {
	skip_unless_root
	small=$WORK/small
	mkdir "$small"
	mount -t tmpfs -o size=4M none "$small" || { small=; skip "cannot mount"; }
	own_config 'munge = none' "depot = $small/depot"
	start_controller
	make_image el9 1 8
	run -125 "$WNODES" image publish --site el9:1
	says "disk is full"
	[ -z "$(site_image el9)" ]
	[ -z "$(find "$small/depot/manifest" "$small/depot/index" "$small/depot/tmp" -type f)" ]
	depot_is_sound "$small/depot"
	mount -o remount,size=40M "$small"
	run -0 "$WNODES" image publish --site el9:1
	depot_is_sound "$small/depot"
	teardown_depot
}

@test "an image is staged, and who could not get it is named" {
	command -v sqlite3 >/dev/null || skip "sqlite3 is not installed"
	start_controller
	make_image el9 1
	"$WNODES" image publish --site el9:1
	approve el9:1
	for name in wn1 wn2; do
		sqlite3 -cmd '.timeout 5000' "$STATE/site.db" "INSERT INTO node (name, hostgroup, state, reason, version, status_json,
			vms, memory_bytes, cpus, joined, seen, state_since, autonomous, config_seen, revision) VALUES ('$name', '',
			'lost', '', '0', '{}', 0, 0, 0, 1, 1, 1, 0, '', 1)"
	done
	run -125 "$WNODES" image stage el9:1
	says "say to which nodes"
	run -1 "$WNODES" image stage el9:1 --all --wave 1
	says "0 of 2 nodes have it, 2 failed"
	says "the node is lost"
	run -125 "$WNODES" image stage nothing --all
	says "has no image 'nothing'"
}
