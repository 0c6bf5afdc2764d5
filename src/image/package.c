#include "image/package.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "config.h"
#include "lib/file.h"
#include "lib/path.h"

#define PACKAGE_AGENT_DIR "usr/libexec/wnodes"
#define PACKAGE_UNIT_DIR  "lib/systemd/system"
#define PACKAGE_WANTS_DIR PACKAGE_UNIT_DIR "/sysinit.target.wants"
#define PACKAGE_AGENT     "wnodes-guest"
#define PACKAGE_UNIT      "wnodes-guest.service"

static const char package_control[] =
	"Package: wnodes-image\n"
	"Version: " WNODES_VERSION "\n"
	"Architecture: amd64\n"
	"Maintainer: WNoDeS <root@localhost>\n"
	"Section: misc\n"
	"Priority: optional\n"
	"Provides: linux-initramfs-tool\n"
	"Description: guest agent of WNoDeS\n"
	" Runs commands in this virtual machine for the batch job that it belongs to.\n"
	" The machine starts from an initial file system that WNoDeS keeps beside the\n"
	" disk, so none is made here.\n";

static int copy_into(int from_dir, const char *name, int to_dir, const char *to, mode_t mode)
{
	autoclose int in = openat(from_dir, name, O_RDONLY | O_CLOEXEC);
	autoclose int out = -1;

	if (in < 0)
		return -errno;
	out = openat(to_dir, to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (out < 0 || fchmod(out, mode) < 0)
		return -errno;
	return file_copy(in, out, NULL, NULL);
}

static int make_directories(const char *scratch, bool systemd, struct error *err)
{
	static const char *const names[] = {
		"DEBIAN", PACKAGE_AGENT_DIR, PACKAGE_UNIT_DIR, PACKAGE_WANTS_DIR};

	for (size_t i = 0; i < ARRAY_SIZE(names) - (systemd ? 0 : 2); i++) {
		autofree char *path = path_format("%s/%s", scratch, names[i]);
		int r = path ? file_make_dirs(path, 0755) : -ENOMEM;

		if (r < 0)
			return fail_errno(err, r, "cannot make '%s/%s'", scratch, names[i]);
	}
	return 0;
}

static int fill_tree(int dir_fd, const char *libexec, bool systemd, struct error *err)
{
	autoclose int from = open(libexec, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = from < 0 ? -errno : 0;

	if (r >= 0)
		r = copy_into(
			from, PACKAGE_AGENT, dir_fd, PACKAGE_AGENT_DIR "/" PACKAGE_AGENT, 0755);
	if (r < 0)
		return fail_errno(
			err, r, "cannot copy the guest agent '%s/" PACKAGE_AGENT "'", libexec);
	if (systemd) {
		r = copy_into(from, PACKAGE_UNIT, dir_fd, PACKAGE_UNIT_DIR "/" PACKAGE_UNIT, 0644);
		if (r >= 0 && symlinkat("../" PACKAGE_UNIT, dir_fd,
				      PACKAGE_WANTS_DIR "/" PACKAGE_UNIT) < 0)
			r = -errno;
		if (r < 0)
			return fail_errno(err, r,
				"cannot copy the agent's unit '%s/" PACKAGE_UNIT "'", libexec);
	}
	r = file_replace(
		dir_fd, "DEBIAN/control", package_control, sizeof(package_control) - 1, 0644);
	return r < 0 ? fail_errno(err, r, "cannot write the package's control file") : 0;
}

int package_write(const struct runner *runner, const char *path, const char *scratch,
	const char *libexec, bool systemd, struct error *err)
{
	const char *const argv[] = {
		"dpkg-deb", "--root-owner-group", "-Znone", "--build", scratch, path, NULL};
	autoclose int dir_fd = -1;
	int r = make_directories(scratch, systemd, err);

	if (r < 0)
		return r;
	/* dpkg-deb wants this mode, whatever the umask */
	if (chmod(scratch, 0755) < 0)
		return fail_errno(err, -errno, "cannot make '%s'", scratch);
	dir_fd = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return fail_errno(err, -errno, "cannot open '%s'", scratch);
	r = fill_tree(dir_fd, libexec, systemd, err);
	return r < 0 ? r : runner_run(runner, argv, err);
}
