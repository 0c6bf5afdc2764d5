#!/bin/sh
# Runs in the VM, in the directory of the host that it was started in: fills a box with water and
# simulates it. Reads md.mdp and topol.in; leaves result.gro, result.edr and result.log.
set -eu

# GROMACS renames its temporary files, which must not cross file systems: work on the VM's own disk.
here=$PWD
work=$(mktemp -d)
cp md.mdp "$work"
cp topol.in "$work/topol.top"
cd "$work"
gmx -quiet solvate -cs spc216 -box 1.9 1.9 1.9 -p topol.top -o water.gro
gmx -quiet grompp -f md.mdp -c water.gro -p topol.top -o run.tpr
gmx -quiet mdrun -ntmpi 1 -ntomp 1 -s run.tpr -c result.gro -e result.edr -g result.log
cp result.gro result.edr result.log "$here"
echo "simulated on $(hostname), $(. /etc/os-release; echo "$PRETTY_NAME"), Linux $(uname -r)"
