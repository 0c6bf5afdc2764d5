#include "bait/gang.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>

#include "bait/hostlist.h"
#include "engine/prepare.h"
#include "lib/digest.h"
#include "lib/parse.h"
#include "lib/uuid.h"

#define TASKS_MAX 65536 /* of a node */

#define MPI_WORDS_MAX 32

void gang_done(struct gang *g)
{
	crew_done(&g->crew);
	strv_done(&g->argv);
}

static int read_count(const char **text, uint64_t max, uint64_t *ret)
{
	const char *start = *text;

	for (*ret = 0; isdigit((unsigned char)**text) && *ret <= max; (*text)++)
		*ret = *ret * 10 + (uint64_t)(**text - '0');
	return *text == start || *ret == 0 || *ret > max ? -EINVAL : 0;
}

ssize_t gang_parse_tasks(const char *text, uint64_t *ret, size_t max)
{
	size_t n = 0;

	for (;;) {
		uint64_t tasks, times = 1;
		const char *rest;

		if (read_count(&text, TASKS_MAX, &tasks) < 0)
			return -EINVAL;
		rest = str_after(text, "(x");
		if (rest && (read_count(&rest, max, &times) < 0 || *rest++ != ')'))
			return -EINVAL;
		text = rest ? rest : text;
		if (times > max - n)
			return -EINVAL;
		while (times-- > 0)
			ret[n++] = tasks;
		if (*text == '\0')
			return (ssize_t)n;
		if (*text++ != ',')
			return -EINVAL;
	}
}

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] ? value : NULL;
}

/* What nobody but the step's VMs knows, of which there may be several kinds in one job: steps, and
 * components of a heterogeneous one. */
static int make_key(struct crew *c, struct error *err)
{
	const char *job = variable("SLURM_JOB_ID"), *step = variable("SLURM_STEP_ID");
	const char *secret = variable(GANG_SECRET);
	char fresh[UUID_TEXT_SIZE], text[512], hex[DIGEST_HEX_SIZE];
	int r;

	if (!secret && c->count > 1)
		return fail(err, -ENOKEY,
			"the job has no key for its VMs (%s): the plugin of where it was submitted is "
			"older than this node's",
			GANG_SECRET);
	r = secret ? 0 : uuid_new(fresh);
	if (r == 0)
		snprintf(text, sizeof(text), "%.128s %.64s.%.64s", secret ? secret : fresh, job,
			step);
	if (r == 0)
		r = digest_bytes(text, strlen(text), hex);
	memcpy(c->key, hex, CREW_KEY_SIZE - 1);
	explicit_bzero(text, sizeof(text));
	return r < 0 ? fail_errno(err, r, "cannot make a key") : 0;
}

static int fill_members(struct crew *c, const struct strv *nodes, const char *job, const char *step,
	const char *self, struct error *err)
{
	bool found = false;

	c->members = calloc(nodes->count, sizeof(*c->members));
	if (!c->members)
		return fail(err, -ENOMEM, "out of memory");
	for (; c->count < nodes->count; c->count++) {
		struct crew_member *m = &c->members[c->count];

		m->node = strdup(nodes->items[c->count]);
		m->name = hostlist_vm(job, step, nodes->items[c->count]);
		if (!m->node || !m->name) {
			free(m->node);
			return fail(err, -EINVAL,
				"the node's name '%.80s' is too long for the name of a VM",
				nodes->items[c->count]);
		}
		if (streq(m->node, self)) {
			c->self = c->count;
			found = true;
		}
	}
	return found ? 0 : fail(err, -ENOENT, "this node, %s, is none of the step's", self);
}

static int fill_tasks(struct crew *c, const char *text, struct error *err)
{
	autofree uint64_t *tasks = calloc(c->count, sizeof(*tasks));

	if (!tasks)
		return fail(err, -ENOMEM, "out of memory");
	if (gang_parse_tasks(text, tasks, c->count) != (ssize_t)c->count)
		return fail(err, -EINVAL, "Slurm says '%.80s' of the tasks of %zu nodes", text,
			c->count);
	for (size_t i = 0; i < c->count; i++)
		c->members[i].tasks = tasks[i];
	return 0;
}

/* By what each node would reach the others. */
static int find_addresses(struct crew *c, struct error *err)
{
	static const struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_DGRAM};

	for (size_t i = 0; i < c->count; i++) {
		struct crew_member *m = &c->members[i];
		struct addrinfo *list = NULL;
		struct sockaddr_in address;
		int r = getaddrinfo(m->node, NULL, &hints, &list);

		if (r != 0)
			return fail(err, -ENOENT, "the address of the node %s cannot be found: %s",
				m->node, gai_strerror(r));
		memcpy(&address, list->ai_addr, sizeof(address));
		freeaddrinfo(list);
		if (i != c->self && ntohl(address.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET)
			return fail(err, -EINVAL,
				"the node %s is said to have the address of the loopback here",
				m->node);
		inet_ntop(AF_INET, &address.sin_addr, m->node_address, CREW_ADDRESS_SIZE);
	}
	return 0;
}

static int load_crew(struct crew *c, struct error *err)
{
	const char *job = variable("SLURM_JOB_ID"), *step = variable("SLURM_STEP_ID");
	const char *list = variable("SLURM_STEP_NODELIST"), *self = variable("SLURMD_NODENAME");
	const char *tasks = variable("SLURM_STEP_TASKS_PER_NODE");
	struct strv nodes AUTO(strv_done) = {0};
	int r;

	if (!job || !step || !list || !self || !tasks)
		return fail(err, -ENOTSUP,
			"the batch system does not say which nodes the step has; --vm-mpi and "
			"--vm-network=job are for steps of srun");
	r = hostlist_expand(list, &nodes, err);
	if (r == 0 && nodes.count > CREW_MAX)
		r = fail(err, -E2BIG, "more than %d nodes", CREW_MAX);
	if (r == 0)
		r = fill_members(c, &nodes, job, step, self, err);
	return r < 0 ? r : fill_tasks(c, tasks, err);
}

static uint64_t count_tasks(const struct crew *c)
{
	uint64_t n = 0;

	for (size_t i = 0; i < c->count; i++)
		n += c->members[i].tasks;
	return n;
}

/* "mpirun --bind-to none" and so on: the words before the number of ranks and the command. */
static int add_launcher(struct strv *v, const char *mpi, uint64_t tasks, struct error *err)
{
	autofree char *copy = strdup(mpi);
	char *save, *word = copy ? strtok_r(copy, " ", &save) : NULL;
	int words = 0;

	if (streq(mpi, GANG_FIRST))
		return 0;
	for (; word; word = strtok_r(NULL, " ", &save), words++)
		strv_add(v, word);
	strv_add(v, "-n");
	strv_add_format(v, "%llu", (unsigned long long)tasks);
	return words > 0 && words <= MPI_WORDS_MAX
		       ? 0
		       : fail(err, -EINVAL, "--mpi: '%.80s' is no command", mpi);
}

/* The first task runs the command, or the launcher that starts it in all VMs; the others wait. */
static int fill_argv(struct gang *g, const struct arguments *a, uint64_t wait_us, struct error *err)
{
	const char *rank = variable("SLURM_PROCID");
	struct strv *v = &g->argv;
	uint64_t number;
	int r = 0;

	if (!rank || parse_number(rank, 0, INT32_MAX, &number, err) < 0)
		return fail(err, -EINVAL, "the batch system does not say which task this is");
	strv_add_all(v, CREW_AGENT, "--task", rank, "--host", NULL);
	strv_add_format(v, "%zu", g->crew.self);
	strv_add(v, "--wait");
	strv_add_format(v, "%llu", (unsigned long long)(wait_us / 1000000));
	if (number == 0) {
		strv_add(v, "--");
		r = add_launcher(v, a->mpi, count_tasks(&g->crew), err);
		strv_add(v, g->script ? PREPARE_SCRIPT : a->command[0]);
		for (const char **word = a->command + 1; *word; word++)
			strv_add(v, *word);
	}
	return v->failed ? fail(err, -ENOMEM, "out of memory") : r;
}

static bool is_wanted(const struct arguments *a)
{
	return a->mpi && !streq(a->mpi, "none");
}

static bool has_network(const struct arguments *a)
{
	return a->options.network && streq(a->options.network, CREW_NETWORK_NAME);
}

int gang_become_step(const struct arguments *a, struct error *err)
{
	const char *nodes = variable("SLURM_JOB_NUM_NODES");
	const char *cpus = variable("SLURM_CPUS_PER_TASK");
	struct strv v AUTO(strv_done) = {0};
	uint64_t count;

	if (!a->script || !has_network(a) || !nodes ||
		parse_number(nodes, 2, UINT32_MAX, &count, NULL) < 0)
		return 0;
	/* Options that begin with "vm-" are handed down by the plugin. */
	strv_add_all(&v, "srun", "--quiet", "--vm-mpi=" GANG_FIRST, NULL);
	if (cpus)
		strv_add_format(&v, "--cpus-per-task=%s", cpus);
	for (const char **word = a->command; *word; word++)
		strv_add(&v, *word);
	if (v.failed || setenv(GANG_SCRIPT, a->command[0], 1) < 0)
		return fail(err, -ENOMEM, "out of memory");
	execvp(v.items[0], v.items);
	return fail_errno(err, -errno, "cannot start srun, which runs the script in its VMs");
}

int gang_load(struct gang *ret, const struct arguments *a, uint64_t wait_us, struct error *err)
{
	int r;

	*ret = (struct gang){.argv = {0}};
	/* A batch script is one task, on the first node; its steps have options of their own. */
	if (a->script || (!is_wanted(a) && !has_network(a)))
		return 0;
	r = load_crew(&ret->crew, err);
	if (r == 0 && ret->crew.count > 1)
		r = has_network(a)
			    ? find_addresses(&ret->crew, err)
			    : fail(err, -ENOTSUP,
				      "--vm-mpi needs a network between the VMs of %zu nodes: "
				      "--vm-network=job; or ask for one node (-N1)",
				      ret->crew.count);
	if (r == 0)
		r = make_key(&ret->crew, err);
	if (r == 0 && ret->crew.self == 0)
		ret->script = variable(GANG_SCRIPT);
	ret->crew.together = is_wanted(a);
	if (r == 0 && ret->crew.together)
		r = fill_argv(ret, a, wait_us, err);
	return r < 0 ? r : 1;
}
