# The tree keeps its shape: the cheap checks of tools/lint, and that they see what they are for.

bats_require_minimum_version 1.5.0

setup() {
	TOP=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	WORK=$(mktemp -d /tmp/wnodes-test.XXXXXX)
	cd "$WORK" || return 1
	mkdir -p .ci examples tools tests src/{lib,image,vm,engine,guest,cli,bait,hypervisor}
	cp "$TOP/tools/lint" tools/
}

teardown() {
	cd /
	rm -rf "$WORK"
}

# Writes a source that includes a header: includes FILE HEADER
includes() {
	printf '/* A file. */\n#include "%s"\n' "$2" >"src/$1"
}

@test "structure: the sources keep the rules" {
	"$TOP/tools/lint" structure
}

@test "structure: a tree that keeps the rules is let pass" {
	includes engine/a.c vm/vm.h
	includes cli/a.c engine/run.h
	includes guest/a.c lib/base.h
	includes lib/a.c config.h
	run -0 tools/lint structure
}

@test "structure: an include against the arrows is told with its line" {
	includes lib/a.c vm/vm.h
	includes vm/a.c image/store.h
	includes image/b.h vm/vm.h
	includes vm/b.c engine/run.h
	includes engine/a.c cli/verb.h
	includes bait/a.c cli/verb.h
	includes hypervisor/a.c bait/step.h
	includes guest/a.c engine/run.h
	includes cli/a.c verb.h
	run -1 tools/lint includes
	[[ "$output" == *"src/lib/a.c:2: lib/ must not use vm/"* ]]
	[[ "$output" == *"src/vm/a.c:2: vm/ must not use image/"* ]]
	[[ "$output" == *"src/image/b.h:2: image/ must not use vm/"* ]]
	[[ "$output" == *"src/vm/b.c:2: vm/ must not use engine/"* ]]
	[[ "$output" == *"src/engine/a.c:2: engine/ must not use cli/"* ]]
	[[ "$output" == *"src/bait/a.c:2: bait/ must not use cli/"* ]]
	[[ "$output" == *"src/hypervisor/a.c:2: hypervisor/ must not use bait/"* ]]
	[[ "$output" == *"src/guest/a.c:2: what runs in VMs uses lib/ only, not engine/"* ]]
	[[ "$output" == *"src/cli/a.c:2: write \"cli/verb.h\""* ]]
}

@test "structure: a name that says nothing is refused" {
	includes vm/utils.c lib/base.h
	includes cli/cli_helpers.c lib/base.h
	includes lib/common.h lib/base.h
	run -1 tools/lint names
	[ "$(grep -c 'the name says nothing' <<<"$output")" -eq 3 ]
}

# Writes a function of so many lines: function_of LINES
function_of() {
	printf 'static int long_one(void)\n{\n'
	seq "$1" | sed 's/.*/\twork();/'
	printf '}\n'
}

@test "structure: functions above 60 lines and files above 800 are told" {
	function_of 60 >src/vm/a.c
	function_of 61 >src/vm/b.c
	seq 801 | sed 's/.*/int x;/' >src/vm/c.c
	run -1 tools/lint functions
	[[ "$output" == *"src/vm/b.c:2: long_one() has 61 lines"* ]]
	[[ "$output" == *"src/vm/c.c:800: 801 lines"* ]]
	[[ "$output" != *"src/vm/a.c"* ]]
}

@test "structure: wide lines and blanks at their end are told" {
	printf '\t%094d\n\t%092d\nx \n' 1 1 >src/vm/a.c
	run -1 tools/lint lines
	[[ "$output" == *"src/vm/a.c:1: 102 columns"* ]]
	[[ "$output" != *"src/vm/a.c:2:"* ]]
	[[ "$output" == *"src/vm/a.c:3: a blank at the end"* ]]
}

@test "structure: a check that is not there is no check passed" {
	run -2 tools/lint nosuch
	[[ "$output" == *"no check 'nosuch'"* ]]
}
