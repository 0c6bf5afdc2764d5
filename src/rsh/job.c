#include "rsh/job.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#define TASKS_MAX    65536 /* in one VM */
#define JOB_FILE_MAX (16 * 1024 * 1024)

/* Reads a file of a directory whole, for the caller to free. */
static int read_file(const char *directory, const char *name, char **ret, struct error *err)
{
	char path[PATH_MAX];
	int fd autoclose = -1;
	struct stat st;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return fail_errno(err, -errno,
			"cannot read '%s': is this the VM of a job with --vm-network=job?", path);
	if (st.st_size > JOB_FILE_MAX)
		return fail(err, -EFBIG, "'%s' is too large", path);
	*ret = calloc(1, (size_t)st.st_size + 1);
	n = *ret ? read(fd, *ret, (size_t)st.st_size) : -1;
	return n == st.st_size ? 0 : fail(err, -EIO, "cannot read '%s'", path);
}

static int parse_host(char *line, struct job_host *ret)
{
	char *save, *end, *tasks;
	struct in_addr unused;
	unsigned long n;

	ret->name = strtok_r(line, " ", &save);
	ret->address = strtok_r(NULL, " ", &save);
	tasks = strtok_r(NULL, " ", &save);
	ret->node = strtok_r(NULL, " ", &save);
	if (!ret->name || !ret->address || !tasks || !ret->node || strtok_r(NULL, " ", &save) ||
		inet_pton(AF_INET, ret->address, &unused) != 1)
		return -EINVAL;
	n = strtoul(tasks, &end, 10);
	ret->tasks = (unsigned int)n;
	return *end || n > TASKS_MAX ? -EINVAL : 0;
}

static size_t count_lines(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

int job_parse(struct job *ret, char *text, struct error *err)
{
	size_t lines = count_lines(text);
	char *save = NULL;

	ret->text = text;
	ret->hosts = lines <= JOB_HOSTS_MAX ? calloc(lines + 1, sizeof(*ret->hosts)) : NULL;
	if (!ret->hosts)
		return fail(err, -ENOMEM, "the list of the job's VMs is too long");
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (ret->count >= lines || parse_host(line, &ret->hosts[ret->count]) < 0)
			return fail(err, -EINVAL, "line %zu of the job's VMs makes no sense",
				ret->count + 1);
		ret->count++;
	}
	return ret->count > 0 ? 0 : fail(err, -EINVAL, "the job has no VMs");
}

static int parse_key(const char *text, uint8_t ret[SIPHASH_SIZE])
{
	if (strspn(text, "0123456789abcdef") != 2 * SIPHASH_SIZE)
		return -EINVAL;
	for (size_t i = 0; i < SIPHASH_SIZE; i++)
		sscanf(text + 2 * i, "%2hhx", &ret[i]);
	return 0;
}

int job_load(struct job *ret, struct error *err)
{
	const char *directory = getenv("WNODES_JOB_DIRECTORY");
	char *text = NULL, *key autofree = NULL;
	int r;

	*ret = (struct job){0};
	directory = directory && directory[0] == '/' ? directory : JOB_DIRECTORY;
	r = read_file(directory, "hosts", &text, err);
	if (r < 0) {
		free(text);
		return r;
	}
	r = job_parse(ret, text, err);
	if (r == 0)
		r = read_file(directory, "key", &key, err);
	if (r == 0 && parse_key(key, ret->key) < 0)
		r = fail(err, -EINVAL, "the job's key makes no sense");
	return r;
}

void job_done(struct job *j)
{
	free(j->text);
	free(j->hosts);
	*j = (struct job){0};
}

const struct job_host *job_find(const struct job *j, const char *name)
{
	for (size_t i = 0; i < j->count; i++)
		if (streq(j->hosts[i].name, name) || streq(j->hosts[i].address, name))
			return &j->hosts[i];
	return NULL;
}
