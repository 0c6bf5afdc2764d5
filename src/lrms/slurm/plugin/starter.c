#include "lrms/slurm/plugin/starter.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

static void add_options(struct strv *v, const struct demand *d)
{
	for (int id = 0; id < OPTION_COUNT; id++) {
		const char *const *value = demand_list(d, id);

		for (; value && *value; value++) {
			strv_add(v, option_rows[id].starter);
			strv_add(v, *value);
		}
	}
}

static void add_allocation(struct strv *v, const struct allocation *a)
{
	strv_add(v, "--job-memory");
	strv_add_format(v, "%" PRIu64, a->memory_mib);
	strv_add(v, "--job-cpus");
	strv_add_format(v, "%" PRIu32, a->cpus);
	strv_add(v, "--local-tasks");
	strv_add_format(v, "%" PRIu32, a->local_tasks);
	if (a->script)
		strv_add(v, "--script");
}

int starter_exec(const char *program, const struct demand *d, const struct allocation *a,
	char *const *argv, char *const *env, struct error *err)
{
	struct strv v AUTO(strv_done) = {0};

	strv_add_all(&v, program, "--lrms", "slurm", NULL);
	add_options(&v, d);
	add_allocation(&v, a);
	strv_add(&v, "--");
	for (; *argv; argv++)
		strv_add(&v, *argv);
	if (v.failed)
		return fail(err, -ENOMEM, "out of memory");
	execve(program, v.items, env);
	return fail_errno(err, -errno, "cannot start the job starter '%s'", program);
}

bool starter_is_multi_prog(char *const *argv)
{
	size_t length = argv[0] && argv[1] ? strlen(argv[1]) : 0;
	autofree char *text = NULL;
	autoclose int fd = -1;
	ssize_t n;

	/* Lines: no ordinary argument costs us a look at the file. */
	if (length == 0 || !strchr(argv[1], '\n'))
		return false;
	fd = open(argv[0], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	text = fd >= 0 ? malloc(length + 1) : NULL;
	n = text ? read(fd, text, length + 1) : -1;
	return n == (ssize_t)length && memcmp(text, argv[1], length) == 0;
}
