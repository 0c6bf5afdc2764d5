# An image with two MPIs, and a program for them: load mpi (after helpers)

# It takes minutes to make. It is kept beside the tests' other one, in a store of its own, for as long as that
# one is.
mpi_image() {
	export XDG_DATA_HOME=$TEST_HOME/mpi
	# Both refuse root without being told.
	export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
	cmp -s "$TEST_HOME/image-stamp" "$TEST_HOME/mpi/image-stamp" && return
	[ -n "${WNODES_TEST_SLOW:-}" ] || skip "building an image with MPI takes minutes; WNODES_TEST_SLOW=1"
	mkdir -p "$TEST_HOME/mpi"
	"$WNODES" image build debian --name mpi --packages python3-mpi4py,mpich
	cp "$TEST_HOME/image-stamp" "$TEST_HOME/mpi/"
}

# allreduce.py: each rank says its number, how many there are, the sum of all numbers from 1 on, and its host.
mpi_program() {
	cat >allreduce.py <<-'END'
		import sys
		from mpi4py import MPI
		c = MPI.COMM_WORLD
		line = (c.rank, c.size, c.allreduce(c.rank + 1), MPI.Get_processor_name())
		sys.stdout.write("%d %d %d %s\n" % line)
	END
}
