/* The initrd's list is loaded by system call alone: under emulation one fork and exec costs as much
 * as loading five modules. Later, file systems need nothing from us: mount(2) lets the kernel run
 * modprobe itself. Only drivers of hot-plugged devices are ours, where no udev runs.
 */
#include "guest/module.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "guest/call.h"
#include "guest/console.h"
#include "guest/disk.h"

#define MODULE_LIST_MAX   (64 * 1024)
#define MODULE_TIMEOUT_MS 10000
#define MODULE_NAMES_MAX  32

static int module_load(const char *path)
{
	int fd autoclose = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

void module_load_list(const char *list)
{
	char *text autofree = NULL, *save = NULL;
	ssize_t n = disk_load(list, MODULE_LIST_MAX, &text);
	int r;

	if (n < 0) {
		if (n != -ENOENT)
			console_print("cannot read '%s': %s", list, strerror((int)-n));
		return;
	}
	for (char *path = strtok_r(text, "\n", &save); path; path = strtok_r(NULL, "\n", &save)) {
		r = module_load(path);
		if (r < 0)
			console_print("cannot load module '%s': %s", path, strerror(-r));
	}
}

int module_require_device(struct module *m, const char *name, const char *device)
{
	const char *const argv[] = {"modprobe", "-q", "-b", name, NULL};
	char path[PATH_MAX];

	if (program_runs(&m->program))
		return CALL_AGAIN;
	if (access(device, F_OK) == 0 || streq(m->name, name))
		return 0;
	snprintf(m->name, sizeof(m->name), "%s", name);
	if (program_find("", "modprobe", path, sizeof(path)) < 0)
		return 0;
	console_debug("modprobe %s", name);
	return program_start(&m->program, path, argv, MODULE_TIMEOUT_MS) < 0 ? 0 : CALL_AGAIN;
}

int module_require_driver(struct module *m, const char *driver)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/bus/virtio/drivers/%s", driver);
	return module_require_device(m, driver, path);
}

/* Names only: an option would be one for modprobe. */
static bool name_is_valid(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	size_t n = strlen(name);

	return n > 0 && n < MODULE_NAME_SIZE && name[0] != '-' && strspn(name, allowed) == n;
}

int module_load_all(
	struct program *p, const char *root, const char *const *names, struct error *err)
{
	const char *argv[4 + MODULE_NAMES_MAX + 1] = {"modprobe", "-q", "-b", "-a"};
	char path[PATH_MAX];
	size_t n = 0;
	int r;

	for (; names[n]; n++) {
		if (n >= MODULE_NAMES_MAX)
			return fail(err, -E2BIG, "more than %d modules", MODULE_NAMES_MAX);
		if (!name_is_valid(names[n]))
			return fail(err, -EINVAL, "'%s' is no name of a module", names[n]);
		argv[4 + n] = names[n];
	}
	if (n == 0 || program_find(root, "modprobe", path, sizeof(path)) < 0)
		return 0;
	r = program_start(p, path, argv, MODULE_TIMEOUT_MS);
	return r < 0 ? fail_errno(err, r, "cannot run '%s'", path) : 0;
}
