# wnodes image: the local store as its user sees it.

bats_require_minimum_version 1.5.0
load helpers

# A store of the test's own, with the same image in it.
own_store() {
	mkdir -p "$WORK/data"
	copy_store "$TEST_STORE" "$WORK/data"
	export XDG_DATA_HOME=$WORK/data
}

@test "image: list, show and their JSON" {
	run -0 "$WNODES" image list
	[[ "$output" == *debian*latest* ]]
	"$WNODES" image list --json | jq -e 'map(select(.name == "debian" and .tag == "latest" and (.digest | length) == 64)) | length == 1'
	run -0 "$WNODES" image show debian
	[[ "$output" == *"Debian GNU/Linux 12"* ]]
	"$WNODES" image show --json debian | jq -e '(.gateways | index("9p")) != null and (.gateways | index("virtiofs")) != null and (.parts | length) == 3'
}

@test "image: the built image's kernel has 9p, virtiofs, FUSE, NFS and overlay" {
	skip_unless_root
	run -0 "$WNODES" run --network none -- sh -c 'for m in 9p virtiofs fuse nfs overlay; do modprobe $m && echo has $m; done'
	[ "$(grep -c '^has' <<<"$output")" -eq 5 ]
}

@test "image: tag, run by tag and by digest, remove, gc" {
	own_store
	"$WNODES" image remove cloud 2>/dev/null || true
	digest=$("$WNODES" image show --json debian | jq -r .digest)
	run -0 "$WNODES" image tag debian other:v1
	run -0 "$WNODES" run --network none --image other:v1 -- echo by tag
	[ "$output" = "by tag" ]
	run -0 "$WNODES" run --network none --image "${digest:0:12}" -- echo by digest
	[ "$output" = "by digest" ]
	run -0 "$WNODES" image remove debian
	run -125 "$WNODES" image show debian:latest
	# Still reachable by its other name, so nothing is collected.
	"$WNODES" image gc
	run -0 "$WNODES" run --network none --image other:v1 -- true
	"$WNODES" image remove other:v1
	run -0 "$WNODES" image gc --dry-run
	[ -n "$(ls "$XDG_DATA_HOME/wnodes/blobs")" ]
	run -0 "$WNODES" image gc
	[ -z "$(ls "$XDG_DATA_HOME/wnodes/blobs")" ]
	[ -n "$(ls "$TEST_STORE/blobs")" ]
}

@test "image: an image that is removed while its VM runs does not disturb it" {
	own_store
	"$WNODES" run --network none -- sh -c 'touch up; while [ ! -e stop ]; do sleep 0.1; done; find /usr -type f | head -2000 | xargs cat | wc -c' >out 3>&- &
	pid=$!
	wait_for 60 test -e up
	"$WNODES" image remove debian
	"$WNODES" image gc
	touch stop
	ends_with 0 $pid
	[ "$(cat out)" -gt 1000000 ]
}

@test "image: verify finds a damaged part" {
	run -0 "$WNODES" image verify debian
	mkdir -p "$WORK/data"
	cp -a "$TEST_STORE" "$WORK/data/wnodes"
	export XDG_DATA_HOME=$WORK/data
	disk=$(find "$XDG_DATA_HOME/wnodes/blobs" -type f -size +50M -printf '%s %p\n' | sort -n | tail -1 | cut -d' ' -f2)
	chmod u+w "$disk"
	printf 'X' | dd of="$disk" bs=1 seek=123456 conv=notrunc status=none
	run -125 "$WNODES" image verify debian
	[[ "$output" == *"debian"* ]]
}

@test "image: references that are none are refused" {
	for name in '' ':' 'UPPER' '../up' 'a/b' 'x:' ':latest' "$(head -c 100 /dev/zero | tr '\0' a)"; do
		run -125 "$WNODES" image tag debian "$name"
	done
}

@test "image: build says what is missing and what is wrong" {
	run -125 "$WNODES" image build nosuchsystem
	run -125 env PATH=/nowhere "$WNODES" image build debian --name x
	[[ "$output" == *"mmdebstrap"*"apt-get install"* ]]
	run -125 "$WNODES" image build debian --name x --script /not/there
	[[ "$output" == *"/not/there"* ]]
	run -125 "$WNODES" image build debian --name 'Bad Name'
}

# What the killed builder's own children still hold is theirs until they have noticed.
collected() {
	"$WNODES" image gc
	[ -z "$(ls "$XDG_DATA_HOME/wnodes/tmp")" ]
}

@test "image: a build that is killed leaves nothing after gc" {
	own_store
	"$WNODES" image build debian --name killed >/dev/null 2>&1 3>&- &
	pid=$!
	wait_for 20 bash -c "[ -n \"\$(ls '$XDG_DATA_HOME/wnodes/tmp')\" ]"
	sleep 3
	kill -KILL $pid
	wait $pid || true
	wait_for 60 collected
	run -125 "$WNODES" image show killed
	run -0 "$WNODES" run --network none -- true
}

# Processes of the unprivileged user that a build has started.
builders() {
	pgrep -u $TEST_UID -f 'mmdebstrap|faked|dpkg|apt' || [ $? -eq 1 ]
}

no_builders() {
	[ -z "$(builders)" ]
}

@test "image: a user's build that is cancelled or killed leaves no process" {
	skip_unless_user
	for signal in INT KILL; do
		as_user env --default-signal=INT "$WNODES" image build debian --name cancelled >out 2>&1 3>&- &
		pid=$!
		# fakeroot's daemon has a session of its own.
		wait_for 30 pgrep -u $TEST_UID faked
		sleep 1
		kill -$signal "$(pgrep -o -u $TEST_UID -f "^$WNODES image build")"
		if [ $signal = INT ]; then
			ends_with 130 $pid
			grep -q cancelled out
		else
			wait $pid || true
			wait_for 30 bash -c "! pgrep -u $TEST_UID faked"
		fi
		wait_for 10 no_builders
	done
}

@test "image: the machine's images are not a user's to change" {
	own_store
	export WNODES_SYSTEM_STORE=$WORK/data/wnodes XDG_DATA_HOME=$WORK/none
	run -125 "$WNODES" image remove debian
	[[ "$output" == *"'debian' is the machine's"* ]]
	run -125 "$WNODES" image tag debian mine
	[[ "$output" == *"'debian' is the machine's"* ]]
}

@test "image: an unprivileged user builds an image with a package and a script, and runs it" {
	[ -n "${WNODES_TEST_SLOW:-}" ] || [ -n "${CI:-}" ] || skip "takes minutes; set WNODES_TEST_SLOW=1"
	printf '#!/bin/sh\necho made by a script >/etc/wnodes-test\n' >"$WORK/script.sh"
	chmod 755 "$WORK/script.sh"
	run -0 as_user "$WNODES" image build debian --name mine --packages bc --script "$WORK/script.sh"
	run -0 as_user "$WNODES" run --image mine --network none -- sh -c 'echo 6*7 | bc; cat /etc/wnodes-test; stat -c %u /etc/passwd'
	[ "$output" = "$(printf '42\nmade by a script\n0')" ]
}
