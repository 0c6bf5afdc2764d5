#include "hypervisor/volume_data.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/child.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "lib/path.h"
#include "lib/strv.h"

#define NAME_SIZE (UUID_TEXT_SIZE + 16)

/* An empty file system is some hundred KiB; checking and growing one takes longer. */
#define FORMAT_MS 60000
#define GROW_MS   (60 * 60000)

/* Of ext2, 3 and 4. Source: Linux, Documentation/filesystems/ext4/super.rst. */
#define EXT_MAGIC_OFFSET 1080
#define EXT_MAGIC        "\x53\xef"

static void name_of(char ret[NAME_SIZE], const char *id, const char *suffix)
{
	snprintf(ret, NAME_SIZE, "%.36s%s", id, suffix);
}

/* Runs a program of e2fsprogs on the file: what is in it is its owner's, so the program is, too. */
static int run_tool(int fd, const struct volume_owner *owner, int timeout_ms, const char *name,
	const char *const *arguments, struct error *err)
{
	autofree char *search = path_search();
	autofree char *program = search ? path_find_program(search, name) : NULL;
	struct strv argv AUTO(strv_done) = {0};
	struct child_spec child = CHILD_SPEC_INIT;

	if (!program)
		return fail(err, -ENOENT, "%s was not found; install e2fsprogs", name);
	strv_add(&argv, program);
	for (; *arguments; arguments++)
		strv_add(&argv, *arguments);
	strv_add_format(&argv, "/proc/self/fd/%d", fd);
	if (argv.failed)
		return fail(err, -ENOMEM, "out of memory");
	child.argv = (const char *const *)argv.items;
	child.keep = &fd;
	child.keep_count = 1;
	child.no_new_privs = true;
	child.set_user = geteuid() == 0;
	child.uid = owner->uid;
	child.gid = owner->gid;
	return child_run(&child, timeout_ms, err);
}

static int format(int fd, const struct volume_owner *owner, struct error *err)
{
	char extended[96];
	const char *const arguments[] = {"-q", "-F", "-t", "ext4", "-m", "0", "-E", extended, NULL};

	snprintf(extended, sizeof(extended), "lazy_itable_init=1,nodiscard,root_owner=%u:%u",
		(unsigned int)owner->uid, (unsigned int)owner->gid);
	return run_tool(fd, owner, FORMAT_MS, "mke2fs", arguments, err);
}

/* A fresh file that is nothing yet. Nobody comes to it but by our directory, which is closed to
 * others, or by a descriptor of ours, which programs of its owner open again. */
static int open_part(int directory, const char *id, struct error *err)
{
	char part[NAME_SIZE];
	autoclose int fd = -1;

	name_of(part, id, ".part");
	unlinkat(directory, part, 0);
	fd = openat(directory, part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || fchmod(fd, 0666) < 0)
		return fail_errno(err, -errno, "cannot make a volume");
	return TAKE_FD(fd);
}

/* From now on it is there. */
static int finish(int directory, const char *id, int fd, struct error *err)
{
	char part[NAME_SIZE];

	name_of(part, id, ".part");
	if (fsync(fd) < 0 || renameat(directory, part, directory, id) < 0 || fsync(directory) < 0)
		return fail_errno(err, -errno, "cannot keep a volume");
	return 0;
}

int volume_data_size(int directory, const char *id, uint64_t *ret)
{
	struct stat st;

	if (fstatat(directory, id, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	*ret = (uint64_t)st.st_size;
	return S_ISREG(st.st_mode) ? 0 : -EINVAL;
}

int volume_data_make(int directory, const char *id, uint64_t bytes,
	const struct volume_owner *owner, struct error *err)
{
	autoclose int fd = -1;
	uint64_t there;
	int r = volume_data_size(directory, id, &there);

	if (r != -ENOENT)
		return r < 0 ? fail_errno(err, r, "cannot look at a volume") : 0;
	fd = open_part(directory, id, err);
	if (fd < 0)
		return fd;
	if (ftruncate(fd, (off_t)bytes) < 0)
		return fail_errno(err, -errno, "cannot make a volume of %" PRIu64 " bytes", bytes);
	r = format(fd, owner, err);
	return r < 0 ? r : finish(directory, id, fd, err);
}

int volume_data_copy(int directory, const char *id, const char *source, struct error *err)
{
	autoclose int from = -1, fd = -1;
	uint64_t there;
	int r = volume_data_size(directory, id, &there);

	if (r != -ENOENT)
		return r < 0 ? fail_errno(err, r, "cannot look at a volume") : 0;
	from = volume_data_open(directory, source, true, err);
	fd = from < 0 ? from : open_part(directory, id, err);
	if (fd < 0)
		return fd;
	r = file_copy(from, fd, NULL, NULL);
	return r < 0 ? fail_errno(err, r, "cannot copy a volume") : finish(directory, id, fd, err);
}

static bool is_ext4(int fd)
{
	char magic[2];

	return pread(fd, magic, sizeof(magic), EXT_MAGIC_OFFSET) == sizeof(magic) &&
	       memcmp(magic, EXT_MAGIC, sizeof(magic)) == 0;
}

/* The volume is larger in any case; its owner can do the rest. */
static void grow_file_system(int fd, const struct volume_owner *owner)
{
	static const char *const check[] = {"-f", "-y", NULL}, *const grow[] = {NULL};
	struct error err = {0};

	/* It ends with 1 where there was something to mend. */
	run_tool(fd, owner, GROW_MS, "e2fsck", check, NULL);
	if (run_tool(fd, owner, GROW_MS, "resize2fs", grow, &err) < 0)
		log_warning("a volume is larger, but not the file system in it: %s", err.text);
}

int volume_data_grow(int directory, const char *id, uint64_t bytes,
	const struct volume_owner *owner, struct error *err)
{
	autoclose int fd = volume_data_open(directory, id, false, err);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return fail_errno(err, -errno, "cannot look at a volume");
	if ((uint64_t)st.st_size < bytes && ftruncate(fd, (off_t)bytes) < 0)
		return fail_errno(err, -errno, "cannot have a volume grow");
	if (is_ext4(fd))
		grow_file_system(fd, owner);
	return fsync(fd) < 0 ? fail_errno(err, -errno, "cannot have a volume grow") : 0;
}

int volume_data_remove(int directory, const char *id, struct error *err)
{
	autoclose int fd = volume_data_open(directory, id, false, err);
	char name[NAME_SIZE];

	if (fd < 0 && fd != -ENOENT)
		return fd;
	if (fd >= 0 && unlinkat(directory, id, 0) < 0)
		return fail_errno(err, -errno, "cannot remove a volume");
	name_of(name, id, ".part");
	unlinkat(directory, name, 0);
	name_of(name, id, ".use");
	unlinkat(directory, name, 0);
	return fsync(directory) < 0 ? fail_errno(err, -errno, "cannot remove a volume") : 0;
}

int volume_data_open(int directory, const char *id, bool read_only, struct error *err)
{
	autoclose int fd =
		openat(directory, id, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW);
	int r = fd < 0 ? -errno : file_lock(fd, !read_only, false);

	if (r == -EWOULDBLOCK)
		return fail(err, -EBUSY, "the volume is in use");
	return r < 0 ? fail_errno(err, r, "cannot open a volume") : TAKE_FD(fd);
}

/* What is noted: "GENERATION BOOT". Returns the generation, 0: none, or negative errno. */
static int read_use(int directory, const char *name, uint64_t *ret_generation, char ret_boot[64])
{
	autofree char *text = NULL;
	size_t length;
	int r = file_read(directory, name, 128, &text, &length);

	*ret_generation = 0;
	ret_boot[0] = '\0';
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	return sscanf(text, "%" SCNu64 " %63s", ret_generation, ret_boot) == 2 ? 0 : -EBADMSG;
}

int volume_data_begin(
	int directory, const char *id, uint64_t generation, const char *boot, struct error *err)
{
	char name[NAME_SIZE], text[128], its_boot[64];
	uint64_t noted;
	int r;

	name_of(name, id, ".use");
	r = read_use(directory, name, &noted, its_boot);
	if (r < 0)
		return fail_errno(err, r, "cannot read who has used a volume last");
	if (generation < noted)
		return fail(err, -ESTALE, "the volume is used by a later one");
	if (generation == noted)
		return streq(boot, its_boot)
			       ? 0
			       : fail(err, -EIO,
					 "the node with the data was started anew, so that what was "
					 "written last may be missing; end the VM, and attach the "
					 "volume again");
	snprintf(text, sizeof(text), "%" PRIu64 " %s\n", generation, boot);
	r = file_replace(directory, name, text, strlen(text), 0600);
	return r < 0 ? fail_errno(err, r, "cannot note who uses a volume") : 0;
}

void volume_data_sweep(int directory)
{
	int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *all = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;

	while (all && (entry = readdir(all))) {
		const char *dot = strrchr(entry->d_name, '.');

		if (dot && streq(dot, ".part"))
			unlinkat(directory, entry->d_name, 0);
	}
	if (all)
		closedir(all);
	else
		base_close(copy);
}
