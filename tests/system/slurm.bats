# The SPANK plugin in a real Slurm of one controller and three nodes (tests/slurm/up.sh). The job starter
# is a stand-in that prints what it gets and becomes the command, on the node.

bats_require_minimum_version 1.5.0
load helpers

SLURM_USER=wnodestest

setup_file() {
	export SLURM_TOP SLURM_CONF PLUGIN_LINE LIMITED OTHER WHY_NOT
	local plugin=$WNODES_BUILD/src/lrms/slurm/plugin/wnodes_slurm.so
	if [ ! -e "$plugin" ]; then
		WHY_NOT="built without the headers of Slurm (tools/install-dependencies slurm)"
	elif nm -D "$plugin" | grep -q __asan_init; then
		WHY_NOT="Slurm's own programs cannot load a sanitized plugin"
	else
		start_cluster "$plugin"
	fi
}

start_cluster() {
	local lines status=0
	SLURM_TOP=$(mktemp -d /tmp/wnodes-slurm-test.XXXXXX)
	chmod 755 "$SLURM_TOP"
	write_stand_in "$SLURM_TOP/bait"
	# A plugin that other users can read, wherever the build directory is.
	install -m 755 "$1" "$SLURM_TOP/wnodes_slurm.so"
	PLUGIN_LINE="$SLURM_TOP/wnodes_slurm.so bait=$SLURM_TOP/bait"
	mkdir "$SLURM_TOP/user" && chown "$TEST_UID:$TEST_UID" "$SLURM_TOP/user"
	lines=$("$BATS_TEST_DIRNAME/../slurm/up.sh" --state "$SLURM_TOP/state" --nodes 3 --plugin "$PLUGIN_LINE" \
		--user "$SLURM_USER:$TEST_UID:$SLURM_TOP/user" 2>"$SLURM_TOP/up.log") || status=$?
	if [ $status -eq 77 ]; then
		WHY_NOT="no Slurm cluster here: $(sed -n 's/^slurm: //p' "$SLURM_TOP/up.log" | tail -1)"
		return
	fi
	[ $status -eq 0 ] || { cat "$SLURM_TOP/up.log" && return 1; }
	eval "$lines"
	# A time limit takes Slurm half a minute to see: the last test looks what became of this one, which
	# has a node for itself.
	OTHER=$(sinfo -h -N -o %N | sort | tail -1)
	LIMITED=$(sbatch --parsable --time=1 --signal=B:USR1@50 --mem=50 -o "$SLURM_TOP/limited" \
		-w "$OTHER" --vm-image=el9 "$SLURM_TOP/signals" 300)
}

teardown_file() {
	if [ -n "${SLURM_TOP:-}" ]; then
		"$BATS_TEST_DIRNAME/../slurm/down.sh" --state "$SLURM_TOP/state"
		rm -rf "$SLURM_TOP"
	fi
}

# The stand-in, and a program that says which signals reach it.
write_stand_in() {
	cat >"$1" <<-'END'
		#!/bin/bash
		printf 'bait'
		printf ' <%s>' "$@"
		echo
		while [ $# -gt 0 ] && [ "$1" != -- ]; do shift; done
		shift
		exec "$@"
	END
	cat >"$(dirname "$1")/signals" <<-'END'
		#!/bin/bash
		for signal in USR1 USR2 TERM INT; do trap "echo got $signal" $signal; done
		echo ready
		end=$((SECONDS + ${1:-20}))
		while [ $SECONDS -lt $end ]; do sleep 0.1; done
	END
	chmod 755 "$1" "$(dirname "$1")/signals"
}

setup() {
	[ -z "${WHY_NOT:-}" ] || skip "$WHY_NOT"
	setup_work
	chmod 755 "$WORK"
	export SLURM_EXIT_ERROR=255
}

# Nothing is waited for without a bound. Small memory, so that jobs have room beside each other.
srun() {
	timeout -k 5 30 srun --quiet --mem=100 "$@"
}

# Runs a batch job to its end, shows its output, and has its exit status. (sbatch --wait looks every
# few seconds only.)
batch() {
	local job status=0 code
	job=$(timeout 10 sbatch --parsable --mem=100 -o "$WORK/out.%j" "$@" 2>"$WORK/refused") || status=$?
	[ $status -eq 0 ] || { cat "$WORK/refused" && return $status; }
	wait_for 40 no_job "${job%%;*}" || return 1
	cat "$WORK"/out.*
	rm -f "$WORK"/out.*
	code=$(scontrol show job -o "$job" | grep -oE ' ExitCode=[0-9]+' | head -1)
	return "${code#*=}"
}

# Is the job gone from the queue, with all of its array? no_job JOB
no_job() {
	[ -z "$(squeue -h -j "$1" 2>/dev/null)" ]
}

as_slurm_user() {
	(cd "$SLURM_TOP/user" && HOME=$SLURM_TOP/user timeout -k 5 40 \
		setpriv --reuid=$TEST_UID --regid=$TEST_UID --clear-groups "$@")
}

# Waits for a line in a file: wait_line FILE LINE
wait_line() {
	wait_for 15 grep -qx "$2" "$1"
}

# A job's state in the accounting, once it is final: state JOB
state() {
	sacct -nPX -j "$1" -o state,exitcode
}

ended_as() {
	[ "$(state "$1")" = "$2" ]
}

# With another line in plugstack.conf, for the rest of the test.
with_plugstack() {
	cp "$SLURM_TOP/state/etc/plugstack.conf" "$WORK/plugstack"
	echo "$1" >"$SLURM_TOP/state/etc/plugstack.conf"
}

teardown() {
	[ ! -e "${WORK:-/nonexistent}/plugstack" ] || cp "$WORK/plugstack" "$SLURM_TOP/state/etc/plugstack.conf"
	cd /
	rm -rf "${WORK:-/nonexistent}"
}

@test "slurm: a task becomes the job starter, with its options and its allocation" {
	run -7 --separate-stderr srun -n1 -c2 --mem=123 --vm-image=el9:x --vm-cpus=1 --vm-memory=100M --vm-network=none \
		--vm-scratch=2G --vm-start=boot --vm-workdir=/w sh -c 'echo "$0 $1"; exit 7' 'a b' c
	[ "${lines[0]}" = "bait <--lrms> <slurm> <--image> <el9:x> <--cpus> <1> <--memory> <100M> <--network> <none> <--scratch> <2G> <--start> <boot> <--workdir> </w> <--job-memory> <123> <--job-cpus> <2> <--local-tasks> <1> <--> <sh> <-c> <echo \"\$0 \$1\"; exit 7> <a b> <c>" ]
	[ "${lines[1]}" = "a b c" ]
}

@test "slurm: repeated options all arrive, in their order" {
	run -0 srun -n1 --vm-image=el9 --vm-mount=/a --vm-mount='/b c:/d:ro' --vm-volume=v \
		--vm-volume=w:/w:ro --vm-env='A=1 2' --vm-env=B true
	[[ "$output" == *"<--mount> </a> <--mount> </b c:/d:ro> <--volume> <v> <--volume> <w:/w:ro> <--env> <A=1 2> <--env> <B> <--job-memory>"* ]]
}

@test "slurm: input, both outputs and the environment are the command's" {
	run -0 --separate-stderr env MINE=yes bash -c "echo in | timeout 30 srun -Q --mem=100 -n1 --vm-image=el9 \
		sh -c 'cat; echo \$MINE \$SLURM_PROCID; echo err >&2'"
	[ "${lines[1]}" = in ]
	[ "${lines[2]}" = "yes 0" ]
	[ "$stderr" = err ]
}

@test "slurm: a terminal" {
	run -0 timeout 30 script -qec "srun -Q --mem=100 -n1 --pty --vm-image=el9 tty" /dev/null
	[[ "$output" == *"<--> <tty>"*/dev/pts/* ]]
}

@test "slurm: a batch script and its flags" {
	printf '#!/bin/sh\necho "script $*"\n' >job
	run -0 batch --vm-image=el9 --vm-mount=/a --vm-mount=/b job 1 '2 3'
	[[ "${lines[0]}" == "bait <--lrms> <slurm> <--image> <el9> <--mount> </a> <--mount> </b> "*"<--job-memory> <100> <--job-cpus> <1> <--local-tasks> <1> <--script> <--> </"*"/slurm_script> <1> <2 3>" ]]
	[ "${lines[1]}" = "script 1 2 3" ]
}

@test "slurm: #SBATCH lines; flags go before them, and repeated ones beside them" {
	printf '#!/bin/sh\n#SBATCH --vm-image=script --vm-cpus=1\n#SBATCH --vm-mount=/a\necho ran\n' >job
	run -0 batch job
	[[ "${lines[0]}" == "bait <--lrms> <slurm> <--image> <script> <--cpus> <1> <--mount> </a> <--job-memory>"* ]]
	run -0 batch --vm-image=flag --vm-mount=/b job
	[[ "${lines[0]}" == *"<--image> <flag> <--cpus> <1> <--mount> </a> <--mount> </b> <--job-memory>"* ]]
	run -0 batch --vm-image=none job
	[ "$output" = ran ]
}

@test "slurm: options arrive whatever --export says" {
	local what
	printf 'A=1\0' >file
	for what in --export=NONE --export=NIL --export=A=b --export-file="$PWD/file"; do
		run -0 batch $what --vm-image=el9 --vm-mount=/a --vm-mount=/b --vm-env=C=d --wrap '/bin/echo ran'
		[[ "${lines[0]}" == "bait <--lrms> <slurm> <--image> <el9> <--mount> </a> <--mount> </b> <--env> <C=d> <--job-memory>"* ]]
		[ "${lines[1]}" = ran ]
	done
	run -0 srun --export=NONE -n1 --vm-image=el9 --vm-mount=/a --vm-mount=/b /bin/true
	[[ "$output" == *"<--mount> </a> <--mount> </b>"* ]]
}

@test "slurm: steps inherit from the batch script, may override, and may run on the bare node" {
	cat >job <<-'END'
		#!/bin/bash
		#SBATCH --vm-image=outer --vm-cpus=1 --vm-mount=/a --vm-mount=/b
		srun -Q -n1 true
		srun -Q -n1 --vm-image=inner --vm-mount=/c true
		srun -Q -n1 --vm-cpus=2 true
		srun -Q -n1 --vm-image=none echo bare
	END
	run -0 batch job
	[[ "${lines[1]}" == *"<--image> <outer> <--cpus> <1> <--mount> </a> <--mount> </b> <--job-memory>"* ]]
	[[ "${lines[2]}" == *"<--image> <inner> <--cpus> <1> <--mount> </c> <--job-memory>"* ]]
	[[ "${lines[3]}" == *"<--image> <outer> <--cpus> <2> <--mount> </a> <--mount> </b> <--job-memory>"* ]]
	[ "${lines[4]}" = bare ]
}

@test "slurm: steps in VMs from a batch script on the bare node" {
	run -0 batch --wrap 'echo bare; srun -Q -n1 --vm-image=el9 echo step'
	[ "${lines[0]}" = bare ]
	[[ "${lines[1]}" == *"<--image> <el9> <--job-memory> <100> "*"<echo> <step>" ]]
	[ "${lines[2]}" = step ]
}

@test "slurm: salloc hands its options to the steps" {
	run -0 timeout 30 salloc -Q -n1 --mem=100 --vm-image=el9 --vm-mount=/a --vm-mount=/b \
		sh -c 'echo local; srun -Q true; srun -Q --vm-mount=/c true; srun -Q --vm-image=none echo bare'
	[ "${lines[0]}" = local ]
	[[ "${lines[1]}" == *"<--image> <el9> <--mount> </a> <--mount> </b> <--job-memory>"* ]]
	[[ "${lines[2]}" == *"<--image> <el9> <--mount> </c> <--job-memory>"* ]]
	[ "${lines[3]}" = bare ]
}

@test "slurm: a job array" {
	run -0 batch -a 1-3 --vm-image=el9 --wrap 'echo task $SLURM_ARRAY_TASK_ID'
	[ "$(grep -c '^bait .*<--image> <el9>' <<<"$output")" -eq 3 ]
	[ "$(grep '^task' <<<"$output" | sort | tr '\n' ' ')" = "task 1 task 2 task 3 " ]
}

@test "slurm: two nodes, and several tasks of a step on a node" {
	run -0 srun -N2 -n2 -x "$OTHER" --vm-image=el9 sh -c 'echo on $(hostname)'
	[ "$(grep -c '<--local-tasks> <1>' <<<"$output")" -eq 2 ]
	[ "$(grep '^on' <<<"$output" | sort -u | wc -l)" -eq 2 ]
	# Each task hears of the whole step's CPUs, as all share one VM.
	run -0 srun -N2 -n4 -x "$OTHER" --vm-image=el9 sh -c 'echo rank $SLURM_PROCID of $SLURM_NTASKS'
	[ "$(grep -c '<--job-memory> <100> <--job-cpus> <2> <--local-tasks> <2>' <<<"$output")" -eq 4 ]
	[ "$(grep '^rank' <<<"$output" | sort | tr '\n' ' ')" = "rank 0 of 4 rank 1 of 4 rank 2 of 4 rank 3 of 4 " ]
}

@test "slurm: overlapping steps, and a step's own memory" {
	run -0 batch -n1 -c2 --wrap "
		srun --overlap --mem=60 --vm-image=el9 sleep 2 &
		srun --overlap --mem=0 -c1 --vm-image=el9 echo beside
		wait"
	[[ "$output" == *"<--job-memory> <60> <--job-cpus> <2> "*"<sleep> <2>"* ]]
	[[ "$output" == *"<--job-memory> <100> "*"<echo> <beside>"* ]]
	grep -qx beside <<<"$output"
}

@test "slurm: the components of a heterogeneous job share their options" {
	printf '#!/bin/sh\n#SBATCH -n1 --vm-image=el9\n#SBATCH hetjob\n#SBATCH -n1 --vm-image=el9\nsrun --het-group=0,1 true\n' >job
	run -0 batch job
	[ "$(grep -c '<--image> <el9> .*<true>' <<<"$output")" -eq 2 ]
	run -0 srun -n1 --vm-image=el9 true : -n1 --mem=100 true
	[ "$(grep -c '<--image> <el9>' <<<"$output")" -eq 2 ]
	sed -i '4s/el9/el8/' job
	run -255 batch job
	[[ "$output" == *"--vm-image is not that of the first component"* ]]
	run -255 srun -n1 true : -n1 --mem=100 --vm-image=el9 true
	[[ "$output" == *"share their VM options"* ]]
}

@test "slurm: wrong values are refused before there is a job" {
	local before after wrong
	before=$(sbatch --parsable --mem=10 -o /dev/null --wrap true)
	for wrong in --vm-image=EL9 --vm-cpus=0 --vm-cpus=many --vm-memory=1 --vm-mount=/a:b --vm-volume=v:w --vm-root=file --vm-network=a/b \
		--vm-scratch=big --vm-start=now --vm-env==x --vm-workdir=; do
		run -255 sbatch --vm-image=el9 $wrong --wrap true
		[[ "$output" == *"sbatch: error: wnodes: ${wrong%%=*}="* ]]
		run -255 srun --vm-image=el9 $wrong true
		[[ "$output" == *"srun: error: wnodes: ${wrong%%=*}="* ]]
		run -255 timeout 10 salloc -Q --vm-image=el9 $wrong true
		[[ "$output" == *"salloc: error: wnodes: ${wrong%%=*}="* ]]
		printf '#!/bin/sh\n#SBATCH --vm-image=el9 %s\n' "$wrong" >job
		run -255 sbatch job
		[[ "$output" == *"sbatch: error: wnodes: ${wrong%%=*}="* ]]
	done
	printf '#!/bin/sh\n#SBATCH --vm-memory=1G\n' >job
	for wrong in "sbatch job" "srun --vm-memory=1G true" "timeout 10 salloc -Q --vm-memory=1G true"; do
		run -255 $wrong
		[[ "$output" == *"--vm-memory without --vm-image"* ]]
	done
	after=$(sbatch --parsable --mem=10 -o /dev/null --wrap true)
	[ "$after" -eq $((before + 1)) ]
}

@test "slurm: an exit status is the job's, and in the accounting" {
	local job
	job=$(sbatch --parsable --mem=50 -o /dev/null --vm-image=el9 --wrap 'exit 5')
	wait_for 15 ended_as "$job" "FAILED|5:0"
	job=$(sbatch --parsable --mem=50 -o /dev/null --vm-image=el9 --wrap 'kill -9 $$')
	wait_for 15 ended_as "$job" "FAILED|0:9"
	job=$(sbatch --parsable --mem=50 -o /dev/null --vm-image=el9 --wrap 'exit 0')
	wait_for 15 ended_as "$job" "COMPLETED|0:0"
}

@test "slurm: a job starter that cannot be started fails the task with 125, and tells why" {
	with_plugstack "optional $SLURM_TOP/wnodes_slurm.so bait=/nonexistent/bait"
	run -125 srun -n1 --vm-image=el9 echo ran
	[[ "$output" == *"wnodes: cannot start the job starter '/nonexistent/bait': No such file"* ]]
	[[ "$output" != *ran* ]]
	run -125 batch --vm-image=el9 --wrap 'echo ran'
	[[ "$output" == *"cannot start the job starter"* ]]
	run -0 srun -n1 echo plain
	[ "$output" = plain ]
}

@test "slurm: a mistake in plugstack.conf is told, and plain jobs run" {
	with_plugstack "optional $SLURM_TOP/wnodes_slurm.so bait=bait"
	run -255 srun -n1 --vm-image=el9 true
	[[ "$output" == *"plugstack.conf: 'bait=bait' is no absolute path"* ]]
	run -0 srun -n1 echo plain
	[ "$output" = plain ]
}

@test "slurm: scancel's signals reach the script and the step" {
	local job pid
	job=$(sbatch --parsable --mem=50 -o "$WORK/out" --vm-image=el9 "$SLURM_TOP/signals" 20)
	wait_line "$WORK/out" ready
	scancel -b -s USR1 "$job"
	wait_line "$WORK/out" "got USR1"
	scancel "$job"
	wait_line "$WORK/out" "got TERM"
	# It goes on, and is killed after KillWait.
	wait_for 15 ended_as "$job" "CANCELLED by 0|0:0"
	wait_for 15 eval "! pgrep -f '^/bin/bash $SLURM_TOP/state/spool/[^ ]*/job0*$job/slurm_script'"
	srun -J stepped -n1 --vm-image=el9 "$SLURM_TOP/signals" 20 >"$WORK/step" 2>&1 &
	pid=$!
	wait_line "$WORK/step" ready
	job=$(squeue -h -o %i --name=stepped)
	scancel -s USR2 "$job"
	wait_line "$WORK/step" "got USR2"
	scancel "$job"
	wait_line "$WORK/step" "got TERM"
	wait $pid || true
}

@test "slurm: Ctrl-C on srun reaches the command" {
	# A shell makes its background jobs deaf to SIGINT.
	timeout 30 python3 -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
open(sys.argv[1], "w").write(str(os.getpid()))
os.execvp(sys.argv[2], sys.argv[2:])' "$WORK/pid" \
		srun --disable-status -n1 --mem=50 --vm-image=el9 "$SLURM_TOP/signals" 3 >"$WORK/step" 2>&1 &
	wait_line "$WORK/step" ready
	kill -INT "$(cat "$WORK/pid")"
	wait_line "$WORK/step" "got INT"
	wait
}

@test "slurm: limits of the shell are the command's" {
	ulimit -S -n 333
	run -0 srun -n1 --vm-image=el9 sh -c 'ulimit -S -n; env | grep -c SLURM_RLIMIT || true'
	[ "${lines[1]}" = 333 ]
	[ "${lines[2]}" = 0 ]
	run -0 srun -n1 sh -c 'ulimit -S -n; env | grep -c SLURM_RLIMIT || true'
	[ "${lines[0]}" = 333 ]
	[ "${lines[1]}" = 0 ]
	# QEMU, which the job starter starts, must not be what this hits.
	ulimit -S -v 500000
	run -0 srun -n1 --vm-image=el9 sh -c 'ulimit -S -v'
	[ "${lines[1]}" != 500000 ]
}

@test "slurm: the task is in its cgroup before the job starter runs" {
	grep -q proctrack/cgroup "$SLURM_CONF" || skip "no cgroup v1 here"
	run -0 srun -n1 --vm-image=el9 cat /proc/self/cgroup
	[[ "$output" == *:memory:/slurm_*/job_*/step_0/task_0* ]]
	[[ "$output" == *:freezer:/slurm_*/job_*/step_0* ]]
}

@test "slurm: plain jobs run on the bare node beside VM jobs, untouched" {
	srun -n1 --vm-image=el9 sleep 3 >/dev/null &
	run -0 srun -n1 sh -c 'env | grep -E "SPANK|WNODES_VM"; echo "$0 $*"' a b
	[ "$output" = "a b" ]
	wait
}

@test "slurm: with policy=yes the job starter sees all tasks, and options need no image" {
	with_plugstack "optional $PLUGIN_LINE policy=yes"
	run -0 srun -n1 echo plain
	[[ "${lines[0]}" == "bait <--lrms> <slurm> <--job-memory> "* ]]
	run -0 srun -n1 --vm-cpus=2 echo plain
	[[ "${lines[0]}" == "bait <--lrms> <slurm> <--cpus> <2> <--job-memory> "* ]]
	run -0 srun -n1 --vm-image=none echo plain
	[[ "${lines[0]}" == "bait <--lrms> <slurm> <--image> <none> <--job-memory> "* ]]
}

@test "slurm: a plugin of another version is not loaded, and plain jobs run" {
	# plugin_version, behind spank_plugin_version: 22.05.8 becomes 21.05.8.
	python3 - "$SLURM_TOP/wnodes_slurm.so" "$SLURM_TOP/other.so" <<-'END'
		import re, sys
		data = open(sys.argv[1], "rb").read()
		data, n = re.subn(rb"(\x01\0\0\0..)(.)(\0)(?=spank\0)", lambda m: m[1] + bytes([m[2][0] - 1]) + m[3], data, flags=re.S)
		assert n == 1, n
		open(sys.argv[2], "wb").write(data)
	END
	chmod 755 "$SLURM_TOP/other.so"
	with_plugstack "optional $SLURM_TOP/other.so bait=$SLURM_TOP/bait"
	run -0 --separate-stderr srun -n1 echo plain
	[ "$output" = plain ]
	[[ "$stderr" == *"other.so: Incompatible plugin version"* ]]
	run -0 batch --wrap 'echo plain'
	[[ "$output" == *plain* ]]
	# No job that asked for a VM goes without.
	run ! srun -n1 --vm-image=el9 echo ran
	[[ "$output" == *"unrecognized option '--vm-image=el9'"* ]]
	[[ "$output" != *ran* ]]
}

@test "slurm: an unprivileged user" {
	run -0 as_slurm_user srun -Q -n1 --mem=50 --vm-image=el9 id -un
	[[ "${lines[0]}" == bait* ]]
	[ "${lines[1]}" = "$SLURM_USER" ]
	printf '#!/bin/sh\n#SBATCH --vm-image=el9\nid -u; pwd\n' >"$SLURM_TOP/user/job"
	run -0 as_slurm_user sbatch -Q --wait --mem=50 -o out job
	run -0 cat "$SLURM_TOP/user/out"
	[ "${lines[1]}" = "$TEST_UID" ]
	[ "${lines[2]}" = "$SLURM_TOP/user" ]
	[ "$(stat -c %u "$SLURM_TOP/user/out")" = "$TEST_UID" ]
	run -255 as_slurm_user srun -n1 --vm-image=UPPER true
	[[ "$output" == *"is not an image's name"* ]]
}

@test "slurm: srun --multi-prog cannot have a VM, and says so" {
	printf '0 echo a\n1 echo b\n' >programs
	run -125 srun -n2 --multi-prog --vm-image=el9 programs
	[[ "$output" == *"--multi-prog cannot be used with a VM"* ]]
	run -0 srun -n2 --multi-prog programs
	[ "$(sort <<<"$output" | tr '\n' ' ')" = "a b " ]
}

@test "slurm: a second cluster beside the first, told again when it is up, ended without a trace" {
	local up="$BATS_TEST_DIRNAME/../slurm/up.sh" down="$BATS_TEST_DIRNAME/../slurm/down.sh" names first
	ip link >"$WORK/before"
	first=$("$up" --state "$WORK/second" --no-accounting --nodes 1 --plugin none 2>"$WORK/log")
	[ "$("$up" --state "$WORK/second" --no-accounting --nodes 1 --plugin none)" = "$first" ]
	names=$(eval "$first" && sinfo -h -N -o '%N %T')
	[[ "$names" == *" idle" ]]
	[ "$(sinfo -h -N -o %N | grep -cx "${names% *}")" -eq 0 ]
	[ "$(eval "$first" && srun -n1 --mem=10 hostname)" = "${names% *}" ]
	"$down" --state "$WORK/second"
	[ ! -e "$WORK/second" ]
	diff <(cut -d: -f2 "$WORK/before" | sort) <(ip link | cut -d: -f2 | sort)
	[ -z "$(pgrep -f "$WORK/second")" ]
	[ -z "$(find /sys/fs/cgroup -maxdepth 2 -name "slurm_${names% *}")" ]
	"$down" --state "$WORK/second"
}

@test "slurm: a cluster on a machine without cgroups of version 1 ends its jobs all the same" {
	unshare --mount sh -ec '
		mount -t tmpfs none /sys/fs/cgroup
		lines=$("$0/up.sh" --state "$1/bare" --no-accounting --nodes 1 --cpus 3 --plugin none 2>"$1/log")
		eval "$lines"
		srun -n3 --mem=10 true
		timeout 10 sbatch --parsable --mem=10 -o "$1/out" --wrap "echo begun; exec sleep 4321"
		while ! grep -qs begun "$1/out"; do sleep 0.1; done
		"$0/down.sh" --state "$1/bare"' "$BATS_TEST_DIRNAME/../slurm" "$WORK"
	grep -q 'tracked by proctrack/linuxproc' "$WORK/log"
	[ ! -e "$WORK/bare" ]
	! pgrep -fx 'sleep 4321'
}

@test "slurm: up.sh says what a machine lacks with status 77, and what is wrong with its options" {
	local up="$BATS_TEST_DIRNAME/../slurm/up.sh" status
	run -77 --separate-stderr setpriv --reuid=$TEST_UID --regid=$TEST_UID --clear-groups bash "$up" --state "$WORK/x"
	[[ "$stderr" == *"needs root"* ]]
	mkdir bin
	ln -s /usr/bin/{bash,id,dirname,realpath,sha256sum,cut} bin/
	run -77 --separate-stderr env PATH="$WORK/bin" bash "$up" --state "$WORK/x"
	[[ "$stderr" == *"there is no slurmctld; tools/install-dependencies slurm"* ]]
	# The shell that evaluates its output hears of it.
	status=0
	eval "$("$up" --nodes many 2>"$WORK/log")" || status=$?
	[ $status -eq 2 ]
	grep -q "'many' is no number" "$WORK/log"
	run -2 --separate-stderr "$up" --tracking both
	[[ "$stderr" == *"'both' is neither cgroup nor linuxproc"* ]]
	mkdir mine && touch mine/file
	run -1 "$up" --state "$WORK/mine"
	[ -e mine/file ]
}

@test "slurm: --signal and the time limit reach the command, and nothing is left after KillWait" {
	wait_for 60 ended_as "$LIMITED" "TIMEOUT|0:0"
	wait_for 15 eval "! pgrep -f '^/bin/bash $SLURM_TOP/state/spool/[^ ]*/job0*$LIMITED/slurm_script'"
	grep -qx ready "$SLURM_TOP/limited"
	grep -qx "got USR1" "$SLURM_TOP/limited"
	grep -q "DUE TO TIME LIMIT" "$SLURM_TOP/limited"
	grep -qx "got TERM" "$SLURM_TOP/limited"
}

@test "slurm: after all that, no node is out of service and no job is left" {
	wait_for 20 eval '[ -z "$(squeue -h)" ]'
	wait_for 10 eval '[ "$(sinfo -h -N -o %T | sort -u)" = idle ]'
}
