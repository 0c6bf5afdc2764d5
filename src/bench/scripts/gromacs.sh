#!/bin/sh
# Molecular dynamics of a box of water by GROMACS: serial, and with a process of MPI for each CPU.
need gmx gromacs
[ "$QUICK" = 1 ] && steps=50 box=1.9 || steps=2000 box=4.0
program_of gromacs
echo "size a box of $box nm, $steps steps, $CPUS CPUs"
enter_work
cat >md.mdp <<INPUT
integrator = md
dt = 0.002
nsteps = $steps
cutoff-scheme = Verlet
coulombtype = PME
rcoulomb = 0.8
rvdw = 0.8
tcoupl = v-rescale
tc-grps = System
tau-t = 0.1
ref-t = 300
gen-vel = yes
gen-temp = 300
gen-seed = 1
constraints = h-bonds
INPUT
printf '#include "oplsaa.ff/forcefield.itp"\n#include "oplsaa.ff/spce.itp"\n\n[ system ]\nA box of water\n\n[ molecules ]\n' >topol.top
gmx -quiet solvate -cs spc216 -box "$box" "$box" "$box" -p topol.top -o water.gro
gmx -quiet grompp -f md.mdp -c water.gro -p topol.top -o run.tpr
# simulate KEY COMMAND...: in nanoseconds a day, of which GROMACS itself speaks
simulate() {
	key=$1
	shift
	"$@" -s run.tpr -ntomp 1 -g "$key.log" -noconfout </dev/null
	figure "$key" "$(awk '/^Performance:/ { print $2 }' "$key.log")"
}
simulate serial gmx -quiet mdrun -ntmpi 1
if [ "$CPUS" -gt 1 ]; then
	if command -v gmx_mpi >/dev/null; then
		program_of openmpi-bin
		simulate mpi env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 \
			mpirun --oversubscribe -np "$CPUS" gmx_mpi -quiet mdrun
	else
		echo "missing gmx_mpi gromacs-openmpi"
	fi
fi
