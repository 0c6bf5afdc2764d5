#!/bin/sh
# The HPC Challenge: linear algebra (HPL, DGEMM), memory (STREAM, RandomAccess), FFT, and the latency
# and bandwidth of MPI between the processes. One process a CPU.
need hpcc hpcc
need mpirun openmpi-bin
[ "$QUICK" = 1 ] && n=400 || n=$(awk -v m="$MEMORY_MIB" 'BEGIN { n = int(sqrt(m * 1048576 * 0.4 / 8)); print n - n % 64 }')
program_of hpcc
program_of openmpi-bin
program_of "$(dpkg-query -S "$(readlink -f /usr/lib/x86_64-linux-gnu/libblas.so.3)" 2>/dev/null | cut -d: -f1)"
q=$(awk -v c="$CPUS" 'BEGIN { for (p = int(sqrt(c)); c % p; p--); print c / p }')
p=$((CPUS / q))
echo "size N = $n, $CPUS processes"
enter_work
cat >hpccinf.txt <<INPUT
HPLinpack benchmark input file
wnodes bench
HPL.out      output file name (if any)
8            device out (6=stdout,7=stderr,file)
1            # of problems sizes (N)
$n           Ns
1            # of NBs
64           NBs
0            PMAP process mapping (0=Row-,1=Column-major)
1            # of process grids (P x Q)
$p           Ps
$q           Qs
16.0         threshold
1            # of panel fact
2            PFACTs (0=left, 1=Crout, 2=Right)
1            # of recursive stopping criterium
4            NBMINs (>= 1)
1            # of panels in recursion
2            NDIVs
1            # of recursive panel fact.
1            RFACTs (0=left, 1=Crout, 2=Right)
1            # of broadcast
1            BCASTs (0=1rg,1=1rM,2=2rg,3=2rM,4=Lng,5=LnM)
1            # of lookahead depth
1            DEPTHs (>=0)
2            SWAP (0=bin-exch,1=long,2=mix)
64           swapping threshold
0            L1 in (0=transposed,1=no-transposed) form
0            U  in (0=transposed,1=no-transposed) form
1            Equilibration (0=no,1=yes)
8            memory alignment in double (> 0)
INPUT
OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 \
	mpirun --oversubscribe -np "$CPUS" hpcc </dev/null
value() {
	sed -n "s/^$1=//p" hpccoutf.txt | tail -1
}
figure hpl "$(value HPL_Tflops | awk '{ printf "%.4f\n", $1 * 1000 }')"
figure dgemm "$(value StarDGEMM_Gflops)"
figure stream "$(value StarSTREAM_Triad)"
figure random "$(value MPIRandomAccess_GUPs | awk '{ printf "%.6f\n", $1 * 1000 }')"
figure fft "$(value MPIFFT_Gflops)"
[ "$CPUS" -gt 1 ] && figure latency "$(value AvgPingPongLatency_usec)"
