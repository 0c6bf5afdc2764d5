/* Clones across users: what the daemon of a node will do for jobs of several users.
 *
 *   sealed IMAGE UID...
 *
 * As root: copies the memory of IMAGE's template (which must be there) into a memfd, seals it, and
 * lets each uid first try to change it, then run a clone from it. All clones run at the same time.
 * At the end the memory must be what it was. Prints a line for each thing that holds; the exit
 * status is 1 if one does not. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "engine/settings.h"
#include "engine/shape.h"
#include "lib/clock.h"
#include "vm/memory.h"
#include "vm/overlay.h"
#include "vm/vm.h"

#define USERS_MAX 8
#define LIFE_US   (60 * UINT64_C(1000000))
#define LINGER_US (2 * UINT64_C(1000000)) /* so that all run side by side */
#define MIB       UINT64_C(1048576)

struct site {
	struct settings settings;
	struct resources resources;
	struct shape shape;
	char key[DIGEST_HEX_SIZE];
	struct template *template; /* of this clone: the state is read from a descriptor's offset */
	int memory_fd;             /* sealed */
	char before[DIGEST_HEX_SIZE];
};

static int report(bool ok, const char *what, uid_t uid)
{
	printf("%s - %s (uid %u)\n", ok ? "ok" : "not ok", what, uid);
	fflush(stdout);
	return ok ? 0 : 1;
}

static int site_open(struct site *s, const char *image, struct error *err)
{
	autofree char *directory = local_templates();
	bool trial;
	int r = settings_load(&s->settings, err);

	if (r < 0)
		return r;
	s->resources = (struct resources)RESOURCES_INIT;
	s->shape = (struct shape){
		.accel = accel_parse(s->settings.accel),
		.cpus = s->settings.cpus,
		.memory_mib = s->settings.memory / MIB,
		.network = streq(s->settings.network, "user") ? VM_NETWORK_USER : VM_NETWORK_NONE,
		.slots = shape_slots(2),
	};
	if (s->shape.accel == ACCEL_AUTO)
		s->shape.accel = accel_choose(s->settings.qemu, &trial);
	r = local_open_image(image, s->shape.cpus, s->shape.memory_mib, &s->resources, err);
	if (r == 0)
		r = shape_key(&s->shape, &s->resources, &s->settings, s->key, err);
	if (r == 0)
		r = template_open(directory, s->key, &s->template, err);
	if (r < 0)
		return r;
	s->memory_fd = memory_copy(s->template->memory_fd, err);
	r = s->memory_fd < 0 ? s->memory_fd : memory_seal(s->memory_fd, err);
	return r < 0 ? r : digest_file(s->memory_fd, s->before);
}

static int become(uid_t uid)
{
	if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
		return -errno;
	/* Else /proc/self/fd would still be root's. */
	return prctl(PR_SET_DUMPABLE, 1) < 0 ? -errno : 0;
}

/* Everything by which a user who was given the descriptor could change what others will map. */
static int try_to_change(int fd, uid_t uid)
{
	autofree char *name = NULL;
	autoclose int again = -1;
	int bad = 0;

	if (asprintf(&name, "/proc/self/fd/%d", fd) < 0)
		return 1;
	again = open(name, O_RDWR | O_CLOEXEC);
	bad += report(again >= 0, "the sealed memory can be opened as QEMU opens it", uid);
	bad += report(pwrite(again, "x", 1, 4096) < 0 && errno == EPERM, "a write is refused", uid);
	bad += report(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0) == MAP_FAILED,
		"a shared mapping for writing is refused", uid);
	bad += report(ftruncate(again, 4096) < 0 && errno == EPERM, "a truncation is refused", uid);
	bad += report(fallocate(again, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) < 0,
		"a hole is refused", uid);
	bad += report(fcntl(again, F_ADD_SEALS, 0) < 0 && errno == EPERM,
		"no seal can be added or taken away", uid);
	return bad;
}

struct clone {
	sd_event *event;
	bool answered;
};

static int on_linger_end(sd_event_source *source, uint64_t usec, void *userdata)
{
	return sd_event_exit(userdata, 0);
}

static void on_agent(const struct hello_guest *hello, void *userdata)
{
	struct clone *clone = userdata;

	clone->answered = true;
	sd_event_add_time_relative(
		clone->event, NULL, CLOCK_MONOTONIC, LINGER_US, 0, on_linger_end, clone->event);
}

static void on_end(const struct vm_end *end, void *userdata)
{
	struct clone *clone = userdata;

	if (!clone->answered)
		printf("# %s\n", end->reason);
	sd_event_exit(clone->event, 0);
}

static int run_clone(const struct site *s, int overlay_fd, uid_t uid)
{
	static const struct vm_callbacks callbacks = {on_agent, on_end};
	struct vm *vm AUTO(vm_freep) = NULL;
	struct clone clone = {0};
	struct error err = {0};
	struct vm_spec spec;

	if (sd_event_new(&clone.event) < 0)
		return 1;
	shape_fill_spec(&s->shape, &s->resources, &s->settings, VM_START_CLONE, &spec);
	spec.name = "clone";
	spec.network = s->shape.network;
	spec.memory_fd = s->memory_fd;
	spec.memory_private = true;
	spec.state_fd = s->template->state_fd;
	spec.template_overlay_fd = s->template->overlay_fd;
	spec.overlay_fd = overlay_fd;
	sd_event_add_time_relative(
		clone.event, NULL, CLOCK_MONOTONIC, LIFE_US, 0, on_linger_end, clone.event);
	if (vm_start(clone.event, &spec, &callbacks, &clone, &vm, &err) < 0)
		printf("# %s\n", err.text);
	else
		sd_event_loop(clone.event);
	return report(clone.answered, "a clone of the sealed memory answers", uid);
}

static int run_user(struct site *s, uid_t uid)
{
	autofree char *directory = local_templates();
	struct error err = {0};
	int overlay_fd = overlay_open("/tmp", s->resources.manifest->disk_size, &err);

	if (template_open(directory, s->key, &s->template, &err) < 0 || overlay_fd < 0 ||
		become(uid) < 0)
		return report(false, "the user can be become", uid);
	return try_to_change(s->memory_fd, uid) + run_clone(s, overlay_fd, uid);
}

int main(int argc, char **argv)
{
	struct site site = {0};
	struct error err = {0};
	char after[DIGEST_HEX_SIZE] = "";
	pid_t pids[USERS_MAX];
	int bad = 0, users = argc - 2, status;

	if (users < 1 || users > USERS_MAX || site_open(&site, argv[1], &err) < 0) {
		fprintf(stderr, "%s\n", err.text[0] ? err.text : "usage: sealed IMAGE UID...");
		return 2;
	}
	for (int i = 0; i < users; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			_exit(run_user(&site, (uid_t)atoi(argv[i + 2])) > 0);
	}
	for (int i = 0; i < users; i++)
		bad += waitpid(pids[i], &status, 0) < 0 || status != 0;
	digest_file(site.memory_fd, after);
	bad += report(streq(after, site.before), "the memory is what it was", getuid());
	return bad > 0;
}
