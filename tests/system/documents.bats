# What the documents say is so: the commands that they show are the program's, each verb has its manual
# page, and the pages for a browser lead nowhere else than to each other.

bats_require_minimum_version 1.5.0
load helpers

TOP=$BATS_TEST_DIRNAME/../..

@test "documents: each verb has its manual page" {
	"$WNODES" help | sed -n 's/^  \([a-z ]*[a-z]\)  .*/\1/p' | tr ' ' - | sort >verbs
	(cd "$WNODES_BUILD/man" && ls wnodes-*.1) | sed 's/^wnodes-\(.*\)\.1$/\1/' | sort >pages
	diff verbs pages
}

@test "documents: each command that they show is one" {
	cd "$TOP"
	run -0 python3 tests/system/documents.py "$WNODES" README.md docs/*.md examples/*/README.md
}

@test "documents: a command that is none is seen" {
	printf '    $ wnodes run --imge x -- true\n' >page.md
	run -1 python3 "$TOP/tests/system/documents.py" "$WNODES" page.md
	[[ "${lines[0]}" == "page.md:1: 'run' has no option --imge"* ]]
}

@test "documents: they become a site whose links lead somewhere" {
	command -v lowdown >/dev/null || skip "lowdown is not installed"
	[ -x "$WNODES_BUILD/wnodes-controller" ] || skip "there is no controller"
	BUILD=$WNODES_BUILD run -0 "$TOP/tools/build-site" "$WORK/site"
	grep -q 'GET <code>.*whoami' "$WORK/site/interface.html"
	[ -s "$WORK/site/man-wnodes-run.1.html" ]
	# A link that leads nowhere is seen.
	mkdir -p tree/docs tree/tools
	cp -r "$TOP"/{README,CHANGELOG,ARCHITECTURE,CONTRIBUTING}.md "$TOP/man" tree/
	cp -r "$TOP"/docs/. tree/docs/
	cp "$TOP/tools/build-site" tree/tools/
	echo 'See [nothing](nothing.md).' >>tree/docs/slurm.md
	BUILD=$WNODES_BUILD run -1 tree/tools/build-site "$WORK/site"
	[[ "$output" == *"slurm.html: 'nothing.html' is not there"* ]]
}
