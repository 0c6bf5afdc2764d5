#include "cli/policy.h"

#include <errno.h>

#include "lib/buffer.h"
#include "lib/json.h"
#include "lib/parse.h"
#include "lib/path.h"

json_t *policy_value_to_json(const struct policy_values *v, enum policy_key key)
{
	switch (key) {
	case POLICY_IMAGE:
		return json_string(v->image);
	case POLICY_CPUS:
		return json_integer((json_int_t)v->cpus);
	case POLICY_MEMORY:
		return json_integer((json_int_t)v->memory);
	case POLICY_SCRATCH:
		return json_integer((json_int_t)v->scratch);
	case POLICY_MOUNT:
		return json_from_strings(v->mount);
	case POLICY_NETWORK:
		return json_string(v->network);
	case POLICY_START:
		return json_string(v->start);
	case POLICY_ENV:
		return json_from_strings(v->env);
	case POLICY_MPI:
		return json_string(v->mpi);
	case POLICY_KEY_COUNT:
		break;
	}
	return NULL;
}

void policy_values_to_json(const struct policy_values *values, json_t *object)
{
	for (int key = 0; key < POLICY_KEY_COUNT; key++)
		if (policy_has(values, key))
			json_object_set_new(
				object, policy_key_name(key), policy_value_to_json(values, key));
}

static char *list_to_text(const char *const *list)
{
	struct buffer text AUTO(buffer_done) = {0};
	int r = 0;

	for (size_t i = 0; list && list[i] && r == 0; i++) {
		r = i > 0 ? buffer_append(&text, " ", 1) : 0;
		if (r == 0)
			r = buffer_append(&text, list[i], strlen(list[i]));
	}
	if (r == 0)
		r = buffer_append(&text, "", 1);
	return r < 0 ? NULL : strdup((const char *)buffer_head(&text));
}

char *policy_value_to_text(const struct policy_values *v, enum policy_key key)
{
	char size[FORMAT_MAX];

	switch (key) {
	case POLICY_IMAGE:
		return strdup(v->image);
	case POLICY_CPUS:
		return path_format("%llu", (unsigned long long)v->cpus);
	case POLICY_MEMORY:
		return strdup(format_size(v->memory, size));
	case POLICY_SCRATCH:
		return strdup(v->scratch ? format_size(v->scratch, size) : "none");
	case POLICY_MOUNT:
		return list_to_text(v->mount);
	case POLICY_NETWORK:
		return strdup(v->network);
	case POLICY_START:
		return strdup(v->start);
	case POLICY_ENV:
		return list_to_text(v->env);
	case POLICY_MPI:
		return strdup(v->mpi);
	case POLICY_KEY_COUNT:
		break;
	}
	return NULL;
}

int policy_read(
	const char *path, struct policies *ret, struct settings *ret_settings, struct error *err)
{
	int r;

	/* Whoever names a file wants to be told that it is not there. */
	if (path && access(path, R_OK) < 0)
		return fail_errno(err, -errno, "cannot open '%s'", path);
	r = conf_init(settings_table, ret_settings, err);
	if (r == 0 && path)
		r = policies_load(ret, ret_settings, path, err);
	else if (r == 0)
		r = policies_load_over(
			ret, ret_settings, settings_pushed_file(), settings_site_file(), err);
	return r;
}
