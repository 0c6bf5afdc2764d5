/* A shared object with the site's policies in it, as a batch system's plugin is one: that it links,
 * and what it needs, is the test. */
#include "engine/membership.h"
#include "engine/policy.h"

int policy_module_decide(const char *path, const char *user, const char *partition);

__attribute__((visibility("default"))) int policy_module_decide(
	const char *path, const char *user, const char *partition)
{
	struct policies policies AUTO(policies_done) = {policy_section};
	struct policy_decision decision AUTO(policy_decision_done) = {0};
	struct strv groups AUTO(strv_done) = {0};
	const struct policy_values nothing = {0};
	struct policy_subject subject = {.user = user, .partition = partition};
	struct error err = {0};
	int r = policies_load(&policies, NULL, path, &err);

	if (r == 0)
		r = membership_load(user, &groups, &err);
	subject.groups = strv_list(&groups);
	if (r == 0)
		r = policy_decide(&policies, &subject, false, &nothing, &decision, &err);
	return r < 0 ? r : (int)decision.outcome;
}
