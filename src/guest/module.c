/* The initrd's list is loaded by system call alone: under emulation one fork and exec costs as much
 * as loading five modules. Later, file systems need nothing from us: mount(2) lets the kernel run
 * modprobe itself. Only drivers of hot-plugged devices are ours, where no udev runs.
 */
#include "guest/module.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "guest/call.h"
#include "guest/console.h"
#include "guest/disk.h"
#include "guest/now.h"

#define MODULE_LIST_MAX   (64 * 1024)
#define MODULE_TIMEOUT_MS 10000

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

static bool driver_exists(const char *driver)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/bus/virtio/drivers/%s", driver);
	return access(path, F_OK) == 0;
}

static const char *modprobe_path(void)
{
	static const char *const paths[] = {"/sbin/modprobe", "/usr/sbin/modprobe"};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (access(paths[i], X_OK) == 0)
			return paths[i];
	return NULL;
}

static pid_t modprobe_start(const char *path, const char *name)
{
	pid_t pid = fork();
	sigset_t none;

	if (pid == 0) {
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		execl(path, path, "-q", "-b", name, (char *)NULL);
		_exit(127);
	}
	return pid;
}

int module_require_driver(struct module *m, const char *driver)
{
	const char *path;

	if (m->pid > 0 && now_ms() < m->deadline)
		return CALL_AGAIN;
	if (m->pid > 0)
		kill(m->pid, SIGKILL);
	m->pid = 0;
	if (driver_exists(driver) || streq(m->name, driver))
		return 0;
	path = modprobe_path();
	snprintf(m->name, sizeof(m->name), "%s", driver);
	if (!path)
		return 0;
	console_debug("modprobe %s", driver);
	m->pid = MAX_OF(modprobe_start(path, driver), 0);
	m->deadline = now_ms() + MODULE_TIMEOUT_MS;
	return m->pid > 0 ? CALL_AGAIN : 0;
}

bool module_on_exit(struct module *m, pid_t pid, int status)
{
	if (m->pid == 0 || pid != m->pid)
		return false;
	if (status != 0)
		console_debug("modprobe %s failed", m->name);
	m->pid = 0;
	return true;
}
