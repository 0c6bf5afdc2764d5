/* The program wnodes-rsh, which the host brings into the VMs of a job of several nodes: a launch
 * agent for mpirun, and how the tasks meet.
 *
 *   wnodes-rsh HOST COMMAND...                                     as rsh and ssh
 *   wnodes-rsh --task RANK --host N --wait SECONDS [-- COMMAND...]  with a command: the first task
 */
#include <errno.h>
#include <stdio.h>

#include "rsh/client.h"
#include "rsh/crew.h"

#define EXIT_OURS 125

static bool parse_number(const char *text, uint32_t *ret)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = text ? strtoul(text, &end, 10) : 0;
	if (!text || !text[0] || *end || errno || n > INT32_MAX)
		return false;
	*ret = (uint32_t)n;
	return true;
}

static bool parse_task(char **argv, struct crew_task *ret)
{
	uint32_t wait_s;

	if (!argv[1] || !streq(argv[1], "--task") || !parse_number(argv[2], &ret->rank) ||
		!argv[3] || !streq(argv[3], "--host") || !parse_number(argv[4], &ret->host) ||
		!argv[5] || !streq(argv[5], "--wait") || !parse_number(argv[6], &wait_s))
		return false;
	ret->wait_s = (int)wait_s;
	if (!argv[7])
		return true;
	ret->command = argv + 8;
	return streq(argv[7], "--") && argv[8];
}

int main(int argc, char **argv)
{
	struct crew_task task = {.command = NULL};
	struct job job AUTO(job_done) = {0};
	struct error err = {0};

	if (argc < 2 || !streq(argv[1], "--task"))
		return client_run(argc, argv);
	if (!parse_task(argv, &task)) {
		fprintf(stderr,
			"usage: wnodes-rsh --task RANK --host N --wait SECONDS [-- COMMAND...]\n");
		return EXIT_OURS;
	}
	if (job_load(&job, &err) < 0) {
		fprintf(stderr, "wnodes: %s\n", err.text);
		return EXIT_OURS;
	}
	return task.command ? crew_lead(&job, &task) : crew_attend(&job, &task);
}
