#include "engine/policy.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "lib/file.h"

static char path[] = "/tmp/wnodes-policy-test-XXXXXX";

static int group_setup(void **state)
{
	int fd = mkstemp(path);

	return fd < 0 ? -1 : close(fd);
}

static int group_teardown(void **state)
{
	return unlink(path);
}

static int load(struct policies *p, const char *content, struct error *err)
{
	assert_int_equal(file_replace(AT_FDCWD, path, content, strlen(content), 0600), 0);
	return policies_load(p, NULL, path, err);
}

static void load_well(struct policies *p, const char *content)
{
	struct error err = {0};

	if (load(p, content, &err) < 0)
		fail_msg("%s", err.text);
}

static const char site[] = "[run]\ncpus = 2\n"
			   "[policy trusted]\n"
			   "user = root, admin-*\n"
			   "[policy none]\n"
			   "partition = io\nvm = forbid\nmessage = use the partition vm\n"
			   "[policy physics]\n"
			   "account = phys*, chem\naccount = bio\n"
			   "job-name = ^(vm|el[0-9])-\n"
			   "vm = force\nimage = el9:2026\ncpus = 4\nmemory = 8G\nscratch = 0\n"
			   "mount = /cvmfs:ro\nmount = /data:/in\nnetwork = none\nstart = boot\n"
			   "env = SITE=x\nmpi = mpirun\nlocked = network image\n"
			   "[policy el7]\n"
			   "group = legacy\nimage = el7\n"
			   "[policy rest]\n";

static void rules_are_read_in_the_order_of_the_file(void **state)
{
	struct policies p AUTO(policies_done);
	const struct policy *rule;

	load_well(&p, site);
	assert_int_equal(policies_count(&p), 5);
	rule = policies_get(&p, 2);
	assert_string_equal(rule->name, "physics");
	assert_int_equal(rule->line, 9);
	assert_int_equal(rule->vm, POLICY_FORCE);
	assert_string_equal(rule->lists[POLICY_ACCOUNT][2], "bio");
	assert_null(rule->lists[POLICY_ACCOUNT][3]);
	assert_string_equal(rule->values.image, "el9:2026");
	assert_true(rule->values.memory == UINT64_C(8) << 30);
	assert_string_equal(rule->values.mount[1], "/data:/in");
	assert_int_equal(rule->values.given, (1 << POLICY_KEY_COUNT) - 1);
	assert_int_equal(rule->locked, 1 << POLICY_NETWORK | 1 << POLICY_IMAGE);
	/* A section without a key is a rule, too. */
	assert_string_equal(policies_get(&p, 4)->name, "rest");
	assert_int_equal(policies_get(&p, 4)->values.given, 0);
	assert_int_equal(policies_get(&p, 4)->vm, POLICY_ALLOW);
}

static void settings_beside_the_rules_are_taken(void **state)
{
	struct policies p AUTO(policies_done) = {policy_section};
	struct settings s AUTO(settings_done) = {0};

	load_well(&p, site);
	policies_done(&p);
	assert_int_equal(conf_init(settings_table, &s, NULL), 0);
	assert_int_equal(policies_load(&p, &s, path, NULL), 0);
	assert_int_equal(s.cpus, 2);
}

static void file_that_is_not_there_has_no_rules(void **state)
{
	struct policies p AUTO(policies_done);
	struct policy_decision d AUTO(policy_decision_done) = {0};
	const struct policy_subject nobody = {0};
	const struct policy_values nothing = {0}, image = {.given = 1 << POLICY_IMAGE,
							  .image = (char *)(uintptr_t) "x"};

	assert_int_equal(policies_load(&p, NULL, "/no/such/file", NULL), 0);
	assert_int_equal(policies_count(&p), 0);
	assert_int_equal(policy_decide(&p, &nobody, false, &nothing, &d, NULL), 0);
	assert_int_equal(d.outcome, POLICY_BARE);
	policy_decision_done(&d);
	assert_int_equal(policy_decide(&p, &nobody, false, &image, &d, NULL), 0);
	assert_int_equal(d.outcome, POLICY_IN_VM);
	assert_null(d.rule);
	assert_string_equal(d.values.image, "x");
	assert_int_equal(d.origin[POLICY_IMAGE], POLICY_FROM_JOB);
	assert_int_equal(d.origin[POLICY_CPUS], POLICY_FROM_NOBODY);
}

#define SECTIONS                                                                            \
	"there are [run], [vm], [template], [deadline], [node], [lrms], [record], [site], " \
	"[images], [policy NAME], [network NAME], [share NAME]"

static void mistakes_are_told_with_file_and_line(void **state)
{
	static const struct {
		const char *content;
		int line;
		const char *message;
	} samples[] = {
		{"[policy a]\nimge = x\n", 2,
			"unknown key 'imge' in [policy a]; did you mean 'image'?"},
		{"[policy a]\nimage =\n", 2, "image: has no value"},
		{"[policy a]\npartition = , \n", 2, "partition: has no value"},
		{"[policy a]\nvm = maybe\n", 2, "vm: 'maybe' is not one of allow|force|forbid"},
		{"[policy a]\ncpus = 0\n", 2, "cpus: '0' is no whole number from 1 to 256"},
		{"[policy a]\nnetwork = a bridge\n", 2,
			"network: 'a bridge' is no network: there are none, user, and the node's own, whose "
			"names have at most 11 letters, digits, '.', '_' and '-'"},
		{"[policy a]\n\njob-name = a(b\n", 3,
			"job-name: 'a(b' is no regular expression that can be used: Unmatched ( or \\("},
		{"[policy a]\nmount = data\n", 2,
			"mount: 'data' is no absolute path; write HOST[:GUEST][:ro], or none for no "
			"directories of the user's"},
		{"[policy a]\nenv = =x\n", 2, "env: '=x' has no name; write NAME or NAME=VALUE"},
		{"[policy a]\nlocked = image,colour\nimage = x\n", 2,
			"locked: 'colour' is not one of "
			"image|cpus|memory|scratch|mount|network|start|env"},
		{"\n[policy a]\nlocked = image\n", 2,
			"[policy a]: image is locked, but the rule sets none"},
		{"[policy a]\nvm = forbid\nimage = x\n", 1,
			"[policy a]: a rule that forbids VMs says nothing of how they are"},
		{"[policy a]\nmessage = x\n", 1,
			"[policy a]: only a rule with vm = forbid has a message"},
		{"[policy a]\n[policy b]\nvm = force\n[policy a]\n", 4,
			"[policy a] stands in line 1 already"},
		{"[policy]\nvm = force\n", 1, "the section has no name; write [policy NAME]"},
		{"[policy a b]\n", 1,
			"'a b' is no name of a section: it may have letters, digits, '.', '_' and '-'"},
		{"[policy aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeee]\n", 1,
			"the name of a section is above 49 bytes"},
		{"[policy a]\nvm = force\nvm = allow\n", 3,
			"vm is set a second time in this section"},
		{"[polcy a]\nvm = force\n", 2, "unknown section [polcy a]; " SECTIONS},
		{"[policya]\nvm = force\n", 2, "unknown section [policya]; " SECTIONS},
		{"[run]\ncpu = 4\n", 2, "unknown key 'cpu' in [run]; did you mean 'cpus'?"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct policies p AUTO(policies_done);
		struct error err = {0};
		char place[64];

		snprintf(place, sizeof(place), "%s:%d: ", path, samples[i].line);
		assert_int_equal(load(&p, samples[i].content, &err), -EINVAL);
		assert_int_equal(policies_count(&p), 0);
		if (!str_after(err.text, place))
			fail_msg("'%s' does not begin with '%s'", err.text, place);
		assert_string_equal(str_after(err.text, place), samples[i].message);
	}
}

/* What may go wrong at the edges of the syntax. */
static void headers_are_read_as_the_parser_reads_them(void **state)
{
	struct policies p AUTO(policies_done);

	load_well(&p, "\xef\xbb\xbf[policy a] ; the first\n  [policy\tb.2-x_]\r\n\fvm = force\n"
		      "[run]\ncpus = 1\n[policy c]");
	assert_int_equal(policies_count(&p), 3);
	assert_string_equal(policies_get(&p, 1)->name, "b.2-x_");
	assert_int_equal(policies_get(&p, 1)->vm, POLICY_FORCE);
	assert_int_equal(policies_get(&p, 2)->line, 6);
}

/* Which rule of `site` is for whom. */
static void first_rule_whose_conditions_all_hold_decides(void **state)
{
	static const char *const users[] = {"users", NULL}, *const legacy[] = {
								    "users", "legacy", NULL};
	static const struct {
		struct policy_subject subject;
		const char *rule;
	} samples[] = {
		{{0}, "rest"},
		{{.user = "root"}, "trusted"},
		{{.user = "admin-7", .partition = "io"}, "trusted"},
		{{.user = "rooty"}, "rest"},
		{{.partition = "io"}, "none"},
		{{.account = "phys1", .job_name = "vm-1"}, "physics"},
		{{.account = "bio", .job_name = "el9-long"}, "physics"},
		{{.account = "bio", .job_name = "my-vm-1"}, "rest"},
		{{.account = "bio"}, "rest"},
		{{.job_name = "vm-1"}, "rest"},
		{{.account = "Bio", .job_name = "vm-1"}, "rest"},
		{{.groups = users}, "rest"},
		{{.groups = legacy}, "el7"},
		{{.groups = legacy, .partition = "io"}, "none"},
	};
	struct policies p AUTO(policies_done);

	load_well(&p, site);
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct policy_decision d AUTO(policy_decision_done) = {0};
		const struct policy_values nothing = {0};

		assert_int_equal(
			policy_decide(&p, &samples[i].subject, false, &nothing, &d, NULL), 0);
		if (!streq(d.rule->name, samples[i].rule))
			fail_msg("sample %zu: %s instead of %s", i, d.rule->name, samples[i].rule);
	}
}

static void decide(const struct policies *p, const struct policy_subject *subject, bool wants,
	const struct policy_values *asked, struct policy_decision *ret)
{
	struct error err = {0};

	if (policy_decide(p, subject, wants, asked, ret, &err) < 0)
		fail_msg("%s", err.text);
}

static void forced_job_gets_the_rules_vm(void **state)
{
	const struct policy_subject subject = {.account = "chem", .job_name = "el9-1"};
	const struct policy_values nothing = {0};
	struct policy_decision d AUTO(policy_decision_done) = {0};
	struct policies p AUTO(policies_done);

	load_well(&p, site);
	decide(&p, &subject, false, &nothing, &d);
	assert_int_equal(d.outcome, POLICY_IN_VM);
	assert_string_equal(d.reason, "the policy 'physics' puts every job into a VM");
	assert_string_equal(d.values.image, "el9:2026");
	assert_int_equal(d.values.cpus, 4);
	assert_true(policy_has(&d.values, POLICY_SCRATCH));
	assert_int_equal(d.values.scratch, 0);
	assert_string_equal(d.values.mount[0], "/cvmfs:ro");
	assert_string_equal(d.values.env[0], "SITE=x");
	for (int key = 0; key < POLICY_KEY_COUNT; key++)
		assert_int_equal(d.origin[key], POLICY_FROM_RULE);
	assert_int_equal(d.overruled, 0);
}

static void job_wins_over_the_rule_but_for_what_is_locked(void **state)
{
	const char *mounts[] = {"/home", NULL}, *env[] = {"A=1", "B", NULL};
	const struct policy_subject subject = {.account = "chem", .job_name = "el9-1"};
	const struct policy_values asked = {
		.given = 1 << POLICY_IMAGE | 1 << POLICY_CPUS | 1 << POLICY_MOUNT |
			 1 << POLICY_ENV | 1 << POLICY_NETWORK | 1 << POLICY_SCRATCH,
		.image = "debian",
		.cpus = 7,
		.mount = mounts,
		.env = env,
		.network = "user",
		.scratch = 17,
	};
	struct policy_decision d AUTO(policy_decision_done) = {0};
	struct policies p AUTO(policies_done);

	load_well(&p, site);
	decide(&p, &subject, true, &asked, &d);
	assert_string_equal(d.values.image, "el9:2026");
	assert_string_equal(d.values.network, "none");
	assert_int_equal(d.overruled, 1 << POLICY_IMAGE | 1 << POLICY_NETWORK);
	assert_int_equal(d.values.cpus, 7);
	assert_int_equal(d.values.scratch, 17);
	assert_int_equal(d.origin[POLICY_CPUS], POLICY_FROM_JOB);
	assert_int_equal(d.origin[POLICY_MEMORY], POLICY_FROM_RULE);
	assert_string_equal(d.values.mount[0], "/cvmfs:ro");
	assert_string_equal(d.values.mount[1], "/data:/in");
	assert_string_equal(d.values.mount[2], "/home");
	assert_null(d.values.mount[3]);
	assert_int_equal(d.origin[POLICY_MOUNT], POLICY_FROM_BOTH);
	assert_string_equal(d.values.env[2], "B");
}

static void who_starts_ranks_is_the_jobs_to_say_and_no_wish_for_a_vm(void **state)
{
	const struct policy_subject subject = {.account = "chem", .job_name = "el9-1"};
	const struct policy_values asked = {.given = 1 << POLICY_MPI, .mpi = "none"}, nothing = {0};
	const struct policy_values image = {.given = 1 << POLICY_IMAGE | 1 << POLICY_MPI};
	struct policy_decision d AUTO(policy_decision_done) = {0};
	struct policies p AUTO(policies_done);

	load_well(&p, site);
	decide(&p, &subject, true, &nothing, &d);
	assert_string_equal(d.values.mpi, "mpirun");
	policy_decision_done(&d);
	decide(&p, &subject, true, &asked, &d);
	assert_string_equal(d.values.mpi, "none");
	assert_false(policy_wants_vm(&asked));
	assert_true(policy_wants_vm(&image));
}

static void locked_empty_list_keeps_the_jobs_out(void **state)
{
	const char *mounts[] = {"/home", NULL};
	const struct policy_subject subject = {0};
	const struct policy_values asked = {.given = 1 << POLICY_MOUNT, .mount = mounts};
	struct policy_decision d AUTO(policy_decision_done) = {0};
	struct policies p AUTO(policies_done);

	load_well(&p, "[policy a]\nmount =\nlocked = mount\n");
	decide(&p, &subject, true, &asked, &d);
	assert_int_equal(d.outcome, POLICY_IN_VM);
	assert_true(!d.values.mount || !d.values.mount[0]);
	assert_int_equal(d.overruled, 1 << POLICY_MOUNT);
}

static void forbidden_vm_is_refused_but_not_the_bare_job(void **state)
{
	const struct policy_subject subject = {.partition = "io"};
	const struct policy_values image = {.given = 1 << POLICY_IMAGE, .image = "debian"},
				   nothing = {0};
	struct policy_decision d AUTO(policy_decision_done) = {0};
	struct policies p AUTO(policies_done);

	load_well(&p, site);
	decide(&p, &subject, false, &image, &d);
	assert_int_equal(d.outcome, POLICY_REFUSED);
	assert_string_equal(
		d.reason, "the site's policy 'none' forbids VMs here: use the partition vm");
	policy_decision_done(&d);
	decide(&p, &subject, true, &nothing, &d);
	assert_int_equal(d.outcome, POLICY_REFUSED);
	policy_decision_done(&d);
	decide(&p, &subject, false, &nothing, &d);
	assert_int_equal(d.outcome, POLICY_BARE);
	assert_string_equal(d.reason, "the policy 'none' forces no VM, and the job asks for none");
}

static void allowing_rule_gives_its_values_to_who_asks(void **state)
{
	static const char *const legacy[] = {"legacy", NULL};
	const struct policy_subject subject = {.groups = legacy};
	const struct policy_values nothing = {0};
	struct policy_decision d AUTO(policy_decision_done) = {0};
	struct policies p AUTO(policies_done);

	load_well(&p, site);
	decide(&p, &subject, false, &nothing, &d);
	assert_int_equal(d.outcome, POLICY_BARE);
	assert_null(d.values.image);
	policy_decision_done(&d);
	decide(&p, &subject, true, &nothing, &d);
	assert_int_equal(d.outcome, POLICY_IN_VM);
	assert_string_equal(d.values.image, "el7");
}

static void explanations_name_what_is_and_what_was_wanted(void **state)
{
	static const char *const users[] = {"users", "games", NULL};
	static const struct {
		size_t rule;
		struct policy_subject subject;
		enum policy_condition condition;
		const char *text;
	} samples[] = {
		{0, {.user = "bob"}, POLICY_USER, "user 'bob' is none of root, admin-*"},
		{0, {0}, POLICY_USER, "no user is known, and the rule asks for root, admin-*"},
		{1, {.partition = "long"}, POLICY_PARTITION, "partition 'long' is not io"},
		{2, {.account = "bio", .job_name = "x"}, POLICY_JOB_NAME,
			"job name 'x' does not match ^(vm|el[0-9])-"},
		{2, {.account = "bio"}, POLICY_JOB_NAME,
			"no job name is known, and the rule asks for ^(vm|el[0-9])-"},
		{3, {.groups = users}, POLICY_GROUP, "no group (users, games) is one of legacy"},
		{3, {0}, POLICY_GROUP, "no group is known, and the rule asks for legacy"},
	};
	struct policies p AUTO(policies_done);

	load_well(&p, site);
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		const struct policy *rule = policies_get(&p, samples[i].rule);
		char text[POLICY_TEXT_MAX];

		assert_int_equal(policy_match(rule, &samples[i].subject), samples[i].condition);
		assert_string_equal(
			policy_explain(rule, &samples[i].subject, samples[i].condition, text),
			samples[i].text);
	}
}

/* Lists longer than a line of the explanation are cut, not written over its end. */
static void long_lists_are_cut_in_explanations(void **state)
{
	struct policies p AUTO(policies_done);
	char content[4000] = "[policy a]\n", text[POLICY_TEXT_MAX];
	const char *groups[200] = {0};
	const struct policy_subject subject = {.user = content, .groups = groups};
	const struct policy *rule;

	for (int i = 0; i < 100; i++)
		strcat(content, "user = somebody-with-a-name\n");
	strcat(content, "group = nobody\n");
	for (int i = 0; i < 199; i++)
		groups[i] = "a-group-with-a-long-name";
	load_well(&p, content);
	rule = policies_get(&p, 0);
	policy_explain(rule, &subject, POLICY_USER, text);
	assert_true(strlen(text) < POLICY_TEXT_MAX);
	assert_non_null(strstr(text, "..."));
	policy_explain(rule, &subject, POLICY_GROUP, text);
	assert_non_null(strstr(text, "...) is one of nobody"));
}

static void every_row_explains_itself_and_has_a_key(void **state)
{
	for (const struct conf_setting *row = policy_section.table; row->key; row++) {
		assert_string_equal(row->section, "policy");
		assert_true(strlen(row->help) > 10);
		assert_int_equal(row->help[strlen(row->help) - 1], '.');
	}
	for (int key = 0; key < POLICY_KEY_COUNT; key++)
		assert_true(strlen(policy_key_name(key)) > 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_are_read_in_the_order_of_the_file),
		cmocka_unit_test(settings_beside_the_rules_are_taken),
		cmocka_unit_test(file_that_is_not_there_has_no_rules),
		cmocka_unit_test(mistakes_are_told_with_file_and_line),
		cmocka_unit_test(headers_are_read_as_the_parser_reads_them),
		cmocka_unit_test(first_rule_whose_conditions_all_hold_decides),
		cmocka_unit_test(forced_job_gets_the_rules_vm),
		cmocka_unit_test(job_wins_over_the_rule_but_for_what_is_locked),
		cmocka_unit_test(locked_empty_list_keeps_the_jobs_out),
		cmocka_unit_test(forbidden_vm_is_refused_but_not_the_bare_job),
		cmocka_unit_test(who_starts_ranks_is_the_jobs_to_say_and_no_wish_for_a_vm),
		cmocka_unit_test(allowing_rule_gives_its_values_to_who_asks),
		cmocka_unit_test(explanations_name_what_is_and_what_was_wanted),
		cmocka_unit_test(long_lists_are_cut_in_explanations),
		cmocka_unit_test(every_row_explains_itself_and_has_a_key),
	};
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
