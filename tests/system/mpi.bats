# A step as one job of many VMs: the first task runs a command for all, an mpirun for example.

bats_require_minimum_version 1.5.0
load helpers
load jobs
load mpi

setup_file() {
	cluster_setup mpi
}

# The first task's command, in VMs of the shape that the tests' templates have: first OPTIONS... COMMAND...
first() {
	vmrun --vm-mpi=first "$@"
}

@test "mpi: the first task runs the command for all, which have its exit status" {
	run -7 --separate-stderr first -N1 -n3 sh -c 'echo task $SLURM_PROCID; cat $WNODES_HOSTFILE; exit 7'
	[ "${lines[0]}" = "task 0" ]
	[ "${#lines[@]}" -eq 4 ]
	[[ "${lines[1]}" = vm-*-0-* ]]
	[ "$(printf '%s\n' "${lines[@]:1}" | sort -u | wc -l)" -eq 1 ]
	all_gone
}

@test "mpi: host files as MPIs and batch systems write them, and node lists, name VMs" {
	run -0 --separate-stderr first -N1 -n2 sh -c 'cd /run/wnodes/job
		cat hostfile machinefile nodefile pe_hostfile hosts; echo $SLURM_JOB_NODELIST; echo $SLURM_NODELIST
		echo $OMPI_MCA_orte_default_hostfile $HYDRA_HOST_FILE $PBS_NODEFILE $PE_HOSTFILE; hostname
		stat -c "%a %u" key'
	local vm=${lines[9]}
	[ "${lines[0]}" = "$vm slots=2" ]
	[ "${lines[1]}" = "$vm:2" ]
	[ "${lines[2]} ${lines[3]}" = "$vm $vm" ]
	[ "${lines[4]}" = "$vm 2 all.q@$vm UNDEFINED" ]
	[[ "${lines[5]}" = "$vm 127.0.0.1 2 w"* ]]
	[ "${lines[6]} ${lines[7]}" = "$vm $vm" ]
	[ "${lines[8]}" = "/run/wnodes/job/hostfile /run/wnodes/job/machinefile /run/wnodes/job/nodefile /run/wnodes/job/pe_hostfile" ]
	[ "${lines[10]}" = "400 $(id -u)" ]
}

@test "mpi: the first task's command has the CPUs of all tasks" {
	run -0 --separate-stderr vmrun -N1 -n2 --vm-mpi=first --vm-cpus=2 nproc
	[ "$output" -eq 2 ]
}

@test "mpi: a program that starts ranks gets their number and the command" {
	cat >launcher <<-'END'
		#!/bin/sh
		echo "launcher: $*"
	END
	chmod 755 launcher
	run -0 --separate-stderr vmrun -N1 -n3 --vm-mpi="$PWD/launcher --bind-to none" ./prog a b
	[ "$output" = "launcher: --bind-to none -n 3 ./prog a b" ]
	run -127 --separate-stderr vmrun -N1 -n2 --vm-mpi=no-such-mpirun ./prog
	[[ "$stderr" == *"cannot run 'no-such-mpirun': No such file or directory"* ]]
}

@test "mpi: signals to the job reach the command once, and its handler decides" {
	vmrun -J signalled -N1 -n2 --vm-mpi=first sh -c 'trap "echo got USR1 >>got; exit 3" USR1; touch ready; while :; do sleep 0.1; done' &
	step=$!
	wait_for 60 test -e ready
	scancel -s USR1 -n signalled
	ends_with 3 $step
	[ "$(cat got)" = "got USR1" ]
	all_gone
}

@test "mpi: several nodes without a network between their VMs are refused" {
	run -125 --separate-stderr vmrun -N2 -n2 --vm-mpi=first true
	[[ "$stderr" == *"--vm-mpi needs a network between the VMs of 2 nodes"* ]]
	all_gone
}

# A step with the image of MPIs: mpi OPTIONS... COMMAND...
mpi() {
	timeout -k 5 100 srun -Q --mem=3000 --vm-image=mpi "$@"
}

@test "mpi: srun alone, on one node: Open MPI and MPICH" {
	mpi_image
	mpi_program
	run -0 --separate-stderr mpi -N1 -n2 --vm-mpi=mpirun python3 allreduce.py
	[ "$(sort <<<"$output" | cut -d' ' -f1-3 | tr '\n' ',')" = "0 2 3,1 2 3," ]
	run -0 --separate-stderr mpi -N1 -n2 --vm-mpi=mpirun.mpich sh -c 'echo $PMI_RANK of $PMI_SIZE'
	[ "$(sort <<<"$output" | tr '\n' ',')" = "0 of 2,1 of 2," ]
}
