#include "image/rootfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "image/modules.h"
#include "image/tree.h"
#include "lib/path.h"

#define ROOTFS_KERNEL    "vmlinuz-"
#define OS_RELEASE_MAX   (64 * 1024)
#define MODULES_LIST_MAX (16 * 1024 * 1024)

/* Without one of them the image could not do what the rest of WNoDeS relies on. */
static const struct module_want modules_needed[] = {
	{"9p", false},
	{"9pnet_virtio", false},
	{"virtiofs", false},
	{"fuse", false},
	{"nfs", false},
	{"nfsv4", false},
	{"overlay", false},
	{"virtio_net", false},
	{NULL, false},
};

/* What they are good for; the agent's answer to a probe has the same names. */
static const char *const gateways[] = {"9p", "virtiofs", "nfs4", "fuse"};

struct rootfs *rootfs_free(struct rootfs *r)
{
	if (!r)
		return NULL;
	base_close(r->tree_fd);
	base_close(r->kernel_fd);
	free(r->release);
	free(r);
	return NULL;
}

static bool has_modules(int tree_fd, const char *release)
{
	autofree char *path = path_format("lib/modules/%s/modules.dep", release);
	autoclose int fd = path ? tree_open(tree_fd, path, O_RDONLY) : -1;

	return fd >= 0;
}

/* Finds the newest kernel in `directory` whose modules are in the tree. */
static char *newest_release(const char *directory, int tree_fd)
{
	DIR *dir = opendir(directory);
	const struct dirent *entry;
	char *best = NULL;

	while (dir && (entry = readdir(dir))) {
		const char *release = str_after(entry->d_name, ROOTFS_KERNEL);

		if (!release || !has_modules(tree_fd, release) ||
			(best && strverscmp(release, best) <= 0))
			continue;
		free(best);
		best = strdup(release);
	}
	if (dir)
		closedir(dir);
	return best;
}

static int open_kernel(struct rootfs *r, const char *directory, struct error *err)
{
	autofree char *path = NULL;

	r->release = newest_release(directory, r->tree_fd);
	if (!r->release)
		return fail(err, -ENOENT,
			"the image has no kernel with modules; add a package linux-image-...");
	path = path_format("%s/" ROOTFS_KERNEL "%s", directory, r->release);
	if (!path)
		return fail(err, -ENOMEM, "out of memory");
	r->kernel_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return r->kernel_fd < 0 ? fail_errno(err, -errno, "cannot open '%s'", path) : 0;
}

int rootfs_open(const struct runner *runner, const char *archive, const char *work,
	struct rootfs **ret, struct error *err)
{
	const char *const argv[] = {"tar", "--extract", "--file", archive, "--no-same-owner",
		"--wildcards", "./boot/" ROOTFS_KERNEL "*", NULL};
	autofree char *tree = path_format("%s/tree", work);
	autofree char *boot = path_format("%s/boot", work);
	struct rootfs *r AUTO(rootfs_freep) = calloc(1, sizeof(*r));
	int error;

	if (!tree || !boot || !r)
		return fail(err, -ENOMEM, "out of memory");
	r->kernel_fd = -1;
	r->tree_fd = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->tree_fd < 0)
		return fail_errno(err, -errno, "cannot open '%s'", tree);
	error = runner_run(runner, argv, err);
	if (error >= 0)
		error = open_kernel(r, boot, err);
	if (error >= 0)
		*ret = TAKE_PTR(r);
	return error;
}

static int read_list(const struct rootfs *r, const char *name, char **ret, struct error *err)
{
	autofree char *path = path_format("lib/modules/%s/%s", r->release, name);
	int error = path ? tree_read(r->tree_fd, path, MODULES_LIST_MAX, ret, NULL) : -ENOMEM;

	return error < 0 ? fail_errno(err, error, "cannot read the image's '%s'", path) : 0;
}

static bool has_program(int tree_fd, const char *name)
{
	autofree char *path = path_format("usr/bin/%s", name);
	autoclose int fd = path ? tree_open(tree_fd, path, O_RDONLY) : -1;

	return fd >= 0;
}

int rootfs_gateways(const struct rootfs *r, struct strv *ret, struct error *err)
{
	autofree char *dep = NULL, *builtin = NULL;
	struct strv paths AUTO(strv_done) = {0};
	int error = read_list(r, "modules.dep", &dep, err);

	if (error >= 0)
		error = read_list(r, "modules.builtin", &builtin, err);
	if (error >= 0)
		error = modules_resolve(dep, builtin, modules_needed, &paths, err);
	for (size_t i = 0; error >= 0 && i < ARRAY_SIZE(gateways); i++)
		strv_add(ret, gateways[i]);
	if (error >= 0 && has_program(r->tree_fd, "sshfs"))
		strv_add(ret, "fuse.sshfs");
	return error < 0 ? error : ret->failed ? fail(err, -ENOMEM, "out of memory") : 0;
}

char *rootfs_parse_os_name(const char *text)
{
	static const char key[] = "PRETTY_NAME=";
	const char *line = text;
	size_t n;

	while (*line && !str_after(line, key)) {
		line += strcspn(line, "\n");
		line += *line == '\n';
	}
	if (!*line)
		return NULL;
	line += sizeof(key) - 1;
	n = strcspn(line, "\n");
	if (n >= 2 && (line[0] == '"' || line[0] == '\'') && line[n - 1] == line[0]) {
		line++;
		n -= 2;
	}
	return n > 0 ? strndup(line, n) : NULL;
}

char *rootfs_os_name(const struct rootfs *r)
{
	autofree char *text = NULL;

	if (tree_read(r->tree_fd, "etc/os-release", OS_RELEASE_MAX, &text, NULL) < 0)
		return NULL;
	return rootfs_parse_os_name(text);
}
