# Images that come to nodes where something goes wrong: real controller, daemons and porters.

bats_require_minimum_version 1.5.0
load helpers
load daemon
load site
load site_catalogue

# The depot on a web server that can be stopped, instead of the controller's: what it serves is in web.log.
start_web() {
	(cd "$SITE/depot" && exec "$PYTHON" -u -m http.server 0 --bind 127.0.0.1 >"$WORK/web.log" 2>&1 3>&-) &
	# shellcheck disable=SC2034 # teardown ends it
	server=$!
	wait_for 20 grep -q 'port [0-9]' web.log
	WEB=http://127.0.0.1:$(sed -n 's/.*port \([0-9]*\).*/\1/p' web.log | head -1)
}

# A daemon of its own directory: start_other NAME [LINE of [images]...]
start_other() {
	local name=$1
	shift
	if [ ! -e "$WORK/$name" ]; then
		mkdir -p "$WORK/$name"
		site PUT "/v1/tokens/$(cat /proc/sys/kernel/random/uuid)" -d '{"kind":"join","lifetime_s":600}' | jq -r .token >token
		"$WNODES" node join --token-file token --ca-fingerprint "$FINGERPRINT" --state "$WORK/$name" --name "$name" "$URL" >join.out
		PEER=127.0.0.1:$(free_port)
		site_config '[images]' "listen = $PEER" "address = https://$PEER" 'local_images = no' "$@"
		cp config/wnodes/wnodes.conf "$name.conf"
	fi
	daemon --socket "$WORK/$name-run/socket" --state "$WORK/$name" --config "$WORK/$name.conf" 2>>"$name.err" </dev/null 3>&- &
	others[$name]=$!
	wait_for 20 grep -q "listens on" "$name.err"
}

# others_get IMAGE DIGEST NAME...
others_get() {
	local image=$1 digest=$2 name
	shift 2
	for name; do
		as $ONE "$PYTHON" -B "$BATS_TEST_DIRNAME/images.py" open "$WORK/$name-run/socket" "$image" >"$name.out"
		[ "$(tail -1 "$name.out" | jq -r '[.digest, .right] | @csv')" = "\"$digest\",true" ] || return 1
	done
}

teardown() {
	local name
	for name in "${!others[@]}"; do
		kill -KILL "${others[$name]}" 2>/dev/null || true
		tail -n 20 "$WORK/$name.err" | sed "s/^/$name: /"
	done
	teardown_site
}

@test "porter: a disk that is full while an image comes is told to who waits, and nothing half is left to start" {
	start_site
	images store store/wnodes el9:x 60000000
	digest=$(publish "$PWD/store" el9:x)
	approve "$digest"
	start_web
	# The daemon's directory is on a small disk of its own.
	mkdir full
	mount -t tmpfs -o size=100m,mode=755 tmpfs full
	STATE=$WORK/full/state
	start_node "origins = $WEB"
	ask $ONE el9:x >ask.out 3>&- &
	pid=$!
	wait_for 20 grep -q 'GET /chunks/' web.log
	kill -STOP "$server"
	dd if=/dev/zero of=full/filler bs=1M 2>/dev/null || true
	kill -CONT "$server"
	before=$SECONDS
	ends_with 1 "$pid"
	[ $((SECONDS - before)) -lt 60 ]
	grep -q 'cannot be fetched: .*No space left on device' ask.out
	[ ! -e "$STATE/kept/$digest" ]
	# Whoever asks now hears the same, or that there is no room, and no VM starts.
	is_refused el9:x
	grep -Eq 'No space left|are left for images' refused.out
	node_says .images.porter
	rm full/filler
	wait_for 40 gets el9:x "$digest"
	[ -z "$(ls "$STATE/fetch")" ]
}

@test "porter: four nodes fetch an image at once, one is killed, and all get it" {
	declare -gA others=()
	start_site
	images store store/wnodes el9:x 48000000
	digest=$(publish "$PWD/store" el9:x)
	approve "$digest"
	start_other n1 'rate = 6M'
	wait_for 20 others_get el9:x "$digest" n1
	# From now on there is one that gives it, slowly, and there are those who have begun.
	rm -rf "$SITE/depot"/chunks/*
	for name in n2 n3 n4; do
		start_other $name
		wait_for 20 grep -q 'catalogue .* is in force' $name.err
	done
	for name in n2 n3 n4; do
		others_get el9:x "$digest" $name 3>&- &
		pids[${name#n}]=$!
	done
	sleep 2.5
	pkill -KILL -P "${others[n2]}"
	kill -KILL "${others[n2]}"
	ends_with 0 "${pids[3]}"
	ends_with 0 "${pids[4]}"
	wait "${pids[2]}" || true
	[ ! -e "n2/kept/$digest" ]
	: >n2.err
	start_other n2
	# The first may go: others have it.
	kill -KILL "${others[n1]}"
	wait_for 40 others_get el9:x "$digest" n2
}

@test "porter: an image that nobody gives is told to who waits, with the reason" {
	[ -n "${WNODES_TEST_SLOW:-}" ] || skip "set WNODES_TEST_SLOW=1: a minute"
	start_site
	images store store/wnodes el9:x 1000000
	digest=$(publish "$PWD/store" el9:x)
	approve "$digest"
	start_node "origins = $WORK/none" 'origins = http://127.0.0.1:9'
	before=$SECONDS
	ASK_TIMEOUT=100 ask $ONE el9:x >ask.out || true
	[ $((SECONDS - before)) -lt 90 ]
	grep -q "cannot be fetched: nobody gives it: 'http://127.0.0.1:9' does not give " ask.out
	# The other one stands in the log.
	grep -q "images cannot be had from '$WORK/none': cannot open the directory" daemon.err
}

# As root where the daemon's directory is the machine's: its name is then that of root's own store.
machine() {
	ln -sfn "$STATE" "$WORK/wnodes"
	XDG_DATA_HOME=$WORK WNODES_SYSTEM_STORE=$WORK/wnodes "$WNODES" "$@"
}

# Has the daemon no more descriptors than so many?
has_at_most() {
	[ "$(ls "/proc/$daemon/fd" | wc -l)" -le "$1" ]
}

@test "images: one that is deleted while VMs start from it is had whole or not at all" {
	local i k files
	start_daemon
	ask $ONE debian >ask.out
	files=$(ls "/proc/$daemon/fd" | wc -l)
	for i in 1 2 3 4 5 6 7 8; do
		images store "$STATE" gone:x 3000000
		for k in 1 2 3; do
			ask $ONE gone:x >"ask-$i-$k.out" 3>&- &
			pids[k]=$!
		done
		sleep "0.$((RANDOM % 4))"
		machine image remove gone:x
		machine image gc >/dev/null
		for k in 1 2 3; do
			if wait "${pids[k]}"; then
				tail -1 "ask-$i-$k.out" | jq -e .right
			else
				tail -1 "ask-$i-$k.out" | jq -e '.error | contains("gone:x")'
			fi
		done
	done
	# Nothing of them is left, on the disk or open.
	ls "$STATE/blobs" >left
	[ "$(wc -l <left)" = "$(ls "$TEST_STORE/blobs" | wc -l)" ]
	wait_for 10 has_at_most "$files"
	run -0 ask $ONE debian
}
