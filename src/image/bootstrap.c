#include "image/bootstrap.h"

#include <errno.h>

#include "image/apt.h"

/* Every image has them: a kernel, what loads its modules on demand, and what users of a batch
 * system take for granted. */
static const char *const packages_always[] = {"ca-certificates", "e2fsprogs", "kmod", "procps"};
static const char *const packages_systemd[] = {"systemd", "systemd-sysv", "dbus"};
static const char package_kernel[] = "linux-image-amd64";

/* Not unpacked: documentation (but for the licences), translations, and drivers of hardware that no
 * VM has. It halves the image. The rules stay in the image, for what is installed there later. */
static const char *const path_rules[] = {
	"path-exclude=/usr/share/doc/*",
	"path-include=/usr/share/doc/*/copyright",
	"path-exclude=/usr/share/man/*",
	"path-exclude=/usr/share/info/*",
	"path-exclude=/usr/share/lintian/*",
	"path-exclude=/usr/share/locale/*",
	"path-include=/usr/share/locale/locale.alias",
	"path-exclude=*/lib/modules/*/kernel/sound/*",
	"path-exclude=*/lib/modules/*/kernel/net/bluetooth/*",
	"path-exclude=*/lib/modules/*/kernel/net/mac80211/*",
	"path-exclude=*/lib/modules/*/kernel/drivers/bluetooth/*",
	"path-exclude=*/lib/modules/*/kernel/drivers/comedi/*",
	"path-exclude=*/lib/modules/*/kernel/drivers/gpu/*",
	"path-exclude=*/lib/modules/*/kernel/drivers/hid/*",
	"path-exclude=*/lib/modules/*/kernel/drivers/hwmon/*",
	"path-exclude=*/lib/modules/*/kernel/drivers/iio/*",
	"path-exclude=*/lib/modules/*/kernel/drivers/media/*",
	"path-exclude=*/lib/modules/*/kernel/drivers/mmc/*",
	"path-exclude=*/lib/modules/*/kernel/drivers/mtd/*",
	"path-exclude=*/lib/modules/*/kernel/drivers/net/wireless/*",
	"path-exclude=*/lib/modules/*/kernel/drivers/platform/*",
	"path-exclude=*/lib/modules/*/kernel/drivers/staging/*",
	"path-exclude=*/lib/modules/*/kernel/drivers/usb/*",
	"path-exclude=*/lib/modules/*/kernel/drivers/video/*",
};

/* What makes one machine different from another, and what was only needed to build. The agent
 * writes the real names, addresses and keys into each VM. */
const char bootstrap_clean[] =
	"rm -f vmlinuz* initrd.img* etc/ssh/ssh_host_* etc/machine-id etc/resolv.conf"
	" var/log/apt/* var/log/*.log var/cache/debconf/*-old var/lib/dpkg/*-old"
	" var/lib/systemd/random-seed &&"
	" : >etc/machine-id && : >etc/resolv.conf && echo localhost >etc/hostname &&"
	" { [ -e etc/hosts ] || echo '127.0.0.1 localhost' >etc/hosts; }";

static bool has_kernel(const char *const *packages)
{
	for (size_t i = 0; packages && packages[i]; i++)
		if (str_after(packages[i], "linux-image-"))
			return true;
	return false;
}

static int add_packages(const struct bootstrap *b, struct strv *argv, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(packages_always); i++)
		strv_add_format(argv, "--include=%s", packages_always[i]);
	for (size_t i = 0; b->systemd && i < ARRAY_SIZE(packages_systemd); i++)
		strv_add_format(argv, "--include=%s", packages_systemd[i]);
	if (!has_kernel(b->packages))
		strv_add_format(argv, "--include=%s", package_kernel);
	for (size_t i = 0; b->packages && b->packages[i]; i++) {
		if (!apt_package_is_valid(b->packages[i]))
			return fail(err, -EINVAL, "'%.100s' is not the name of a Debian package",
				b->packages[i]);
		strv_add_format(argv, "--include=%s", b->packages[i]);
	}
	return 0;
}

static void add_hooks(const struct bootstrap *b, struct strv *argv)
{
	strv_add_format(argv, "--essential-hook=copy-in %s /", b->package);
	strv_add_format(argv, "--essential-hook=chroot \"$1\" dpkg --install /%s && rm \"$1/%s\"",
		b->package, b->package);
	if (b->script) {
		strv_add_format(argv, "--customize-hook=copy-in %s /", b->script);
		strv_add_format(argv,
			"--customize-hook=chmod 0755 \"$1/%s\"; chroot \"$1\" /%s || exit;"
			" rm \"$1/%s\"",
			b->script, b->script, b->script);
	}
	strv_add_format(argv, "--customize-hook=cd \"$1\" && %s", bootstrap_clean);
}

int bootstrap_command(const struct bootstrap *b, struct strv *ret_argv, struct error *err)
{
	struct strv lines AUTO(strv_done) = {0};
	int r = apt_sources(b->suite, b->mirrors, &lines, err);

	if (r < 0)
		return r;
	strv_add_all(ret_argv, "mmdebstrap", "--variant=minbase", "--format=tar",
		"--architectures=amd64", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(path_rules); i++)
		strv_add_format(ret_argv, "--dpkgopt=%s", path_rules[i]);
	r = add_packages(b, ret_argv, err);
	if (r < 0)
		return r;
	add_hooks(b, ret_argv);
	strv_add_all(ret_argv, b->suite, b->output, NULL);
	for (size_t i = 0; i < lines.count; i++)
		strv_add(ret_argv, lines.items[i]);
	return ret_argv->failed || lines.failed ? fail(err, -ENOMEM, "out of memory") : 0;
}

int bootstrap_run(const struct bootstrap *b, const struct runner *runner, struct error *err)
{
	struct strv argv AUTO(strv_done) = {0};
	int r = bootstrap_command(b, &argv, err);

	if (r < 0)
		return r;
	r = runner_run(runner, strv_list(&argv), err);
	if (r == -ENOENT)
		return fail(err, r, "mmdebstrap is not installed; apt-get install mmdebstrap");
	return r;
}
