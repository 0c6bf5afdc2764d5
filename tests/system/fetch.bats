# Fetching images from depots: whole or not at all, only what is new, and on from where it was.

bats_require_minimum_version 1.5.0
load helpers

setup() {
	setup_work
	export XDG_DATA_HOME=$WORK/data
	depot=$WORK/depot
	unset http_proxy https_proxy
}

# Bytes that look random, the same ones each time: noise SEED BYTES
noise() {
	openssl enc -aes-128-ctr -K "$(printf '%032x' "$1")" -iv "$(printf '%032x' 0)" -nosalt </dev/zero 2>/dev/null | head -c "$2"
}

# A disk of 24 MiB with noise, text and zeros; the second version differs in the middle: disk VERSION
disk() {
	noise 1 8M
	head -c 4M /dev/zero
	noise "$1" 300K
	noise 2 5M
	seq 900000 | head -c 6M
	head -c 740K /dev/zero
}

# Publishing costs more than fetching: it is done once, for all tests.
setup_file() {
	setup_work
	export XDG_DATA_HOME=$BATS_FILE_TMPDIR/publisher
	local version
	for version in 1 2; do
		disk $version >disk.raw
		printf '\x55\xaa' | dd of=disk.raw bs=1 seek=510 conv=notrunc status=none
		truncate -s %4096 disk.raw
		"$WNODES" image import --name el9 --tag $version disk.raw >/dev/null
		"$WNODES" image publish --depot "$BATS_FILE_TMPDIR/depot" --json el9:$version >"$BATS_FILE_TMPDIR/el9-$version.json"
		cp -a "$BATS_FILE_TMPDIR/depot" "$BATS_FILE_TMPDIR/depot-$version"
	done
	cd /
	rm -rf "$WORK"
}

# Has this version and those before published as el9:VERSION, with its release in el9-VERSION.json: publish VERSION
publish() {
	rm -rf "$depot"
	cp -a "$BATS_FILE_TMPDIR/depot-$1" "$depot"
	cp "$BATS_FILE_TMPDIR"/el9-*.json .
}

digest_of() {
	jq -r .digest "$1"
}

# Serves the depot at $url; what is asked is in `asked`: serve [PORT]
serve() {
	python3 -u -m http.server --bind 127.0.0.1 --directory "$depot" --protocol HTTP/1.1 "${1:-0}" >served 2>asked 3>&- &
	server=$!
	wait_for 10 grep -q 'port [0-9]' served
	url=http://127.0.0.1:$(sed -n 's/.*port \([0-9]*\).*/\1/p' served | head -1)
}

unserve() {
	kill "$server"
	wait "$server" 2>/dev/null || true
	server=
}

# Chunks that the server has given.
asked_chunks() {
	grep -c '"GET /chunks/.* 200' asked || true
}

# The image is there, and is the published one: assert_fetched NAME RELEASE
assert_fetched() {
	"$WNODES" image verify "$1"
	[ "$("$WNODES" image show --json "$1" | jq -r .digest)" = "$(digest_of "$2")" ]
	[ -z "$(ls "$XDG_DATA_HOME/wnodes/partial")" ]
}

# Nothing is there that could be started, whatever has come.
assert_not_there() {
	run ! "$WNODES" image show "$1"
	[ -z "$(ls "$XDG_DATA_HOME/wnodes/blobs" 2>/dev/null)" ]
}

@test "fetch: an image comes from a directory and from a web server, by digest and by release" {
	publish 1
	serve
	for from in "$depot" "$url"; do
		rm -rf "$XDG_DATA_HOME"
		run --separate-stderr "$WNODES" image fetch --from "$from" --release el9-1.json
		[[ $output == "el9:latest $(digest_of el9-1.json | head -c 12): 24"*"were fetched" ]]
		[ -z "$stderr" ]
		assert_fetched el9 el9-1.json
		rm -rf "$XDG_DATA_HOME"
		"$WNODES" image fetch --from "$from" --name mine --tag t "$(digest_of el9-1.json)"
		assert_fetched mine:t el9-1.json
	done
	for from in "file://$depot" "$url/"; do
		rm -rf "$XDG_DATA_HOME"
		"$WNODES" image fetch --from "$from" --release el9-1.json
	done
	# It is the very file, and its zeros are holes.
	blob=$(jq -r '.parts[] | select(.kind == "disk").digest' el9-1.json)
	cmp "$BATS_FILE_TMPDIR/publisher/wnodes/blobs/$blob" "$XDG_DATA_HOME/wnodes/blobs/$blob"
	[ "$(du -k "$XDG_DATA_HOME/wnodes/blobs/$blob" | cut -f1)" -lt 21000 ]
}

@test "fetch: of a new version only what is new travels, and --json tells what came from where" {
	publish 2
	serve
	"$WNODES" image fetch --from "$url" --release el9-1.json --json >first.json
	first=$(asked_chunks)
	"$WNODES" image fetch --from "$url" --release el9-2.json --json >second.json
	assert_fetched el9 el9-2.json
	jq -e --arg url "$url" '.reused_bytes == 0 and .present_bytes == 0 and .release and .origins[0].origin == $url and
		.origins[0].bytes == .received_bytes and .received_bytes < .fetched_bytes' first.json
	jq -e '.reused_bytes > 17e6 and .fetched_bytes < 1e6 and .received_bytes < 1e6' second.json
	[ $(($(asked_chunks) - first)) -lt 12 ]
	# What is there needs nobody, by whatever name.
	unserve
	"$WNODES" image fetch --from "$url" --name again --json "$(digest_of el9-2.json)" | jq -e '.received_bytes == 0'
	assert_fetched again el9-2.json
}

@test "fetch: killed at any moment, it goes on, and nothing half is ever there" {
	publish 1
	serve
	digest=$(digest_of el9-1.json)
	rounds=0 broken=0
	while [ $rounds -lt 40 ]; do
		rounds=$((rounds + 1))
		# Beginning anew now and then, with a release and without one.
		[ $((rounds % 8)) -ne 0 ] || rm -rf "$XDG_DATA_HOME"
		options=(--name el9 "$digest")
		[ $((rounds % 2)) -ne 0 ] || options=(--release el9-1.json)
		"$WNODES" image fetch --from "$url" "${options[@]}" >out 2>&1 &
		pid=$!
		sleep "0.$(printf '%03d' $((RANDOM % 300)))"
		kill -9 $pid 2>/dev/null || true
		if wait $pid; then
			assert_fetched el9 el9-1.json
			rm -rf "$XDG_DATA_HOME"
		else
			# Killed behind the end it is there, and whole.
			if "$WNODES" image show el9 >/dev/null 2>&1; then
				"$WNODES" image verify el9
			else
				broken=$((broken + 1))
			fi
		fi
	done
	echo "broken off: $broken"
	[ $broken -ge 5 ]
	"$WNODES" image fetch --from "$url" --release el9-1.json
	assert_fetched el9 el9-1.json
	"$WNODES" image gc
}

@test "fetch: three at once fetch it once" {
	publish 1
	serve
	"$WNODES" image fetch --from "$url" --release el9-1.json
	alone=$(asked_chunks)
	rm -rf "$XDG_DATA_HOME"
	pids=
	for name in a b c; do
		"$WNODES" image fetch --from "$url" --release el9-1.json --name $name --verbose >out.$name 2>&1 &
		pids="$pids $!"
	done
	for pid in $pids; do
		wait "$pid"
	done
	for name in a b c; do
		assert_fetched $name el9-1.json
	done
	[ "$(asked_chunks)" -eq $((2 * alone)) ]
	[ "$(grep -l 'waiting for another process' out.? | wc -l)" -ge 1 ]
}

@test "fetch: a server that comes back is waited for, and one that does not ends it" {
	publish 1
	serve
	port=${url##*:}
	"$WNODES" image fetch --from "$url" --release el9-1.json >/dev/null
	rm -rf "$XDG_DATA_HOME"
	unserve
	"$WNODES" image fetch --from "$url" --release el9-1.json >out 2>&1 &
	pid=$!
	sleep 1
	serve "$port"
	wait $pid
	assert_fetched el9 el9-1.json
	rm -rf "$XDG_DATA_HOME"
	unserve
	run -125 --separate-stderr timeout 20 "$WNODES" image fetch --timeout 1s --from "$url" --release el9-1.json
	[[ $stderr == "wnodes: cannot get 'manifest/"*"$url"* ]]
	assert_not_there el9
}

@test "fetch: what a depot has wrong is refused, and another depot helps" {
	publish 1
	cp -a "$depot" sound
	serve
	chunks=("$depot"/chunks/*/*.cacnk)
	echo 'no chunk' >"${chunks[3]}"
	truncate -s 10 "${chunks[5]}"
	head -c 1M /dev/zero | zstd -q >"${chunks[7]}"
	rm "${chunks[9]}"
	for from in "$url" "$depot"; do
		run -125 --separate-stderr "$WNODES" image fetch --from "$from" --release el9-1.json
		[[ $stderr == "wnodes: chunk "*" is to be had nowhere: '$from': "* ]]
		assert_not_there el9
		"$WNODES" image fetch --from "$from" --from sound --release el9-1.json --json >out.json
		assert_fetched el9 el9-1.json
		rm -rf "$XDG_DATA_HOME"
	done
	# An index that is another one: the release says so, and without one the whole does.
	publish 2
	index=$depot/index/$(jq -r '.parts[0].digest' el9-1.json).caibx
	cp --remove-destination "$depot/index/$(jq -r '.parts[0].digest' el9-2.json).caibx" "$index"
	run -125 --separate-stderr "$WNODES" image fetch --from "$url" --release el9-1.json
	[[ $stderr == *"as the release says"* ]]
	run -125 --separate-stderr "$WNODES" image fetch --from "$url" --name el9 "$(digest_of el9-1.json)"
	[[ $stderr == *"with the index of '$url'"* ]]
	assert_not_there el9
	"$WNODES" image fetch --from "$url" --from "$WORK/sound" --name el9 "$(digest_of el9-1.json)"
	assert_fetched el9 el9-1.json
}

@test "fetch: when the disk is full it says so, and goes on when there is room" {
	[ "$(id -u)" -eq 0 ] || skip "needs root to mount"
	publish 1
	mkdir small && mount -t tmpfs -o size=12m,mode=700 tmpfs small || skip "cannot mount"
	export XDG_DATA_HOME=$WORK/small
	run -125 --separate-stderr "$WNODES" image fetch --from "$depot" --release el9-1.json
	[[ $stderr == "wnodes: cannot write the image: No space left on device"* ]] || { umount small; false; }
	run ! "$WNODES" image show el9
	mount -o remount,size=60m small
	"$WNODES" image fetch --from "$depot" --release el9-1.json --json >out.json
	jq -e '.resumed_bytes > 5e6' out.json || { umount small; false; }
	assert_fetched el9 el9-1.json || { umount small; false; }
	umount small
}

@test "fetch: what was left for longer than a day is garbage" {
	publish 1
	serve
	"$WNODES" image fetch --from "$url" --release el9-1.json >/dev/null 2>&1 &
	pid=$!
	wait_for 10 test -e "$XDG_DATA_HOME/wnodes/partial/$(jq -r '.parts[0].digest' el9-1.json).have"
	kill -9 $pid
	wait $pid || true
	"$WNODES" image gc
	[ "$(ls "$XDG_DATA_HOME/wnodes/partial" | wc -l)" -eq 2 ]
	touch -d '2 days ago' "$XDG_DATA_HOME"/wnodes/partial/*
	"$WNODES" image gc
	[ "$(ls "$XDG_DATA_HOME/wnodes/partial" | wc -l)" -eq 0 ]
}

@test "fetch: mistakes are told" {
	digest=$(printf '%064d' 1)
	run -125 --separate-stderr "$WNODES" image fetch --name x "$digest"
	[[ $stderr == "wnodes: say where from: --from URL or --from DIRECTORY" ]]
	run -125 --separate-stderr "$WNODES" image fetch --from . --name x 1234
	[[ $stderr == "wnodes: '1234' is no image's digest, which has 64 hexadecimal digits" ]]
	run -125 --separate-stderr "$WNODES" image fetch --from . --name x
	[[ $stderr == "wnodes: say which image: its digest, or --release FILE" ]]
	run -125 --separate-stderr "$WNODES" image fetch --from . "$digest"
	[[ $stderr == *"give the image a name"* ]]
	run -125 --separate-stderr "$WNODES" image fetch --from ./nowhere --name x "$digest"
	[[ $stderr == "wnodes: cannot open the depot './nowhere': No such file or directory" ]]
	run -125 --separate-stderr "$WNODES" image fetch --from ftp://x/y --name x "$digest"
	[[ $stderr == *"give a directory, or a URL of http or https" ]]
	run -125 --separate-stderr "$WNODES" image fetch --from . --name x "$digest"
	[[ $stderr == "wnodes: cannot get 'manifest/$digest.json': '.': cannot read "*"No such file or directory" ]]
	echo '{}' >bad.json
	run -125 --separate-stderr "$WNODES" image fetch --from . --release bad.json
	[[ $stderr == "wnodes: the release 'bad.json': "* ]]
}
