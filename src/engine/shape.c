#include "engine/shape.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "config.h"
#include "engine/share_choice.h"
#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/path.h"
#include "vm/command.h"
#include "vm/qemu.h"

#define KSM_SWITCH "/sys/kernel/mm/ksm/run"

#define CPUINFO_MAX (4 * 1024 * 1024)

/* The size of a scratch disk that is not there yet. */
#define SHAPE_SCRATCH_ANY 1

/* Changes when a template of an earlier program would not do for a reason that is not in QEMU's
 * command line, such as what the agent is told before it is saved. */
#define SHAPE_VERSION "1"

/* The home directory and the current one. Each slot costs a clone 2-3 ms, used or not. */
#define SHAPE_SLOTS_USUAL 2

size_t shape_slots(size_t share_count)
{
	size_t slots = share_count > 0 ? SHAPE_SLOTS_USUAL : 0;

	while (slots < share_count)
		slots *= 2;
	return MIN_OF(slots, (size_t)VM_SHARES_MAX);
}

void shape_from_request(struct shape *ret, const struct request *request, enum accel accel)
{
	*ret = (struct shape){
		.accel = accel,
		.cpus = request->cpus,
		.memory_mib = request->memory_mib,
		.network = request->network == VM_NETWORK_NONE ? VM_NETWORK_NONE : VM_NETWORK_USER,
		.scratch = request->scratch_bytes > 0,
		.slots = shape_slots(share_choice_slots(&request->shares)),
		.own_memory = streq(request->settings->template_memory, "own"),
	};
}

/* Pages that VMs have in common tell each VM something of the others, so it is the host's
 * administrator who turns this on. */
static bool ksm_is_on(void)
{
	autofree char *text = NULL;
	size_t length;

	return file_read(AT_FDCWD, KSM_SWITCH, 16, &text, &length) == 0 && text[0] == '1';
}

void shape_fill_spec(const struct shape *shape, const struct resources *r,
	const struct settings *settings, enum vm_start start, struct vm_spec *ret)
{
	*ret = (struct vm_spec){
		.name = "template",
		.start = start,
		.qemu = settings->qemu,
		.accel = shape->accel,
		.cpus = shape->cpus,
		.memory_mib = shape->memory_mib,
		.memory_merge = ksm_is_on(),
		.memory_balloon = shape->own_memory,
		.memory_fd = -1,
		.state_fd = -1,
		.kernel_fd = r->kernel_fd,
		.initrd_fd = r->initrd_fd,
		.command_line = r->manifest->command_line,
		.disk_fd = r->disk_fd,
		.disk_format = r->manifest->format,
		.template_overlay_fd = -1,
		.overlay_fd = r->overlay_fd,
		.scratch_fd = -1,
		.seed_fd = r->seed_fd,
		.scratch_bytes = shape->scratch ? SHAPE_SCRATCH_ANY : 0,
		.network = shape->network,
		.slots = shape->slots,
		.disk_thread = settings->disk_thread,
	};
}

/* The same whatever numbers the descriptors have today. */
static int command_text(const struct shape *shape, const struct resources *r,
	const struct settings *settings, struct buffer *ret)
{
	const struct command_channels channels = {0, 0, 0};
	struct strv argv AUTO(strv_done) = {0};
	struct vm_spec spec;
	int ret_code;

	shape_fill_spec(shape, r, settings, VM_START_TEMPLATE, &spec);
	spec.memory_fd = 0;
	spec.kernel_fd = MIN_OF(spec.kernel_fd, 0);
	spec.initrd_fd = MIN_OF(spec.initrd_fd, 0);
	spec.disk_fd = spec.overlay_fd = 0;
	spec.seed_fd = MIN_OF(spec.seed_fd, 0);
	spec.memory_merge = false;
	ret_code = command_build(&spec, &channels, &argv);
	for (size_t i = 0; i < argv.count && ret_code == 0; i++)
		ret_code = buffer_append(ret, argv.items[i], strlen(argv.items[i]) + 1);
	return ret_code;
}

/* What "-cpu host" means here. */
static int append_processor(struct buffer *out)
{
	static const char *const keys[] = {
		"vendor_id", "cpu family", "model\t", "stepping", "microcode", "flags"};
	autofree char *text = NULL;
	size_t length;
	int r = file_read(AT_FDCWD, "/proc/cpuinfo", CPUINFO_MAX, &text, &length);

	for (size_t i = 0; i < ARRAY_SIZE(keys) && r == 0; i++) {
		const char *line = strstr(text, keys[i]);

		if (line)
			r = buffer_append(out, line, strcspn(line, "\n") + 1);
	}
	return r;
}

static int append_line(struct buffer *out, const char *what, const char *value)
{
	autofree char *line = path_format("%s %s\n", what, value);

	return line ? buffer_append(out, line, strlen(line)) : -ENOMEM;
}

/* An image that was built has its agent inside; others get it from the seed. */
static int append_seed(struct buffer *out, const struct resources *r)
{
	char digest[DIGEST_HEX_SIZE];
	int ret = r->seed_fd < 0 ? 0 : digest_file(r->seed_fd, digest);

	return ret < 0 || r->seed_fd < 0 ? ret : append_line(out, "seed", digest);
}

int shape_key(const struct shape *shape, const struct resources *r, const struct settings *settings,
	char ret[DIGEST_HEX_SIZE], struct error *err)
{
	struct buffer text AUTO(buffer_done) = {0};
	char qemu[DIGEST_HEX_SIZE];
	int ret_code = qemu_digest(settings->qemu, qemu, err);

	if (ret_code < 0)
		return ret_code;
	ret_code = append_line(&text, "template", SHAPE_VERSION " " WNODES_VERSION);
	if (ret_code == 0)
		ret_code = append_line(&text, "image", r->image_digest);
	if (ret_code == 0)
		ret_code = append_seed(&text, r);
	if (ret_code == 0)
		ret_code = append_line(&text, "qemu", qemu);
	if (ret_code == 0 && shape->accel == ACCEL_KVM)
		ret_code = append_processor(&text);
	if (ret_code == 0)
		ret_code = command_text(shape, r, settings, &text);
	if (ret_code == 0)
		ret_code = digest_bytes(buffer_head(&text), text.len, ret);
	return ret_code < 0 ? fail_errno(err, ret_code, "cannot name the template") : 0;
}
