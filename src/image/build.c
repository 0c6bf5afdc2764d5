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

#include "image/apt.h"
#include "image/bootstrap.h"
#include "image/disk.h"
#include "image/initrd.h"
#include "image/kernel.h"
#include "image/package.h"
#include "image/rootfs.h"
#include "image/runner.h"
#include "image/tools.h"
#include "image/workdir.h"
#include "lib/buffer.h"
#include "lib/child.h"
#include "lib/file.h"
#include "lib/path.h"

/* mmdebstrap downloads and installs hundreds of packages; a user's script may compile. */
#define BUILD_TIMEOUT_MS (6 * 3600 * 1000)

#define BUILD_SCRIPT_MAX     (1024 * 1024)
#define BUILD_MIN_MEMORY_MIB 256
#define BUILD_PARTS          3
#define AGENT_TIMEOUT_MS     10000
#define AGENT_VERSION_MAX    256

/* Names in the working directory; they appear in shell commands, so they are plain words. */
#define BUILD_PACKAGE "wnodes-image.deb"
#define BUILD_SCRIPT  "wnodes-build-script"
#define BUILD_ARCHIVE "root.tar"

struct build {
	const struct build_request *request;
	struct store *store;
	struct workdir *work;
	char *log_path;
	int log_fd;
	struct strv env;
	struct runner runner;
	struct rootfs *rootfs;
	struct manifest manifest; /* its strings are ours */
};

static void build_done(struct build *b)
{
	rootfs_free(b->rootfs);
	workdir_free(b->work);
	base_close(b->log_fd);
	strv_done(&b->env);
	free(b->log_path);
	free(b->manifest.command_line);
	free(b->manifest.agent_version);
	free(b->manifest.os);
	free(b->manifest.origin);
}

static void build_step(const struct build *b, const char *what)
{
	dprintf(b->log_fd, "wnodes: %s\n", what);
	if (b->request->on_step)
		b->request->on_step(what, b->request->userdata);
}

static int open_log(struct build *b, struct error *err)
{
	autofree char *cache = path_cache();
	int r = cache ? file_make_dirs(cache, 0700) : -ENOMEM;

	if (r >= 0)
		b->log_path =
			path_format("%s/build-%s-%s.log", cache, b->request->name, b->request->tag);
	if (r >= 0 && !b->log_path)
		r = -ENOMEM;
	if (r >= 0)
		b->log_fd = open(b->log_path,
			O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (r >= 0 && b->log_fd < 0)
		r = -errno;
	return r < 0 ? fail_errno(err, r, "cannot write the build's log '%s'",
			       b->log_path ? b->log_path : "")
		     : 0;
}

static int copy_environment(struct build *b, struct error *err)
{
	autofree char *path = path_search();

	for (char **entry = environ; *entry; entry++)
		strv_add(&b->env, *entry);
	if (!path)
		return fail(err, -ENOMEM, "out of memory");
	strv_env_set(&b->env, "PATH", path);
	return tools_check(path, err);
}

static int build_open(struct build *b, struct error *err)
{
	int r = copy_environment(b, err);

	if (r >= 0)
		r = open_log(b, err);
	if (r >= 0)
		r = workdir_open(b->store, &b->work, err);
	if (r < 0)
		return r;
	strv_env_set(&b->env, "TMPDIR", b->work->outside);
	apt_proxy(&b->env);
	if (b->env.failed)
		return fail(err, -ENOMEM, "out of memory");
	b->runner = (struct runner){
		.log_fd = b->log_fd,
		.log_path = b->log_path,
		.keep_fd = b->work->fd,
		.cancel = b->request->cancel,
		.env = &b->env,
		.workdir = b->work->path,
		.timeout_ms = BUILD_TIMEOUT_MS,
	};
	return 0;
}

static int make_package(struct build *b, struct error *err)
{
	autofree char *path = workdir_file(b->work, BUILD_PACKAGE);
	autofree char *scratch = workdir_file(b->work, "package");

	if (!path || !scratch)
		return fail(err, -ENOMEM, "out of memory");
	return package_write(&b->runner, path, scratch, path_libexec(), b->request->systemd, err);
}

static int make_archive(struct build *b, struct error *err)
{
	const struct bootstrap bootstrap = {
		.suite = b->request->suite,
		.mirrors = b->request->mirrors,
		.packages = b->request->packages,
		.systemd = b->request->systemd,
		.package = BUILD_PACKAGE,
		.script = b->request->script ? BUILD_SCRIPT : NULL,
		.output = BUILD_ARCHIVE,
	};

	return bootstrap_run(&bootstrap, &b->runner, err);
}

static int make_disk(struct build *b, struct error *err)
{
	autofree char *tree = workdir_file(b->work, "tree");
	struct store_upload *upload AUTO(store_upload_freep) = NULL;
	int r = tree ? store_upload_open(b->store, &upload, err)
		     : fail(err, -ENOMEM, "out of memory");

	if (r >= 0)
		r = disk_write(&b->runner, BUILD_ARCHIVE, tree, store_upload_path(upload),
			b->request->disk_size, err);
	if (r < 0)
		return r;
	r = disk_trim(store_upload_fd(upload));
	if (r < 0)
		return fail_errno(err, r, "cannot write the disk");
	b->manifest.parts[IMAGE_DISK].kind = IMAGE_DISK;
	r = store_upload_commit(upload, &b->manifest.parts[IMAGE_DISK], err);
	return r < 0 ? r : rootfs_open(&b->runner, BUILD_ARCHIVE, b->work->path, &b->rootfs, err);
}

static int make_kernel(struct build *b, struct error *err)
{
	struct store_upload *upload AUTO(store_upload_freep) = NULL;
	int r = store_upload_open(b->store, &upload, err);

	if (r >= 0)
		r = kernel_extract(b->rootfs->kernel_fd, store_upload_fd(upload), err);
	b->manifest.parts[IMAGE_KERNEL].kind = IMAGE_KERNEL;
	return r < 0 ? r : store_upload_commit(upload, &b->manifest.parts[IMAGE_KERNEL], err);
}

static int make_initrd(struct build *b, struct error *err)
{
	autofree char *agent = path_format("%s/wnodes-guest", path_libexec());
	struct store_upload *upload AUTO(store_upload_freep) = NULL;
	int r = agent ? store_upload_open(b->store, &upload, err)
		      : fail(err, -ENOMEM, "out of memory");

	if (r >= 0)
		r = initrd_write(store_upload_fd(upload), b->rootfs->tree_fd, b->rootfs->release,
			agent, err);
	b->manifest.parts[IMAGE_INITRD].kind = IMAGE_INITRD;
	return r < 0 ? r : store_upload_commit(upload, &b->manifest.parts[IMAGE_INITRD], err);
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

static char *build_origin(const struct build_request *request)
{
	struct buffer text AUTO(buffer_done) = {0};
	autofree char *head = path_format("wnodes image build debian --suite %s%s", request->suite,
		request->systemd ? " --init systemd" : "");
	const char *script = request->script ? strrchr(request->script, '/') : NULL;
	autofree char *tail = path_format(" --script %s", script            ? script + 1
							  : request->script ? request->script
									    : "");

	if (!head || !tail || buffer_append(&text, head, strlen(head)) < 0)
		return NULL;
	for (size_t i = 0; request->packages && request->packages[i]; i++) {
		const char *package = request->packages[i];

		if (buffer_append(&text, i == 0 ? " --packages " : ",", i == 0 ? 12 : 1) < 0 ||
			buffer_append(&text, package, strlen(package)) < 0)
			return NULL;
	}
	if (request->script && buffer_append(&text, tail, strlen(tail)) < 0)
		return NULL;
	return buffer_append(&text, "", 1) < 0
		       ? NULL
		       : manifest_clean_text((const char *)buffer_head(&text));
}

/* What the agent says about itself: "wnodes-guest VERSION". */
static char *agent_version(struct error *err)
{
	autofree char *agent = path_format("%s/wnodes-guest", path_libexec());
	const char *const argv[] = {agent, "--version", NULL};
	struct child_spec spec = CHILD_SPEC_INIT;
	autofree char *text = NULL;
	const char *version;

	spec.argv = argv;
	if (!agent || child_output(&spec, AGENT_TIMEOUT_MS, AGENT_VERSION_MAX, &text, err) < 0)
		return NULL;
	text[strcspn(text, "\n")] = '\0';
	version = strrchr(text, ' ');
	return strdup(version ? version + 1 : text);
}

static int describe(struct build *b, struct strv *gateways, struct error *err)
{
	struct manifest *m = &b->manifest;
	autofree char *os = rootfs_os_name(b->rootfs);
	int r = rootfs_gateways(b->rootfs, gateways, err);

	if (r < 0)
		return r;
	m->os = os ? manifest_clean_text(os) : NULL;
	m->origin = build_origin(b->request);
	m->command_line = path_format(
		"%s%s", build_command_line, b->request->systemd ? " wnodes.init=/sbin/init" : "");
	m->agent_version = agent_version(err);
	if (!m->agent_version)
		return fail_within(err, "the guest agent does not run");
	if (!m->origin || !m->command_line)
		return fail(err, -ENOMEM, "out of memory");
	m->boot = IMAGE_BOOT_KERNEL;
	m->agent = IMAGE_AGENT_BUILTIN;
	m->created = (uint64_t)time(NULL);
	m->min_memory_mib = BUILD_MIN_MEMORY_MIB;
	m->min_cpus = 1;
	m->disk_size = b->request->disk_size;
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
	r = store_add(b->store, &b->manifest, b->request->name, b->request->tag, ret_digest, err);
	b->manifest.format = b->manifest.architecture = NULL;
	b->manifest.gateways = NULL;
	return r;
}

/* The script gets a first line if it has none, because it is run, not read by a shell. */
static int copy_script(struct build *b, struct error *err)
{
	static const char shell[] = "#!/bin/sh\n";
	autofree char *text = NULL;
	autoclose int fd = -1;
	size_t length;
	int r;

	if (!b->request->script)
		return 0;
	r = file_read(AT_FDCWD, b->request->script, BUILD_SCRIPT_MAX, &text, &length);
	if (r < 0)
		return fail_errno(err, r, "cannot read the script '%s'", b->request->script);
	fd = openat(b->work->fd, BUILD_SCRIPT, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	r = fd < 0 ? -errno : 0;
	if (r >= 0 && !str_after(text, "#!"))
		r = file_write_all(fd, shell, sizeof(shell) - 1);
	if (r >= 0)
		r = file_write_all(fd, text, length);
	return r < 0 ? fail_errno(err, r, "cannot copy the script") : 0;
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
	int r = copy_script(b, err);

	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(build_steps); i++) {
		build_step(b, build_steps[i].what);
		r = build_steps[i].run(b, err);
	}
	return r;
}

static int check_request(const struct build_request *request, struct error *err)
{
	autofree char *reference = path_format("%s:%s", request->name, request->tag);
	autofree char *name = NULL, *tag = NULL;

	if (request->disk_size < DISK_SIZE_MIN || request->disk_size > DISK_SIZE_MAX)
		return fail(err, -EINVAL, "the disk's size must be from 1 GiB to 8 TiB");
	return reference ? store_parse_reference(reference, &name, &tag, err) : -ENOMEM;
}

int build_debian(struct store *s, const struct build_request *request,
	char ret_digest[DIGEST_HEX_SIZE], struct error *err)
{
	struct build b AUTO(build_done) = {.request = request, .store = s, .log_fd = -1};
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
		unlink(b.log_path);
	return r;
}
