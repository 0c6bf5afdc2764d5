# What VMs of a node of a site may start from, and how images come to the node: with a controller and a
# porter that err as they are told.

bats_require_minimum_version 1.5.0
load helpers
load daemon
load site

# The daemon runs from a directory in which the porter is a stand-in.
start_site() {
	skip_if_closed
	skip_if_sanitized
	mkdir -p site bin/src/guest
	copy_store "$WNODES_BUILD"/{wnodes,wnodes-hypervisor,wnodes-courier} bin
	copy_store "$WNODES_BUILD/src/guest/wnodes-guest" bin/src/guest
	cp "$BATS_TEST_DIRNAME/fake_porter.py" bin/wnodes-porter
	chmod 755 bin/wnodes-porter
	: >porter-log && chmod 666 porter-log
	echo '{"revision":0,"images":[],"tags":[],"staged":[]}' >site/catalogue
	python3 "$BATS_TEST_DIRNAME/faulty_controller.py" site 2>site.err 3>&- &
	site=$!
	wait_for 20 test -s site/port
	# shellcheck disable=SC2034 # site.bash uses them
	URL=https://localhost:$(cat site/port) FINGERPRINT=$(fingerprint site/ca.pem)
	echo the-token >token
}

start_node() {
	[ -n "${site:-}" ] || start_site
	join
	site_config "$@"
	WNODES=$WORK/bin/wnodes start_daemon
	has_catalogue
}

restart_daemon() {
	kill_daemon KILL
	WNODES=$WORK/bin/wnodes start_daemon
}

teardown() {
	[ -z "${site:-}" ] || kill -KILL "$site" 2>/dev/null || true
	[ ! -e "${WORK:-/}/site.err" ] || sed 's/^/site: /' "$WORK/site.err"
	[ ! -e "${WORK:-/}/porter-log" ] || tail -20 "$WORK/porter-log" | sed 's/^/porter: /'
	[ -z "${daemon:-}" ] || kill -KILL "$daemon" 2>/dev/null || true
	[ ! -e "${WORK:-/}/daemon.err" ] || sed 's/^/daemon: /' "$WORK/daemon.err"
	[ -z "${WORK:-}" ] || TEST_CLONES='' teardown_work
}

# images WHAT ARGUMENT...; the node is waited for
images() {
	"$PYTHON" -B "$BATS_TEST_DIRNAME/images.py" "$@"
}

# What the site says now is in force on the node, within the ten seconds that are promised.
has_catalogue() {
	wait_for 10 node_says ".images.catalogue == \"$(jq -r .revision site/catalogue)\""
}

# Asks for an image as a user: ask UID IMAGE [WORD...]
ask() {
	local uid=$1
	shift
	as "$uid" "$PYTHON" -B "$BATS_TEST_DIRNAME/images.py" open "$SOCKET" "$@"
}

mode() {
	echo "$*" >porter-mode
}

# How many images the porter was to fetch.
fetches() {
	grep -c "^fetch " porter-log || true
}

@test "images: what the site has approved starts, and nothing else; the refusal says why and what to do" {
	start_site
	good=$(images publish el9 100000)
	pending=$(images publish el9:next 100000 state=pending)
	own=$(images publish mine 100000 private=true owner=uid$ONE)
	soon=$(images publish old 100000 "expires=$(date -u -d '+8 seconds' +%FT%TZ)")
	start_node 'controllers = https://localhost:1' '[images]' 'local_images = no'
	run -0 ask $ONE el9
	[ "$(jq -r '[.digest, .name, .tag, .right] | @csv' <<<"${lines[-1]}")" = "\"$good\",\"el9\",\"latest\",true" ]
	run -0 ask $ONE "${good:0:12}"
	run -0 ask $TWO old
	run -1 ask $ONE el9:next
	[[ "$output" == *"is pending"*"was not approved yet; ask an administrator"* ]]
	run -1 ask $ONE "$pending"
	run -0 ask $ONE "$own"
	run -1 ask $TWO "$own"
	[[ "$output" == *"another user's own"* ]]
	# The node's own image is not the site's, nor is a user's, whatever he calls it.
	run -1 ask $ONE debian
	[[ "$output" == *"is not in the site's catalogue"*"local_images"* ]]
	run -1 ask $ONE el9 own=true digest=1111111111111111111111111111111111111111111111111111111111111111
	run -0 ask $ONE whatever own=true digest="$good"
	run -1 ask $ONE whatever own=true digest="$pending"
	# By the node's own clock, without a word of the site.
	kill -STOP $site
	sleep 8
	run -1 ask $TWO "$soon"
	[[ "$output" == *"has expired at"*"take another image"* ]]
	run -0 "$WNODES" node show
	[[ "$output" == *"is pending"* && "$output" == *"${good:0:12}"* ]] || { echo "$output"; false; }
	kill -CONT $site
}

@test "images: one that is revoked starts nowhere ten seconds later, and stays revoked without a controller" {
	start_site
	bad=$(images publish el9 100000)
	images add "$STATE" debian >debian.digest
	start_node
	run -0 ask $ONE el9
	run -0 as $ONE "$WNODES" run --memory 256M --image debian -- echo hello
	run -0 ask $ONE debian
	images set "$bad" state=revoked since=2026-11-30T10:00:00Z by=alice 'reason=a hole in the wall'
	images set "$(cat debian.digest)" state=revoked
	start=$SECONDS
	has_catalogue
	[ $((SECONDS - start)) -le 10 ]
	run -1 ask $ONE el9
	[[ "$output" == *"is revoked since 2026-11-30T10:00:00.000000Z, by alice: a hole in the wall"* ]]
	# Also the node's own, by its local name.
	run -125 as $ONE "$WNODES" run --memory 256M --image debian -- true
	[[ "$output" == *"is revoked"* ]]
	kill -KILL $site
	restart_daemon
	run -1 ask $ONE el9
	[[ "$output" == *"a hole in the wall"* ]]
	# It is let go, as nobody may start from it.
	wait_for 10 test ! -e "$STATE/kept/$bad"
}

# Puts another catalogue into force, or tries to: change JQ-FILTER
change() {
	jq "$1 | .revision += 1" site/catalogue >site/catalogue.new
	mv site/catalogue.new site/catalogue
}

@test "images: one that has ended long ago starts not, and a catalogue that is too large leaves the last one in force, which is told" {
	start_site
	good=$(images publish el9 100000)
	bad=$(images publish el8 100000)
	start_node
	run -0 ask $ONE el8
	change ".images |= map(select(.digest != \"$bad\")) | .ended = {revoked: [\"$bad\"]} + {expired: [range(30000) | tostring | \"0\" * (64 - length) + .]}"
	has_catalogue
	run -1 ask $ONE "$bad"
	[[ "$output" == *"is revoked; take another image"* ]]
	run -0 ask $ONE el9
	revision=$(jq -r .revision site/catalogue)
	cp site/catalogue good
	change '.images += [range(10001) | {digest: (tostring | "f" * (64 - length) + .), name: "x", state: "revoked"}]'
	wait_for 10 node_says ".images.catalogue == \"$revision\" and (.images.catalogue_failure | test(\"more than 10000\"))"
	"$WNODES" node show | grep 'IS OLD, since'
	"$WNODES" node show | grep "Catalogue of images: *$revision\$"
	run -0 ask $ONE "$good"
	# It has ended with the next one that is as it should be; then there is none at all.
	jq '.revision += 2' good >site/catalogue
	has_catalogue
	node_says '.images | has("catalogue_failure") | not'
	mv site/catalogue good
	wait_for 10 node_says '.images.catalogue_failure | test("there is nothing")'
	run -0 ask $ONE "$good"
	mv good site/catalogue
	wait_for 10 node_says '.images | has("catalogue_failure") | not'
}

@test "images: a tag that has moved stands for the new one at once, which is fetched by itself" {
	start_site
	old=$(images publish el9 100000)
	start_node
	run -0 ask $ONE el9
	new=$(images publish el9 200000)
	has_catalogue
	wait_for 10 test -e "$STATE/kept/$new"
	[ "$(fetches)" = 2 ]
	run -0 ask $ONE el9
	[ "$(jq -r .digest <<<"${lines[-1]}")" = "$new" ]
	run -0 ask $ONE "$old"
	[ "$(fetches)" = 2 ]
	# What is staged comes without anybody asking.
	staged=$(images publish el8 100000)
	other=$(images publish el7 100000)
	images stage "$staged"
	has_catalogue
	wait_for 10 test -e "$STATE/kept/$staged"
	[ ! -e "$STATE/kept/$other" ]
	node_says ".images.kept | map(select(.digest == \"$staged\")) | .[0].staged"
	wait_for 10 grep -q "^serve.*$staged" porter-log
}

@test "images: all who wait for an image wait on one fetch, and hear how far it is" {
	start_site
	images publish el9 4000000 >digest
	mode slow
	start_node
	for i in 1 2 3 4; do
		ask $((ONE + i % 2)) el9 >"ask$i.out" 3>&- &
		pids[i]=$!
	done
	for i in 1 2 3 4; do
		ends_with 0 "${pids[i]}"
		grep -q '"waiting": {"reason": "fetching el9: [0-9]* %' "ask$i.out"
		tail -1 "ask$i.out" | jq -e .right
	done
	[ "$(fetches)" = 1 ]
	# Who gives up holds up nobody, and the rest of it is fetched later.
	images publish big 4000000 >digest
	has_catalogue
	as $ONE "$PYTHON" -B "$BATS_TEST_DIRNAME/images.py" open "$SOCKET" big >ask.out 3>&- &
	wait_for 10 grep -q '"fetching big: [1-9]' ask.out
	kill -KILL $(ours "images.py open $SOCKET big")
	wait_for 5 node_says '.images.fetches == []'
	mode ok
	run -0 ask $TWO big
	jq -e .right <<<"${lines[-1]}"
}

@test "images: a fetch that fails is told to all who wait for it, with the reason" {
	start_site
	images publish el9 300000 >digest
	mode wait
	start_node
	mode 'fail nobody has it'
	for i in 1 2 3; do
		ask $ONE el9 >"ask$i.out" 3>&- &
		pids[i]=$!
	done
	for i in 1 2 3; do
		ends_with 1 "${pids[i]}"
		tail -1 "ask$i.out" | jq -e '.drained and (.error | test("cannot be fetched: nobody has it"))'
	done
	node_says '.images.fetches[0] | .state == "failed" and .reason == "nobody has it"'
	# Bytes that are not the image never become one, whatever the porter says.
	mode bad
	run -1 ask $ONE el9
	[[ "$output" == *"what has come is not the image"* ]]
	[ -z "$(ls "$STATE/kept" 2>/dev/null)" ]
	# Nor does a file that somebody may still write to.
	mode keep
	ask $ONE el9 >ask.out 3>&- &
	pid=$!
	wait_for 10 grep -q 'still open for writing' porter-log
	[ -z "$(ls "$STATE/kept" 2>/dev/null)" ]
	mode lie
	ends_with 0 $pid
	[ "$(grep -c '^refused$' porter-log)" -ge 10 ]
	run -1 grep '^taken' porter-log
}

@test "images: daemon and porter are killed in the middle of a fetch: it goes on, and is whole" {
	start_site
	images publish el9 6000000 >digest
	mode slow
	start_node
	for i in 1 2; do
		as $ONE "$PYTHON" -B "$BATS_TEST_DIRNAME/images.py" open "$SOCKET" el9 >"ask$i.out" 3>&- &
		pids[i]=$!
	done
	for i in 1 2 3; do
		sleep 1
		pkill -KILL -P "$daemon" -f wnodes-porter || true
	done
	ends_with 0 "${pids[1]}"
	ends_with 0 "${pids[2]}"
	tail -1 ask1.out | jq -e .right
	grep -q '^resumed' porter-log
	images publish el8 6000000 >digest
	has_catalogue
	: >porter-log
	ask $ONE el8 >ask.out 3>&- &
	sleep 2
	restart_daemon
	run -0 ask $ONE el8
	jq -e .right <<<"${lines[-1]}"
	grep -q '^resumed' porter-log
	# One that dies again and again is no help: who waits is told.
	images publish el7 600000 >digest
	has_catalogue
	mode die
	run -1 ask $ONE el7
	[[ "$output" == *"ends again and again"* ]]
}

@test "images: where there is no room the start fails with how much is needed, and old images go first" {
	start_site
	for i in 1 2 3; do images publish "el$i" 3000000; done >digests
	mapfile -t digest <digests
	start_node '[images]' 'high_water = 7M' 'low_water = 4M' "pinned = el1"
	run -0 ask $ONE el1
	run -0 ask $ONE el2
	sleep 1.1
	run -0 ask $ONE el3
	# Two is all that there is room for: one is pinned, one was used last.
	wait_for 10 test ! -e "$STATE/kept/${digest[1]}"
	[ -e "$STATE/kept/${digest[0]}" ] && [ -e "$STATE/kept/${digest[2]}" ]
	# One that is in use stays.
	ask $ONE el3 hold >hold.out < <(sleep 30) 3>&- &
	wait_for 10 grep -q descriptors hold.out
	run -0 ask $ONE el2
	sleep 2
	[ -e "$STATE/kept/${digest[2]}" ]
	kill_daemon
	# A disk that is full.
	mkdir full
	mount -t tmpfs -o size=6m none full
	cp -a "$STATE/site" full
	rm -rf "$STATE"
	STATE=$WORK/full
	export WNODES_SYSTEM_STORE=$STATE
	WNODES=$WORK/bin/wnodes start_daemon
	images publish huge 20000000 >digest
	has_catalogue
	run -1 ask $ONE huge
	[[ "$output" == *"it needs 19 MiB, and "*" are left for images on this node"* ]]
	run -0 ask $ONE el1
	jq -e .right <<<"${lines[-1]}"
}
