#!/bin/sh
# Runs in the VM, in the directory of the host that it was started in: fills a box with water and
# simulates it. Reads md.mdp and topol.in; leaves result.gro, result.edr and result.log.
set -eu

scratch=$(mktemp -d)
cp topol.in "$scratch/topol.top"
gmx -quiet solvate -cs spc216 -box 1.9 1.9 1.9 -p "$scratch/topol.top" -o "$scratch/water.gro"
gmx -quiet grompp -f md.mdp -c "$scratch/water.gro" -p "$scratch/topol.top" \
	-po "$scratch/mdout.mdp" -o "$scratch/run.tpr"
gmx -quiet mdrun -ntmpi 1 -ntomp 1 -s "$scratch/run.tpr" -c result.gro -e result.edr -g result.log \
	-o "$scratch/run.trr" -cpo "$scratch/run.cpt"
echo "simulated on $(hostname), $(. /etc/os-release; echo "$PRETTY_NAME"), Linux $(uname -r)"
