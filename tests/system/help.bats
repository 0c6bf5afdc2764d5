# The texts of the real verbs: help, manual pages, and what a mistake is answered.

bats_require_minimum_version 1.5.0
load helpers

# All verbs, as the overview lists them, a line each.
verbs() {
	"$WNODES" --help | sed -n '/^Verbs:/,/^$/s/^  \([a-z]*\( [a-z]*\)\{0,1\}\)  .*/\1/p'
}

for_each_verb() {
	local verb
	verbs >verbs
	[ "$(wc -l <verbs)" -ge 10 ]
	while read -r verb; do
		"$@" $verb || { echo "verb: $verb"; return 1; }
	done <verbs
}

@test "help: every verb has --help in 80 columns, with usage and examples" {
	check() {
		"$WNODES" "$@" --help >text
		grep -q "^Usage: wnodes $*" text
		grep -q '^Options:$' text
		grep -q '^Examples:$' text
		! grep -nE '.{81}' text
	}
	for_each_verb check
}

@test "help: the overview fits in 80 columns, and so does each group's" {
	"$WNODES" --help >text
	"$WNODES" image --help >>text
	"$WNODES" vm --help >>text
	! grep -nE '.{81}' text
}

@test "help: every verb has a manual page without faults" {
	command -v mandoc >/dev/null || skip "mandoc is not installed"
	check() {
		"$WNODES" help --man "$@" >page.1
		grep -q '^\.SH EXAMPLES' page.1
		mandoc -T lint -W style page.1 | grep -v 'referenced manual not found' && return 1
		[ -z "$(man --warnings -E UTF-8 -l -Z page.1 2>&1 >/dev/null)" ]
	}
	for_each_verb check
	"$WNODES" help --man >page.1
	! mandoc -T lint -W style page.1 | grep -v 'referenced manual not found'
}

@test "help: every option that a verb's help names is taken by the verb" {
	check() {
		local option
		for option in $("$WNODES" "$@" --help | sed -n 's/^  .\{4\}--\([a-z-]*\).*/\1/p'); do
			# With its value, or --help would be that.
			run "$WNODES" "$@" "--$option=" --help
			[[ $output != *"unknown option"* ]] || return 1
		done
	}
	for_each_verb check
}

@test "help: a mistyped verb or option is answered with the near one, and 125" {
	run -125 --separate-stderr "$WNODES" rnu -- true
	[[ "$stderr" == "wnodes: unknown verb 'rnu'; did you mean 'run'?" ]]
	run -125 --separate-stderr "$WNODES" run --imge x -- true
	[[ "$stderr" == "wnodes run: unknown option --imge; did you mean --image?" ]]
	run -125 --separate-stderr "$WNODES" run --memory 12Q -- true
	[[ "$stderr" == "wnodes run: --memory: '12Q' is no size; write for example 512M or 2G" ]]
	run -125 "$WNODES"
	[[ "$output" == "Usage: "* ]]
}

@test "help: output that cannot be written is an error" {
	run -125 sh -c "'$WNODES' --help >/dev/full"
	[[ "$output" == "wnodes: cannot write the output: "* ]]
}
