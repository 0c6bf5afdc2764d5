#include "engine/prepare.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"
#include "vm/usernet.h"

/* The guest's clock is behind by no more than a call took there and back: it is set again until
 * that was short, or not for ever on a host that is too busy for it. */
#define CLOCK_ERROR_US (5 * 1000)
#define CLOCK_TRIES    5

/* Of a script, one call. */
#define SCRIPT_PIECE FRAME_DATA_MAX

/* The files of a crew, of which the launch agent is by far the largest. */
#define CREW_PIECES (CREW_FILES + 4 * 1024 * 1024 / SCRIPT_PIECE)

/* Each share and volume, and clock, identity, network, account, scratch and its /tmp, the script,
 * the crew's. */
#define PREPARE_STEPS_MAX \
	(VM_SHARES_MAX + VM_VOLUMES_MAX + 6 + PREPARE_SCRIPT_MAX / SCRIPT_PIECE + 1 + CREW_PIECES)

struct step {
	struct prepare *prepare;
	char *what;
	int64_t call;
	bool is_share;
};

struct prepare {
	struct agent *agent;
	unsigned int clock_tries;
	uint64_t clock_sent;
	struct step steps[PREPARE_STEPS_MAX];
	size_t sent, answered;
	char error[ERROR_TEXT_MAX];
	prepare_fn done;
	void *userdata;
};

static void prepare_end(struct prepare *p)
{
	p->done(p->error[0] ? p->error : NULL, p->userdata);
}

static struct clock_set clock_message(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (struct clock_set){(uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec};
}

static void on_clock(const struct reply *reply, void *userdata);

/* The last step, alone on the link. */
static void prepare_set_clock(struct prepare *p)
{
	const struct clock_set message = clock_message();

	p->clock_tries++;
	p->clock_sent = clock_now_us();
	if (agent_call(p->agent, FRAME_CLOCK, clock_set_fields, &message, on_clock, p) < 0)
		snprintf(p->error, sizeof(p->error), "set the clock: the link is gone");
	if (p->error[0])
		prepare_end(p);
}

static void on_clock(const struct reply *reply, void *userdata)
{
	struct prepare *p = userdata;

	if (!reply)
		return;
	if (reply->error)
		snprintf(p->error, sizeof(p->error), "set the clock: %s", reply->reason);
	if (p->error[0] || p->clock_tries == CLOCK_TRIES ||
		clock_now_us() - p->clock_sent <= CLOCK_ERROR_US)
		prepare_end(p);
	else
		prepare_set_clock(p);
}

static void prepare_explain(const struct step *step, const struct reply *reply)
{
	struct prepare *p = step->prepare;
	const char *why = strerror((int)reply->error);
	bool said = strstr(reply->reason, why) != NULL;

	snprintf(p->error, sizeof(p->error), "%s: %s%s%s%s", step->what, reply->reason,
		said ? "" : ": ", said ? "" : why,
		step->is_share && reply->error == ENODEV
			? "; if the image's kernel has no driver for host directories, run it with "
			  "--mount none (wnodes image import --check would tell)"
			: "");
}

static void on_answer(const struct reply *reply, void *userdata)
{
	struct step *step = userdata;
	struct prepare *p = step->prepare;

	p->answered++;
	if (reply && reply->error && p->error[0] == '\0')
		prepare_explain(step, reply);
	/* A lost link has its own way of being told: the VM's end. */
	if (!reply || p->answered < p->sent)
		return;
	if (p->error[0])
		prepare_end(p);
	else
		prepare_set_clock(p);
}

/* Takes `what`. */
static int prepare_send(struct prepare *p, struct agent *agent, char *what, enum frame_type type,
	const struct message_field *fields, const void *message)
{
	struct step *step = &p->steps[p->sent];

	if (!what)
		return -ENOMEM;
	*step = (struct step){.prepare = p, .what = what};
	p->sent++;
	step->call = agent_call(agent, type, fields, message, on_answer, step);
	return (int)MIN_OF(step->call, 0);
}

/* Roughly, so that the files that are made next have sensible times. */
static int prepare_clock(struct prepare *p, struct agent *agent)
{
	const struct clock_set message = clock_message();

	return prepare_send(
		p, agent, strdup("set the clock"), FRAME_CLOCK, clock_set_fields, &message);
}

static const char *own_address(const struct request *request, const struct prepare_vm *vm)
{
	if (request->network == VM_NETWORK_TAP)
		return vm->card->address;
	return request->network == VM_NETWORK_USER ? USERNET_ADDRESS : VM_IDENTITY_LOCAL_ADDRESS;
}

/* The names of all VMs that this one can reach, its own among them. */
static char *prepare_hosts(const struct request *request, const struct prepare_vm *vm)
{
	autofree char *crew = NULL;

	if (!request->crew || request->crew->count == 1)
		return vm_identity_hosts(own_address(request, vm), vm->hostname);
	crew = crew_hosts(request->crew);
	return crew ? path_format("%s%s", VM_IDENTITY_LOOPBACK, crew) : NULL;
}

static int prepare_identity(struct prepare *p, struct agent *agent, const struct request *request,
	const struct prepare_vm *vm)
{
	autofree char *hosts = prepare_hosts(request, vm);
	struct identity message = {
		.hostname = vm->hostname,
		.machine_id = vm->identity->machine_id,
		.hosts = hosts,
		.entropy = {vm->identity->entropy, sizeof(vm->identity->entropy)},
		/* A guest that has booted has one of its own. */
		.boot_id = vm->is_clone ? vm->identity->boot_id : "",
		.ssh_key = vm->identity->ssh_key,
		.ssh_public_key = vm->identity->ssh_public_key,
	};

	if (!hosts)
		return -ENOMEM;
	return prepare_send(p, agent, strdup("set the VM's identity"), FRAME_IDENTITY,
		identity_fields, &message);
}

static int prepare_network(struct prepare *p, struct agent *agent, const struct request *request,
	const struct prepare_vm *vm)
{
	static const char *nameservers[] = {USERNET_NAMESERVER, NULL};
	struct network_request message = {.mac = ""};

	if (request->network == VM_NETWORK_USER)
		message = (struct network_request){
			.address = USERNET_ADDRESS,
			.prefix = USERNET_PREFIX,
			.gateway = USERNET_GATEWAY,
			.mtu = vm->user_mtu,
			.nameservers = nameservers,
		};
	if (request->network == VM_NETWORK_TAP)
		message = (struct network_request){
			.address = vm->card->address,
			.prefix = vm->card->prefix,
			.gateway = vm->card->gateway,
			.address6 = vm->card->address6,
			.prefix6 = vm->card->prefix6,
			.gateway6 = vm->card->gateway6,
			.mtu = vm->card->mtu,
			.nameservers = (const char **)(uintptr_t)vm->card->nameservers,
		};
	if (request->network != VM_NETWORK_NONE) {
		message.mac = vm->mac;
		message.card = vm->is_clone ? VM_TEMPLATE_MAC : "";
	}
	return prepare_send(p, agent, strdup("set up the network"), FRAME_NETWORK,
		network_request_fields, &message);
}

static int prepare_mount(
	struct prepare *p, struct agent *agent, const struct mount_request *message)
{
	return prepare_send(p, agent, path_format("mount '%s'", message->target), FRAME_MOUNT,
		mount_request_fields, message);
}

static bool is_shared(const struct request *request, const char *directory)
{
	for (size_t i = 0; i < request->shares.count; i++)
		if (path_is_below(directory, request->shares.items[i].target))
			return true;
	return false;
}

/* The scratch disk is the VM's /tmp too, unless the user shares the host's. */
static int prepare_scratch(struct prepare *p, struct agent *agent, const struct request *request)
{
	struct mount_request disk = {
		.type = "ext4",
		.source = "virtio-" VM_SCRATCH_SERIAL,
		.target = PREPARE_SCRATCH,
		.flags = MOUNT_NOSUID | MOUNT_NODEV | MOUNT_OWNED,
		.mode = 01777,
	};
	struct mount_request tmp = {
		.type = "none", .source = PREPARE_SCRATCH, .target = "/tmp", .flags = MOUNT_BIND};
	int r;

	if (request->scratch_bytes == 0)
		return 0;
	r = prepare_mount(p, agent, &disk);
	if (r < 0 || is_shared(request, "/tmp"))
		return r;
	return prepare_mount(p, agent, &tmp);
}

/* One that is read only may be as a VM left it that was killed: its journal cannot be played. */
static int prepare_volumes(struct prepare *p, struct agent *agent, const struct request *request)
{
	char source[48];
	int r = 0;

	for (size_t i = 0; i < request->volumes.count && r == 0; i++) {
		const struct volume_request *v = &request->volumes.items[i];
		const struct mount_request message = {
			.type = "ext4",
			.source = source,
			.target = v->target,
			.options = v->read_only ? "noload" : NULL,
			.flags = MOUNT_NOSUID | MOUNT_NODEV | (v->read_only ? MOUNT_READ_ONLY : 0u),
		};

		snprintf(source, sizeof(source), "virtio-" VM_VOLUME_SERIAL "%zu", i);
		r = prepare_mount(p, agent, &message);
	}
	return r;
}

static int prepare_shares(struct prepare *p, struct agent *agent, const struct share_list *shares)
{
	int r = 0;

	for (size_t i = 0; i < shares->count && r == 0; i++) {
		const struct vm_share *share = &shares->items[i];
		struct mount_request message;
		struct gateway_mount texts;

		share->gateway->fill_mount(
			share, gateway_index(shares->items, i), &texts, &message);
		r = prepare_mount(p, agent, &message);
		p->steps[p->sent - 1].is_share = true;
	}
	return r;
}

static int prepare_account(struct prepare *p, struct agent *agent, const struct request *request)
{
	struct account message;

	caller_fill_account(request->caller, &message);
	return prepare_send(p, agent, strdup("make the user's account"), FRAME_ACCOUNT,
		account_fields, &message);
}

/* A file of any length, the user's own; `what` is for who reads that it could not be written. */
static int prepare_file(struct prepare *p, struct agent *agent, const struct request *request,
	const struct crew_file *file, const char *what)
{
	size_t done = 0;
	int r = 0;

	while (r == 0 && done < file->length) {
		const struct file_write piece = {
			.path = file->path,
			.mode = file->mode,
			.uid = request->caller->uid,
			.gid = request->caller->gid,
			.append = done > 0,
			.data = {(const uint8_t *)file->data + done,
				(uint32_t)MIN_OF(file->length - done, (size_t)SCRIPT_PIECE)},
		};
		r = prepare_send(
			p, agent, strdup(what), FRAME_FILE_WRITE, file_write_fields, &piece);
		done += SCRIPT_PIECE;
	}
	return r;
}

/* How it finds the others, and starts processes there. */
static int prepare_crew(struct prepare *p, struct agent *agent, const struct request *request)
{
	struct crew_file files[CREW_FILES];
	struct error err = {0};
	int r = request->crew ? crew_files(request->crew, files, &err) : 0;

	for (size_t i = 0; request->crew && i < CREW_FILES && r == 0; i++)
		r = prepare_file(p, agent, request, &files[i], "bring what the job's VMs share");
	if (err.code < 0)
		log_error("%s", err.text);
	if (request->crew)
		crew_files_done(files);
	return r;
}

/* A batch script is on the host only, in a directory of the batch system. */
static int prepare_script(struct prepare *p, struct agent *agent, const struct request *request)
{
	autofree char *loaded = NULL;
	const char *text = request->errand;
	size_t length = text ? strlen(text) : 0;
	int r = request->script
			? file_read(AT_FDCWD, request->script, PREPARE_SCRIPT_MAX, &loaded, &length)
			: 0;

	const struct crew_file file = {.path = PREPARE_SCRIPT,
		.mode = 0700,
		.data = request->script ? loaded : (char *)(uintptr_t)text,
		.length = length};

	if (length > PREPARE_SCRIPT_MAX)
		return -EFBIG;
	return r < 0 ? r : prepare_file(p, agent, request, &file, "bring the job's script");
}

/* Nobody is there any more for the answers to what was sent already. */
static int prepare_cancel(struct prepare *p, struct agent *agent, int error)
{
	for (size_t i = 0; i < p->sent; i++)
		if (p->steps[i].call > 0)
			agent_cancel_call(agent, (uint32_t)p->steps[i].call);
	return error;
}

int prepare_start(struct agent *agent, const struct request *request, const struct prepare_vm *vm,
	prepare_fn done, void *userdata, struct prepare **ret)
{
	struct prepare *p AUTO(prepare_freep) = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->agent = agent;
	p->done = done;
	p->userdata = userdata;
	r = prepare_clock(p, agent);
	if (r == 0)
		r = prepare_identity(p, agent, request, vm);
	if (r == 0)
		r = prepare_network(p, agent, request, vm);
	if (r == 0)
		r = prepare_scratch(p, agent, request);
	if (r == 0)
		r = prepare_shares(p, agent, vm->shares);
	if (r == 0)
		r = prepare_volumes(p, agent, request);
	/* Last: the home directory is made only if no share has brought it. */
	if (r == 0)
		r = prepare_account(p, agent, request);
	if (r == 0)
		r = prepare_script(p, agent, request);
	if (r == 0)
		r = prepare_crew(p, agent, request);
	if (r < 0)
		return prepare_cancel(p, agent, r);
	*ret = TAKE_PTR(p);
	return 0;
}

struct prepare *prepare_free(struct prepare *p)
{
	if (!p)
		return NULL;
	for (size_t i = 0; i < p->sent; i++)
		free(p->steps[i].what);
	free(p);
	return NULL;
}
