# What can go wrong gives one clear line, status 125, and leaves nothing.

bats_require_minimum_version 1.5.0
load helpers

# Runs wnodes, which must fail with 125; $output is its stderr.
fails() {
	run -125 "$WNODES" "$@"
	assert_nothing_left
}

# A copy of the tests' store that may be damaged.
own_store() {
	mkdir -p "$WORK/data"
	cp -a "$TEST_STORE" "$WORK/data/wnodes"
	export XDG_DATA_HOME=$WORK/data
}

# A configuration of the test's own.
own_config() {
	mkdir -p "$WORK/config/wnodes"
	printf '%s\n' '[template]' 'automatic = no' '[vm]' 'accel = tcg' "$@" >"$WORK/config/wnodes/wnodes.conf"
	export XDG_CONFIG_HOME=$WORK/config
}

@test "failure: an unknown image is named, with the images that there are" {
	fails run --image nosuch -- true
	[[ "${lines[0]}" == *"nosuch"* && "$output" == *"debian"* ]]
}

@test "failure: a command line that makes no sense" {
	fails run --memory 12Q -- true
	[[ "$output" == *"--memory"*"12Q"* ]]
	fails run --nosuch -- true
	fails run
	fails run --cpus 0x -- true
	fails nosuch
}

@test "failure: a mount that is not there, no directory, or not readable" {
	fails run --mount /not/there -- true
	[[ "$output" == *"/not/there"*"No such file"* ]]
	touch file
	fails run --mount file -- true
	[[ "$output" == *"no directory"* ]]
	fails run --mount .:relative -- true
	fails run --mount .:/ -- true
	if [ "$(id -u)" -eq 0 ]; then
		mkdir -m 700 closed
		run -125 as_user "$WNODES" run --mount "$WORK/closed" -- true
		[[ "$output" == *"closed"*"Permission denied"* ]]
	fi
}

@test "failure: no space for the overlay" {
	skip_unless_root
	mkdir full && mount -t tmpfs -o size=4k tmpfs full
	own_config "directory = $WORK/full"
	run -125 "$WNODES" run -- true
	umount full
	[[ "$output" == *"$WORK/full"*"No space left"* ]]
	assert_nothing_left
}

@test "failure: the host's disk gets full while the VM writes" {
	skip_unless_root
	mkdir full && mount -t tmpfs -o size=24m tmpfs full
	own_config "directory = $WORK/full"
	run -125 "$WNODES" run -- sh -c 'dd if=/dev/urandom of=/var/tmp/x bs=1M count=100; sync; sleep 30'
	umount full
	[[ "$output" == *"no space left for the VM's writes"* ]]
	assert_nothing_left
}

@test "failure: a full disk while the command's output is written" {
	run -125 bash -c "'$WNODES' run --network none -- yes 2>err >/dev/full; s=\$?; cat err; exit \$s"
	[[ "$output" == *"cannot write the command's output: No space left"* ]]
	assert_nothing_left
}

@test "failure: too little memory" {
	fails run --memory 16M -- true
	[[ "$output" == *"too little"*"--memory"* ]]
}

@test "failure: more memory than the host has" {
	fails run --memory 900T -- true
}

@test "failure: QEMU is missing" {
	own_config 'qemu = /not/there/qemu'
	fails run -- true
	[[ "$output" == *"/not/there/qemu"*"apt install qemu-system-x86"* ]]
}

# A QEMU that fails in ways in which the real one will not: fake_qemu NAME <python body.
fake_qemu() {
	{
		cat <<-'EOF'
		#!/usr/bin/python3
		import os, re, socket, sys, time, json
		args = " ".join(sys.argv)
		def channel(name):
		    return socket.socket(fileno=int(re.search(r"id=%s,fd=(\d+)" % name, args).group(1)))
		EOF
		cat
	} >"$WORK/qemu"
	chmod +x "$WORK/qemu"
	own_config "qemu = $WORK/qemu" '[deadline]' 'boot = 4s'
}

@test "failure: QEMU is too old" {
	fake_qemu <<-'EOF'
	qmp = channel("qmp")
	qmp.sendall(b'{"QMP": {"version": {"qemu": {"major": 5, "minor": 2, "micro": 0}, "package": ""}, "capabilities": []}}\r\n')
	qmp.recv(1000)
	qmp.sendall(b'{"return": {}, "id": 1}\r\n')
	time.sleep(60)
	EOF
	fails run -- true
	[[ "$output" == *"QEMU 5.2 is too old"* ]]
}

@test "failure: QEMU refuses its arguments" {
	fake_qemu <<-'EOF'
	sys.stderr.write("qemu: no such machine\n"); sys.exit(1)
	EOF
	fails run -- true
	[[ "$output" == *"boot:"*"no such machine"* ]]
}

@test "failure: QEMU talks nonsense on QMP" {
	fake_qemu <<-'EOF'
	channel("qmp").sendall(b'\x00\xff' * 100 + b'\n'); time.sleep(60)
	EOF
	fails run -- true
	[[ "$output" == *"not QMP"* ]]
}

@test "failure: the agent sends garbage" {
	fake_qemu <<-'EOF'
	channel("agent").sendall(os.urandom(4096)); time.sleep(60)
	EOF
	fails run -- true
	[[ "$output" == *"the guest's agent sent"* ]]
}

@test "failure: the agent speaks another protocol version" {
	fake_qemu <<-'EOF'
	import struct
	def text(s): return struct.pack("<I", len(s) + 1) + s + b"\0"
	hello = struct.pack("<IHH", 0x53444e57, 9, 9) + text(b"9") + text(b"6") + text(b"x") + struct.pack("<IQQ", 1, 1, 1)
	channel("agent").sendall(struct.pack("<IHHI", len(hello), 1, 0, 0) + hello); time.sleep(60)
	EOF
	fails run -- true
	[[ "$output" == *"another protocol version"* ]]
}

@test "failure: a guest that never answers is given up, with its console" {
	fake_qemu <<-'EOF'
	channel("console").sendall(b"Kernel panic - not syncing: no root\r\n"); time.sleep(60)
	EOF
	fails run -- true
	[[ "$output" == *"boot: not done after"* ]]
	[[ "$output" == *"Kernel panic - not syncing: no root"* ]]
}

@test "failure: a guest that dies in mid-run" {
	skip_unless_root
	fails run --network none -- sh -c 'echo c >/proc/sysrq-trigger; sleep 20'
	[[ "$output" == *"run: the guest restarted"* ]]
	[[ "$output" == *"sysrq"* || "$output" == *panic* ]]
}

@test "failure: QEMU is killed in mid-run" {
	"$WNODES" run --network none -- sh -c 'touch ready; sleep 60' 2>err 3>&- &
	pid=$!
	wait_for 60 test -e ready
	kill -9 $(vms)
	ends_with 125 $pid
	grep -q 'run: QEMU was killed by signal 9' err
	assert_nothing_left
}

@test "failure: a corrupted image is not started" {
	own_store
	disk=$XDG_DATA_HOME/wnodes/blobs/$("$WNODES" image show --json debian | jq -r '.parts[] | select(.kind == "disk").digest')
	chmod u+w "$disk"
	printf 'X' | dd of="$disk" bs=1 seek=70000 conv=notrunc status=none
	fails run -- true
	[[ "$output" == *"fetch:"* ]]
	truncate -s 1M "$disk"
	fails run -- true
}

@test "failure: a manifest that is none" {
	own_store
	digest=$("$WNODES" image show --json debian | jq -r .digest)
	chmod u+w "$XDG_DATA_HOME"/wnodes/blobs/"$digest"
	echo '{"broken"' >"$XDG_DATA_HOME"/wnodes/blobs/"$digest"
	fails run -- true
}

@test "failure: a setting that does not exist, with file and line" {
	own_config '[run]' 'cpu = 4'
	fails run -- true
	[[ "$output" == *"wnodes.conf:6"*"cpu"* ]]
	own_config '[run]' 'memory = much'
	fails run -- true
	[[ "$output" == *"wnodes.conf:6"*"much"* ]]
	own_config '[run]' 'cpus = 1' 'cpus = 2'
	fails run -- true
	[[ "$output" == *"wnodes.conf:7: cpus is set a second time"* ]]
}

@test "failure: a run directory that others can write to is not used" {
	skip_unless_root
	mkdir -m 777 "$WORK/evil"
	mkdir -m 777 "$WORK/evil/wnodes"
	chmod 777 "$WORK/evil/wnodes"
	XDG_RUNTIME_DIR=$WORK/evil run -125 "$WNODES" run -- true
	[[ "$output" == *"only you can write"* ]]
}

@test "failure: a guest that is not ready in time is given up" {
	own_config '[deadline]' 'boot = 1s'
	fails run -- true
	# The loop counts from its last wake-up, which may be some milliseconds ago.
	[[ "${lines[0]}" =~ "boot: not done after "(0\.9|1).*"[deadline] boot" ]]
}

@test "failure: root in the guest writes garbage into the agent's channel" {
	skip_unless_root
	# perl, which every Debian has, takes the agent's own descriptor: pidfd_open, pidfd_getfd.
	fails run --network none -- sh -c 'n=$(ls -l /proc/1/fd | sed -n "s/.* \([0-9]*\) -> .dev.vport.*/\1/p")
		exec perl -e '\''my $p = syscall(434, 1, 0); my $f = syscall(438, $p, $ARGV[0] + 0, 0);
			open(my $h, ">&=", $f) or die $!; syswrite($h, "\xff" x 4096); sleep 60'\'' "$n"'
	[[ "$output" == *"run: the guest's agent sent an impossible frame"* ]]
}
