#!/usr/bin/env bats
# Images from one node to another: real porters on this machine, under a daemon and a controller that are played
# (porter.py, which has what each test does).

bats_require_minimum_version 1.5.0
load helpers

setup() {
	TEST_CLONES='' setup_work
	[ -x "$WNODES_BUILD/wnodes-porter" ] || skip "the porter was not built"
}

teardown() {
	tail -n 10 "$WORK"/*/log 2>/dev/null || true
	cd /
	rm -rf "$WORK"
}

play() {
	timeout -k 5 60 python3 -B "$BATS_TEST_DIRNAME/porter.py" "$1" "$WORK" "$WNODES_BUILD" 3>&-
}

@test "porter: an image reaches several nodes, which help each other, without rights" {
	play share
}

@test "porter: what another image has is not fetched" {
	play reuse
}

@test "porter: a peer that sends something wrong is dropped and reported" {
	play bad
}

@test "porter: peers that are killed or silent cost some seconds" {
	play killed
}

@test "porter: one that is killed goes on where it was" {
	play resume
}

@test "porter: strangers are not answered, and nobody else is taken for a peer" {
	play strangers
}

@test "porter: what is no question is refused" {
	play hostile
}

@test "porter: a web server is an origin" {
	play web
}

@test "porter: a directory is an origin, and nothing leads out of it" {
	play folder
}

# The mount is seen by nobody else, and gone with the test.
@test "porter: a directory whose file server does not answer costs some seconds" {
	[ "$(id -u)" -eq 0 ] && [ -c /dev/fuse ] && unshare -m true || skip "needs root and FUSE"
	timeout -k 5 60 unshare -m python3 -B "$BATS_TEST_DIRNAME/porter.py" hanging "$WORK" "$WNODES_BUILD" 3>&-
}

@test "porter: bombs, and files that are not what they should be, do no harm" {
	play poisoned
}

@test "porter: killed at many moments, it goes on, and what it hands over is right" {
	play murdered
}
