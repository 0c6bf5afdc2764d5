#include "engine/share_choice.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include "engine/settings.h"

#include <cmocka.h>

static char source[] = "/data", target[] = "/in";
static char name_9p[] = "9p", name_other[] = "isofs";
static char name_fs[] = "virtiofs", *mounts_fs[] = {name_fs, NULL};
static char *mounts_9p[] = {name_9p, NULL}, *mounts_nothing[] = {name_other, NULL};

static struct share_list share_by(const struct gateway *gateway)
{
	return (struct share_list){
		.items = {{gateway, source, target, false, GATEWAY_HELPER_INIT}}, .count = 1};
}

static int choose(const struct gateway *named, char **mounts, bool is_clone,
	const struct gateway **ret, struct error *err)
{
	const struct gateway_host host = {.has_network = false};
	const struct manifest manifest = {.gateways = mounts};
	struct share_list shares = share_by(named);
	int r = share_choice_start(&shares, &manifest, is_clone, &host, err);

	*ret = shares.items[0].gateway;
	share_choice_stop(&shares);
	return r;
}

static void every_word_for_a_gateway_has_one(void **state)
{
	autofree char *words = strdup(SETTINGS_GATEWAYS);
	size_t count = 0, n = 0;
	char *rest = words, *word;

	while ((word = strsep(&rest, "|")))
		if (!streq(word, "auto")) {
			assert_non_null(gateway_find(word));
			count++;
		}
	while (gateway_at(n))
		n++;
	assert_int_equal(n, count);
	assert_null(gateway_find("auto"));
}

static void clone_gets_what_its_template_has(void **state)
{
	const struct gateway *gateway;
	struct error err = {0};

	assert_int_equal(choose(NULL, mounts_9p, true, &gateway, &err), 0);
	assert_ptr_equal(gateway, &gateway_9p);
	assert_int_equal(choose(NULL, NULL, true, &gateway, &err), 0);
	assert_ptr_equal(gateway, &gateway_9p);
}

static void clone_is_not_tried_where_no_gateway_would_do(void **state)
{
	const struct manifest by_9p = {.gateways = mounts_9p}, by_fs = {.gateways = mounts_fs};
	struct share_list any = share_by(NULL), named = share_by(&gateway_virtiofs);
	struct error err = {0};

	assert_int_equal(share_choice_may_clone(&any, &by_9p, &err), 0);
	assert_int_equal(share_choice_slots(&any), 1);
	assert_int_equal(share_choice_may_clone(&any, &by_fs, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.text, "--start auto"));
	assert_int_equal(share_choice_check(&any, "cloud", &by_fs, &err), 0);
	assert_int_equal(share_choice_may_clone(&named, &by_9p, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.text, "virtiofs"));
	assert_int_equal(share_choice_slots(&named), 0);
}

static void who_names_a_gateway_gets_it_or_hears_why_not(void **state)
{
	const struct gateway *gateway;
	struct error err = {0};

	assert_int_equal(choose(&gateway_9p, mounts_9p, false, &gateway, &err), 0);
	assert_ptr_equal(gateway, &gateway_9p);
	assert_int_equal(choose(&gateway_9p, mounts_nothing, false, &gateway, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.text, "/data"));
	assert_non_null(strstr(err.text, "no 9p"));
}

static int serve_calls;

static int serve(void *userdata, int directory_fd, bool read_only, struct gateway_server *ret,
	struct error *err)
{
	serve_calls += directory_fd >= 0 && read_only;
	*ret = (struct gateway_server){"10.7.0.1", "/run/x"};
	return 0;
}

/* It acts for a network address: never without being asked for, nor where nobody checks that. */
static void nfs_is_by_name_and_by_a_network_of_the_node(void **state)
{
	static char name_nfs[] = "nfs4", root[] = "/", *mounts_nfs[] = {name_nfs, NULL};
	const struct gateway_host away = {.has_network = true}, host = {.serve = serve};
	const struct manifest manifest = {.gateways = mounts_nfs};
	struct share_list shares = share_by(&gateway_nfs), any = share_by(NULL);
	struct mount_request mount;
	struct gateway_mount texts;
	struct error err = {0};

	assert_int_equal(share_choice_start(&any, &manifest, false, &host, &err), -EOPNOTSUPP);
	assert_int_equal(share_choice_start(&shares, &manifest, false, &away, &err), -ENETUNREACH);
	assert_non_null(strstr(err.text, "--network NAME"));
	shares.items[0].source = root;
	shares.items[0].read_only = true;
	assert_int_equal(share_choice_may_clone(&shares, &manifest, &err), 0);
	assert_int_equal(share_choice_slots(&shares), 0);
	assert_int_equal(share_choice_start(&shares, &manifest, true, &host, &err), 0);
	assert_int_equal(serve_calls, 1);
	gateway_nfs.fill_mount(&shares.items[0], 0, &texts, &mount);
	assert_string_equal(mount.source, "10.7.0.1:/run/x");
	assert_non_null(str_after(mount.options, "addr=10.7.0.1,vers=4.2,proto=tcp,sec=sys,soft,"));
	assert_int_equal(mount.flags, MOUNT_NOSUID | MOUNT_NODEV | MOUNT_READ_ONLY);
	share_choice_stop(&shares);
}

static void image_that_mounts_nothing_is_refused_before_anything_starts(void **state)
{
	const struct manifest nothing = {.gateways = mounts_nothing}, unknown = {.gateways = NULL};
	struct share_list any = share_by(NULL), none = {.count = 0};
	struct error err = {0};

	assert_int_equal(share_choice_check(&any, "tiny", &nothing, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.text, "--mount none"));
	assert_int_equal(share_choice_check(&any, "tiny", &unknown, &err), 0);
	assert_int_equal(share_choice_check(&none, "tiny", &nothing, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_word_for_a_gateway_has_one),
		cmocka_unit_test(clone_gets_what_its_template_has),
		cmocka_unit_test(clone_is_not_tried_where_no_gateway_would_do),
		cmocka_unit_test(who_names_a_gateway_gets_it_or_hears_why_not),
		cmocka_unit_test(nfs_is_by_name_and_by_a_network_of_the_node),
		cmocka_unit_test(image_that_mounts_nothing_is_refused_before_anything_starts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
