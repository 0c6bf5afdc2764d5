#!/bin/sh
#SBATCH -N2 -n4 --mem=3G --vm-image=mpi --vm-network=job
# The script runs in the first node's VM, once those of all nodes are there; mpirun starts its ranks in all of them.
set -eu

echo "hosts: $(tr '\n' ' ' <"$WNODES_HOSTFILE")"
mpirun ./ring
