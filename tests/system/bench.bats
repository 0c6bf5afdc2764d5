# `wnodes bench`: what is measured is real, and what cannot be compared is not.

bats_require_minimum_version 1.5.0
load helpers

bench() {
	"$WNODES" bench --quick --runs 1 --cpus 1 --memory 256M --image debian --directory "$WORK" "$@"
}

@test "bench measures the host and VMs, and says how good a VM is beside it" {
	bench --only start,checksum --gateways none --networks none --output out >table
	grep -Eq '^SHA-256 +MB/s +[0-9.]+ +[0-9.]+ \([0-9.]+\) +[0-9.]+ \([0-9.]+\)$' table
	grep -q 'software emulation: their figures say nothing of VMs with KVM' table
	jq -e '[.results[] | select(.trial == "checksum") | .place] == ["bare", "boot", "clone"]' out/report.json
	jq -e '.results[] | select(.trial == "start" and .place == "boot") | .ratio < 1 and .median > 0.1' out/report.json
	jq -e '.vm.accel == "tcg" and .vm.cpus == 1 and (.vm.digest | length == 64) and .machine.cpus > 0' out/report.json
	python3 -c 'import xml.dom.minidom as x; x.parse("out/checksum.svg")'
	[ ! -e out/disk.svg ]
	diff table out/report.txt
	[ -z "$(vms)" ]
}

@test "a directory is measured through a gateway, with the processor time of both sides" {
	bench --only share --places bare --gateways 9p,no-such-one --networks none --json >json || true
	# The tests' image has no fio: that is said, and which package has it.
	jq -e '.missing[] | select(.place == "9p") | .why | test("fio \\(Debian package fio\\)")' json
	jq -e '.missing[] | select(.place == "no-such-one") | .why | test("no-such-one")' json
	[ -z "$(ls -d "$WORK"/wnodes-bench.* 2>/dev/null)" ]
}

@test "reports of other machines, sizes or programs are not compared" {
	bench --only checksum --places bare --gateways none --networks none --output before >/dev/null
	bench --only checksum --places bare --gateways none --networks none --compare before/report.json --json >same
	jq -e '.results[0].ratio_to_old > 0' same

	jq '.machine.cpu = "another"' before/report.json >other.json
	run -125 --separate-stderr bench --only checksum --places bare --gateways none --networks none --compare other.json
	[[ $stderr == *"cannot be compared"*"processor"* ]]

	jq '.results[0].programs = "coreutils 1"' before/report.json >program.json
	bench --only checksum --places bare --gateways none --networks none --compare program.json --json >other
	jq -e '.results[0] | has("ratio_to_old") | not' other
	jq -e '.results[0].old_not_comparable' other
}

@test "what makes no sense is refused before anything is measured" {
	run -125 --separate-stderr bench --only nothing
	[[ $stderr == *"'nothing' is nothing that is measured"* ]]
	run -125 --separate-stderr bench --places cloud
	[[ $stderr == *"bare, boot and clone"* ]]
	run -125 --separate-stderr bench --networks lan
	[[ $stderr == *"lan=ADDRESS"* ]]
	echo '{' >broken
	run -125 --separate-stderr bench --only checksum --compare broken
	[[ $stderr == *"is no report"* ]]
}

@test "an image that is not there is said, with all else measured" {
	bench --only checksum --places bare,boot --gateways none --networks none --image none-such --json >json
	jq -e '.results | length == 1' json
	jq -e '.missing[0].why | test("none-such")' json
}

@test "bench that is killed leaves no VM and no server" {
	bench --only network,checksum --places boot --gateways none --networks user >/dev/null 2>&1 &
	bench_pid=$!
	wait_for 20 eval '[ -n "$(vms)" ]'
	kill -9 "$bench_pid" $(ours "^$WNODES bench")
	wait_for 10 eval '[ -z "$(vms)" ] && [ -z "$(ours "^(iperf3|sockperf) ")" ]'
}

# All of it with the programs, which takes minutes.
@test "bench measures all there is, with the recipe's image" {
	[ -n "${WNODES_TEST_SLOW:-}" ] || skip "slow; WNODES_TEST_SLOW=1 runs it"
	"$WNODES" image build --recipe "$BATS_TEST_DIRNAME/../../examples/bench/bench.recipe" bench
	bench --image bench --memory 1G --cpus 2 --output out
	for trial in start checksum hep hpcc memory disk gromacs; do
		jq -e --arg t $trial '[.results[] | select(.trial == $t and .place == "boot")] | length > 0' out/report.json
	done
	jq -e '[.results[] | select(.trial == "share" and .place == "9p") | .figure] | index("read_host_cpu") != null' out/report.json
}
