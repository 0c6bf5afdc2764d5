#include "lrms/slurm/plugin/relay.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

/* Slurm puts this before a name that is given to spank_job_control_setenv(). */
#define SLURM_PREFIX "SLURM_SPANK_"

#define VARIABLE_MAX 128

#define SECRET_BYTES 16

struct variable {
	char name[VARIABLE_MAX];
};

/* The variable of an option's value number `i`, without Slurm's prefix. */
static struct variable relay_variable(enum option_id id, size_t i)
{
	struct variable v;

	snprintf(v.name, sizeof(v.name), "WNODES_%s_%zu", option_rows[id].name, i);
	for (char *c = v.name; *c; c++)
		*c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
	return v;
}

/* The variable by which Slurm hands an option down to steps. */
static struct variable relay_slurm_variable(enum option_id id)
{
	struct variable v;

	snprintf(v.name, sizeof(v.name), SLURM_PREFIX "_SLURM_SPANK_OPTION_wnodes_%s",
		option_rows[id].name);
	for (char *c = v.name; *c; c++)
		*c = *c == '-' ? '_' : *c;
	return v;
}

bool relay_is_handed_down(enum option_id id, const char *value)
{
	/* Slurm hands over what getenv() returned, so that the address tells. */
	return value == getenv(relay_slurm_variable(id).name);
}

static int relay_set(spank_t spank, const char *name, const char *value, struct error *err)
{
	char full[VARIABLE_MAX + sizeof(SLURM_PREFIX)];

	snprintf(full, sizeof(full), SLURM_PREFIX "%s", name);
	if (spank_job_control_setenv(spank, name, value, 1) != ESPANK_SUCCESS ||
		setenv(full, value, 1) < 0)
		return fail(err, -EIO, "cannot set %s for the job", full);
	return 0;
}

int relay_store(spank_t spank, const struct demand *d, struct error *err)
{
	for (int id = 0; id < OPTION_COUNT; id++) {
		size_t n = d->options[id].values.count;
		int r = 0;

		if (!d->options[id].given)
			continue;
		for (size_t i = 0; i <= n && r == 0; i++)
			r = relay_set(spank, relay_variable(id, i).name,
				i < n ? d->options[id].values.items[i] : "", err);
		if (r < 0)
			return r;
	}
	return 0;
}

int relay_store_secret(struct error *err)
{
	uint8_t bytes[SECRET_BYTES];
	char text[2 * SECRET_BYTES + 1] = "";

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return fail_errno(err, -errno, "cannot get random numbers");
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	return setenv(RELAY_SECRET, text, 1) < 0 ? fail_errno(err, -errno, "setenv") : 0;
}

static const char *env_get(char *const *env, const char *prefix, const char *name)
{
	size_t n = strlen(prefix), m = strlen(name);

	for (; *env; env++)
		if (strncmp(*env, prefix, n) == 0 && strncmp(*env + n, name, m) == 0 &&
			(*env)[n + m] == '=')
			return *env + n + m + 1;
	return NULL;
}

static int relay_add(struct demand *d, enum option_id id, const char *value, struct error *err)
{
	int r = demand_add(d, id, value, false, err);

	if (r == 0)
		r = option_check(id, value, err);
	if (r < 0)
		fail_within(err, "--%s", option_rows[id].name);
	return r;
}

static int relay_load_option(
	struct demand *d, enum option_id id, char *const *env, struct error *err)
{
	const char *value = env_get(env, SLURM_PREFIX, relay_variable(id, 0).name);
	int r = 0;

	if (!value || !*value) {
		value = env_get(env, "", relay_slurm_variable(id).name);
		return value && !demand_get(d, id) ? relay_add(d, id, value, err) : 0;
	}
	demand_clear(d, id);
	for (size_t i = 1; value && *value && r == 0; i++) {
		r = relay_add(d, id, value, err);
		value = env_get(env, SLURM_PREFIX, relay_variable(id, i).name);
	}
	return r;
}

int relay_load(struct demand *d, char *const *env, struct error *err)
{
	int r = 0;

	for (int id = 0; id < OPTION_COUNT && r == 0; id++)
		r = relay_load_option(d, (enum option_id)id, env, err);
	return r;
}
