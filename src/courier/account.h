/* The names of users, as the site knows them. Accounts may be looked up over the network, which the
 * daemon does not wait for, so it tells numbers. */
#pragma once

#include <jansson.h>

/* Borrowed: the name, or "uid1234" where there is no such account; it is asked for once. `cache` is
 * an object. */
json_t *account_name(json_t *cache, json_int_t uid);

/* Gives the object its "user" by its "uid". */
void account_add_user(json_t *cache, json_t *object);
