/* The program wnodes: its verbs, in the order of the help. */
#include "cli/batch.h"
#include "cli/conf.h"
#include "cli/depot.h"
#include "cli/image.h"
#include "cli/job.h"
#include "cli/node.h"
#include "cli/policy.h"
#include "cli/record.h"
#include "cli/run.h"
#include "cli/site.h"
#include "cli/template.h"
#include "cli/verb.h"
#include "cli/vm.h"

const struct verb *const verbs[] = {
	&verb_run,
	&verb_submit,
	&verb_queue,
	&verb_cancel,
	&verb_wait,
	&verb_runner,
	&verb_job_list,
	&verb_job_show,
	&verb_image_build,
	&verb_image_import,
	&verb_image_list,
	&verb_image_show,
	&verb_image_tag,
	&verb_image_remove,
	&verb_image_verify,
	&verb_image_gc,
	&verb_image_warm,
	&verb_image_publish,
	&verb_depot_list,
	&verb_depot_remove,
	&verb_depot_gc,
	&verb_template_list,
	&verb_template_create,
	&verb_template_remove,
	&verb_template_gc,
	&verb_vm_list,
	&verb_vm_show,
	&verb_vm_exec,
	&verb_vm_console,
	&verb_vm_stop,
	&verb_node_list,
	&verb_node_show,
	&verb_node_drain,
	&verb_node_resume,
	&verb_node_check,
	&verb_node_join,
	&verb_node_leave,
	&verb_node_remove,
	&verb_policy_list,
	&verb_policy_test,
	&verb_record_list,
	&verb_record_export,
	&verb_record_summary,
	&verb_site_status,
	&verb_site_ca,
	&verb_event_list,
	&verb_pool_list,
	&verb_pool_show,
	&verb_pool_create,
	&verb_pool_grow,
	&verb_pool_remove,
	&verb_lease_list,
	&verb_lease_return,
	&verb_group_list,
	&verb_group_create,
	&verb_group_add,
	&verb_group_remove,
	&verb_token_list,
	&verb_token_create,
	&verb_token_revoke,
	&verb_role_list,
	&verb_role_grant,
	&verb_role_revoke,
	&verb_certificate_list,
	&verb_certificate_revoke,
	&verb_config,
	&verb_config_show,
	&verb_config_edit,
	&verb_config_set,
	&verb_help,
	&verb_completion,
	NULL,
};
