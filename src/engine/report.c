#include "engine/report.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sys/stat.h>

#include "lib/file.h"
#include "lib/json.h"
#include "lib/path.h"

static json_t *image_to_json(const struct resources *r)
{
	return json_pack("{s:s*, s:s*, s:s*}", "name", r->image_name, "tag", r->image_tag, "digest",
		r->image_digest[0] ? r->image_digest : NULL);
}

static json_t *shares_to_json(const struct share_list *shares)
{
	json_t *list = json_array();

	for (size_t i = 0; i < shares->count; i++) {
		const struct vm_share *s = &shares->items[i];
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:b, s:s}", "host", s->source, "guest",
				      s->target, "read_only", s->read_only, "gateway",
				      s->gateway ? s->gateway->name : "auto"));
	}
	return list;
}

static double seconds(uint64_t us)
{
	return (double)us / 1e6;
}

static json_t *command_to_json(const struct report *r)
{
	return json_pack("{s:o, s:f, s:f, s:I}", "argv",
		json_from_strings((const char *const *)r->request->argv), "user_s",
		seconds(r->command.user_us), "system_s", seconds(r->command.system_us),
		"max_rss_bytes", (json_int_t)r->command.max_rss_kib * 1024);
}

static json_t *usage_to_json(const struct report *r)
{
	return json_pack("{s:I, s:I, s:I, s:f, s:f}", "bytes_to_guest",
		(json_int_t)r->bytes_to_guest, "bytes_from_guest", (json_int_t)r->bytes_from_guest,
		"peak_memory_bytes", (json_int_t)r->qemu_rss_kib * 1024, "user_s",
		seconds(r->qemu_user_us), "system_s", seconds(r->qemu_system_us));
}

static json_t *count_to_json(bool known, uint64_t count)
{
	return known ? json_integer((json_int_t)count) : json_null();
}

/* What the VM's devices have moved, as far as it was asked for and is known. */
static void add_devices(json_t *usage, const struct vm_usage *u)
{
	json_object_set_new(
		usage, "disk_read_bytes", count_to_json(u->has_disk, u->disk_read_bytes));
	json_object_set_new(
		usage, "disk_written_bytes", count_to_json(u->has_disk, u->disk_written_bytes));
	json_object_set_new(usage, "network_received_bytes",
		count_to_json(u->has_guest, u->network_received_bytes));
	json_object_set_new(
		usage, "network_sent_bytes", count_to_json(u->has_guest, u->network_sent_bytes));
	json_object_set_new(usage, "guest_oom_kills", count_to_json(u->has_guest, u->oom_kills));
}

static json_t *interval(uint64_t from, uint64_t to)
{
	return from > 0 && to >= from ? json_real(seconds(to - from)) : NULL;
}

/* How the VM was started, and what that was spent on. */
static json_t *start_to_json(const struct report *r)
{
	const struct vm_times *t = &r->times;
	bool cloned = r->template_key[0];

	if (t->hello == 0)
		return NULL;
	return json_pack("{s:s, s:s*, s:o*, s:o*, s:o*}", "how", cloned ? "clone" : "boot",
		"template", cloned ? r->template_key : NULL, "qemu_s",
		interval(t->spawned, t->ready), "restore_s",
		cloned ? interval(t->ready, t->restored) : NULL, "guest_s",
		interval(cloned ? t->restored : t->ready, t->hello));
}

/* What a process really takes: pages that it shares count in parts. -1 if that cannot be told. */
static int64_t process_pss_bytes(pid_t pid)
{
	autofree char *path = path_format("/proc/%d/smaps_rollup", (int)pid);
	autofree char *text = NULL;
	const char *line;
	size_t length;

	if (!path || file_read(AT_FDCWD, path, 65536, &text, &length) < 0)
		return -1;
	line = strstr(text, "\nPss:");
	return line ? strtoll(line + 5, NULL, 10) * 1024 : -1;
}

static void add_process(json_t *json, pid_t pid)
{
	int64_t pss = process_pss_bytes(pid);

	json_object_set_new(json, "qemu_pid", json_integer(pid));
	if (pss >= 0)
		json_object_set_new(json, "used_memory_bytes", json_integer(pss));
}

json_t *report_to_json(const struct report *r)
{
	const struct request *request = r->request;
	json_t *json = json_pack("{s:s, s:o, s:s, s:I, s:I, s:I, s:s, s:o, s:s, s:f, s:o, s:f}",
		"name", r->name, "image", image_to_json(r->resources), "accel",
		accel_name(r->accel), "cpus", (json_int_t)request->cpus, "memory_bytes",
		(json_int_t)request->memory_mib * 1024 * 1024, "scratch_bytes",
		(json_int_t)request->scratch_bytes, "network", request_network(request), "mounts",
		shares_to_json(r->shares), "phase", phase_name(r->phases->now), "total_s",
		seconds(phase_total_us(r->phases)), "phases", phase_to_json(r->phases),
		"guest_boot_s", seconds(r->guest_boot_us));

	if (!json)
		return NULL;
	json_object_set_new(json, "start", start_to_json(r));
	if (r->qemu_pid > 0)
		add_process(json, r->qemu_pid);
	json_object_set_new(json, "command", command_to_json(r));
	if (!r->ended)
		return json;
	json_object_set_new(json, "exit_status", json_integer(r->exit_code));
	json_object_set_new(json, "reason", r->reason ? json_string(r->reason) : json_null());
	json_object_set_new(json, "usage", usage_to_json(r));
	add_devices(json_object_get(json, "usage"), &r->usage);
	return json;
}

int report_check(const char *path, struct error *err)
{
	autofree char *copy = strdup(path);
	struct stat st;

	if (!copy)
		return fail(err, -ENOMEM, "out of memory");
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return fail(err, -EINVAL, "the report '%s' would not be a file", path);
	/* It is written beside its place, then renamed. */
	if (access(dirname(copy), W_OK | X_OK) < 0)
		return fail_errno(err, -errno, "cannot write the report '%s'", path);
	return 0;
}

int report_write(const struct report *r, const char *path, struct error *err)
{
	json_t *json = report_to_json(r);
	autofree char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
	autofree char *line = NULL;
	int n;

	json_decref(json);
	if (!text || asprintf(&line, "%s\n", text) < 0)
		return fail(err, -ENOMEM, "out of memory");
	n = file_replace(AT_FDCWD, path, line, strlen(line), 0666);
	return n < 0 ? fail_errno(err, n, "cannot write the report '%s'", path) : 0;
}
