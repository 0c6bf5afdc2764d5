# Templates and clones: how VMs start in a tenth of a second, and that no two are the same.

bats_require_minimum_version 1.5.0
load helpers

setup() {
	# Templates of its own, also where the other files are run with clones.
	TEST_CLONES='' setup_work
	own_config
	templates=$XDG_CACHE_HOME/wnodes/$(basename "$TEST_TEMPLATES")
}

# A configuration of the test's own, with these lines for [vm], [template], ...
own_config() {
	mkdir -p "$WORK/config/wnodes"
	printf '%s\n' '[run]' 'network = none' '[template]' "automatic = ${automatic:-no}" '[vm]' 'accel = tcg' "$@" \
		>"$WORK/config/wnodes/wnodes.conf"
	export XDG_CONFIG_HOME=$WORK/config
}

# A copy of the tests' template that may be used, damaged and removed. Hard links will not do: what
# has changed its inode counts as altered, so it is made once and here.
own_template() {
	"$WNODES" image warm --quiet debian
	key=$("$WNODES" template list --quiet)
	[ -n "$key" ]
}

# How the last run with --report report started.
started_by() {
	jq -r .start.how report
}

# A QEMU that behaves like this where it is to be a clone: fake_qemu SHELL-COMMANDS
fake_qemu() {
	cat >qemu <<-EOF
		#!/bin/sh
		case "\$*" in *-incoming*) $1 ;; esac
		exec qemu-system-x86_64 "\$@"
	EOF
	chmod +x qemu
	own_config "qemu = $WORK/qemu"
}

@test "template: the first run boots and makes one in the background, the second is a clone" {
	automatic=yes own_config
	[ -z "$("$WNODES" template list --quiet)" ]
	run -0 --separate-stderr "$WNODES" run --report report -- echo first
	[ "$output" = first ] && [ -z "$stderr" ]
	[ "$(started_by)" = boot ]
	wait_for 60 bash -c "'$WNODES' template list --quiet | grep -q ."
	run -0 --separate-stderr "$WNODES" run --report report -- echo second
	[ "$output" = second ] && [ -z "$stderr" ]
	[ "$(started_by)" = clone ]
	jq -e '.phases[1].phase == "clone" and .start.qemu_s > 0 and .start.restore_s > 0 and .start.guest_s > 0' report
	jq -e --arg key "$("$WNODES" template list --quiet)" '.start.template == $key' report
}

@test "template: no template is made where that is switched off" {
	"$WNODES" run -- true
	sleep 1
	[ -z "$(ls "$templates" 2>/dev/null)" ]
}

@test "template: --start says how" {
	run -125 "$WNODES" run --start clone -- true
	[[ "$output" == *"no template"*"wnodes image warm"* ]]
	own_template
	"$WNODES" run --start clone --report report -- true
	[ "$(started_by)" = clone ]
	"$WNODES" run --start boot --report report -- true
	[ "$(started_by)" = boot ]
	# Another shape is another template.
	run -125 "$WNODES" run --start clone --memory 512M -- true
	run -125 "$WNODES" run --start clone --cpus 2 -- true
	run -125 "$WNODES" run --start clone --network user -- true
	run -125 "$WNODES" run --start clone --scratch 100M -- true
	run -125 "$WNODES" run --start clone --mount none -- true
}

@test "template: list tells age, size and uses" {
	own_template
	run -0 "$WNODES" template list
	[[ "${lines[1]}" == "${key:0:12} "*debian:latest*MiB* ]]
	"$WNODES" template list --json | jq -e '.[0] | .uses == 0 and .size > 10000000 and .size < 300000000 and .qemu_version != ""'
	"$WNODES" run -- true
	"$WNODES" run -- true
	"$WNODES" template list --json | jq -e '.[0] | .uses == 2 and .last_start_us > 0 and .last_used > 0'
}

@test "template: remove and gc, but never what is in use" {
	own_template
	"$WNODES" run -- sh -c 'echo up; while [ ! -e stop ]; do sleep 0.1; done' >out 2>err </dev/null 3>&- &
	pid=$!
	wait_for 60 grep -q up out
	run -125 "$WNODES" template remove "${key:0:8}"
	[[ "$output" == *"in use"* ]]
	own_config '[template]' 'budget = 0'
	"$WNODES" template gc
	[ "$("$WNODES" template list --quiet)" = "$key" ]
	touch stop
	ends_with 0 $pid
	run -0 "$WNODES" template gc --dry-run
	[[ "$output" == "would remove 1 template, "* ]]
	[ "$("$WNODES" template list --quiet)" = "$key" ]
	run -0 "$WNODES" template gc
	[[ "$output" == "removed 1 template, "* ]]
	[ -z "$("$WNODES" template list --quiet)" ]
	run -125 "$WNODES" template remove debian
	[[ "$output" == *"no template 'debian'"* ]]
}

@test "template: the one that was not used for the longest time goes when there is no room" {
	own_template
	"$WNODES" image warm --quiet --memory 512M debian
	"$WNODES" run --start clone --memory 512M -- true
	size=$("$WNODES" template list --json | jq 'map(.size) | max')
	own_config '[template]' "budget = $((size + 1000000))"
	"$WNODES" template gc
	[ "$("$WNODES" template list --json | jq -r 'map(.memory_bytes) | join(" ")')" = $((512 * 1024 * 1024)) ]
}

@test "template: two that make the same one do it once" {
	"$WNODES" image warm --verbose debian >one 2>one.err 3>&- &
	pid=$!
	"$WNODES" image warm --verbose debian >two 2>two.err
	ends_with 0 $pid
	[ "$(cat one two | grep -c 'was there already')" -eq 1 ]
	[ "$(cat one.err two.err | grep -c 'wnodes: boot')" -eq 1 ]
	[ "$("$WNODES" template list --quiet | wc -l)" -eq 1 ]
}

@test "template: making one may be killed at any time" {
	for delay in 0.05 0.3 1 2 2.5; do
		"$WNODES" image warm --quiet --memory 256M debian 3>&- &
		pid=$!
		sleep $delay
		kill -KILL $pid 2>/dev/null || true
		wait $pid || true
		wait_for 10 no_vm
	done
	"$WNODES" image warm --quiet --memory 256M debian
	"$WNODES" run --start clone --memory 256M -- true
	"$WNODES" template gc
	[ "$(ls "$templates" | wc -l)" -eq 1 ]
}

@test "template: one that was altered or cut short is not used, and the job runs" {
	for damage in 'printf x | dd of=memory bs=1 seek=4096000 conv=notrunc status=none' 'truncate -s 100M memory' \
		'truncate -s 1000 state' 'rm overlay' 'echo "{" >template.json'; do
		own_template
		(cd "$templates/$key" && eval "$damage")
		"$WNODES" template list | grep -q "$(printf %.12s "$key")"
		run -0 --separate-stderr "$WNODES" run --report report -- echo done
		[ "$output" = done ]
		[[ "$stderr" == "wnodes: warning: the template cannot be used: "*"booting instead" ]]
		[ "${#stderr_lines[@]}" -eq 1 ]
		[ "$(started_by)" = boot ]
		[ -z "$("$WNODES" template list --quiet)" ]
	done
}

@test "template: one that starts no clone is thrown away, and the job boots" {
	fake_qemu 'exit 1'
	own_template
	run -0 --separate-stderr "$WNODES" run --report report -- echo done
	[ "$output" = done ]
	[[ "$stderr" == "wnodes: warning: the VM did not start from its template: "*"thrown away, booting instead" ]]
	[ "${#stderr_lines[@]}" -eq 1 ]
	[ "$(started_by)" = boot ]
	[ -z "$("$WNODES" template list --quiet)" ]
	# Whoever insists on a clone is told.
	own_template
	run -125 "$WNODES" run --start clone -- true
	[[ "$output" == *"clone: "* ]]
	assert_nothing_left_but_templates
}

assert_nothing_left_but_templates() {
	rm -rf "$templates"
	assert_nothing_left
}

@test "template: a state that QEMU cannot load" {
	own_template
	# The stamps are made to fit, so that QEMU itself must find out.
	python3 - "$templates/$key" <<-EOF
		import json, os, sys
		os.chdir(sys.argv[1])
		with open("state", "r+b") as f:
		    f.seek(2000)
		    f.write(b"\xff" * 5000)
		meta = json.load(open("template.json"))
		s = os.stat("state")
		t = lambda ns: "%d.%09d" % divmod(ns, 10**9)
		meta["files"]["state"] = "%d %d %s %s" % (s.st_ino, s.st_size, t(s.st_mtime_ns), t(s.st_ctime_ns))
		json.dump(meta, open("template.json", "w"))
	EOF
	run -0 --separate-stderr "$WNODES" run --report report -- echo done
	[ "$output" = done ]
	[[ "$stderr" == "wnodes: warning: the VM did not start from its template: "* ]]
	[ "$(started_by)" = boot ]
}

@test "template: a clone that does not answer in time boots" {
	fake_qemu 'sleep 300'
	printf '%s\n' '[deadline]' 'clone = 1s' >>"$WORK/config/wnodes/wnodes.conf"
	own_template
	run -0 --separate-stderr "$WNODES" run --report report -- echo done
	[ "$output" = done ]
	[[ "$stderr" == *"did not answer within 1."*"booting instead" ]]
	[ "$(started_by)" = boot ]
}

@test "template: one of another QEMU is not taken" {
	fake_qemu true
	own_template
	echo '# another version' >>qemu
	run -125 "$WNODES" run --start clone -- true
	[[ "$output" == *"no template"* ]]
}

@test "template: a cache on a full disk costs nothing but time" {
	skip_unless_root
	mkdir -p small "$XDG_CACHE_HOME/wnodes"
	mount -t tmpfs -o size=50m,mode=700 tmpfs small
	ln -s "$WORK/small" "$XDG_CACHE_HOME/wnodes/$(basename "$templates")"
	run "$WNODES" image warm debian
	output_of_warm=$output status_of_warm=$status
	run -0 --separate-stderr "$WNODES" run --report report -- echo done
	umount small
	[ $status_of_warm -eq 125 ]
	[[ "$output_of_warm" == *"MiB are free"* ]]
	[ "$output" = done ] && [ -z "$stderr" ]
}

@test "template: jumps of the host's clock do no harm" {
	command -v faketime >/dev/null || skip "needs faketime"
	own_template
	for jump in '+400 days' '-400 days'; do
		run -0 faketime "$jump" "$WNODES" run --start clone -- date +%F
		[ "$output" = "$(faketime "$jump" date +%F)" ]
		faketime "$jump" "$WNODES" template list | grep -q "^${key:0:12} "
		faketime "$jump" "$WNODES" template gc
	done
	[ "$("$WNODES" template list --quiet)" = "$key" ]
}

@test "template: a clone writes to its own disk, and finds what the image has" {
	own_template
	"$WNODES" run --start clone -- sh -c 'echo mine >/root-file 2>/dev/null || echo mine >/var/tmp/root-file; sync'
	run -0 "$WNODES" run --start clone -- sh -c 'ls /root-file /var/tmp/root-file 2>/dev/null; cat /etc/debian_version'
	[[ "$output" == 12* ]]
	[ "${#lines[@]}" -eq 1 ]
}

@test "template: a clone has its network, its scratch disk and its shares" {
	"$WNODES" image warm --quiet --network user --scratch --shares 3 debian
	mkdir in
	echo input >in/file
	run -0 "$WNODES" run --start clone --network user --scratch 1G --mount "$WORK/in:/data:ro" --report report -- sh -c '
		cat /data/file
		df -m --output=size /scratch | tail -1
		cat /sys/class/net/eth0/address
		grep -c " / " /proc/mounts
		grep -c ^eth0.00000000 /proc/net/route'
	[ "${lines[0]}" = input ]
	[ "${lines[1]}" -gt 900 ] && [ "${lines[1]}" -lt 1100 ]
	[[ "${lines[2]}" =~ ^52:54:00:..:..:..$ ]] && [ "${lines[2]}" != 52:54:00:00:00:00 ]
	[ "${lines[3]}" = 1 ]
	[ "${lines[4]}" = 1 ]
}

@test "template: the wall clock of a clone is that of the host within 10 ms" {
	own_template
	sleep 2
	coproc guest { "$WNODES" run --start clone -- bash -c 'while read -r x; do echo $EPOCHREALTIME; done' 2>err 3>&-; }
	best=1000000000
	for _ in {1..20}; do
		before=${EPOCHREALTIME/./}
		echo >&"${guest[1]}"
		read -r -t 30 time <&"${guest[0]}"
		after=${EPOCHREALTIME/./}
		[ $((after - before)) -lt $best ] || continue
		best=$((after - before))
		error=$((${time/./} - (before + after) / 2))
	done
	kill "$guest_PID" 2>/dev/null || true
	echo "error $error us, round trip $best us"
	[ ${error#-} -le $((10000 + best / 2)) ]
}

@test "template: no two of 32 clones are alike" {
	mkdir identity-image results
	own_template_with_ssh
	cat >ask <<-'EOF'
		#!/bin/sh
		echo "hostname $(hostname)"
		echo "machine-id $(cat /etc/machine-id)"
		echo "boot-id $(cat /proc/sys/kernel/random/boot_id)"
		echo "mac $(cat /sys/class/net/eth0/address)"
		echo "uuid $(cat /proc/sys/kernel/random/uuid)"
		echo "random $(head -c 64 /dev/urandom | od -An -tx1 | tr -d ' \n')"
		echo "ssh-key $(md5sum </etc/ssh/ssh_host_ed25519_key.pub)"
		echo "private-key $(head -c 300 /proc/self/mounts >/dev/null; stat -c %a /etc/ssh/ssh_host_ed25519_key)"
	EOF
	chmod +x ask
	for i in {1..32}; do
		"$WNODES" run --start clone --image ssh --network user --mount none --mount "$WORK:/w:ro" --workdir / -- \
			/w/ask >results/$i 2>results/$i.err 3>&- &
		[ $((i % 8)) -ne 0 ] || wait
	done
	wait
	cat results/*.err
	for what in hostname machine-id boot-id mac uuid random ssh-key; do
		echo "$what: $(cat results/* | grep "^$what " | sort -u | wc -l) different"
		[ "$(cat results/* | grep "^$what ." | sort -u | wc -l)" -eq 32 ]
	done
	[ "$(cat results/* | grep '^private-key ' | sort -u)" = "private-key 600" ]
	! grep -h "^mac " results/* | grep -q 52:54:00:00:00:00
}

# The tests' image with a directory for sshd's keys, as one with a server has.
own_template_with_ssh() {
	export XDG_DATA_HOME=$TEST_HOME/ssh-data
	"$WNODES" image list --quiet | grep -qx ssh:latest || {
		echo 'mkdir -p /etc/ssh && echo old >/etc/ssh/ssh_host_rsa_key' >script
		"$WNODES" image build debian --name ssh --script script
	}
	"$WNODES" image warm --quiet --network user ssh
}

@test "template: memory of one's own gives back what is freed" {
	own_config '[template]' 'memory = own'
	"$WNODES" image warm --quiet debian
	"$WNODES" run --start clone -- sh -c '
		echo up; head -c 400000000 /dev/zero >/dev/shm/fill; echo full; while [ ! -e free ]; do sleep 0.1; done
		rm /dev/shm/fill; echo freed; while [ ! -e stop ]; do sleep 0.1; done' >out 2>err </dev/null 3>&- &
	pid=$!
	wait_for 60 grep -q full out
	[ "$(used)" -gt 400000000 ]
	touch free
	wait_for 60 bash -c "[ \$('$WNODES' vm list --json | jq '.[0].used_memory_bytes') -lt 330000000 ]"
	touch stop
	ends_with 0 $pid
	[ "$("$WNODES" template list --quiet | wc -l)" -eq 1 ]
	# The template itself was not touched: another clone starts from it.
	"$WNODES" run --start clone -- true
}

used() {
	"$WNODES" vm list --json | jq '.[0].used_memory_bytes'
}

@test "template: clones of several users from one sealed memory, which none can change" {
	skip_unless_root
	chmod 755 "$WORK"
	own_template
	run -0 "$WNODES_BUILD/tests/system/sealed" debian 64123 64124 64125
	[ "$(grep -c '^ok' <<<"$output")" -eq 22 ]
}

@test "template: a killed clone leaves nothing" {
	own_template
	"$WNODES" run --start clone -- sh -c 'echo up; sleep 100' >out 2>err </dev/null 3>&- &
	pid=$!
	wait_for 60 grep -q up out
	kill -KILL $pid
	ends_with 137 $pid
	wait_for 10 no_vm
	"$WNODES" run --start clone -- true
	"$WNODES" template remove debian
	assert_nothing_left_but_templates
}

@test "template: bad command lines" {
	run -125 "$WNODES" image warm nosuch
	[[ "$output" == *nosuch* ]]
	run -125 "$WNODES" image warm --memory 1M debian
	run -125 "$WNODES" template remove
	[[ "$output" == *--all* ]]
	run -125 "$WNODES" template remove 0123456789
	run -125 "$WNODES" run --start sideways -- true
	[ ! -e "$templates" ] || [ -z "$(ls "$templates")" ]
}
