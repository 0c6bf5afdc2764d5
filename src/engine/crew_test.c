/* What the VMs of a job's step are told of each other. */
#include <setjmp.h>
#include <stdarg.h>

#include "engine/crew.h"

#include <cmocka.h>

static struct crew_member members[] = {
	{(char *)(uintptr_t) "w1", (char *)(uintptr_t) "vm-1-0-w1", "192.0.2.1", 2},
	{(char *)(uintptr_t) "w2", (char *)(uintptr_t) "vm-1-0-w2", "192.0.2.2", 1},
};
static const struct crew crew = {members, 2, 1, false, "000102030405060708090a0b0c0d0e0f"};
static const struct crew alone = {members, 1, 0, false, "000102030405060708090a0b0c0d0e0f"};

static void each_vm_has_an_address_and_a_card_of_its_own(void **state)
{
	char address[CREW_ADDRESS_SIZE], mac[CREW_MAC_SIZE];

	crew_address(&crew, 1, address);
	assert_string_equal(address, "10.210.0.2");
	crew_address(&crew, CREW_MAX - 1, address);
	assert_string_equal(address, "10.210.253.232");
	crew_address(&alone, 0, address);
	assert_string_equal(address, "127.0.0.1");
	crew_mac(0, mac);
	assert_string_equal(mac, "52:54:d2:00:00:01");
	crew_mac(CREW_MAX - 1, mac);
	assert_string_equal(mac, "52:54:d2:00:fd:e8");
}

static const struct crew_file *find(const struct crew_file *files, const char *name)
{
	for (size_t i = 0; i < CREW_FILES; i++)
		if (files[i].path && str_after(files[i].path, CREW_DIRECTORY "/") &&
			strcmp(files[i].path + strlen(CREW_DIRECTORY "/"), name) == 0)
			return &files[i];
	fail_msg("there is no file %s", name);
	return NULL;
}

static void host_files_are_as_each_launcher_reads_them(void **state)
{
	struct crew_file files[CREW_FILES];
	struct error err = {0};

	/* The launch agent is beside the programs, not beside this one. */
	crew_files(&crew, files, &err);
	assert_string_equal(find(files, "hosts")->data,
		"vm-1-0-w1 10.210.0.1 2 w1\nvm-1-0-w2 10.210.0.2 1 w2\n");
	assert_string_equal(
		find(files, "hostfile")->data, "vm-1-0-w1 slots=2\nvm-1-0-w2 slots=1\n");
	assert_string_equal(find(files, "machinefile")->data, "vm-1-0-w1:2\nvm-1-0-w2:1\n");
	assert_string_equal(find(files, "nodefile")->data, "vm-1-0-w1\nvm-1-0-w1\nvm-1-0-w2\n");
	assert_string_equal(find(files, "pe_hostfile")->data,
		"vm-1-0-w1 2 all.q@vm-1-0-w1 UNDEFINED\nvm-1-0-w2 1 all.q@vm-1-0-w2 UNDEFINED\n");
	assert_string_equal(find(files, "key")->data, crew.key);
	assert_int_equal(find(files, "key")->mode, 0400);
	crew_files_done(files);
}

static void node_lists_become_lists_of_vms_and_what_is_set_stays(void **state)
{
	struct strv env AUTO(strv_done) = {0};

	strv_env_set(&env, "SLURM_JOB_NODELIST", "w[1-2]");
	strv_env_set(&env, "OMPI_MCA_plm", "mine");
	crew_fill_env(&crew, &env);
	assert_string_equal(strv_env_get(&env, "SLURM_JOB_NODELIST"), "vm-1-0-w1,vm-1-0-w2");
	assert_string_equal(strv_env_get(&env, "OMPI_MCA_plm"), "mine");
	assert_string_equal(strv_env_get(&env, "HYDRA_BOOTSTRAP_EXEC"), CREW_AGENT);
}

static void vm_alone_starts_its_ranks_itself(void **state)
{
	struct strv env AUTO(strv_done) = {0};

	crew_fill_env(&alone, &env);
	assert_null(strv_env_get(&env, "OMPI_MCA_plm"));
	assert_null(strv_env_get(&env, "HYDRA_BOOTSTRAP"));
	assert_string_equal(strv_env_get(&env, "HYDRA_HOST_FILE"), CREW_DIRECTORY "/machinefile");
}

static void daemon_is_told_where_the_nodes_are(void **state)
{
	json_t *json = crew_to_json(&crew);
	json_t *nodes = json_object_get(json, "nodes");

	assert_string_equal(json_string_value(json_object_get(json, "key")), crew.key);
	assert_int_equal(json_integer_value(json_object_get(json, "index")), 1);
	assert_int_equal(json_array_size(nodes), 2);
	assert_string_equal(json_string_value(json_array_get(nodes, 0)), "192.0.2.1");
	json_decref(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_vm_has_an_address_and_a_card_of_its_own),
		cmocka_unit_test(host_files_are_as_each_launcher_reads_them),
		cmocka_unit_test(node_lists_become_lists_of_vms_and_what_is_set_stays),
		cmocka_unit_test(vm_alone_starts_its_ranks_itself),
		cmocka_unit_test(daemon_is_told_where_the_nodes_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
