#include "courier/account.h"

#include <pwd.h>
#include <stdio.h>

json_t *account_name(json_t *cache, json_int_t uid)
{
	char key[24];
	const struct passwd *account;
	json_t *name;

	snprintf(key, sizeof(key), "%lld", (long long)uid);
	name = json_object_get(cache, key);
	if (name)
		return name;
	account = getpwuid((uid_t)uid);
	name = account ? json_string(account->pw_name) : NULL;
	json_object_set_new(cache, key, name ? name : json_sprintf("uid%s", key));
	return json_object_get(cache, key);
}

void account_add_user(json_t *cache, json_t *object)
{
	json_t *uid = json_object_get(object, "uid");

	if (json_is_integer(uid))
		json_object_set(object, "user", account_name(cache, json_integer_value(uid)));
}
