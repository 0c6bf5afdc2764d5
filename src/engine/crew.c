#include "engine/crew.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "lib/file.h"
#include "lib/path.h"

#define AGENT_PROGRAM "wnodes-rsh"
#define AGENT_MAX     (4 * 1024 * 1024)

void crew_done(struct crew *c)
{
	for (size_t i = 0; i < c->count; i++) {
		free(c->members[i].node);
		free(c->members[i].name);
	}
	free(c->members);
	explicit_bzero(c->key, sizeof(c->key));
	*c = (struct crew){0};
}

json_t *crew_to_json(const struct crew *c)
{
	json_t *nodes = json_array();

	for (size_t i = 0; i < c->count; i++)
		json_array_append_new(nodes, json_string(c->members[i].node_address));
	return json_pack(
		"{s:s, s:I, s:o}", "key", c->key, "index", (json_int_t)c->self, "nodes", nodes);
}

void crew_address(const struct crew *c, size_t i, char ret[CREW_ADDRESS_SIZE])
{
	const unsigned int number = (unsigned int)i + 1;

	if (c->count == 1)
		snprintf(ret, CREW_ADDRESS_SIZE, "127.0.0.1");
	else
		snprintf(ret, CREW_ADDRESS_SIZE, "10.210.%u.%u", number >> 8 & 255, number & 255);
}

void crew_mac(size_t i, char ret[CREW_MAC_SIZE])
{
	const unsigned int number = (unsigned int)i + 1;

	snprintf(ret, CREW_MAC_SIZE, "52:54:d2:%02x:%02x:%02x", number >> 16 & 255,
		number >> 8 & 255, number & 255);
}

/* How a member is written in a file. */
typedef void (*line_fn)(FILE *out, const struct crew *c, size_t i);

static void line_hosts(FILE *out, const struct crew *c, size_t i)
{
	char address[CREW_ADDRESS_SIZE];

	crew_address(c, i, address);
	fprintf(out, "%s %s\n", address, c->members[i].name);
}

static void line_job(FILE *out, const struct crew *c, size_t i)
{
	char address[CREW_ADDRESS_SIZE];

	crew_address(c, i, address);
	fprintf(out, "%s %s %llu %s\n", c->members[i].name, address,
		(unsigned long long)c->members[i].tasks, c->members[i].node);
}

static void line_openmpi(FILE *out, const struct crew *c, size_t i)
{
	fprintf(out, "%s slots=%llu\n", c->members[i].name,
		(unsigned long long)c->members[i].tasks);
}

static void line_mpich(FILE *out, const struct crew *c, size_t i)
{
	fprintf(out, "%s:%llu\n", c->members[i].name, (unsigned long long)c->members[i].tasks);
}

static void line_pbs(FILE *out, const struct crew *c, size_t i)
{
	for (uint64_t n = 0; n < c->members[i].tasks; n++)
		fprintf(out, "%s\n", c->members[i].name);
}

static void line_gridengine(FILE *out, const struct crew *c, size_t i)
{
	fprintf(out, "%s %llu all.q@%s UNDEFINED\n", c->members[i].name,
		(unsigned long long)c->members[i].tasks, c->members[i].name);
}

static char *write_lines(const struct crew *c, line_fn line, size_t *ret_length)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, ret_length);

	for (size_t i = 0; out && i < c->count; i++)
		line(out, c, i);
	if (!out || fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

char *crew_hosts(const struct crew *c)
{
	size_t length;

	return write_lines(c, line_hosts, &length);
}

static int read_agent(struct crew_file *ret, struct error *err)
{
	autofree char *program = path_own_program(AGENT_PROGRAM);
	int r = program ? file_read(AT_FDCWD, program, AGENT_MAX, &ret->data, &ret->length)
			: -ENOMEM;

	return r < 0 ? fail_errno(err, r, "cannot read the launch agent '%s'",
			       program ? program : AGENT_PROGRAM)
		     : 0;
}

int crew_files(const struct crew *c, struct crew_file ret[CREW_FILES], struct error *err)
{
	static const struct {
		const char *path;
		unsigned int mode;
		line_fn line;
	} lists[] = {
		{CREW_DIRECTORY "/hosts", 0444, line_job},
		{CREW_DIRECTORY "/hostfile", 0444, line_openmpi},
		{CREW_DIRECTORY "/machinefile", 0444, line_mpich},
		{CREW_DIRECTORY "/nodefile", 0444, line_pbs},
		{CREW_DIRECTORY "/pe_hostfile", 0444, line_gridengine},
	};
	struct crew_file *key = &ret[ARRAY_SIZE(lists)], *agent = key + 1;

	_Static_assert(ARRAY_SIZE(lists) + 2 == CREW_FILES, "each file has its place");
	memset(ret, 0, CREW_FILES * sizeof(*ret));
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		ret[i] = (struct crew_file){.path = lists[i].path, .mode = lists[i].mode};
		ret[i].data = write_lines(c, lists[i].line, &ret[i].length);
		if (!ret[i].data)
			return fail(err, -ENOMEM, "out of memory");
	}
	*key = (struct crew_file){CREW_DIRECTORY "/key", 0400, strdup(c->key), strlen(c->key)};
	*agent = (struct crew_file){.path = CREW_AGENT, .mode = 0555};
	return key->data ? read_agent(agent, err) : fail(err, -ENOMEM, "out of memory");
}

void crew_files_done(struct crew_file files[CREW_FILES])
{
	for (size_t i = 0; i < CREW_FILES; i++)
		free(files[i].data);
}

/* As Slurm has them: the nodes of a job and of its step. */
static const char *const node_lists[] = {
	"SLURM_JOB_NODELIST", "SLURM_NODELIST", "SLURM_STEP_NODELIST", "WNODES_NODELIST"};

/* What programs outside of this VM would have to know, is known to them by other ways. */
#define LIST_MAX (100 * 1024)

static void set_names(const struct crew *c, struct strv *env)
{
	autofree char *list = calloc(1, LIST_MAX);
	size_t used = 0;

	for (size_t i = 0; list && i < c->count; i++) {
		if (used + strlen(c->members[i].name) + 2 > LIST_MAX)
			return;
		used += (size_t)snprintf(
			list + used, LIST_MAX - used, "%s%s", i ? "," : "", c->members[i].name);
	}
	for (size_t i = 0; list && i < ARRAY_SIZE(node_lists); i++)
		strv_env_set(env, node_lists[i], list);
}

void crew_fill_env(const struct crew *c, struct strv *env)
{
	static const struct {
		const char *name, *value;
		bool many; /* for several VMs only */
	} variables[] = {
		{"WNODES_HOSTFILE", CREW_DIRECTORY "/nodefile", false},
		{"WNODES_RSH", CREW_AGENT, false},
		{"PBS_NODEFILE", CREW_DIRECTORY "/nodefile", false},
		{"PE_HOSTFILE", CREW_DIRECTORY "/pe_hostfile", false},
		{"OMPI_MCA_orte_default_hostfile", CREW_DIRECTORY "/hostfile", false},
		{"HYDRA_HOST_FILE", CREW_DIRECTORY "/machinefile", false},
		{"OMPI_MCA_plm", "rsh", true},
		{"OMPI_MCA_plm_rsh_agent", CREW_AGENT, true},
		{"OMPI_MCA_btl_tcp_if_include", CREW_NETWORK, true},
		{"OMPI_MCA_oob_tcp_if_include", CREW_NETWORK, true},
		{"HYDRA_BOOTSTRAP", "rsh", true},
		{"HYDRA_BOOTSTRAP_EXEC", CREW_AGENT, true},
	};

	set_names(c, env);
	for (size_t i = 0; i < ARRAY_SIZE(variables); i++)
		if ((c->count > 1 || !variables[i].many) && !strv_env_get(env, variables[i].name))
			strv_env_set(env, variables[i].name, variables[i].value);
}
