# Cloud images as distributions make them: a boot loader, systemd and cloud-init, unmodified.

bats_require_minimum_version 1.5.0
load helpers

setup() {
	setup_work
	cloud=$TEST_HOME/cloud.qcow2
	[ -s "$cloud" ] || "$BATS_TEST_DIRNAME/make-cloud-image.sh" "$cloud" >"$TEST_HOME/cloud.log" 2>&1 ||
		{ tail -20 "$TEST_HOME/cloud.log"; return 1; }
}

@test "cloud: import --check boots it and records what it can do; then it runs commands" {
	run -0 "$WNODES" image import --check --name cloud "$cloud"
	"$WNODES" image show --json cloud | jq -e '.boot == "disk" and (.os | test("Debian")) and (.gateways | index("9p")) == null'
	# Its kernel has no 9p: that is said before anything is started, with what to do.
	run -125 "$WNODES" run --image cloud --mount "$WORK:gateway=9p" -- true
	[[ "$output" == *"has no 9p"*"--mount none"* ]]
	# But virtiofs, where the host can serve it, though not in a clone.
	if unshare --user true && [ -x /usr/lib/qemu/virtiofsd ] &&
		"$WNODES" image show --json cloud | jq -e '.gateways | index("virtiofs")'; then
		run -0 "$WNODES" run --image cloud --mount "$WORK" -- grep -c "$WORK virtiofs" /proc/mounts
		run -125 "$WNODES" run --image cloud --mount "$WORK" --start clone -- true
		[[ "$output" == *"can mount no host directories"* ]]
	fi
	# It is saved when systemd has come to rest.
	"$WNODES" image warm --quiet --shares 0 cloud
	run -0 "$WNODES" run --start clone --image cloud --mount none -- sh -c 'id -un; cat /proc/1/comm; uname -r'
	[ "${lines[0]}" = "$(user_name)" ]
	[ "${lines[1]}" = systemd ]
	[[ "${lines[2]}" == *cloud* ]]
	# OpenSSH's programs get into it by the agent's channel, with a server for each connection and keys of the VM's own.
	if command -v ssh && getent passwd "$(id -u)"; then
		"$WNODES" run --start clone --image cloud --mount none -- sh -c 'echo ready; sleep 600' >out 2>err </dev/null 3>&- &
		pid=$!
		wait_for 120 grep -q ready out
		vm=$("$WNODES" vm list --quiet)
		run -7 "$WNODES" vm ssh "$vm" 'cat; id -un; exit 7' <<<"from stdin"
		[ "$output" = "$(printf 'from stdin\n%s' "$(user_name)")" ]
		head -c 300000 /dev/urandom >data
		config=$("$WNODES" vm ssh --config "$vm")
		scp -q -F "$config" data "$vm:/tmp/copy"
		ssh -F "$config" "$vm" cat /tmp/copy | cmp - data
		run -0 "$WNODES" vm ssh -t "$vm" tty
		[[ "$output" == /dev/pts/* ]]
		# Who does not know the server's key is not let in, nor is another key.
		ssh-keygen -q -t ed25519 -N '' -f other
		run -255 ssh -F "$config" -o IdentityFile=none -i other -o UserKnownHostsFile=none "$vm" true
		[[ "$output" == *"ost key verification failed"* ]]
		grep -v IdentityFile "$config" >other-config
		run -255 ssh -F other-config -i other "$vm" true
		[[ "$output" == *"ermission denied"* ]]
		"$WNODES" vm stop "$vm"
		ends_with 143 $pid
	fi
	# The image itself is as it was imported.
	"$WNODES" image verify cloud
}

@test "cloud: what is no disk image, is damaged, or needs other files is refused" {
	echo text >text
	run -125 "$WNODES" image import text
	run -125 "$WNODES" image import /not/there
	run -125 "$WNODES" image import --sha256 0000 "$cloud"
	run -125 "$WNODES" image import --format raw --name x "$cloud"
	qemu-img create -q -f qcow2 -b /etc/passwd -F raw backed.qcow2 1M
	run -125 "$WNODES" image import backed.qcow2
	[[ "$output" == *"backing"* ]]
	head -c 1000000 "$cloud" >short.qcow2
	run -125 "$WNODES" image import short.qcow2
	run -125 "$WNODES" image import http://127.0.0.1:1/nothing.qcow2
}

@test "cloud: a recipe is applied by the real virt-customize, and its checks pass in a VM" {
	[ -n "${WNODES_TEST_SLOW:-}" ] || skip "set WNODES_TEST_SLOW=1: some minutes"
	command -v virt-customize >/dev/null || skip "virt-customize (libguestfs) is not installed"
	export XDG_DATA_HOME=$WORK/data
	"$WNODES" image import --name cloud "$cloud"
	cat >worker.recipe <<-'END'
		[image]
		packages = bc
		modules = loop
		syslog = tcp://log.example.org:514
		run =
		    | echo ran >/etc/ran
		[services]
		disable = apt-daily.timer
		[file /etc/motd]
		content = changed by the recipe
		mode = 0640
		owner = root:adm
		[edit /etc/login.defs]
		replace = /^UMASK.*/UMASK 077/
		[edit /etc/profile]
		append = # by a recipe
		[check packages]
		command = test "$(echo 2+2 | bc)" = 4 && test -x /usr/sbin/rsyslogd
		[check files]
		command = grep -qx ran /etc/ran && test "$(stat -c '%a %G' /etc/motd)" = '640 adm' && grep -qx 'UMASK 077' /etc/login.defs
		[check edits]
		command = tail -n 1 /etc/profile | grep -qx '# by a recipe' && grep -rq 'target="log.example.org"' /etc/rsyslog.d
		[check units]
		command = grep -q loop /etc/modules-load.d/wnodes.conf && ! systemctl is-enabled apt-daily.timer
	END
	run -0 "$WNODES" image customize --verbose --recipe worker.recipe --tag worker cloud
	[[ "$output" == *"cloud:worker "* ]]
	run -0 "$WNODES" image check --json cloud:worker
	jq -e '[.checks[] | select(.passed)] | length >= 4' <<<"$output"
	# The one that it was made from is as it was.
	"$WNODES" image verify cloud
}
