#include "image/initrd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "image/cpio.h"
#include "image/modules.h"
#include "image/tree.h"
#include "lib/buffer.h"
#include "lib/child.h"
#include "lib/path.h"

#define MODULES_LIST_MAX  (16 * 1024 * 1024)
#define UNPACK_TIMEOUT_MS 60000

/* Only what every start needs, because each module costs the guest 5 to 20 ms: the disk, the
 * agent's channel, and the one gateway that is always there. The rest is loaded from the root file
 * system when it is asked for. */
static const struct module_want initrd_modules[] = {
	{"virtio_pci", false},
	{"virtio_blk", false},
	{"crc32c_generic", true}, /* ext4 asks for it by an alias; newer kernels have it built in */
	{"ext4", false},
	{"virtio_console", false},
	{"9p", false},
	{"9pnet_virtio", false},
	{NULL, false},
};

static const struct {
	const char *suffix;
	const char *argv[4];
} unpackers[] = {
	{".xz", {"xz", "-dc", NULL}},
	{".zst", {"zstd", "-dcq", NULL}},
	{".gz", {"gzip", "-dc", NULL}},
};

static bool has_suffix(const char *path, const char *suffix)
{
	size_t n = strlen(path), m = strlen(suffix);

	return n >= m && streq(path + n - m, suffix);
}

/* Opens a module's content. Compressed ones are unpacked here, not in each guest at each boot. */
static int module_open(int root_fd, const char *path, struct error *err)
{
	autoclose int fd = tree_open(root_fd, path, O_RDONLY);
	autoclose int plain = -1;
	struct child_spec spec = CHILD_SPEC_INIT;
	size_t i = 0;
	int r;

	if (fd < 0)
		return fail_errno(err, fd, "cannot open the image's '%s'", path);
	while (i < ARRAY_SIZE(unpackers) && !has_suffix(path, unpackers[i].suffix))
		i++;
	if (i == ARRAY_SIZE(unpackers))
		return TAKE_FD(fd);
	plain = memfd_create("module", MFD_CLOEXEC);
	if (plain < 0)
		return fail_errno(err, -errno, "cannot unpack '%s'", path);
	spec.argv = unpackers[i].argv;
	spec.stdin_fd = fd;
	spec.stdout_fd = plain;
	r = child_run(&spec, UNPACK_TIMEOUT_MS, err);
	return r < 0 ? r : TAKE_FD(plain);
}

/* Adds one module under its own name, and its line to the list. */
static int add_module(struct cpio *c, int root_fd, const char *directory, const char *path,
	struct buffer *list, struct error *err)
{
	autofree char *source = path_format("%s/%s", directory, path);
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	autofree char *name =
		path_format("lib/modules/%.*s.ko", (int)(strstr(base, ".ko") - base), base);
	autofree char *line = path_format("/%s\n", name);
	autoclose int fd = -1;

	if (!source || !name || !line)
		return fail(err, -ENOMEM, "out of memory");
	fd = module_open(root_fd, source, err);
	if (fd < 0)
		return fd;
	cpio_add_file(c, name, 0644, fd);
	return buffer_append(list, line, strlen(line));
}

static int read_lists(
	int root_fd, const char *directory, char **ret_dep, char **ret_builtin, struct error *err)
{
	autofree char *dep = path_format("%s/modules.dep", directory);
	autofree char *builtin = path_format("%s/modules.builtin", directory);
	const char *path = dep;
	int r = -ENOMEM;

	if (dep && builtin)
		r = tree_read(root_fd, dep, MODULES_LIST_MAX, ret_dep, NULL);
	if (r >= 0) {
		path = builtin;
		r = tree_read(root_fd, builtin, MODULES_LIST_MAX, ret_builtin, NULL);
	}
	return r < 0 ? fail_errno(err, r, "cannot read the image's '%s'", path) : 0;
}

/* What every start needs, and then what was asked for. */
static int list_modules(const char *dep, const char *builtin, const char *const *modules,
	struct strv *ret, struct error *err)
{
	size_t count = 0, always = ARRAY_SIZE(initrd_modules) - 1;
	autofree struct module_want *wanted = NULL;

	while (modules[count])
		count++;
	wanted = calloc(always + count + 1, sizeof(*wanted));
	if (!wanted)
		return fail(err, -ENOMEM, "out of memory");
	memcpy(wanted, initrd_modules, always * sizeof(*wanted));
	for (size_t i = 0; i < count; i++)
		wanted[always + i] = (struct module_want){modules[i], false};
	return modules_resolve(dep, builtin, wanted, ret, err);
}

static int add_modules(struct cpio *c, int root_fd, const char *release, const char *const *modules,
	struct error *err)
{
	autofree char *directory = path_format("lib/modules/%s", release);
	autofree char *dep = NULL, *builtin = NULL;
	struct strv paths AUTO(strv_done) = {0};
	struct buffer list AUTO(buffer_done) = {0};
	int r;

	if (!directory)
		return fail(err, -ENOMEM, "out of memory");
	r = read_lists(root_fd, directory, &dep, &builtin, err);
	if (r >= 0)
		r = list_modules(dep, builtin, modules, &paths, err);
	cpio_add_directory(c, "lib");
	cpio_add_directory(c, "lib/modules");
	for (size_t i = 0; r >= 0 && i < paths.count; i++)
		r = add_module(c, root_fd, directory, paths.items[i], &list, err);
	if (r >= 0)
		cpio_add_bytes(c, "modules", 0644, buffer_head(&list), list.len);
	return r;
}

int initrd_write(int out_fd, int root_fd, const char *release, const char *agent,
	const char *const *modules, struct error *err)
{
	static const char *const directories[] = {"dev", "proc", "sys", "root"};
	autoclose int agent_fd = open(agent, O_RDONLY | O_CLOEXEC);
	struct cpio c;
	int r;

	if (agent_fd < 0)
		return fail_errno(err, -errno, "cannot open the guest agent '%s'", agent);
	cpio_init(&c, out_fd);
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++)
		cpio_add_directory(&c, directories[i]);
	/* The kernel opens it as the agent's stdin, stdout and stderr before anything is mounted.
	 */
	cpio_add_device(&c, "dev/console", 0600, 5, 1);
	cpio_add_file(&c, "init", 0755, agent_fd);
	r = add_modules(&c, root_fd, release, modules, err);
	if (r < 0)
		return r;
	r = cpio_done(&c);
	return r < 0 ? fail_errno(err, r, "cannot write the initial file system") : 0;
}
