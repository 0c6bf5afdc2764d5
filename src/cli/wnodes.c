/* The program wnodes: its verbs, in the order of the help. */
#include "cli/batch.h"
#include "cli/conf.h"
#include "cli/image.h"
#include "cli/job.h"
#include "cli/node.h"
#include "cli/policy.h"
#include "cli/record.h"
#include "cli/run.h"
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
	&verb_template_list,
	&verb_template_create,
	&verb_template_remove,
	&verb_template_gc,
	&verb_vm_list,
	&verb_vm_show,
	&verb_vm_exec,
	&verb_vm_console,
	&verb_vm_stop,
	&verb_node_show,
	&verb_node_drain,
	&verb_node_resume,
	&verb_node_check,
	&verb_policy_list,
	&verb_policy_test,
	&verb_record_list,
	&verb_record_export,
	&verb_record_summary,
	&verb_config,
	&verb_help,
	&verb_completion,
	NULL,
};
