# The network of a job: VMs of a step on two nodes, whose daemons join them, and MPI over it.

bats_require_minimum_version 1.5.0
load helpers
load jobs
load mpi

setup_file() {
	[ "$(id -u)" -eq 0 ] || { export WHY_NOT="a cluster needs root" && return; }
	command -v nft >/dev/null || { export WHY_NOT="there is no nft" && return; }
	local settings
	settings=$(mktemp)
	printf '%s\n' '[vm]' 'accel = tcg' '[deadline]' 'gather = 1m' >"$settings"
	cluster_setup jobnet --hypervisor "$TEST_STORE" --settings "$settings"
	rm -f "$settings"
}

# The step's VMs with a network, and one command for all: both OPTIONS... COMMAND...
both() {
	vmrun -N2 -n2 --vm-network=job --vm-mpi=first "$@"
}

# Devices and rules of jobs' networks on a node: networks_of NODE
networks_of() {
	on "$1" sh -c 'ip -o link show | grep -o "wnj[0-9a-f]*[tx]"; nft list tables | grep wnodes-jobs >/dev/null &&
		nft list ruleset | grep -E "chain (wnj|n)[0-9a-f]{6}|0x[0-9a-f]{1,6} : jump"' || true
}

# For tests that take a minute on two processors.
slow() {
	[ -n "${WNODES_TEST_SLOW:-}" ] || skip "takes a minute; WNODES_TEST_SLOW=1"
}

nodes() {
	sinfo -h -N -o %N | sort
}

no_networks() {
	local node
	for node in $(nodes); do
		[ -z "$(networks_of "$node")" ] || { networks_of "$node" && return 1; }
	done
}

@test "jobnet: VMs on two nodes reach each other by name, commands run in all, and nothing is left" {
	cat >job.sh <<-'END'
		hostname
		cat $WNODES_HOSTFILE
		other=$(sed -n 2p $WNODES_HOSTFILE)
		$WNODES_RSH $other hostname
		echo text | $WNODES_RSH $other 'cat; exit 3'
		echo status $?
		cat /sys/class/net/e*/mtu
		echo $OMPI_MCA_plm $HYDRA_BOOTSTRAP
		exit 5
	END
	run -5 --separate-stderr both sh job.sh
	echo "$stderr"
	[[ "${lines[0]}" = vm-*-0-* ]]
	[ "${lines[1]}" = "${lines[0]}" ]
	[ "${lines[2]}" != "${lines[0]}" ]
	[ "${lines[3]}" = "${lines[2]}" ]
	[ "${lines[4]} ${lines[5]}" = "text status 3" ]
	[ "${lines[6]} ${lines[7]}" = "1450 rsh rsh" ]
	all_gone
	wait_for 10 no_networks
}

# Has the accounting this exit code of the job? It hears of an end a while later: is_accounted JOB CODE
is_accounted() {
	[ "$(sacct -nPX -j "$1" -o exitcode)" = "$2" ]
}

@test "jobnet: a batch script on two nodes runs in the first VM, with all others" {
	cat >job.sh <<-'END'
		#!/bin/sh
		#SBATCH -N2 -n2 --mem=1500 --vm-image=debian --vm-cpus=1 --vm-memory=1G --vm-network=job
		echo "script $1"
		for host in $(cat $WNODES_HOSTFILE); do $WNODES_RSH $host hostname; done
		exit 4
	END
	local job
	job=$(sbatch --parsable -o out job.sh word)
	wait_for 120 no_job "$job"
	cat out
	[ "$(head -1 out)" = "script word" ]
	[ "$(tail -n +2 out | sort -u | grep -c '^vm-')" -eq 2 ]
	wait_for 60 is_accounted "$job" 4:0
	all_gone
	wait_for 10 no_networks
}

@test "jobnet: two jobs at once, on the same nodes, with the same addresses, do not see each other" {
	slow
	cat >job.sh <<-'END'
		$WNODES_RSH $(sed -n 2p $WNODES_HOSTFILE) hostname >names-$1
		touch here$1
		until [ -e here1 -a -e here2 ]; do sleep 0.1; done
		$WNODES_RSH 10.210.0.2 hostname >>names-$1
	END
	both sh job.sh 1 &
	first=$!
	run -0 both sh job.sh 2
	ends_with 0 $first
	[ "$(sort -u names-1 | wc -l) $(sort -u names-2 | wc -l)" = "1 1" ]
	[ "$(sort -u names-1)" != "$(sort -u names-2)" ]
	all_gone
	wait_for 10 no_networks
}

@test "jobnet: a VM that is killed ends the command; so does nothing else, and all is gone" {
	slow
	local w2
	w2=$(nodes | sed -n 2p)
	both -J killed sh -c 'touch ready; while :; do sleep 0.2; done' 2>err &
	step=$!
	wait_for 90 test -e ready
	# The daemon of a node may come and go.
	kill -KILL "$(pgrep -P "$(cat "$SLURM_TOP/state/run/hypervisor-$w2.pid")" -x wnodes-hypervis)"
	sleep 2
	kill -0 $step
	kill -KILL "$(ours "^[^ ]*qemu[^ ]* .*tap,id=net0" | head -1)"
	ends_with 125 $step || ends_with 137 $step
	cat err
	wait_for 30 all_gone
	# What a daemon lent that is no more is swept by the next one.
	wait_for 45 no_networks
}

# The job starter of a node's task: starter_on NODE
starter_on() {
	local pid
	for pid in $(ours wnodes-bait); do
		tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | grep -qx "SLURMD_NODENAME=$1" && echo "$pid"
	done
	true
}

has_starter() {
	[ -n "$(starter_on "$1")" ]
}

@test "jobnet: a node whose VM does not come is named" {
	slow
	local w2
	w2=$(nodes | sed -n 2p)
	both touch ran 2>err &
	step=$!
	wait_for 20 has_starter "$w2"
	kill -KILL $(starter_on "$w2")
	ends_with 137 $step || ends_with 125 $step
	cat err
	grep -q "not all VMs of the job came within 60 s.* on $w2 (0 of 1 tasks)" err
	[ ! -e ran ]
	wait_for 10 no_process_left
	wait_for 45 no_networks
}

# A step with the image of MPIs on both nodes: mpi OPTIONS... COMMAND...
mpi() {
	timeout -k 5 200 srun -Q -N2 --ntasks-per-node=2 --mem=3000 --vm-image=mpi --vm-network=job "$@"
}

@test "jobnet: MPI across VMs: Open MPI and MPICH by srun alone, and by mpirun in a script" {
	slow
	mpi_image
	mpi_program
	run -0 --separate-stderr mpi -n4 --vm-mpi=mpirun python3 allreduce.py
	echo "$stderr"
	[ "$(sort <<<"$output" | cut -d' ' -f1-3 | tr '\n' ',')" = "0 4 10,1 4 10,2 4 10,3 4 10," ]
	[ "$(cut -d' ' -f4 <<<"$output" | sort | uniq -c | grep -c ' 2 vm-')" -eq 2 ]
	run -0 --separate-stderr mpi -n4 --vm-mpi=mpirun.mpich sh -c 'echo $PMI_RANK of $PMI_SIZE on $(hostname)'
	echo "$stderr"
	[ "$(sort <<<"$output" | cut -d' ' -f1-3 | tr '\n' ',')" = "0 of 4,1 of 4,2 of 4,3 of 4," ]
	[ "$(cut -d' ' -f5 <<<"$output" | sort | uniq -c | grep -c ' 2 vm-')" -eq 2 ]
	all_gone
	wait_for 10 no_networks
}
