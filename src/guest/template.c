/* A template is a guest at rest: booted, its drivers loaded, what the first command needs in its
 * page cache, nothing of it left to be written. The steps to there are a list, each begun when the
 * program of the one before has ended, so that the loop serves a shutdown meanwhile.
 */
#include "guest/template.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/ioctl.h>

#include "guest/account.h"
#include "guest/call.h"
#include "guest/console.h"
#include "guest/disk.h"
#include "guest/guest.h"
#include "guest/identity.h"
#include "guest/network.h"
#include "guest/now.h"

/* From linux/fs.h, which musl's compiler does not find. */
#ifndef FIFREEZE
#define FIFREEZE _IOWR('X', 119, int)
#define FITHAW   _IOWR('X', 120, int)
#endif

/* By which QEMU says that the generation id has changed: _E05 of its tables. */
#define GENERATION_EVENT    "/sys/firmware/acpi/interrupts/gpe05"
#define GENERATION_DELAY_MS 1000

#define TEMPLATE_BOOT_MS  120000
#define TEMPLATE_WARM_MS  10000
#define TEMPLATE_FLUSH_MS 60000
#define TEMPLATE_TICK_MS  10

/* 16, 24, 32, 48, 64 ... 4096 bytes. */
#define WARM_SIZES 17

/* Freezing writes all that the file system keeps in memory, its superblock included. It need not
 * stay frozen: nothing runs that would write, and thawing a clone took 25 ms of its start. */
static void root_flush(void)
{
	int fd autoclose = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	sync();
	/* Some file systems cannot; they are flushed at least. */
	if (fd >= 0 && ioctl(fd, FIFREEZE, 0) == 0)
		ioctl(fd, FITHAW, 0);
}

static int template_run(struct guest *g, const char *const *argv, int64_t timeout_ms)
{
	char path[PATH_MAX];

	if (program_find(g->root, argv[0], path, sizeof(path)) < 0)
		return 0;
	console_debug("quiesce: %s", argv[0]);
	return program_start(&g->template.program, path, argv, timeout_ms);
}

/* Services that are still starting would do so again in each clone. */
static int step_wait_boot(struct guest *g)
{
	static const char *const argv[] = {"systemctl", "is-system-running", "--wait", NULL};

	return g->is_init ? 0 : template_run(g, argv, TEMPLATE_BOOT_MS);
}

/* The shell, the loader and the C library come into the page cache. */
static int step_warm_shell(struct guest *g)
{
	static const char *const argv[] = {"sh", "-c", ":", NULL};

	return template_run(g, argv, TEMPLATE_WARM_MS);
}

static int step_warm_bash(struct guest *g)
{
	static const char *const argv[] = {"bash", "-c", ":", NULL};

	return template_run(g, argv, TEMPLATE_WARM_MS);
}

static int step_warm_program(struct guest *g)
{
	static const char *const argv[] = {"env", "true", NULL};

	return template_run(g, argv, TEMPLATE_WARM_MS);
}

/* Whoever looks for a program reads the directories before the right one from the disk. */
static int step_warm_path(struct guest *g)
{
	static const char *const directories[] = {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin",
		"/usr/bin", "/sbin", "/bin", "/etc", "/lib64", "/usr/lib/x86_64-linux-gnu"};
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		DIR *dir = disk_path(path, sizeof(path), g->root, directories[i]) == 0
				   ? opendir(path)
				   : NULL;

		while (dir && readdir(dir))
			;
		if (dir)
			closedir(dir);
	}
	return 0;
}

/* The C library asks the kernel for memory of each size that it has none of, and gives it back when
 * all of that size is free. One piece of each stays in use, so that no clone begins with that. */
static int step_warm_memory(struct guest *g)
{
	static void *kept[WARM_SIZES];
	size_t size = 16;

	for (size_t i = 0; i < WARM_SIZES; i++, size += i % 2 ? size / 3 : size / 2)
		if (!kept[i])
			kept[i] = malloc(size);
	return 0;
}

static int step_warm_devices(struct guest *g)
{
	char unused[PATH_MAX];

	mounts_learn(&g->mounts);
	mount_find_device("virtio-none", unused, sizeof(unused));
	if (g->is_init && g->may_power_off)
		network_warm();
	return 0;
}

static int step_sshfs(struct guest *g)
{
	return sshfs_start_spares(g);
}

static int step_spare(struct guest *g)
{
	return spare_start(&g->spare);
}

static bool generation_write(const char *word)
{
	int fd autoclose = open(GENERATION_EVENT, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, word, strlen(word)) > 0;
}

/* Services of another init would go on with old randomness until the agent has its turn. */
static int step_mask_generation(struct guest *g)
{
	if (g->is_init && g->may_power_off)
		g->template.masked = generation_write("mask\n");
	return 0;
}

void template_on_identity(struct template *t)
{
	if (t->masked)
		t->unmask_at = now_ms() + GENERATION_DELAY_MS;
	t->masked = false;
}

static void generation_tick(struct template *t)
{
	if (t->unmask_at == 0 || now_ms() < t->unmask_at)
		return;
	t->unmask_at = 0;
	generation_write("unmask\n");
}

static int flush_do(void *argument)
{
	const struct guest *g = argument;

	identity_rehearse(g->root);
	account_rehearse(g->root);
	/* Where the agent may not switch off the machine, the rest is somebody else's. */
	if (!g->may_power_off)
		return 0;
	boot_id_rehearse();
	root_flush();
	return 0;
}

static int step_flush(struct guest *g)
{
	return program_call(&g->template.program, flush_do, g, TEMPLATE_FLUSH_MS);
}

static int (*const template_steps[])(struct guest *g) = {
	step_wait_boot,
	step_warm_shell,
	step_warm_bash,
	step_warm_program,
	step_warm_path,
	step_warm_memory,
	step_warm_devices,
	step_mask_generation,
	step_sshfs,
	step_spare,
	step_flush,
};

/* What a user's command or share left in the memory would be in every clone. */
static int template_check(const struct guest *g, struct error *err)
{
	if (g->streams.count > 0 || g->mounts.count > 0)
		return fail(err, -EBUSY, "the VM is in use: %zu commands, %zu mounts",
			(size_t)g->streams.count, g->mounts.count);
	return 0;
}

int template_on_call(const struct call *c)
{
	const struct quiesce *x = c->message;
	struct guest *g = c->guest;
	struct template *t = &g->template;
	int r = template_check(g, c->err);

	if (r < 0)
		return r;
	if (t->busy)
		return fail(c->err, -EBUSY, "another QUIESCE is under way");
	r = module_load_all(
		&t->program, g->root, (const char *const *)(uintptr_t)x->drivers, c->err);
	if (r < 0)
		return r;
	t->busy = true;
	t->id = c->id;
	t->step = 0;
	return CALL_LATER;
}

static int template_finish(struct guest *g, struct error *err)
{
	g->template.busy = false;
	if (err->code == 0)
		template_check(g, err);
	console_debug("quiesce: %s", err->code < 0 ? err->text : "done");
	return link_send_reply(&g->link, g->template.id, err, NULL);
}

int template_tick(struct guest *g)
{
	struct template *t = &g->template;
	struct error err = {0};
	int r;

	generation_tick(t);
	while (t->busy && !program_runs(&t->program) && g->power.state == POWER_ON) {
		if (t->step == ARRAY_SIZE(template_steps)) {
			if (t->program.status != 0)
				fail(&err, -ETIMEDOUT, "the file systems cannot be flushed");
			return template_finish(g, &err);
		}
		r = template_steps[t->step](g);
		if (r == CALL_AGAIN)
			return 0;
		t->step++;
		if (r < 0) {
			fail_errno(&err, r, "cannot start a program");
			return template_finish(g, &err);
		}
	}
	if (t->busy && t->program.pid == 0 && g->power.state != POWER_ON) {
		fail(&err, -ESHUTDOWN, "the VM is shutting down");
		return template_finish(g, &err);
	}
	return 0;
}

void template_poll(const struct guest *g, struct pollset *set)
{
	if (g->template.busy && g->template.program.pid > 0)
		pollset_wake(set, g->template.program.deadline - now_ms());
	if (g->template.busy && g->template.program.pid == 0)
		pollset_wake(set, TEMPLATE_TICK_MS);
	if (g->template.unmask_at > 0)
		pollset_wake(set, MAX_OF(g->template.unmask_at - now_ms(), INT64_C(0)));
}
