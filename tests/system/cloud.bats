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
	run -125 "$WNODES" run --image cloud -- true
	[[ "$output" == *"has no 9p"*"--mount none"* ]]
	# It is saved when systemd has come to rest.
	"$WNODES" image warm --quiet --shares 0 cloud
	run -0 "$WNODES" run --start clone --image cloud --mount none -- sh -c 'id -un; cat /proc/1/comm; uname -r'
	[ "${lines[0]}" = "$(user_name)" ]
	[ "${lines[1]}" = systemd ]
	[[ "${lines[2]}" == *cloud* ]]
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
