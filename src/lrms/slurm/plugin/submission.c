/* SPANK tells a plugin nothing of Slurm's own options where a job is submitted. Slurm's programs
 * have them in a struct `opt`, and give its values as text by slurm_option_get(), as for plugins of
 * their cli_filter. Both are looked up by name, so that a Slurm without them loses this check
 * alone: the job starter makes it on the node in any case. */
#include "lrms/slurm/plugin/submission.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>

#include "lib/parse.h"

#define VALUE_MAX 64

struct options_access {
	void *options;
	char *(*get)(void *options, const char *name);
	bool (*is_set)(void *options, const char *name);
	void (*release)(void *text);
};

/* ISO C has no cast from an object to a function. */
static void find_function(void *ret, const char *name)
{
	void *symbol = dlsym(RTLD_DEFAULT, name);

	memcpy(ret, &symbol, sizeof(symbol));
}

static bool options_find(struct options_access *ret)
{
	ret->options = dlsym(RTLD_DEFAULT, "opt");
	find_function(&ret->get, "slurm_option_get");
	find_function(&ret->is_set, "slurm_option_isset");
	find_function(&ret->release, "slurm_xfree_ptr");
	return ret->options && ret->get && ret->is_set && ret->release;
}

/* The value of one of Slurm's own options. Returns false where it was not given. */
static bool option_value(const char *name, char ret[VALUE_MAX])
{
	struct options_access access;
	char *text;

	if (!options_find(&access) || !access.is_set(access.options, name))
		return false;
	text = access.get(access.options, name);
	if (!text)
		return false;
	snprintf(ret, VALUE_MAX, "%s", text);
	access.release(text);
	return true;
}

/* "1500" (MiB), "1500M", "2G". What cannot be read says nothing. */
static bool parse_mem(const char *text, uint64_t *ret_bytes)
{
	bool has_unit = text[strspn(text, "0123456789")] != '\0';
	uint64_t mib;

	if (has_unit)
		return parse_size(text, ret_bytes, NULL) == 0;
	if (parse_number(text, 0, UINT32_MAX, &mib, NULL) < 0)
		return false;
	*ret_bytes = mib << 20;
	return true;
}

int submission_check_memory(const struct demand *d, struct error *err)
{
	const char *wanted = demand_get(d, OPTION_MEMORY);
	uint64_t vm_bytes, job_bytes;
	char job[VALUE_MAX];

	if (!wanted || parse_size(wanted, &vm_bytes, NULL) < 0 || !option_value("mem", job) ||
		!parse_mem(job, &job_bytes) || job_bytes == 0 || vm_bytes < job_bytes)
		return 0;
	return fail(err, -EINVAL,
		"--vm-memory=%.40s does not fit into --mem=%s, of which a VM takes some beside its "
		"memory; ask for more --mem, or leave out --vm-memory: the VM gets what fits",
		wanted, job);
}
