#include "engine/warm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <time.h>

#include "engine/identity.h"
#include "engine/launch.h"
#include "lib/child.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"
#include "vm/overlay.h"
#include "vm/qemu.h"
#include "vm/vm.h"

/* For the agent to wait until another init has done with its boot, and to load and warm. */
#define WARM_QUIESCE_US (180 * UINT64_C(1000000))

#define WARM_SAVE_US (60 * UINT64_C(1000000))

/* How much of the console explains a failed boot. */
#define WARM_CONSOLE 300

/* In the background no template is made for a host that has less left than this, in MiB, beside the
 * memory that the template's guest will touch. */
#define WARM_SPARE_MIB 512

#define WARM_TURN_FILE "making"

/* What making a template takes on the disk at least, and for each MiB of the guest's memory, of
 * which its kernel keeps a table. */
#define WARM_ROOM_BYTES     (UINT64_C(384) * 1024 * 1024)
#define WARM_ROOM_MIB_BYTES (UINT64_C(20) * 1024)

struct warm {
	const struct warm_request *request;
	sd_event *event;
	sd_event_source *deadline;
	struct resources resources;
	struct template_making *making;
	int turn_fd; /* locked by the one process that works in the background */
	struct vm *vm;
	struct template_info info;
	uint64_t started_us;
	const char *step;
	bool saved;
	struct error *err;
};

/* Drivers of the devices that every clone has. */
static const char *const warm_drivers[] = {"virtio_net", "virtio_blk", "9pnet_virtio", "9p", "fuse",
	"virtio_balloon", "vmgenid", NULL};

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct warm *w = userdata;

	fail(w->err, -ETIMEDOUT, "%s: not done in time", w->step);
	vm_kill(w->vm);
	return 0;
}

static void warm_enter(struct warm *w, const char *step, uint64_t deadline_us)
{
	w->step = step;
	if (w->request->on_step)
		w->request->on_step(step, w->request->userdata);
	w->deadline = sd_event_source_disable_unref(w->deadline);
	sd_event_add_time_relative(
		w->event, &w->deadline, CLOCK_MONOTONIC, deadline_us, 0, on_deadline, w);
}

static void warm_fail(struct warm *w, int code, const char *why)
{
	if (w->err->code == 0)
		fail(w->err, code, "%s: %s", w->step, why);
	vm_kill(w->vm);
}

static void on_saved(const char *error, void *userdata)
{
	struct warm *w = userdata;

	if (error) {
		warm_fail(w, -EIO, error);
		return;
	}
	w->saved = true;
	vm_quit(w->vm); /* it has files to close */
}

static void on_rehearsed(const struct reply *reply, void *userdata)
{
	if (reply && reply->error)
		warm_fail(userdata, -EIO, reply->reason);
}

static void on_quiet(const struct reply *reply, void *userdata)
{
	struct warm *w = userdata;

	if (!reply)
		return;
	if (reply->error) {
		warm_fail(w, -EIO, reply->reason);
		return;
	}
	warm_enter(w, "save", WARM_SAVE_US);
	if (vm_save(w->vm, w->making->state_fd, on_saved, w) < 0)
		warm_fail(w, -EIO, "QEMU does not answer");
}

/* Does what a clone will have done to it, so that the files exist, the memory for them is there,
 * and what can be the same for all is done. */
static int warm_rehearse(struct warm *w)
{
	autofree char *hosts =
		vm_identity_hosts(VM_IDENTITY_LOCAL_ADDRESS, VM_IDENTITY_NOBODY_NAME);
	const struct network_request loopback = {.mac = ""};
	const struct identity nobody = {
		.hostname = VM_IDENTITY_NOBODY_NAME,
		.machine_id = VM_IDENTITY_NOBODY_ID,
		.boot_id = VM_IDENTITY_NOBODY_BOOT,
		.hosts = hosts,
	};
	struct agent *agent = vm_agent(w->vm);

	if (!hosts ||
		agent_call(agent, FRAME_IDENTITY, identity_fields, &nobody, on_rehearsed, w) < 0)
		return -ENOMEM;
	return (int)MIN_OF(agent_call(agent, FRAME_NETWORK, network_request_fields, &loopback,
				   on_rehearsed, w),
		0);
}

static void on_agent(const struct hello_guest *hello, void *userdata)
{
	struct warm *w = userdata;
	const struct quiesce quiesce = {(const char **)(uintptr_t)warm_drivers};

	w->info.boot_us = clock_now_us() - w->started_us;
	snprintf(w->info.agent_version, sizeof(w->info.agent_version), "%s", hello->agent_version);
	warm_enter(w, "prepare", WARM_QUIESCE_US);
	if (!(hello->features & AGENT_FEATURE_TEMPLATE))
		warm_fail(w, -EOPNOTSUPP,
			"the image's agent is too old for templates; build or import it again");
	else if (warm_rehearse(w) < 0 || agent_call(vm_agent(w->vm), FRAME_QUIESCE, quiesce_fields,
						 &quiesce, on_quiet, w) < 0)
		warm_fail(w, -EIO, "the VM does not answer");
}

static void on_vm_end(const struct vm_end *end, void *userdata)
{
	struct warm *w = userdata;
	char console[WARM_CONSOLE] = "";

	if (!w->saved && w->err->code == 0) {
		console_tail(vm_console(w->vm), console, sizeof(console));
		fail(w->err, -EIO, "%s: %s%s%s", w->step, end->reason,
			console[0] ? "; the console ended with: " : "", console);
	}
	sd_event_exit(w->event, 0);
}

static int warm_boot(struct warm *w)
{
	static const struct vm_callbacks callbacks = {on_agent, on_vm_end};
	const struct warm_request *request = w->request;
	struct vm_spec spec;
	int r = sd_event_new(&w->event);

	if (r < 0)
		return fail_errno(w->err, r, "cannot set up the event loop");
	shape_fill_spec(
		&request->shape, &w->resources, request->settings, VM_START_TEMPLATE, &spec);
	spec.memory_fd = w->making->memory_fd;
	spec.overlay_fd = w->making->overlay_fd;
	w->started_us = clock_now_us();
	r = vm_start(w->event, &spec, &callbacks, w, &w->vm, w->err);
	if (r < 0)
		return r;
	warm_enter(w, "boot",
		launch_boot_deadline_us(request->settings, w->resources.manifest, request->trial));
	sd_event_loop(w->event);
	vm_qemu_version(w->vm, w->info.qemu_version, sizeof(w->info.qemu_version));
	return w->saved ? 0 : w->err->code;
}

static void warm_fill_info(struct warm *w)
{
	const struct shape *shape = &w->request->shape;
	const struct resources *r = &w->resources;
	struct template_info *info = &w->info;

	snprintf(info->image_name, sizeof(info->image_name), "%s",
		r->image_name ? r->image_name : "");
	snprintf(info->image_tag, sizeof(info->image_tag), "%s", r->image_tag ? r->image_tag : "");
	memcpy(info->image_digest, r->image_digest, sizeof(info->image_digest));
	info->created = (uint64_t)time(NULL);
	info->cpus = shape->cpus;
	info->memory_mib = shape->memory_mib;
	info->shares = shape->slots;
	snprintf(info->devices, sizeof(info->devices), "%s%s%zu shares",
		shape->network == VM_NETWORK_NONE ? "" : "network, ",
		shape->scratch ? "scratch, " : "", shape->slots);
	snprintf(info->accel, sizeof(info->accel), "%s", accel_name(shape->accel));
	snprintf(info->cpu_model, sizeof(info->cpu_model), "%s",
		shape->accel == ACCEL_KVM ? "host" : "max");
	qemu_digest(w->request->settings->qemu, info->qemu_digest, NULL);
}

static void warm_done(struct warm *w)
{
	vm_free(w->vm);
	template_make_free(w->making);
	local_close(&w->resources);
	base_close(w->turn_fd);
	sd_event_source_disable_unref(w->deadline);
	sd_event_unref(w->event);
}

/* Everything from the lock to the finished template. */
static int warm_make_one(struct warm *w, const char *directory, const char *key)
{
	const struct warm_request *request = w->request;
	int r = template_make_start(directory, key, !request->background, &w->making, w->err);

	if (r < 0)
		return r;
	r = template_make_resize(w->making, request->shape.memory_mib, w->err);
	if (r == 0)
		r = overlay_write(w->making->overlay_fd, w->resources.manifest->disk_size, w->err);
	if (r == 0)
		r = warm_boot(w);
	if (r < 0)
		return r;
	warm_fill_info(w);
	w->vm = vm_free(w->vm);
	if (request->on_step)
		request->on_step("write", request->userdata);
	return template_make_commit(w->making, &w->info, w->err);
}

static int warm_read(const char *directory, const char *key, struct template_info *ret)
{
	struct template *t AUTO(template_closep) = NULL;
	int r = template_open(directory, key, &t, NULL);

	if (r == 0)
		*ret = t->info;
	return r;
}

/* Is there room for another VM that nobody waits for? */
static bool host_has_memory(uint64_t memory_mib)
{
	autofree char *text = NULL;
	const char *line;
	size_t length;

	if (file_read(AT_FDCWD, "/proc/meminfo", 65536, &text, &length) < 0)
		return true;
	line = strstr(text, "MemAvailable:");
	/* A guest that has only booted has touched a fraction of its memory. */
	return !line || strtoull(line + 13, NULL, 10) / 1024 >= WARM_SPARE_MIB + memory_mib / 4;
}

/* Many first runs at once must not become as many boots beside the jobs: one at a time. */
static int warm_take_turn(struct error *err)
{
	autofree char *cache = path_cache();
	autofree char *file = cache ? path_format("%s/" WARM_TURN_FILE, cache) : NULL;
	autoclose int fd = file ? open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	int r = fd < 0 ? -errno : file_lock(fd, true, false);

	return r < 0 ? fail_errno(err, r, "another template is being made") : TAKE_FD(fd);
}

static int warm_check(struct warm *w, const char *directory, const char *key)
{
	const struct warm_request *request = w->request;
	struct error *err = w->err;
	uint64_t room = WARM_ROOM_BYTES + request->shape.memory_mib * WARM_ROOM_MIB_BYTES;
	struct statvfs fs;

	/* The guest's memory is a file while it boots, and QEMU dies where that cannot grow. */
	if (statvfs(directory, &fs) == 0 && fs.f_bavail * fs.f_frsize < room)
		return fail(err, -ENOSPC, "less than %llu MiB are free on the file system of '%s'",
			(unsigned long long)(room / 1024 / 1024), directory);
	if (!request->background)
		return 0;
	if (template_failed_recently(directory, key, NULL))
		return fail(err, -EAGAIN, "making this template failed less than an hour ago");
	if (!host_has_memory(request->shape.memory_mib))
		return fail(err, -ENOMEM, "the host has too little memory left");
	w->turn_fd = warm_take_turn(err);
	return MIN_OF(w->turn_fd, 0);
}

static int warm_make_shape(
	const struct warm_request *request, struct template_info *ret, struct error *err)
{
	struct warm w AUTO(warm_done) = {
		.request = request, .resources = RESOURCES_INIT, .turn_fd = -1, .err = err};
	const struct shape *shape = &request->shape;
	autofree char *directory = local_templates();
	char key[DIGEST_HEX_SIZE];
	int r = directory ? file_make_dirs(directory, 0700) : -ENOMEM;

	*ret = (struct template_info){0};
	if (r < 0)
		return fail_errno(err, r, "cannot make '%s'", directory ? directory : "");
	r = local_open_image(request->image, shape->cpus, shape->memory_mib, &w.resources, err);
	if (r == 0 && request->digest && !streq(request->digest, w.resources.image_digest))
		r = fail(err, -ESTALE, "'%s' is another image by now", request->image);
	if (r == 0)
		r = shape_key(shape, &w.resources, request->settings, key, err);
	if (r == 0)
		r = warm_check(&w, directory, key);
	if (r < 0)
		return r;
	r = warm_make_one(&w, directory, key);
	if (r == -EEXIST)
		return warm_read(directory, key, ret) < 0 ? r : 1;
	if (r < 0) {
		if (r != -EWOULDBLOCK)
			template_note_failure(directory, key, err->text);
		return r;
	}
	template_gc(directory, request->settings->template_budget, false, NULL, NULL, NULL);
	r = warm_read(directory, key, ret);
	if (r == 0)
		return 0;
	fail(err, r, "the template was made, but there is no room for it in [template] budget");
	template_note_failure(directory, key, err->text);
	return r;
}

/* What is made with KVM proves it. What is not, but can be made without, proves the contrary. */
int warm_make(const struct warm_request *request, struct template_info *ret, struct error *err)
{
	struct warm_request emulated = *request;
	int r = warm_make_shape(request, ret, err);

	if (!request->trial || (r < 0 && r != -EIO && r != -ETIMEDOUT))
		return r;
	if (r < 0) {
		log_debug("KVM: %s", err->text);
		*err = (struct error){0};
		emulated.shape.accel = ACCEL_TCG;
		emulated.trial = false;
		r = warm_make_shape(&emulated, ret, err);
		request = &emulated;
	}
	if (r >= 0)
		accel_learn(request->settings->qemu, request->shape.accel == ACCEL_KVM);
	return r;
}

static void fill_arguments(struct strv *argv, const struct shape *shape, const struct resources *r)
{
	strv_add_all(argv, "/proc/self/exe", "template", "create", "--background", "--accel",
		accel_name(shape->accel), "--digest", r->image_digest, NULL);
	strv_add_format(argv, "--cpus=%llu", (unsigned long long)shape->cpus);
	strv_add_format(argv, "--memory=%lluM", (unsigned long long)shape->memory_mib);
	strv_add_format(argv, "--shares=%zu", shape->slots);
	strv_add_all(argv, shape->network == VM_NETWORK_NONE ? "--network=none" : "--network=user",
		shape->scratch ? "--scratch" : NULL, NULL);
	if (r->image_name)
		strv_add_format(argv, "%s:%s", r->image_name, r->image_tag);
	else
		strv_add(argv, r->image_digest);
}

int warm_in_background(const struct shape *shape, const struct resources *r)
{
	struct strv argv AUTO(strv_done) = {0};
	struct child_spec child = CHILD_SPEC_INIT;
	autoclose int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct error err = {0};
	int pidfd, ret;

	fill_arguments(&argv, shape, r);
	child.argv = strv_list(&argv);
	child.stdout_fd = child.stderr_fd = null_fd;
	child.new_session = true;
	child.dies_with_parent = false;
	child.workdir = "/";
	ret = argv.failed ? -ENOMEM : child_spawn(&child, NULL, &pidfd, &err);
	if (ret < 0)
		log_debug("no template will be made: %s", err.text);
	return ret < 0 ? ret : pidfd;
}

void warm_give_way(void)
{
	autoclose int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	const struct sched_param none = {0};

	/* What the kernel refuses is done without. */
	sched_setscheduler(0, SCHED_IDLE, &none);
	syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0));
	if (fd >= 0 && file_write_all(fd, "1000", 4) < 0)
		log_debug("cannot become the first to go when memory is short");
}
