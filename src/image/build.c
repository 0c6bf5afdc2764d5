/* The steps, in a locked directory of the store:
 *
 *   agent.deb    -> mmdebstrap -> root.tar -> tree/ -> disk
 *                                    |          +----> initrd
 *                                    +-> boot/ ------> kernel
 *
 * Nothing is mounted and no loop device is used, so it works for any user.
 */
#include "image/build.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "image/bootparts.h"
#include "image/bootstrap.h"
#include "image/disk.h"
#include "image/package.h"
#include "image/recipe_script.h"
#include "image/rootfs.h"
#include "image/runner.h"
#include "image/tools.h"
#include "image/workshop.h"
#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/path.h"

#define BUILD_MIN_MEMORY_MIB 256
#define BUILD_PARTS          3

/* Names in the working directory; they appear in shell commands, so they are plain words. */
#define BUILD_PACKAGE "wnodes-image.deb"
#define BUILD_SCRIPT  "wnodes-build-script"
#define BUILD_ARCHIVE "root.tar"

struct build {
	const struct build_request *request;
	struct store *store;
	struct workshop shop;
	struct rootfs *rootfs;
	struct manifest manifest; /* its strings are ours */
};

static void build_done(struct build *b)
{
	rootfs_free(b->rootfs);
	workshop_done(&b->shop);
	free(b->manifest.command_line);
	free(b->manifest.agent_version);
	free(b->manifest.os);
	free(b->manifest.origin);
	free(b->manifest.recipe);
}

static bool is_systemd(const struct build *b)
{
	return streq(b->request->recipe->image.init, "systemd");
}

static bool has_script(const struct build *b)
{
	return !recipe_script_is_empty(b->request->recipe, RECIPE_BUILT);
}

static void build_step(const struct build *b, const char *what)
{
	workshop_note(&b->shop, what);
	if (b->request->on_step)
		b->request->on_step(what, b->request->userdata);
}

static int build_open(struct build *b, struct error *err)
{
	autofree char *path = path_search();
	int r = path ? tools_check(path, err) : fail(err, -ENOMEM, "out of memory");

	return r < 0 ? r
		     : workshop_open(b->store, "build", b->request->name, b->request->tag,
			       b->request->cancel, &b->shop, err);
}

static int make_package(struct build *b, struct error *err)
{
	autofree char *path = workdir_file(b->shop.work, BUILD_PACKAGE);
	autofree char *scratch = workdir_file(b->shop.work, "package");

	if (!path || !scratch)
		return fail(err, -ENOMEM, "out of memory");
	return package_write(&b->shop.runner, path, scratch, path_libexec(), is_systemd(b), err);
}

/* All that the recipe needs, by name and by what it does. */
static int list_packages(const struct recipe_image *image, struct strv *ret, struct error *err)
{
	for (size_t i = 0; image->packages[i]; i++)
		strv_add(ret, image->packages[i]);
	if (image->syslog)
		strv_add(ret, "rsyslog");
	return ret->failed ? fail(err, -ENOMEM, "out of memory") : 0;
}

static int make_archive(struct build *b, struct error *err)
{
	const struct recipe_image *image = &b->request->recipe->image;
	struct strv packages AUTO(strv_done) = {0};
	struct bootstrap bootstrap = {
		.suite = image->suite,
		.mirrors = (const char *const *)image->mirrors,
		.systemd = is_systemd(b),
		.package = BUILD_PACKAGE,
		.script = has_script(b) ? BUILD_SCRIPT : NULL,
		.output = BUILD_ARCHIVE,
	};
	int r = list_packages(image, &packages, err);

	bootstrap.packages = strv_list(&packages);
	return r < 0 ? r : bootstrap_run(&bootstrap, &b->shop.runner, err);
}

static int make_disk(struct build *b, struct error *err)
{
	autofree char *tree = workdir_file(b->shop.work, "tree");
	struct store_upload *upload AUTO(store_upload_freep) = NULL;
	int r = tree ? store_upload_open(b->store, &upload, err)
		     : fail(err, -ENOMEM, "out of memory");

	if (r >= 0)
		r = disk_write(&b->shop.runner, BUILD_ARCHIVE, tree, store_upload_path(upload),
			b->request->recipe->image.size, err);
	if (r < 0)
		return r;
	r = disk_trim(store_upload_fd(upload));
	if (r < 0)
		return fail_errno(err, r, "cannot write the disk");
	b->manifest.parts[IMAGE_DISK].kind = IMAGE_DISK;
	r = store_upload_commit(upload, &b->manifest.parts[IMAGE_DISK], err);
	return r < 0 ? r
		     : rootfs_open(
			       &b->shop.runner, BUILD_ARCHIVE, b->shop.work->path, &b->rootfs, err);
}

static int make_kernel(struct build *b, struct error *err)
{
	return bootparts_add_kernel(b->store, b->rootfs, &b->manifest, err);
}

static int make_initrd(struct build *b, struct error *err)
{
	const char *const *modules = (const char *const *)b->request->recipe->image.modules;

	return bootparts_add_initrd(b->store, b->rootfs, modules, &b->manifest, err);
}

/* The tests of the crypto code cost a sixth of the boot under emulation (0.3 of 1.9 s), for code
 * that the distribution has tested. Pressure statistics, groups for desktop sessions and security
 * modules without a policy are 7 % of what a clone's kernel executes until a command has run.
 * Nothing else that is often recommended (mitigations=off, nokaslr, tsc=reliable, audit=0) was
 * worth measurable time. The timer is not tried out, as a kernel does that knows of KVM: on a host
 * that was busy for the moment of the trial, an emulated guest took its timer for broken, and
 * panicked. */
static const char build_command_line[] =
	"console=ttyS0 quiet panic=-1 root=/dev/vda rootfstype=ext4 rw cryptomgr.notests psi=0 "
	"noautogroup lsm=landlock,yama no_timer_check";

static int describe(struct build *b, struct strv *gateways, struct error *err)
{
	struct manifest *m = &b->manifest;
	autofree char *os = rootfs_os_name(b->rootfs);
	int r = rootfs_gateways(b->rootfs, gateways, err);

	if (r < 0)
		return r;
	m->os = os ? manifest_clean_text(os) : NULL;
	m->origin = manifest_clean_text(b->request->origin);
	m->recipe = strdup(b->request->recipe->text);
	m->command_line = path_format(
		"%s%s", build_command_line, is_systemd(b) ? " wnodes.init=/sbin/init" : "");
	m->agent_version = bootparts_agent_version(err);
	if (!m->agent_version)
		return -EIO;
	if (!m->origin || !m->recipe || !m->command_line)
		return fail(err, -ENOMEM, "out of memory");
	m->boot = IMAGE_BOOT_KERNEL;
	m->agent = IMAGE_AGENT_BUILTIN;
	m->created = (uint64_t)time(NULL);
	m->min_memory_mib = BUILD_MIN_MEMORY_MIB;
	m->min_cpus = 1;
	m->disk_size = b->request->recipe->image.size;
	m->part_count = BUILD_PARTS;
	return 0;
}

/* Adds the image; the manifest's words that are constant are lent to it for the moment. */
static int add_image(struct build *b, char ret_digest[DIGEST_HEX_SIZE], struct error *err)
{
	char format[] = "raw", architecture[] = "x86_64";
	struct strv gateways AUTO(strv_done) = {0};
	int r = describe(b, &gateways, err);

	if (r < 0)
		return r;
	b->manifest.format = format;
	b->manifest.architecture = architecture;
	b->manifest.gateways = gateways.items;
	if (b->request->approve)
		r = b->request->approve(b->store, &b->manifest, b->request->userdata, err);
	if (r >= 0)
		r = store_add(
			b->store, &b->manifest, b->request->name, b->request->tag, ret_digest, err);
	b->manifest.format = b->manifest.architecture = NULL;
	b->manifest.gateways = NULL;
	return r;
}

/* What the recipe says, as a program of the working directory. */
static int write_script(struct build *b, struct error *err)
{
	struct buffer text AUTO(buffer_done) = {0};
	autoclose int fd = -1;
	int r;

	if (!has_script(b))
		return 0;
	r = recipe_script(b->request->recipe, RECIPE_BUILT, &text, err);
	if (r < 0)
		return r;
	fd = openat(b->shop.work->fd, BUILD_SCRIPT, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	r = fd < 0 ? -errno : file_write_all(fd, buffer_head(&text), text.len);
	return r < 0 ? fail_errno(err, r, "cannot write the recipe's script") : 0;
}

static const struct {
	const char *what;
	int (*run)(struct build *b, struct error *err);
} build_steps[] = {
	{"packing the guest agent", make_package},
	{"downloading and installing packages", make_archive},
	{"making the disk", make_disk},
	{"unpacking the kernel", make_kernel},
	{"making the initial file system", make_initrd},
};

static int run_steps(struct build *b, struct error *err)
{
	int r = write_script(b, err);

	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(build_steps); i++) {
		build_step(b, build_steps[i].what);
		r = build_steps[i].run(b, err);
	}
	return r;
}

static bool needs_systemd(const struct recipe_image *image)
{
	return image->syslog || image->enable[0] || image->disable[0];
}

static int check_request(const struct build_request *request, struct error *err)
{
	autofree char *reference = path_format("%s:%s", request->name, request->tag);
	autofree char *name = NULL, *tag = NULL;

	if (request->recipe->image.size < DISK_SIZE_MIN ||
		request->recipe->image.size > DISK_SIZE_MAX)
		return fail(err, -EINVAL, "the disk's size must be from 1 GiB to 8 TiB");
	if (needs_systemd(&request->recipe->image) &&
		!streq(request->recipe->image.init, "systemd"))
		return fail(err, -EINVAL,
			"%s: syslog, enable and disable need init = systemd: else the VM has no services",
			request->recipe->origin);
	return reference ? store_parse_reference(reference, &name, &tag, err) : -ENOMEM;
}

int build_debian(struct store *s, const struct build_request *request,
	char ret_digest[DIGEST_HEX_SIZE], struct error *err)
{
	struct build b AUTO(build_done) = {.request = request, .store = s, .shop = WORKSHOP_INIT};
	mode_t mask;
	int r = check_request(request, err);

	if (r >= 0)
		r = build_open(&b, err);
	if (r < 0)
		return r;
	/* An image's modes must not depend on the builder's. */
	mask = umask(022);
	r = run_steps(&b, err);
	umask(mask);
	if (r >= 0)
		r = add_image(&b, ret_digest, err);
	if (r != -EIO && r != -ETIMEDOUT) /* no program failed: the log explains nothing */
		workshop_drop_log(&b.shop);
	return r;
}
