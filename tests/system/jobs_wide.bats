# What else Slurm's users do, with jobs in VMs: salloc, heterogeneous jobs, arrays, steps beside each other,
# MPI, signals, the time limit, accounting; and what a user who is root in the VM can do to others.

bats_require_minimum_version 1.5.0
load helpers
load jobs
load mpi

OTHER_UID=64124

setup_file() {
	cluster_setup jobs --user "wnodesother:$OTHER_UID" || return 1
	[ -n "$WHY_NOT" ] || start_limited
}

# A time limit takes Slurm half a minute to see: the last test looks what became of this job.
start_limited() {
	export LIMITED LIMITED_DIRECTORY=$SLURM_TOP/limited
	mkdir -m 700 "$LIMITED_DIRECTORY" "$LIMITED_DIRECTORY"/{run,cache} "$LIMITED_DIRECTORY/cache/wnodes"
	ln -s "$TEST_TEMPLATES" "$LIMITED_DIRECTORY/cache/wnodes/"
	cat >"$LIMITED_DIRECTORY/job.sh" <<-'END'
		#!/bin/sh
		#SBATCH --vm-image=debian --vm-cpus=1 --vm-memory=1G --mem=1500 --time=1 --signal=B:USR1@50
		trap 'echo got USR1' USR1
		trap 'echo got TERM' TERM
		hostname
		while :; do sleep 0.1; done
	END
	LIMITED=$(cd "$LIMITED_DIRECTORY" && HOME=$LIMITED_DIRECTORY XDG_RUNTIME_DIR=$LIMITED_DIRECTORY/run \
		XDG_CACHE_HOME=$LIMITED_DIRECTORY/cache WNODES_TEST=$LIMITED_DIRECTORY \
		sbatch --parsable -o out -w "$(node 2)" job.sh)
}

# The name of a node: node NUMBER
node() {
	sinfo -h -N -o %N | sort | sed -n "$1p"
}

# Of a job that this test started: job_of NAME
job_of() {
	squeue -h -o %i --name="$1"
}

has_job() {
	[ -n "$(job_of "$1")" ]
}

# What the accounting says of a job, once it is final: accounted JOB STATE|STATUS
accounted() {
	[ "$(sacct -nPX -j "$1" -o state,exitcode)" = "$2" ]
}

# Plain, beside VMs.
plain() {
	timeout 60 srun --quiet --mem=100 "$@"
}

# A counter in a file that goes on: counts FILE
counts() {
	local before
	before=$(cat "$1")
	sleep 0.7
	[ "$(cat "$1")" != "$before" ]
}

@test "wide: salloc's shell is on the submit host, its steps in VMs, and one may be on the bare node" {
	run -0 timeout 60 salloc -Q -n1 --mem=1500 -w "$(node 1)" --vm-image=debian --vm-cpus=1 --vm-memory=1G \
		sh -c 'hostname; srun -Q hostname; srun -Q --vm-image=none hostname; srun -Q sh -c "exit 7"; echo $?'
	[ "${lines[0]}" = "$(hostname)" ]
	[[ "${lines[1]}" = vm-* ]]
	[ "${lines[2]}" = "$(node 1)" ]
	[[ "${lines[*]}" == *" 7" ]]
	all_gone
}

@test "wide: steps in VMs and plain ones in a batch script on the bare node" {
	run -0 batch -w "$(node 1)" --wrap 'hostname
		srun -Q --vm-image=debian --vm-cpus=1 --vm-memory=1G hostname
		srun -Q hostname
		srun -Q --vm-image=debian --vm-cpus=1 --vm-memory=1G sh -c "exit 5" || echo status $?'
	[ "${lines[0]}" = "$(node 1)" ]
	[[ "${lines[1]}" = vm-* ]]
	[ "${lines[2]}" = "$(node 1)" ]
	[[ "$output" == *"status 5"* ]]
	all_gone
}

@test "wide: two steps on the same CPUs have a VM each, at the same time" {
	run -0 batch -n1 -c1 --mem=3000 --wrap '
		for i in 1 2; do
			srun -Q --overlap --mem=1500 --vm-image=debian --vm-cpus=1 --vm-memory=1G \
				sh -c "hostname; touch here'\$i'; until [ -e here1 -a -e here2 ]; do sleep 0.1; done" &
		done
		wait'
	[ "$(grep -c '^vm-' <<<"$output")" -eq 2 ]
	[ "$(sort -u <<<"$output" | wc -l)" -eq 2 ]
	[ -e here1 ]
	[ -e here2 ]
	all_gone
}

@test "wide: exclusive steps have their own CPUs, and a VM each" {
	run -0 batch -n2 -c1 --mem=3000 --wrap '
		for i in 1 2; do
			srun -Q --exclusive -n1 --mem=1500 --vm-image=debian --vm-memory=1G \
				sh -c "nproc; touch here'\$i'; until [ -e here1 -a -e here2 ]; do sleep 0.1; done" &
		done
		wait'
	[ "${lines[*]}" = "1 1" ]
}

@test "wide: a job that has the node for itself has all of its CPUs in the VM" {
	run -0 batch --exclusive -w "$(node 1)" --vm-image=debian --wrap nproc
	[ "$output" -eq 4 ]
}

@test "wide: the components of a heterogeneous job, in VMs and on the bare node" {
	cat >job.sh <<-'END'
		#!/bin/sh
		#SBATCH -n1 --mem=1500
		#SBATCH hetjob
		#SBATCH -n1 --mem=1500
		vm="--vm-image=debian --vm-cpus=1 --vm-memory=1G"
		srun -Q --het-group=0 $vm sh -c 'echo first $(hostname)'
		srun -Q --het-group=1 sh -c 'echo second $(hostname)'
		srun -Q --het-group=0,1 $vm sh -c 'echo both $(hostname)'
		srun -Q $vm --het-group=0 sh -c 'echo left $(hostname)' : --het-group=1 sh -c 'echo right $(hostname)'
	END
	run -0 batch job.sh
	[[ "$output" == *"first vm-"* ]]
	grep -qE "^second ($(node 1)|$(node 2))\$" <<<"$output"
	[ "$(grep -c '^both vm-' <<<"$output")" -eq 2 ]
	[[ "$output" == *"left vm-"* ]]
	[[ "$output" == *"right vm-"* ]]
	all_gone
}

@test "wide: srun with two components" {
	run -0 --separate-stderr timeout 60 srun -Q --mem=1500 --vm-image=debian --vm-cpus=1 --vm-memory=1G -n1 hostname : \
		-n1 --mem=1500 sh -c 'echo second; hostname'
	[ "$(grep -c '^vm-' <<<"$output")" -eq 2 ]
	grep -qx second <<<"$output"
}

@test "wide: each task of a job array has a VM, while a plain job runs on the node" {
	local job
	job=$(sbatch --parsable -a 1-3 -w "$(node 1)" --mem=1500 -o 'out.%a' --vm-image=debian --vm-cpus=1 --vm-memory=1G \
		--wrap 'echo $SLURM_ARRAY_TASK_ID $(hostname); touch here$SLURM_ARRAY_TASK_ID; until [ -e end ]; do sleep 0.1; done')
	wait_for 60 test -e here1 -a -e here2 -a -e here3
	run -0 plain -w "$(node 1)" hostname
	[ "$output" = "$(node 1)" ]
	touch end
	wait_for 60 no_job "$job"
	[ "$(cat out.* | cut -d' ' -f1 | tr '\n' ' ')" = "1 2 3 " ]
	[ "$(cat out.* | cut -d' ' -f2 | sort -u | grep -c '^vm-')" -eq 3 ]
	all_gone
}

@test "wide: memory for the VM that the job does not ask for is refused when it is submitted" {
	local ask="--vm-image=debian --vm-memory=1G" before after
	before=$(sbatch --parsable --mem=10 -o /dev/null --wrap true)
	run -255 sbatch $ask --mem=1000 --wrap true
	[[ "$output" == *"sbatch: error: wnodes: --vm-memory=1G does not fit into --mem=1000"* ]]
	run -255 srun $ask --mem=1G true
	[[ "$output" == *"srun: error: wnodes: --vm-memory=1G does not fit into --mem=1G"* ]]
	run -255 timeout 10 salloc -Q $ask --mem=1G true
	[[ "$output" == *"salloc: error: wnodes: --vm-memory=1G does not fit into --mem=1G"* ]]
	SBATCH_MEM_PER_NODE=1G run -255 sbatch $ask --wrap true
	[[ "$output" == *"does not fit into --mem=1G"* ]]
	printf '#!/bin/sh\n#SBATCH --mem=500M --vm-image=debian\n#SBATCH --vm-memory=600M\n' >job
	run -255 sbatch job
	[[ "$output" == *"--vm-memory=600M does not fit into --mem=500,"* ]]
	after=$(sbatch --parsable --mem=10 -o /dev/null --wrap true)
	[ "$after" -eq $((before + 1)) ]
	# In a job its memory counts, unless the step has some of its own.
	run -255 timeout 30 salloc -Q -n1 --mem=500 srun $ask true
	[[ "$output" == *"does not fit into --mem=500"* ]]
	# What is known on the node only is refused there.
	run -125 timeout 30 srun -Q -n1 --mem-per-cpu=500 $ask true
	[[ "$output" == *"ask for --mem="* ]]
}

@test "wide: a terminal, its size, and the command's exit status" {
	run -4 timeout 60 script -qec "srun -Q -n1 --mem=1500 --pty --vm-image=debian --vm-cpus=1 --vm-memory=1G \
		sh -c 'test -t 0 && tty && stty size; exit 4'" /dev/null </dev/null
	[[ "$output" == */dev/pts/* ]]
	all_gone
}

@test "wide: the accounting has the command's status" {
	local job
	run -5 --separate-stderr vmrun sh -c 'echo $SLURM_JOB_ID; exit 5'
	wait_for 15 accounted "${lines[0]}" "FAILED|5:0"
	job=$(sbatch --parsable --mem=1500 -o out --vm-image=debian --vm-cpus=1 --vm-memory=1G --wrap 'exit 6')
	wait_for 60 accounted "$job" "FAILED|6:0"
	job=$(sbatch --parsable --mem=1500 -o out --vm-image=debian --vm-cpus=1 --vm-memory=1G --wrap 'exit 0')
	wait_for 60 accounted "$job" "COMPLETED|0:0"
}

@test "wide: TSTP and CONT stop the command and let it go on; so do suspend and resume" {
	vmrun -J stopped sh -c 'i=0; while [ ! -e end ]; do i=$((i + 1)); echo $i >count; sleep 0.1; done' &
	step=$!
	wait_for 60 test -s count
	scancel -s TSTP -n stopped
	wait_for 10 eval '! counts count'
	scancel -s CONT -n stopped
	wait_for 10 counts count
	if [ "$(id -u)" -eq 0 ]; then
		scontrol suspend "$(job_of stopped)"
		wait_for 10 eval '! counts count'
		scontrol resume "$(job_of stopped)"
		wait_for 10 counts count
	fi
	touch end
	ends_with 0 $step
	all_gone
}

@test "wide: scancel -b reaches a batch script in a VM, scancel -s the step in it" {
	local job
	cat >job.sh <<-'END'
		#!/bin/sh
		#SBATCH --vm-image=debian --vm-cpus=1 --vm-memory=1G --mem=1500
		trap 'echo got USR2; exit 0' USR2
		echo ready
		while :; do sleep 0.1; done
	END
	job=$(sbatch --parsable -o out job.sh)
	wait_for 60 grep -q ready out
	scancel -b -s USR2 "$job"
	wait_for 30 no_job "$job"
	grep -qx 'got USR2' out
	wait_for 15 accounted "$job" "COMPLETED|0:0"
	all_gone
}

@test "wide: mpirun finds its hosts and its launcher in the VM, also where the job comes from Slurm" {
	run -0 --separate-stderr vmrun -N2 sh -c 'echo $HYDRA_BOOTSTRAP $HYDRA_RMK $OMPI_MCA_plm $WNODES_NODELIST $(hostname)'
	[ "${#lines[@]}" -eq 2 ]
	[[ "${lines[0]}" =~ ^fork\ user\ isolated\ (vm-[0-9]+-0-[a-z0-9]+),(vm-[0-9]+-0-[a-z0-9]+)\ vm- ]]
	# All know the list, and each VM is in it by its own name.
	[ "$(printf '%s\n' "${lines[@]}" | cut -d' ' -f4 | sort -u)" = "${BASH_REMATCH[1]},${BASH_REMATCH[2]}" ]
	[ "$(printf '%s\n' "${lines[@]}" | cut -d' ' -f5 | sort | tr '\n' ' ')" = "${BASH_REMATCH[1]} ${BASH_REMATCH[2]} " ]
	OMPI_MCA_plm=mine run -0 --separate-stderr vmrun --vm-env=HYDRA_RMK=other sh -c 'echo $OMPI_MCA_plm $HYDRA_RMK'
	[ "$output" = "mine other" ]
	run -0 batch --vm-image=debian --vm-cpus=1 --vm-memory=1G --wrap 'echo $WNODES_NODELIST $(hostname)'
	[ "${lines[0]% *}" = "${lines[0]#* }" ]
}

@test "wide: Open MPI's mpirun in one command, over all CPUs of the allocation" {
	mpi_image
	mpi_program
	run -0 --separate-stderr timeout 100 srun -Q -n1 -c2 --mem=3000 --vm-image=mpi mpirun -n 2 python3 allreduce.py
	[ "$(sort <<<"$output" | cut -d' ' -f1-3 | tr '\n' ',')" = "0 2 3,1 2 3," ]
	[ "$(cut -d' ' -f4 <<<"$output" | sort -u | grep -c '^vm-')" -eq 1 ]
	# Without -n, as many ranks as the VM has CPUs.
	run -0 --separate-stderr timeout 100 srun -Q -n1 -c2 --mem=3000 --vm-image=mpi mpirun hostname
	[ "${#lines[@]}" -eq 2 ]
}

@test "wide: MPICH's mpirun in one command" {
	mpi_image
	run -0 --separate-stderr timeout 100 srun -Q -n1 -c2 --mem=3000 --vm-image=mpi mpirun.mpich -n 2 sh -c 'echo $PMI_RANK of $PMI_SIZE'
	[ "$(sort <<<"$output" | tr '\n' ',')" = "0 of 2,1 of 2," ]
}

# What the cgroups of a step say, until they go: sample JOB NODE. CPU time in ns, most memory in bytes. While
# a cgroup is emptied, its memory may for a moment read as a little less than nothing, as 2^64 less a bit.
sample() {
	local step cpu=0 rss=0 value
	step=slurm_$2/uid_$(id -u)/job_$1/step_0
	while value=$(cat "/sys/fs/cgroup/cpuacct/$step/cpuacct.usage" 2>/dev/null); do
		cpu=$value
		value=$(sed -nE 's/^total_rss ([0-9]{1,18})$/\1/p' "/sys/fs/cgroup/memory/$step/memory.stat" 2>/dev/null)
		[ "${value:-0}" -le "$rss" ] || rss=$value
		sleep 0.05
	done
	echo "$cpu $rss"
}

# sacct's CPU time in ms, and its memory in KiB: figures JOB
figures() {
	sacct -nP -j "$1.0" -o totalcpu,maxrss | awk -F'[:|K]' '$3 > 0 { printf "%d %d\n", ($1 * 60 + $2) * 1000, $3 }'
}

# Are two numbers within 5 % of each other?
near() {
	[ $(($1 * 100)) -ge $(($2 * 95)) ] && [ $(($1 * 95)) -le $(($2 * 100)) ]
}

@test "wide: the accounting's CPU time and memory are those of the cgroup, within 5 %" {
	grep -q jobacct_gather/cgroup "$SLURM_CONF" || skip "no cgroup v1 here"
	local job cpu rss
	vmrun -J figures -w "$(node 1)" perl -e '
		$x = "x" x (200 << 20);
		1 while (times)[0] < 5;
		sleep 2' &
	step=$!
	wait_for 10 has_job figures
	job=$(job_of figures)
	wait_for 20 test -e "/sys/fs/cgroup/cpuacct/slurm_$(node 1)/uid_$(id -u)/job_$job/step_0/cpuacct.usage"
	sample "$job" "$(node 1)" >sampled
	ends_with 0 $step
	wait_for 15 eval '[ -n "$(figures '"$job"')" ]'
	read -r cpu rss <sampled
	echo "cgroup: $((cpu / 1000000)) ms, $((rss / 1024)) KiB; sacct: $(figures "$job")"
	[ $((cpu / 1000000)) -ge 5000 ]
	[ $((rss / 1048576)) -ge 200 ]
	near "$(figures "$job" | cut -d' ' -f1)" $((cpu / 1000000))
	near "$(figures "$job" | cut -d' ' -f2)" $((rss / 1024))
}

# A job of an ordinary user; nothing of the machine's home directories is shared.
user_vmrun() {
	as_user timeout -k 5 120 srun --quiet --mem=1500 --vm-image=debian --vm-cpus=1 --vm-memory=1G "$@"
}

@test "wide: root in the VM is only the user on the host, whatever it does to a share" {
	skip_unless_user
	as_user mkdir share
	cd "$WORK/user/share"
	echo secret >roots && chmod 600 roots
	echo text >others && chmod 644 others && chown $OTHER_UID:$OTHER_UID others
	mkdir closed && echo secret >closed/file && chmod 700 closed
	echo secret >"$WORK/outside" && chmod 600 "$WORK/outside"
	cat >attack.sh <<-'END'
		[ "$(id -u)" = 0 ] && echo "root in the VM"
		cat roots && echo "READ roots"
		echo bad >roots && echo "WROTE roots"
		echo bad >>others && echo "WROTE others"
		chmod 666 roots others 2>/dev/null
		chown 64123 roots 2>/dev/null
		cat roots && echo "READ roots after chown"
		cat closed/file && echo "READ closed"
		mknod disk b 8 0 && echo "MADE a block device"
		mknod null c 1 3 && echo "MADE a character device"
		cp /bin/dash shell && chown 0:0 shell && chmod 6755 shell
		ln -s ../../outside link; cat link && echo "READ by a link"
		ln -s /proc/self/root link2; cat "link2$1/outside" && echo "READ by a link to the root"
		cat ../../outside && echo "READ by .."
		ln roots linked && chmod 666 linked && cat linked && echo "READ by a hard link"
		echo done >done
	END
	chmod 755 "$WORK/user/share" && chown $TEST_UID attack.sh
	cd "$WORK/user"
	run user_vmrun --chdir="$WORK/user/share" rootsh -p attack.sh "$WORK"
	echo "$output"
	grep -qx "root in the VM" <<<"$output"
	[[ "$output" != *READ* ]]
	[[ "$output" != *WROTE* ]]
	[[ "$output" != *MADE* ]]
	cd "$WORK/user/share"
	[ "$(cat done)" = done ]
	[ "$(cat roots)" = secret ]
	[ "$(cat others)" = text ]
	[ "$(stat -c '%u %a' roots others)" = "0 600"$'\n'"$OTHER_UID 644" ]
	# What it made is the user's.
	[ "$(stat -c %u shell done)" = "$TEST_UID"$'\n'"$TEST_UID" ]
	[ -z "$(find . -newer attack.sh \( -type b -o -type c \))" ]
	[ -z "$(find . -newer attack.sh -perm /6000 ! -user $TEST_UID)" ]
}

@test "wide: a user who has no session on the node, but one where the job was submitted" {
	skip_unless_user
	as_user true
	run -0 as_user env XDG_RUNTIME_DIR=/run/user/$TEST_UID timeout -k 5 120 srun --quiet -n2 --mem=1500 --vm-image=debian \
		--vm-cpus=1 --vm-memory=1G hostname
	rm -rf /tmp/wnodes-$TEST_UID
	[ "$(sort -u <<<"$output" | grep -c '^vm-')" -eq 1 ]
}

@test "wide: another user's job cannot be claimed" {
	skip_unless_user
	local victim directory steps
	as_user timeout 120 srun --quiet -J victim -n2 --mem=1500 --vm-image=debian --vm-cpus=1 --vm-memory=1G \
		sh -c 'echo secret >/run/mine; touch started$SLURM_PROCID; until [ -e end ]; do sleep 0.1; done' >out 2>&1 &
	step=$!
	wait_for 90 test -e "$WORK/user/started0" -a -e "$WORK/user/started1"
	victim=$(job_of victim)
	directory=$WORK/other
	"$BATS_TEST_DIRNAME/user-home" "$TEST_HOME" "$directory" $OTHER_UID
	as_other() {
		(cd "$directory" && HOME=$directory XDG_DATA_HOME=$directory/data XDG_CONFIG_HOME=$directory/config \
			XDG_CACHE_HOME=$directory/cache XDG_RUNTIME_DIR=${RUNTIME:-$directory/run} \
			timeout -k 5 60 setpriv --reuid=$OTHER_UID --regid=$OTHER_UID --clear-groups "$@")
	}
	# Slurm itself refuses.
	run ! as_other env SLURM_JOB_ID="$victim" srun -Q hostname
	[[ "$output" == *denied* ]]
	# The job starter, told that it is a task of that step, finds a step of its own user's, which has no VM.
	steps="env SLURM_JOB_ID=$victim SLURM_STEP_ID=0 SLURM_STEPID=0 SLURMD_NODENAME=$(node 1) SLURM_LOCALID=1"
	run as_other $steps "$WNODES_BUILD/wnodes-bait" --lrms slurm --image nosuch --local-tasks 2 -- cat /run/mine
	[ "$status" -eq 125 ]
	[[ "$output" == *nosuch* ]]
	[[ "$output" != *secret* ]]
	# Pointed at the victim's directory, it does not enter.
	RUNTIME=$WORK/user/run run as_other $steps "$WNODES_BUILD/wnodes-bait" --lrms slurm --image nosuch --local-tasks 2 -- \
		cat /run/mine
	rm -rf /tmp/wnodes-$OTHER_UID
	[ "$status" -eq 125 ]
	[[ "$output" == *nosuch* ]]
	[[ "$output" != *secret* ]]
	# Nor by the control socket.
	[ -n "$(find "$WORK/user/run" -type s)" ]
	run ! as_other "$WNODES" vm exec "$(basename "$(dirname "$(find "$WORK/user/run" -type s | head -1)")")" -- cat /run/mine
	[[ "$output" != *secret* ]]
	as_user touch end
	ends_with 0 $step
}

@test "wide: --signal and the time limit reach a script in a VM; after KillWait nothing is left" {
	wait_for 100 accounted "$LIMITED" "TIMEOUT|0:0"
	cd "$LIMITED_DIRECTORY"
	grep -q '^vm-' out
	grep -qx 'got USR1' out
	grep -qx 'got TERM' out
	WORK=$LIMITED_DIRECTORY wait_for 15 no_process_left
}

@test "wide: without cgroups SIGTERM reaches the command, and not its VM" {
	local top lines
	top=$(mktemp -d /tmp/wnodes-wide-test.XXXXXX)
	chmod 755 "$top"
	lines=$("$BATS_TEST_DIRNAME/../slurm/up.sh" --state "$top/state" --tracking linuxproc --no-accounting --nodes 1 \
		--memory 6000 --cpus 2 --plugin "$SLURM_TOP/wnodes_slurm.so bait=$WNODES_BUILD/wnodes-bait" 2>"$top/up.log")
	(
		eval "$lines"
		grep -q proctrack/linuxproc "$SLURM_CONF"
		vmrun -J traced sh -c 'trap "echo usr1" USR1; trap "sleep 1; echo heeded TERM; exit 6" TERM; touch started
			while :; do sleep 0.1; done' >out 2>&1 &
		step=$!
		wait_for 60 test -e started
		scancel -s USR1 -n traced
		wait_for 20 grep -q usr1 out
		scancel -n traced
		wait $step || true
		wait_for 20 no_process_left
		# The VM of a step of two tasks outlives the one that started it, and not the last.
		timeout 120 srun --quiet -J both -n2 --mem=1500 --vm-image=debian --vm-cpus=1 --vm-memory=1G sh -c '
			touch task$SLURM_PROCID; [ $SLURM_PROCID = 1 ] || exit 0
			trap "" TERM; while :; do echo $((i += 1)) >count; sleep 0.1; done' >both 2>&1 &
		step=$!
		wait_for 60 test -e task0 -a -e task1
		sleep 1
		wait_for 5 counts count
		scancel -n both
		wait $step || true
		wait_for 20 no_process_left
	) || status=$?
	"$BATS_TEST_DIRNAME/../slurm/down.sh" --state "$top/state"
	rm -rf "$top"
	[ "${status:-0}" -eq 0 ]
	cat out
	grep -qx 'heeded TERM' out
}

@test "wide: after all that, no node is out of service and no job is left" {
	wait_for 20 eval '[ -z "$(squeue -h)" ]'
	wait_for 10 eval '[ "$(sinfo -h -N -o %T | sort -u)" = idle ]'
}
