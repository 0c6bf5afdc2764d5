# wnodes run behaves like running the command itself.

bats_require_minimum_version 1.5.0
load helpers

run_vm() {
	"$WNODES" run --network none "$@"
}

@test "run: exit status, stdout and stderr are the command's" {
	run -0 --separate-stderr run_vm -- sh -c 'echo out; echo err >&2'
	[ "$output" = out ]
	[ "$stderr" = err ]
	run -7 run_vm -- sh -c 'exit 7'
	assert_nothing_left
}

@test "run: a command that dies of a signal gives 128 + its number" {
	run -139 run_vm -- sh -c 'kill -SEGV $$'
}

@test "run: a command that is not found gives 127, one that cannot be run 126" {
	run -127 run_vm -- no-such-command
	[[ "$output" == *"no-such-command: command not found"* ]]
	echo data >plain
	run -126 run_vm -- ./plain
	[[ "$output" == *"Permission denied"* ]]
}

@test "run: the caller's identity, umask and directory are those in the VM" {
	mkdir "sub dir" && cd "sub dir"
	umask 027
	run -0 run_vm -- sh -c 'id -u; id -g; id -un; umask; pwd; echo "$HOME"; hostname'
	[ "${lines[0]}" = "$(id -u)" ]
	[ "${lines[1]}" = "$(id -g)" ]
	# A uid without an account on the host gets one in the VM.
	[ "${lines[2]}" = "$(user_name)" ]
	[ "${lines[3]}" = 0027 ]
	[ "${lines[4]}" = "$WORK/sub dir" ]
	[ "${lines[5]}" = "$HOME" ]
	[[ "${lines[6]}" == vm-* ]]
}

@test "run: files of the current directory are read and written, and belong to the caller" {
	echo 41 >input
	run -0 run_vm -- sh -c 'echo $(($(cat input) + 1)) >result; mkdir d; ln -s result d/link; mv result result.txt'
	[ "$(cat result.txt)" = 42 ]
	[ "$(stat -c %u:%g result.txt)" = "$(id -u):$(id -g)" ]
	[ -L d/link ]
}

@test "run: as an unprivileged user, with the user's rights only" {
	as_user sh -c 'umask 077; echo secret >mine'
	run -0 as_user "$WNODES" run --network none -- sh -c 'id -u; cat mine; touch made; stat -c %u made'
	[ "${lines[0]}" = "$(as_user id -u)" ]
	[ "${lines[1]}" = secret ]
	[ "$(as_user stat -c %u made)" = "$(as_user id -u)" ]
	# As root inside, nothing that the user may not do on the host: QEMU has only the user's rights.
	skip_unless_root
	mkdir "$WORK/user/closed" && chmod 700 "$WORK/user/closed" && echo no >"$WORK/user/closed/file"
	run -1 as_user "$WNODES" run --network none -- cat closed/file
	[[ "$output" == *"Permission denied"* ]]
}

@test "run: stdin reaches the command whole, 64 MiB of random bytes both ways" {
	head -c 67108864 /dev/urandom >data
	sum=$(sha256sum <data)
	run_vm -- cat <data >copy
	[ "$(sha256sum <copy)" = "$sum" ]
	[ "$(run_vm -- sha256sum <data)" = "$sum" ]
	# Through pipes, in unequal pieces.
	[ "$(dd if=data bs=70001 status=none | run_vm -- cat | sha256sum)" = "$sum" ]
}

@test "run: a reader that stops early ends the command as a pipe would" {
	run -0 bash -c "'$WNODES' run --network none -- sh -c 'yes' | head -2"
	[ "${lines[0]}" = y ]
	[ "${#lines[@]}" -eq 2 ]
	assert_nothing_left
}

@test "run: a slow reader gets everything, and holds the command back" {
	run_vm -- sh -c 'head -c 8000000 /dev/zero; date +%s >end' | {
		sleep 6
		date +%s >started
		wc -c >count
	}
	[ "$(cat count)" -eq 8000000 ]
	[ "$(cat end)" -ge "$(cat started)" ]
}

@test "run: a closed stdin is an empty one" {
	run -0 bash -c "'$WNODES' run --network none -- sh -c 'cat; echo done' <&-"
	[ "$output" = done ]
	run -0 run_vm -- cat </dev/null
	[ -z "$output" ]
}

@test "run: stdin is left when the command does not read it" {
	yes | run_vm -- true
	assert_nothing_left
}

@test "run: the environment is clean but for what --env passes" {
	export SECRET=1 OMP_NUM_THREADS=3 OMP_PLACES=cores GIVEN=host LANG=C.UTF-8
	run -0 run_vm --env GIVEN --env 'OMP_*' --env 'NEW=a b=c' -- env
	[[ "$output" == *"GIVEN=host"* ]]
	[[ "$output" == *"OMP_NUM_THREADS=3"* && "$output" == *"OMP_PLACES=cores"* ]]
	[[ "$output" == *"NEW=a b=c"* ]]
	[[ "$output" == *"LANG=C.UTF-8"* ]]
	[[ "$output" != *SECRET* ]]
}

@test "run: --mount shows a directory elsewhere, read-only if told so" {
	mkdir in out && echo hello >in/file
	run -1 run_vm --mount in:/data/in:ro --mount out:/data/out -- sh -c \
		'cp /data/in/file /data/out/copy && touch /data/in/no'
	[[ "$output" == *"Read-only file system"* ]]
	[ "$(cat out/copy)" = hello ]
	[ ! -e in/no ]
}

@test "run: --mount none hides the host's directories" {
	touch here
	run -0 run_vm --mount none -- sh -c "ls -d $WORK/here 2>/dev/null; pwd"
	[ "$output" = "$HOME" ]
}

@test "run: --workdir chooses the directory, and a wrong one is explained" {
	run -0 run_vm --workdir /usr/share -- pwd
	[ "$output" = /usr/share ]
	mkdir sub
	run -0 run_vm --workdir sub -- pwd
	[ "$output" = "$WORK/sub" ]
	run -125 run_vm --workdir /not/there -- pwd
	[[ "$output" == *"'/not/there' cannot be entered in the VM"*"--workdir"* ]]
}

@test "run: --cpus and --memory give the machine its shape" {
	run -0 run_vm --cpus 2 --memory 768M -- sh -c 'nproc; awk "/MemTotal/ {print \$2}" /proc/meminfo'
	[ "${lines[0]}" -eq 2 ]
	[ "${lines[1]}" -gt 600000 ]
	[ "${lines[1]}" -lt 786432 ]
}

@test "run: --scratch gives an empty disk on /scratch and /tmp, and nothing of it stays" {
	run -0 run_vm --scratch 2G -- sh -c \
		'df -k --output=size /scratch | tail -1; echo x >/tmp/f; cat /scratch/f; stat -c %a /tmp'
	[ "${lines[0]}" -gt 1900000 ]
	[ "${lines[1]}" = x ]
	[ "${lines[2]}" = 1777 ]
	assert_nothing_left
}

@test "run: --scratch 0 and --timeout 0 undo the settings" {
	mkdir -p conf/wnodes
	printf '[vm]\naccel = tcg\n[template]\nautomatic = no\n[run]\nscratch = 64M\ntimeout = 1s\n' >conf/wnodes/wnodes.conf
	XDG_CONFIG_HOME=$WORK/conf run -0 run_vm --scratch 0 --timeout 0 -- sh -c 'sleep 2; [ ! -e /scratch ] && echo over'
	[ "$output" = over ]
}

@test "run: disks past the cache and in a thread of their own, and pinned CPUs, make a VM like any other" {
	mkdir -p conf/wnodes
	printf '%s\n' '[vm]' 'accel = tcg' 'disk_cache = none' 'disk_aio = io_uring' 'disk_thread = yes' 'cpu_pinning = yes' \
		'[template]' 'automatic = no' >conf/wnodes/wnodes.conf
	XDG_CONFIG_HOME=$WORK/conf run -0 --separate-stderr run_vm --verbose --cpus "$(nproc)" --scratch 64M -- sh -c '
		head -c 5M /dev/urandom >/scratch/a && cp /scratch/a /var/tmp/b && sync && cmp /scratch/a /var/tmp/b && echo same'
	[ "$output" = same ]
	[[ "$stderr" == *"iothread,id=disks"*"cache.direct=on"* ]]
	[ "$(grep -c 'is kept on CPU' <<<"$stderr")" -eq "$(nproc)" ]
}

@test "run: a VM that is to have huge pages fails where there are none, and says so" {
	[ "$(awk '/HugePages_Free/ { print $2 }' /proc/meminfo)" -lt 128 ] || skip "there are huge pages"
	mkdir -p conf/wnodes
	printf '%s\n' '[vm]' 'accel = tcg' 'huge_pages = yes' >conf/wnodes/wnodes.conf
	XDG_CONFIG_HOME=$WORK/conf run -125 run_vm -- true
	[[ "$output" == *"huge"* || "$output" == *"allocate memory"* ]]
	XDG_CONFIG_HOME=$WORK/conf run -125 run_vm --start clone -- true
	[[ "$output" == *"huge pages is not cloned"* ]]
	sed -i 's/yes/auto/' conf/wnodes/wnodes.conf
	XDG_CONFIG_HOME=$WORK/conf run -0 run_vm --start boot -- true
}

# Not how long it takes, but that it does not take less.
@test "run: --disk-rate and --disk-iops hold" {
	moved='a=$(cut -d" " -f1 /proc/uptime); "$@" 2>/dev/null; b=$(cut -d" " -f1 /proc/uptime)
		awk "BEGIN { print int(($b - $a) * 10) }"'
	run -0 run_vm --scratch 64M --disk-rate 8M -- sh -c "$moved" - \
		dd if=/dev/zero of=/scratch/file bs=1M count=24 oflag=direct
	[ "$output" -ge 27 ]
	run -0 run_vm --scratch 64M --disk-iops 50 -- sh -c "dd if=/dev/zero of=/scratch/file bs=400k count=1 oflag=direct 2>/dev/null
		$moved" - dd if=/scratch/file of=/dev/null bs=4k count=100 iflag=direct
	[ "$output" -ge 18 ]
}

@test "run: the root disk can be written, and each VM starts with a fresh one" {
	run -0 run_vm -- sh -c 'test ! -e /var/tmp/mark && touch /var/tmp/mark && head -c 50M /dev/zero >/var/tmp/big'
	run -1 run_vm -- test -e /var/tmp/mark
}

@test "run: --network user reaches a server on the host, none has only the loopback" {
	echo over the network >page
	python3 -u -m http.server --bind 127.0.0.1 0 >served 2>&1 3>&- &
	# shellcheck disable=SC2034 # teardown ends it
	export server=$! # ended by teardown
	wait_for 10 grep -q 'port [0-9]' served
	port=$(sed -n 's/.* port \([0-9]*\).*/\1/p' served)
	run -0 "$WNODES" run --network user -- bash -c \
		'exec 3<>/dev/tcp/10.0.2.2/$1; printf "GET /page HTTP/1.0\r\n\r\n" >&3; cat <&3' - "$port"
	[[ "$output" == *"over the network"* ]]
	run -0 run_vm -- ls /sys/class/net
	[ "$output" = lo ]
}

@test "run: the network user by passt is the same to the guest, and a VM does not outlive it" {
	command -v passt >/dev/null || skip "passt is not installed"
	unshare -U true 2>/dev/null || skip "users have no user namespaces here"
	mkdir -p conf-home/wnodes
	printf '[vm]\naccel = tcg\nuser_network = passt\n[template]\nautomatic = no\n' >conf-home/wnodes/wnodes.conf
	export XDG_CONFIG_HOME=$WORK/conf-home
	echo over the network >page
	python3 -u -m http.server --bind 127.0.0.1 0 >served 2>&1 3>&- &
	# shellcheck disable=SC2034 # teardown ends it
	export server=$! # ended by teardown
	wait_for 10 grep -q 'port [0-9]' served
	port=$(sed -n 's/.* port \([0-9]*\).*/\1/p' served)
	run -0 "$WNODES" run --network user -- bash -c \
		'cat /sys/class/net/eth0/mtu; exec 3<>/dev/tcp/10.0.2.2/$1; printf "GET /page HTTP/1.0\r\n\r\n" >&3; cat <&3' - "$port"
	[ "${lines[0]}" = 65520 ]
	[[ "$output" == *"over the network"* ]]

	# It hides from others of its user, so that it is known by its parent.
	"$WNODES" run --network user -- sleep 600 2>why 3>&- &
	wait_for 60 eval 'pgrep -P $! -f "^[^ ]*passt" && "$WNODES" vm list --json | jq -e ".[0].phase == \"run\""'
	kill -KILL "$(pgrep -P $! -f '^[^ ]*passt')"
	wait $! && status=0 || status=$?
	[ "$status" -eq 125 ]
	grep -q "passt, the VM's user network, has ended" why
	assert_nothing_left
}

@test "run: --timeout ends a command with 124, also one that ignores SIGTERM" {
	run -124 run_vm --timeout 1s -- sleep 60
	printf '[deadline]\ngrace = 1s\n[vm]\naccel = tcg\n[template]\nautomatic = no\n' >"$WORK/conf"
	mkdir -p conf-home/wnodes && cp conf conf-home/wnodes/wnodes.conf
	XDG_CONFIG_HOME=$WORK/conf-home run -124 run_vm --timeout 1s -- sh -c 'trap "" TERM; while :; do sleep 1; done'
	assert_nothing_left
}

@test "run: --report tells phases, exit status, bytes and memory" {
	run -3 run_vm --report report.json -- sh -c 'echo hello; exit 3'
	start=boot
	[ -z "${TEST_CLONES:-}" ] || start=clone
	[ "$(jq -r '[.phases[].phase] | join(" ")' report.json)" = "fetch $start prepare run stop" ]
	jq -e '.exit_status == 3 and .usage.bytes_from_guest == 6 and .usage.peak_memory_bytes > 50e6
		and (.phases | all(.duration_s >= 0)) and .image.name == "debian" and .reason == null
		and .command.argv[0] == "sh" and .command.max_rss_bytes > 0' report.json
}

@test "run: --report tells what the disks and the network moved" {
	run -0 "$WNODES" run --network user --scratch 64M --report report.json -- \
		sh -c 'head -c 8M /dev/zero >/scratch/x; sync; cat /usr/bin/perl >/dev/null'
	jq -e '.usage | .disk_written_bytes > 8000000 and .disk_read_bytes > 3000000' report.json
	jq -e '.usage | .network_received_bytes >= 0 and .guest_oom_kills == 0' report.json
	python3 -c 'import http.server, socketserver
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"x" * 3000000)
    def log_message(self, *arguments): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.handle_request()' >port &
	export server=$! # ended by teardown
	wait_for 10 test -s port
	run -0 "$WNODES" run --network user --report report.json -- perl -MIO::Socket::INET -e \
		'my $s = IO::Socket::INET->new("10.0.2.2:$ARGV[0]") or die; print $s "GET / HTTP/1.0\r\n\r\n"; 1 while <$s>' "$(cat port)"
	jq -e '.usage | .network_received_bytes > 3000000 and .network_sent_bytes > 1000' report.json
}

@test "run: large arguments and environments arrive whole" {
	big=$(head -c 100000 /dev/zero | tr '\0' x)
	run -0 run_vm --env "BIG=$big" -- sh -c 'echo ${#BIG} ${#1}' - "$big"
	[ "$output" = "100000 100000" ]
}

@test "run: two VMs at once do not disturb each other" {
	run_vm -- sh -c 'sleep 2; echo one' >one 3>&- &
	run_vm -- sh -c 'sleep 1; echo two' >two 3>&- &
	wait
	[ "$(cat one two)" = "$(printf 'one\ntwo')" ]
	assert_nothing_left
}

@test "run: a process that the command leaves behind does not hold the VM" {
	start=$SECONDS
	run -0 run_vm -- sh -c 'sleep 300 & echo done'
	[ "$output" = done ]
	[ $((SECONDS - start)) -lt 150 ]
}

@test "run: what was written to a share is on the host when the VM has ended" {
	run -0 run_vm -- sh -c 'dd if=/dev/zero of=big bs=1M count=64 status=none; printf end >>big'
	[ "$(stat -c %s big)" -eq $((64 * 1024 * 1024 + 3)) ]
	[ "$(tail -c 3 big)" = end ]
}
