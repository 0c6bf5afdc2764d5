/* What a VM of a job is told of the others, what they send it, and what Slurm says of the tasks. */
#include <assert.h>
#include <sys/socket.h>

#include "bait/gang.h"
#include "rsh/link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_job(const uint8_t *data, size_t size)
{
	struct job j = {0};
	struct error err = {0};

	if (job_parse(&j, strndup((const char *)data, size), &err) == 0)
		for (size_t i = 0; i < j.count; i++)
			assert(job_find(&j, j.hosts[i].name) && j.hosts[i].node[0]);
	job_done(&j);
}

static void check_packets(const uint8_t *data, size_t size)
{
	struct packet p;
	int pair[2];

	assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	if (send(pair[0], data, size, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
		shutdown(pair[0], SHUT_WR);
		while (link_recv(pair[1], &p) > 0) {
			assert(p.length <= PACKET_MAX && p.data[p.length] == '\0');
			free(p.data);
		}
	}
	close(pair[0]);
	close(pair[1]);
}

static void check_tasks(const uint8_t *data, size_t size)
{
	autofree char *text = strndup((const char *)data, size);
	uint64_t tasks[64];
	ssize_t n = gang_parse_tasks(text, tasks, ARRAY_SIZE(tasks));

	assert(n <= (ssize_t)ARRAY_SIZE(tasks));
	for (ssize_t i = 0; i < n; i++)
		assert(tasks[i] > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_job(data, size);
	check_packets(data, size);
	check_tasks(data, size);
	return 0;
}
