# Volumes of a site, with the real controller: a node that has the data, and another one whose VMs use it by NBD
# within TLS. Two nodes are two daemons with a directory and a socket each.

bats_require_minimum_version 1.5.0
load helpers
load daemon
load site

# Whose volumes they are: one that has an account everywhere, games.
OWNER=5
# shellcheck disable=SC2034 # site.bash uses it
NODE=wn1

start_controller() {
	"$CONTROLLER" --config "$SITE/controller.conf" 2>>site.err </dev/null 3>&- &
	site=$!
	wait_for 20 site_answers
}

# A site that gives up nodes soon, and the node that keeps volumes.
start_site() {
	skip_if_closed
	skip_if_sanitized
	CONTROLLER=$WNODES_BUILD/wnodes-controller
	[ -x "$CONTROLLER" ] || skip "the controller was not built"
	command -v qemu-nbd >/dev/null || skip "qemu-nbd is not installed"
	PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	URL=https://localhost:$PORT SITE=$WORK/site KEPT=$WORK/kept
	mkdir -p "$SITE" "$WORK/user-config/wnodes" && mkdir -m 700 "$KEPT"
	printf '%s\n' '[controller]' "listen = 127.0.0.1:$PORT" "socket = $SITE/socket" "state = $SITE/state" "user = root" \
		"database = sqlite:$SITE/state/site.db" 'lost_after = 4s' 'lease_grace = 2s' 'volume_size = 1G' >"$SITE/controller.conf"
	start_controller
	FINGERPRINT=$(fingerprint "$SITE/state/ca.pem")
	printf '[site]\ncontrollers = unix:%s\n' "$SITE/socket" >"$WORK/user-config/wnodes/wnodes.conf"
	make_token
	join
	site_config '[images]' 'listen = none' '[node]' "volumes = $KEPT" 'volume_address = 127.0.0.1' "volume_port = $((PORT + 1))"
	mkdir "$WORK/config-home" && cp -r "$WORK/config/wnodes" "$WORK/config-home/"
	start_daemon
	wait_for 20 site_says /v1/nodes/wn1 '.state == "up"'
}

site_answers() {
	[ "$(site GET /healthz | jq -r .status)" = ok ]
}

site() {
	local method=$1 path=$2
	shift 2
	curl -sS --max-time 20 --unix-socket "$SITE/socket" -X "$method" -H 'Content-Type: application/json' "$@" "http://controller$path"
}

site_says() {
	site GET "$1" | jq -e "$2" >/dev/null
}

make_token() {
	site PUT "/v1/tokens/$(cat /proc/sys/kernel/random/uuid)" -d '{"kind":"join","lifetime_s":600}' | jq -r .token >token
}

# A second node, wn2, which has nothing: its users' broker is at $SOCKET2.
start_second() {
	SOCKET2=$WORK/node2/socket
	mkdir -p "$WORK/state2" "$WORK/config2/wnodes"
	copy_store "$TEST_STORE"/{blobs,names} "$WORK/state2"
	make_token
	run -0 "$WNODES" node join --token-file token --ca-fingerprint "$FINGERPRINT" --state "$WORK/state2" --name wn2 "$URL"
	sed -e "s|broker = .*|broker = $SOCKET2|" -e '/^volume/d' "$WORK/config/wnodes/wnodes.conf" >"$WORK/config2/wnodes/wnodes.conf"
	start_other
	wait_for 20 site_says /v1/nodes/wn2 '.state == "up"'
}

start_other() {
	daemon --socket "$SOCKET2" --state "$WORK/state2" --config "$WORK/config2/wnodes/wnodes.conf" 2>>other.err </dev/null 3>&- &
	other=$!
}

teardown() {
	local pid
	for pid in ${site:-} ${other:-} ${daemon:-}; do
		kill -KILL "$pid" 2>/dev/null || true
	done
	[ ! -e "${WORK:-/}/site.err" ] || tail -20 "$WORK/site.err" | sed 's/^/site: /'
	[ ! -e "${WORK:-/}/other.err" ] || sed 's/^/other: /' "$WORK/other.err"
	[ ! -e "${WORK:-/}/daemon.err" ] || sed 's/^/daemon: /' "$WORK/daemon.err"
	[ -z "${WORK:-}" ] || TEST_CLONES='' teardown_work
}

# As the owner, at the site: volume VERB...
volume() {
	XDG_CONFIG_HOME=$WORK/user-config as $OWNER "$WNODES" volume "$@"
}

# A VM of the owner's, on the first node or the second: vm 1|2 OPTION... -- COMMAND...
vm() {
	local where=$1
	shift
	[ "$where" = 1 ] || export XDG_CONFIG_HOME=$WORK/config2
	as $OWNER timeout 240 "$WNODES" run --memory 256M "$@"
}

# The same in the background; it says "up", and hears commands: living_vm 1|2 NAME OPTION...
living_vm() {
	local where=$1 name=$2
	shift 2
	mkfifo -m 666 "$WORK/in-$name"
	vm "$where" "$@" -- sh -c 'echo up; while read -r x; do sh -c "$x"; echo "ended $?"; done' <"$WORK/in-$name" >"$name.out" 2>"$name.err" 3>&- &
	eval "pid_$name=$!"
	exec {hold}>"$WORK/in-$name"
	eval "hold_$name=$hold"
	wait_for 90 grep -q up "$name.out" || { cat "$name.err"; false; }
}

# says NAME COMMAND: how it ended is the last line of NAME.out
says() {
	local hold=hold_$1 before
	before=$(grep -c '^ended' "$1.out") || true
	echo "$2" >&"${!hold}"
	wait_for "${3:-30}" more_ends "$1.out" "$before"
	tail -1 "$1.out"
}

more_ends() {
	[ "$(grep -c '^ended' "$1")" -gt "$2" ]
}

end_vm() {
	local hold=hold_$1 pid=pid_$1
	eval "exec ${!hold}>&-"
	wait "${!pid}" || true
}

free() {
	site_says /v1/attachments '.items == []'
}

@test "volume: it is made, written on its node, read on another, copied, grows and goes" {
	start_site
	start_second
	run -0 volume create data --size 64M
	[[ "$output" == *"'data' is made, on node wn1: available"* ]]
	run -0 volume create data --size 64M
	run -125 volume create data --size 65M
	run -125 volume create large --size 2G
	[[ "$output" == *"volume_size"* ]]
	run -0 --separate-stderr vm 1 --volume data:/data -- sh -c 'echo hello >/data/x && df -m /data | tail -1'
	wait_for 10 free
	run -0 --separate-stderr vm 2 --volume data -- sh -c 'cat /volumes/data/x; echo more >>/volumes/data/x'
	[ "$output" = hello ]
	wait_for 10 free
	# A reader cannot write.
	run -0 --separate-stderr vm 2 --volume data:ro -- sh -c 'cat /volumes/data/x; ! touch /volumes/data/y'
	[ "$output" = $'hello\nmore' ]
	run -0 volume snapshot data monday
	wait_for 10 free
	run -0 volume resize data --size 128M
	run -0 --separate-stderr vm 1 --volume data:/data --volume monday:/old -- \
		sh -c 'df -m /data | awk "END {exit !(\$2 > 100)}" && cat /old/x && rm /data/x'
	[ "$output" = $'hello\nmore' ]
	wait_for 10 free
	run -0 volume delete data
	wait_for 10 site_says /v1/volumes '[.items[].name] == ["monday"]'
	[ "$(find "$KEPT" -type f -size +1M | wc -l)" = 1 ]
	run -125 vm 1 --volume data -- true
	[[ "$output" == *"user 'games' has no volume 'data'"* ]]
	run -125 as $ONE "$WNODES" run --memory 256M --volume games/monday -- true
	[[ "$output" == *"has no volume"* ]]
}

@test "volume: one writer at a time, wherever it is; daemons and the controller are killed under it" {
	start_site
	start_second
	run -0 volume create data --size 64M
	living_vm 2 a --volume data:/data
	[ "$(says a 'echo one >/data/x && sync')" = 'ended 0' ]
	run -125 vm 1 --volume data -- true
	[[ "$output" == *"attached for writing, to VM"*"on node 'wn2'"* ]]
	run -125 vm 2 --volume data:ro -- true
	[[ "$output" == *"attached for writing"* ]]
	run -125 volume delete data
	run -125 volume resize data --size 128M
	run -125 volume snapshot data copy
	# The server of the data is its daemon's child; the VM waits for the next one.
	kill_daemon KILL
	start_daemon
	[ "$(says a 'echo two >>/data/x && sync' 60)" = 'ended 0' ]
	kill -KILL "$site" && wait "$site" || true
	[ "$(says a 'echo three >>/data/x && sync')" = 'ended 0' ]
	start_controller
	# The VM's own daemon hears of it again.
	kill -KILL "$other" && wait "$other" || true
	start_other
	[ "$(says a 'echo four >>/data/x && sync')" = 'ended 0' ]
	sleep 3
	site_says /v1/attachments '.items | length == 1'
	end_vm a
	wait_for 20 free
	run -0 --separate-stderr vm 1 --volume data:/data -- cat /data/x
	[ "$output" = $'one\ntwo\nthree\nfour' ]
}

@test "volume: what a stale writer writes is refused, before another one begins" {
	start_site
	start_second
	run -0 volume create data --size 64M
	living_vm 2 a --volume data:/data
	[ "$(says a 'echo one >/data/x && sync')" = 'ended 0' ]
	# Its node is not heard of any more, but the VM lives.
	kill -STOP "$other" $(pgrep -P "$other")
	run -125 vm 1 --volume data -- true
	[[ "$output" == *"on node 'wn2'"* ]]
	wait_for 30 free
	living_vm 1 b --volume data:/data
	[ "$(says b 'cat /data/x')" = 'ended 0' ]
	[ "$(says b 'echo new >/data/y && sync')" = 'ended 0' ]
	echo 'echo stale >/data/z; sync; dd if=/dev/zero of=/data/x bs=1M count=8 conv=fsync' >&"$hold_a"
	sleep 5
	[ "$(says b 'cat /data/x /data/y; ls /data')" = 'ended 0' ]
	grep -qx new b.out
	run -1 grep -q z b.out
	kill -CONT "$other" $(pgrep -P "$other")
	end_vm b
	wait_for 10 free
	kill -KILL "$pid_a" 2>/dev/null || true
	run -0 --separate-stderr vm 1 --volume data:/data -- sh -c 'cat /data/x /data/y; ! test -e /data/z'
	[ "$output" = $'one\nnew' ]
}

@test "volume: of two who want it at once one gets it; a node that is down is said to be" {
	start_site
	start_second
	run -0 volume create data --size 64M
	for i in 1 2; do
		vm $i --volume data:/data -- sh -c 'echo x >>/data/x; sync; sleep 8; wc -l </data/x' >race$i.out 2>race$i.err 3>&- &
		pids[i]=$!
	done
	won=0
	for i in 1 2; do
		if wait "${pids[i]}"; then
			won=$((won + 1))
			[ "$(cat race$i.out)" = 1 ]
		else
			grep -q 'attached for writing' race$i.err
		fi
	done
	[ $won = 1 ]
	wait_for 10 free
	kill -KILL "$daemon" && wait "$daemon" || true
	daemon=
	wait_for 20 site_says /v1/nodes/wn1 '.state == "lost"'
	run -125 vm 2 --volume data -- true
	[[ "$output" == *"the data of volume 'data' is on node 'wn1', which is lost"* ]]
}
