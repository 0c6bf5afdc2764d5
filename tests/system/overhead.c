/* Prints how many bytes a job needs for a guest of this shape: overhead MEMORY_MIB CPUS SHARES.
 * With software emulation, user network and a scratch disk. */
#include <stdio.h>

#include "engine/overhead.h"

int main(int argc, char **argv)
{
	struct vm_share shares[VM_SHARES_MAX];
	struct overhead_shape shape = {
		.network = VM_NETWORK_USER, .scratch = true, .shares = shares};
	unsigned long long memory_mib;

	if (argc != 4)
		return 2;
	memory_mib = strtoull(argv[1], NULL, 10);
	shape.cpus = strtoull(argv[2], NULL, 10);
	shape.share_count = MIN_OF(strtoull(argv[3], NULL, 10), (unsigned long long)VM_SHARES_MAX);
	for (size_t i = 0; i < shape.share_count; i++)
		shares[i] = (struct vm_share){.gateway = &gateway_9p};
	printf("%llu\n", (memory_mib + overhead_mib(&shape, memory_mib)) << 20);
	return 0;
}
