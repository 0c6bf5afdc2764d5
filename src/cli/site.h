/* The verbs that speak with the site's controllers alone. */
#pragma once

#include "cli/verb.h"

extern const struct verb verb_node_list, verb_node_remove;
extern const struct verb verb_lease_list, verb_lease_return;
extern const struct verb verb_pool_list, verb_pool_show, verb_pool_create, verb_pool_grow,
	verb_pool_remove;
extern const struct verb verb_group_list, verb_group_create, verb_group_add, verb_group_remove;
extern const struct verb verb_token_list, verb_token_create, verb_token_revoke;
extern const struct verb verb_role_list, verb_role_grant, verb_role_revoke;
extern const struct verb verb_certificate_list, verb_certificate_revoke;
extern const struct verb verb_config_show, verb_config_edit, verb_config_set;
extern const struct verb verb_volume_list, verb_volume_show, verb_volume_create,
	verb_volume_snapshot, verb_volume_resize, verb_volume_delete, verb_volume_detach;
extern const struct verb verb_event_list, verb_site_status, verb_site_ca;
