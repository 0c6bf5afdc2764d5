# Once for all system tests: an image of our own, made by `wnodes image build`, in a store of the
# tests' own. It is kept in the build directory until the agent or the builder changes.
#
# As root, every test runs as root but for those that say as_user, which run as an unprivileged uid
# with a store of its own (hard links to the same blobs). check.sh then runs some files once more as
# that uid.

setup_suite() {
	export WNODES_BUILD=${WNODES_BUILD:-$(realpath "$BATS_TEST_DIRNAME/../../build")}
	export WNODES=$WNODES_BUILD/wnodes
	export TEST_HOME=${TEST_HOME:-$WNODES_BUILD/test-home}
	export TEST_STORE=$TEST_HOME/data/wnodes
	mkdir -p "$TEST_HOME"/{data,config}
	export XDG_DATA_HOME=$TEST_HOME/data XDG_CONFIG_HOME=$TEST_HOME/config \
		XDG_CACHE_HOME=$TEST_HOME/cache WNODES_SYSTEM_STORE=$TEST_HOME/no-system-store
	mkdir -p "$XDG_CONFIG_HOME/wnodes"
	printf '[vm]\naccel = tcg\n[template]\nautomatic = no\n' >"$XDG_CONFIG_HOME/wnodes/wnodes.conf"
	build_image
	find_templates
}

# Where templates lie depends on the host. With TEST_CLONES, VMs of the usual shape are cloned.
find_templates() {
	local network
	for network in none user; do
		# QEMU 7.2 crashes now and then in a boot that it emulates: once more, then.
		"$WNODES" image warm --quiet --network $network debian ||
			"$WNODES" image warm --quiet --network $network debian || return 1
	done
	TEST_TEMPLATES=$(echo "$XDG_CACHE_HOME"/wnodes/templates-*)
	export TEST_TEMPLATES
}

# One at a time: the files of tests run side by side.
build_image() {
	local stamp
	exec 9>"$TEST_HOME/lock"
	flock 9
	stamp=$(cat "$WNODES_BUILD"/src/guest/wnodes-guest "$BATS_TEST_DIRNAME"/../../src/image/*.c "$BATS_TEST_DIRNAME"/image-script.sh "$BATS_TEST_DIRNAME"/image.recipe | sha256sum | cut -d' ' -f1)
	if [ "$(cat "$TEST_HOME/image-stamp" 2>/dev/null)" != "$stamp" ]; then
		"$WNODES" image build debian --recipe "$BATS_TEST_DIRNAME/image.recipe" >"$TEST_HOME/image-build.log" 2>&1 || {
			cat "$TEST_HOME/image-build.log" >&2
			return 1
		}
		"$WNODES" image gc >/dev/null
		echo "$stamp" >"$TEST_HOME/image-stamp"
	fi
	exec 9>&-
}

teardown_suite() {
	:
}
