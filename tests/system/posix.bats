# What programs expect of a directory holds in one that comes from the host, but for what is known not to.

bats_require_minimum_version 1.5.0
load helpers

# Expectations that do not hold: broken GATEWAY [GROUP|NAME...]
broken() {
	local gateway=$1
	shift
	mkdir -p "$WORK/share"
	cp "$WNODES_BUILD/tests/posix/posix" "$WORK/share/"
	mkdir "$WORK/share/here"
	"$WNODES" run --image debian --mount none --mount "$WORK/share:/share:gateway=$gateway" -- \
		/share/posix /share/here "$@" >tap || true
	grep -q '^1\.\.[1-9]' tap # it has come to its end
	sed -n 's/^not ok [0-9]* - \([a-z_]*\).*/\1/p' tap | sort
}

@test "9p keeps what a directory promises, but for what is known" {
	broken 9p names contents locks attributes deep_paths >found
	diff "$BATS_TEST_DIRNAME/../posix/known/9p" found || { cat tap; false; }
}

@test "virtiofs keeps all of it" {
	unshare --user true 2>/dev/null && [ -x /usr/lib/qemu/virtiofsd ] || skip "no virtiofs here"
	broken virtiofs names contents locks attributes deep_paths >found
	diff "$BATS_TEST_DIRNAME/../posix/known/virtiofs" found || { cat tap; false; }
}

@test "sshfs keeps what a directory promises, but for what is known" {
	broken sshfs names contents locks attributes deep_paths >found
	diff "$BATS_TEST_DIRNAME/../posix/known/sshfs" found || { cat tap; false; }
}

@test "the suite itself: on the host's own file system all of it holds" {
	mkdir here
	"$WNODES_BUILD/tests/posix/posix" here names contents locks attributes deep_paths
}

@test "the suite sees a file system that does not keep its word" {
	# A directory without the right to write to it: nothing can hold.
	mkdir here
	cp "$WNODES_BUILD/tests/posix/posix" .
	chmod 755 . # for another user
	chmod 555 here
	if [ "$(id -u)" -eq 0 ]; then
		run -1 setpriv --reuid 65534 --clear-groups ./posix here locks
	else
		run -1 ./posix here locks
	fi
	[ "$(grep -c '^not ok' <<<"$output")" -eq 5 ]
}
