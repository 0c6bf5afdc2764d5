# The accelerator is chosen by trying it.

bats_require_minimum_version 1.5.0
load helpers

@test "accel: auto ends up with one that runs guests, and says only once that KVM does not" {
	mkdir -p config/wnodes
	printf '[run]\nnetwork = none\n' >config/wnodes/wnodes.conf
	export XDG_CONFIG_HOME=$WORK/config
	run -0 --separate-stderr "$WNODES" run --report first.json -- echo works
	[ "$output" = works ]
	run -0 --separate-stderr "$WNODES" run --report second.json -- echo works
	[ "$output" = works ]
	[ -z "$stderr" ]
	[ "$(jq -r .accel first.json)" = "$(jq -r .accel second.json)" ]
	if [ ! -w /dev/kvm ]; then
		[ "$(jq -r .accel first.json)" = tcg ]
	fi
}

@test "accel: a guest that hangs with KVM is started again without it" {
	[ -w /dev/kvm ] || skip "/dev/kvm cannot be opened"
	mkdir -p config/wnodes
	cat >qemu <<-'EOF'
	#!/bin/sh
	case "$*" in *"-accel kvm"*) exec sleep 60 ;; esac
	exec qemu-system-x86_64 "$@"
	EOF
	chmod +x qemu
	printf '[run]\nnetwork = none\n[vm]\nqemu = %s\n' "$WORK/qemu" >config/wnodes/wnodes.conf
	export XDG_CONFIG_HOME=$WORK/config
	run -0 --separate-stderr "$WNODES" run --report report.json -- echo works
	[ "$output" = works ]
	[[ "$stderr" == *"/dev/kvm opens, but the VM did not start with it"* ]]
	[ "$(jq -r .accel report.json)" = tcg ]
	run -0 --separate-stderr "$WNODES" run -- echo again
	[ -z "$stderr" ]
}

@test "accel: --accel kvm does not fall back" {
	run "$WNODES" run --accel kvm --network none -- echo works
	[ "$output" = works ] || { [ "$status" -eq 125 ] && [[ "$output" == *"boot:"* ]]; }
}
