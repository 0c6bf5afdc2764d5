/* Each rank passes a number on to the next, which adds its own; rank 0 says what came back, and how long a round
 * took. cc: mpicc -O2 ring.c -o ring */
#include <mpi.h>
#include <stdio.h>

#define ROUNDS 100

int main(int argc, char **argv)
{
	int rank, size, length, sum = 0;
	char name[MPI_MAX_PROCESSOR_NAME];
	double begin;

	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &size);
	MPI_Get_processor_name(name, &length);
	printf("rank %d of %d on %s\n", rank, size, name);
	MPI_Barrier(MPI_COMM_WORLD);
	begin = MPI_Wtime();
	for (int i = 0; i < ROUNDS && size > 1; i++) {
		sum = 0;
		if (rank > 0)
			MPI_Recv(&sum, 1, MPI_INT, rank - 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
		sum += rank;
		MPI_Send(&sum, 1, MPI_INT, (rank + 1) % size, 0, MPI_COMM_WORLD);
		if (rank == 0)
			MPI_Recv(&sum, 1, MPI_INT, size - 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
	}
	if (rank == 0)
		printf("sum %d, %.0f us a round\n", sum, (MPI_Wtime() - begin) / ROUNDS * 1e6);
	MPI_Finalize();
	return 0;
}
