#!/usr/bin/env bats
# A node's daemon and its porter, as they are, and an image that comes from a depot: on a web server, or in a directory.

bats_require_minimum_version 1.5.0
load helpers
load daemon
load site

teardown() {
	[ -z "${site:-}" ] || kill -KILL "$site" 2>/dev/null || true
	[ -z "${web:-}" ] || kill -KILL "$web" 2>/dev/null || true
	[ -z "${mount:-}" ] || kill "$mount" 2>/dev/null || true
	[ -z "${daemon:-}" ] || kill -KILL "$daemon" 2>/dev/null || true
	[ ! -e "${WORK:-/}/daemon.err" ] || tail -n 20 "$WORK/daemon.err" | sed 's/^/daemon: /'
	[ -z "${WORK:-}" ] || TEST_CLONES='' teardown_work
}

# The depot's image as the site's catalogue has it.
write_catalogue() {
	jq '{revision: 1, staged: [], tags: [{name: "el9", tag: "latest", digest}],
		images: [{digest, parts, name: "el9", state: "approved", owner: "root", private: false, expires: null,
			since: "2026-11-30T10:00:00Z", by: "root", reason: "it is good"}]}' release >site/catalogue
}

# A site whose depot has this image of the store: start_site [NAME]
start_site() {
	skip_if_closed
	skip_if_sanitized
	[ -x "$WNODES_BUILD/wnodes-porter" ] || skip "the porter was not built"
	mkdir -p site
	"$WNODES" image publish --depot "$WORK/depot" --json "${1:-debian}" >release
	write_catalogue
	rm -rf "$STATE/blobs" "$STATE/names"
	"$PYTHON" "$BATS_TEST_DIRNAME/faulty_controller.py" site 2>site.err 3>&- &
	site=$!
	(cd depot && exec "$PYTHON" -u -m http.server 0 --bind 127.0.0.1 >"$WORK/web.log" 2>&1 3>&-) &
	web=$!
	wait_for 20 test -s site/port
	wait_for 20 grep -q 'port [0-9]' web.log
	# shellcheck disable=SC2034 # site.bash uses them
	URL=https://localhost:$(cat site/port) FINGERPRINT=$(fingerprint site/ca.pem)
	echo the-token >token
}

# Has the node the image, all of it?
image_is_whole() {
	local blob path
	for blob in $(jq -r '.parts[].digest' release); do
		path=$(find "$STATE" -path "*/blobs/$blob" | head -1)
		[ "$(sha256sum <"$path")" = "$blob  -" ] || return 1
	done
}

# Asks for the image as a user does.
open_image() {
	as $ONE "$PYTHON" -B "$BATS_TEST_DIRNAME/images.py" open "$SOCKET" el9
}

@test "porter: a node fetches an image that its catalogue names from a web server, and has it whole" {
	start_site
	join
	site_config '[images]' "origins = http://127.0.0.1:$(sed -n 's/.*port \([0-9]*\).*/\1/p' web.log | head -1)"
	start_daemon
	wait_for 20 node_says '.images.catalogue == "1"'
	digest=$(jq -r .digest release)
	run -0 open_image
	[ "$(jq -r .digest <<<"${lines[-1]}")" = "$digest" ]
	grep -q 'GET /manifest/' web.log
	image_is_whole
}

# A disk with a boot loader's mark, as an image: import STORE NAME
import() {
	printf '\x55\xaa' | dd of=disk.raw bs=1 seek=510 conv=notrunc status=none
	XDG_DATA_HOME=$WORK/$1 "$WNODES" image import --name "$2" disk.raw >/dev/null
}

# Does the node's porter have a file of this name open?
porter_has() {
	find "/proc/$(pgrep -P "$daemon" -f wnodes-porter)/fd" -lname "*/$1" | grep -q .
}

# What the porter says to another node: gives PATH STATUS
gives() {
	[ "$(curl -sk --max-time 10 --cert "$STATE/site/certificate.pem" --key "$STATE/site/key.pem" -o /dev/null -w '%{http_code}' \
		"https://$PEER/$1")" = "$2" ]
}

@test "porter: what an image of the node's own has is not fetched again, and given to nobody" {
	local own chunk
	head -c 8M /dev/urandom >disk.raw
	import own mine
	# The site's image differs in a piece in the middle.
	dd if=/dev/urandom of=disk.raw bs=64k count=1 seek=50 conv=notrunc status=none
	XDG_DATA_HOME=$WORK/data import data el9
	start_site el9
	cp -a own/wnodes/{blobs,names} "$STATE"
	own=$(XDG_DATA_HOME=$WORK/own "$WNODES" image show --json mine | jq -r '.parts[0].digest')
	XDG_DATA_HOME=$WORK/own "$WNODES" image publish --depot "$WORK/theirs" mine
	join
	PEER=127.0.0.1:$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	site_config '[images]' "listen = $PEER" "origins = http://127.0.0.1:$(sed -n 's/.*port \([0-9]*\).*/\1/p' web.log | head -1)"
	start_daemon
	wait_for 20 node_says '.images.catalogue == "1"'
	wait_for 20 porter_has "$own"
	sleep 2
	run -0 open_image
	image_is_whole
	echo "$(grep -c 'GET /chunks/' web.log) of $(find depot/chunks -name '*.cacnk' | wc -l) chunks"
	[ "$(grep -c 'GET /chunks/' web.log)" -lt 12 ]
	# What the site knows is given to other nodes, and nothing else.
	chunk=$(cd depot && find chunks -name '*.cacnk' | head -1)
	wait_for 20 gives "$chunk" 200
	chunk=$(cd theirs && find chunks -name '*.cacnk' | while read -r chunk; do [ -e "../depot/$chunk" ] || echo "$chunk"; done | head -1)
	[ -n "$chunk" ]
	gives "$chunk" 404
	gives "index/$own.caibx" 404
	# Its tag goes, and so does the descriptor of it, within a minute.
	[ -n "${WNODES_TEST_SLOW:-}" ] || return 0
	rm -r "$STATE/names/mine"
	wait_for 75 eval '! porter_has "$own"'
}

@test "porter: a depot that the node mounts is an origin, closed to others as it may be" {
	start_site
	join
	mkdir -m 700 closed
	mv depot closed
	site_config '[images]' "origins = $WORK/closed/depot/"
	start_daemon
	wait_for 20 node_says '.images.catalogue == "1"'
	run -0 open_image
	[ "$(jq -r .digest <<<"${lines[-1]}")" = "$(jq -r .digest release)" ]
	image_is_whole
	! grep -q 'GET /manifest/' web.log
}

# The daemon cannot open the first; the porter gets the second and can read nothing there.
@test "porter: a mount whose server is dead holds up neither the daemon nor the image" {
	[ -c /dev/fuse ] || skip "needs FUSE"
	start_site
	join
	mkdir dead
	"$PYTHON" -B "$BATS_TEST_DIRNAME/dead_mount.py" "$WORK/dead" 3>&- &
	mount=$!
	wait_for 10 grep -q "$WORK/dead" /proc/mounts
	site_config '[images]' "origins = $WORK/dead/depot" "origins = $WORK/dead" "origins = $WORK/depot"
	start_daemon
	wait_for 20 node_says '.images.catalogue == "1"'
	before=$SECONDS
	run -0 open_image
	[ $((SECONDS - before)) -lt 60 ]
	[ "$(jq -r .digest <<<"${lines[-1]}")" = "$(jq -r .digest release)" ]
	image_is_whole
	node_says .images.porter
	kill_daemon TERM
}
