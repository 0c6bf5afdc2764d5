#include "engine/accounting.h"

#include <errno.h>
#include <libgen.h>

#include "engine/broker.h"
#include "engine/caller.h"
#include "engine/record.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lib/timestamp.h"

#define NODE_NAME_MAX 256

char *accounting_file(const struct settings *settings)
{
	const char *file = settings->record_file;
	autofree char *state = NULL;

	if (file)
		return file[0] && !streq(file, "none") ? strdup(file) : NULL;
	state = path_state();
	return state ? path_format("%s/" RECORD_FILE, state) : NULL;
}

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] ? value : NULL;
}

static bool is_job(const struct request *request)
{
	return request->lrms || variable("WNODES_JOB_ID") || variable("SLURM_JOB_ID");
}

bool accounting_is_wanted(const struct request *request, const struct resources *resources)
{
	autofree char *file = NULL;

	if (!request->record)
		return false;
	if (broker_record_id(resources->broker))
		return true;
	/* Nobody asks what a command by hand has used, and a record takes the disk's time. */
	if (!request->settings->record_file && !is_job(request))
		return false;
	file = accounting_file(request->settings);
	return file != NULL;
}

/* What the batch system says in the environment. A job of the local queue may have been submitted
 * within one of Slurm's, and has its variables; the job starter knows whose it is. */
static void fill_job(const struct request *request, struct record *r)
{
	const char *local = request->lrms ? NULL : variable("WNODES_JOB_ID");

	if (local) {
		r->job.system = "local";
		r->job.id = local;
	} else if (variable("SLURM_JOB_ID")) {
		r->job.system = "slurm";
		r->job.id = variable("SLURM_JOB_ID");
		r->job.step = variable("SLURM_STEP_ID");
		r->job.name = variable("SLURM_JOB_NAME");
		r->job.partition = variable("SLURM_JOB_PARTITION");
		r->job.account = variable("SLURM_JOB_ACCOUNT");
	}
}

static void fill_request(const struct request *request, struct record *r)
{
	r->user = request->caller->name;
	r->uid = request->caller->uid;
	r->gid = request->caller->gid;
	r->policy = request->policy;
	r->cpus = request->cpus;
	r->memory_bytes = request->memory_mib << 20;
	r->scratch_bytes = request->scratch_bytes;
	r->network = request_network(request);
}

/* The last start that was tried. */
static const char *start_of(const struct report *report)
{
	if (report->phases->entered[PHASE_BOOT])
		return "boot";
	return report->phases->entered[PHASE_CLONE] ? "clone" : NULL;
}

static void fill_usage(const struct report *report, struct record *r)
{
	const struct vm_usage *u = &report->usage;

	r->cpu_user_us = report->qemu_user_us;
	r->cpu_system_us = report->qemu_system_us;
	r->memory_peak_bytes = report->qemu_rss_kib * 1024;
	if (u->has_disk) {
		r->disk_read_bytes = u->disk_read_bytes;
		r->disk_written_bytes = u->disk_written_bytes;
	}
	if (report->request->network == VM_NETWORK_NONE)
		r->network_received_bytes = r->network_sent_bytes = 0;
	if (u->has_guest) {
		r->network_received_bytes = u->network_received_bytes;
		r->network_sent_bytes = u->network_sent_bytes;
		r->guest_oom_kills = u->oom_kills;
	}
}

static void fill_record(const struct report *report, struct record *r)
{
	const struct request *request = report->request;
	const struct resources *resources = report->resources;
	uint64_t took_us = phase_total_us(report->phases);

	r->vm = report->name;
	fill_job(request, r);
	fill_request(request, r);
	r->image_name = resources->image_name;
	r->image_tag = resources->image_tag;
	r->image_digest = resources->image_digest[0] ? resources->image_digest : NULL;
	r->accel = accel_name(report->accel);
	r->start = start_of(report);
	r->ended_us = timestamp_now_us();
	r->started_us = r->ended_us - MIN_OF(took_us, r->ended_us);
	r->phases = report->phases;
	/* Tasks that share a VM have each their own, which their batch system knows. */
	r->has_exit_status = !request->tasks || report->phases->now == PHASE_FAILED;
	r->exit_status = report->exit_code;
	r->reason = report->reason;
	r->source = RECORD_BY_USER;
	fill_usage(report, r);
}

static int write_own(const struct settings *settings, json_t *record, struct error *err)
{
	autofree char *file = accounting_file(settings);
	autofree char *copy = file ? strdup(file) : NULL;
	int r;

	if (!copy)
		return 0;
	r = file_make_dirs(dirname(copy), 0700);
	return r < 0 ? fail_errno(err, r, "cannot make the directory of '%s'", file)
		     : record_append_json(file, &record, 1, err);
}

/* What the daemon cannot have is the user's at least. */
static int write_record(const struct report *report, json_t *record, struct error *err)
{
	struct broker *broker = report->resources->broker;
	struct error broker_err = {0};

	if (!broker_record_id(broker))
		return write_own(report->request->settings, record, err);
	if (broker_send_record(broker, record, &broker_err) == 0)
		return 0;
	log_warning("the node's daemon does not get the usage record: %s", broker_err.text);
	return write_own(report->request->settings, record, err);
}

void accounting_write(const struct report *report)
{
	const char *lent_id = broker_record_id(report->resources->broker);
	struct record record = RECORD_INIT;
	char id[UUID_TEXT_SIZE], node[NODE_NAME_MAX] = "";
	struct error err = {0};
	json_t *json;
	int r;

	if (report->qemu_pid <= 0 || !accounting_is_wanted(report->request, report->resources))
		return;
	gethostname(node, sizeof(node) - 1);
	record.node = node;
	record.id = lent_id ? lent_id : id;
	fill_record(report, &record);
	r = uuid_new(id);
	json = r == 0 ? record_to_json(&record) : NULL;
	r = json ? write_record(report, json, &err) : fail(&err, -ENOMEM, "out of memory");
	json_decref(json);
	if (r < 0)
		log_warning("this VM has no usage record: %s, ignoring", err.text);
}
