/* A configuration file: settings and policies, and what they decide about a job. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#include "engine/network.h"
#include "engine/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is accepted is within the range of its row. */
static void check_numbers(const struct settings *s)
{
	for (const struct conf_setting *row = settings_table; row->key; row++) {
		uint64_t value;

		if (row->type != CONF_NUMBER && row->type != CONF_SIZE &&
			row->type != CONF_DURATION)
			continue;
		memcpy(&value, (const char *)s + row->offset, sizeof(value));
		assert(row->max == 0 || (value >= row->min && value <= row->max));
	}
}

static void check_texts(const struct settings *s)
{
	assert(s->env && s->mount && s->image);
	for (size_t i = 0; s->env[i]; i++)
		assert(strlen(s->env[i]) > 0);
	assert(network_check_name(s->network, NULL) == 0);
}

/* A decision has values exactly where it has an origin, and none without a VM. */
static void check_decision(const struct policies *policies, const struct policy_values *asked)
{
	static const char *const groups[] = {"users", "wheel", NULL};
	const struct policy_subject subject = {"alice", "long", "physics", "vm-17", groups};
	struct policy_decision d;
	char text[POLICY_TEXT_MAX];

	assert(policy_decide(policies, &subject, false, asked, &d, NULL) == 0);
	assert(d.reason[0] && (d.outcome == POLICY_IN_VM || d.values.given == 0));
	assert((d.values.given & d.overruled) == d.overruled);
	for (size_t i = 0; i < policies_count(policies); i++) {
		const struct policy *rule = policies_get(policies, i);
		enum policy_condition failed = policy_match(rule, &subject);

		assert((rule->values.given & rule->locked) == rule->locked);
		if (rule == d.rule) {
			assert(failed == POLICY_CONDITION_COUNT);
			break;
		}
		assert(failed < POLICY_CONDITION_COUNT);
		assert(*policy_explain(rule, &subject, failed, text));
	}
	policy_decision_done(&d);
}

static void check_policies(const struct policies *policies)
{
	const char *list[] = {"/x", NULL};
	const struct policy_values nothing = {0}, all = {.given = (1u << POLICY_KEY_COUNT) - 1,
							  .image = "i",
							  .mount = list,
							  .network = "user",
							  .start = "auto",
							  .env = list};

	check_decision(policies, &nothing);
	check_decision(policies, &all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct policies policies;
	struct settings s = {0};
	struct error err = {0};
	char path[40];
	int fd, r;

	fd = memfd_create("conf", MFD_CLOEXEC);
	assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert(conf_init(settings_table, &s, &err) == 0);
	r = policies_load(&policies, &s, path, &err);
	assert(r == 0 || (r == -EINVAL && err.text[0]));
	check_numbers(&s);
	check_texts(&s);
	check_policies(&policies);
	policies_done(&policies);
	settings_done(&s);
	close(fd);
	return 0;
}
