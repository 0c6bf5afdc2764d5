#include "image/seed.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "image/workdir.h"
#include "lib/child.h"
#include "lib/digest.h"
#include "lib/file.h"
#include "lib/path.h"

#define SEED_AGENT      "wnodes-guest"
#define SEED_PREFIX     "seed-"
#define SEED_SUFFIX     ".iso"
#define SEED_TMP        "tmp-seed-"
#define SEED_TIMEOUT_MS 60000

/* Where a node keeps its seeds, for who makes its templates. */
#define SEED_DIRECTORY_ENV "WNODES_SEEDS"

/* bootcmd is the earliest that cloud-init runs of ours, and the only one that it runs at each boot.
 *
 * The agent is copied, because the seed's file system may be unmounted under it, to the first place
 * from which it can run: /run is often mounted noexec, and /usr may be read-only. The label that
 * SELinux wants for programs is set where there is SELinux. As the units of the boot that is going
 * on wait for cloud-init, the agent's must not wait for them (DefaultDependencies=no).
 *
 * Everything else that cloud-init would do by default (accounts, keys, packages, growing of the
 * root file system) is of no use in a VM that lives for one job, and is left out by the lists of
 * modules.
 */
static const char seed_user_data[] =
	"#cloud-config\n"
	"bootcmd:\n"
	"- |\n"
	"  m=/run/wnodes-seed\n"
	"  mkdir -p $m\n"
	"  dev=$(blkid -L CIDATA) || dev=/dev/disk/by-label/CIDATA\n"
	"  mount -t iso9660 -o ro \"$dev\" $m || exit 1\n"
	"  for d in /usr/local/sbin /opt /var/lib /run; do\n"
	"    a=$d/" SEED_AGENT "\n"
	"    cp $m/" SEED_AGENT " $a && chmod 755 $a && $a --version && break\n"
	"  done\n"
	"  umount $m\n"
	"  if command -v chcon >/dev/null && [ -e /sys/fs/selinux/enforce ]; then\n"
	"    chcon -t bin_t $a\n"
	"  fi\n"
	"  if [ -d /run/systemd/system ]; then\n"
	"    systemd-run --quiet --no-block --unit=wnodes-guest -p DefaultDependencies=no \\\n"
	"      -p KillMode=process -p OOMScoreAdjust=-900 -p TasksMax=infinity $a\n"
	"  else\n"
	"    setsid $a </dev/null >/dev/null 2>&1 &\n"
	"  fi\n"
	"cloud_init_modules: [bootcmd]\n"
	"cloud_config_modules: []\n"
	"cloud_final_modules: []\n";

/* The agent configures the network, if the VM has one. */
static const char seed_network_config[] = "version: 2\nethernets: {}\n";

static const char seed_meta_data[] = "instance-id: wnodes\n";

static const struct {
	const char *name, *text;
} seed_files[] = {
	{"user-data", seed_user_data},
	{"network-config", seed_network_config},
	{"meta-data", seed_meta_data},
};

/* All three take the same options. */
static const char *const iso_programs[] = {"xorrisofs", "genisoimage", "mkisofs"};

/* The seed's name: a digest over all that goes into it. */
static int seed_name(int agent_fd, char **ret, struct error *err)
{
	char digest[DIGEST_HEX_SIZE];
	autofree char *all = NULL;
	int r = digest_file(agent_fd, digest);

	if (r < 0)
		return fail_errno(err, r, "cannot read the guest agent");
	all = path_format(
		"%s\n%s%s%s", digest, seed_user_data, seed_network_config, seed_meta_data);
	r = all ? digest_bytes(all, strlen(all), digest) : -ENOMEM;
	if (r < 0)
		return fail_errno(err, r, "cannot name the seed");
	*ret = path_format(SEED_PREFIX "%s" SEED_SUFFIX, digest);
	return *ret ? 0 : fail(err, -ENOMEM, "out of memory");
}

static int write_file(int dir_fd, const char *name, const char *text)
{
	autoclose int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	return fd < 0 ? -errno : file_write_all(fd, text, strlen(text));
}

static int copy_agent(int dir_fd, int agent_fd)
{
	autoclose int fd =
		openat(dir_fd, SEED_AGENT, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);

	return fd < 0 ? -errno : file_copy(agent_fd, fd, NULL, NULL);
}

static int fill_content(int dir_fd, int agent_fd, struct error *err)
{
	int r = copy_agent(dir_fd, agent_fd);

	for (size_t i = 0; i < ARRAY_SIZE(seed_files) && r >= 0; i++)
		r = write_file(dir_fd, seed_files[i].name, seed_files[i].text);
	return r < 0 ? fail_errno(err, r, "cannot write the seed's files") : 0;
}

/* Makes OUTPUT with the files of CONTENT, with whichever program there is. */
static int run_iso_program(const char *content, const char *output, struct error *err)
{
	int r = -ENOENT;

	for (size_t i = 0; i < ARRAY_SIZE(iso_programs) && r == -ENOENT; i++) {
		const char *const argv[] = {iso_programs[i], "-quiet", "-output", output, "-volid",
			"CIDATA", "-joliet", "-rock", content, NULL};
		struct child_spec spec = CHILD_SPEC_INIT;

		spec.argv = argv;
		r = child_run(&spec, SEED_TIMEOUT_MS, err);
	}
	if (r == -ENOENT)
		return fail(err, r,
			"a program to make the cloud-init seed is missing; apt-get install xorriso");
	return r;
}

typedef int (*entry_fn)(int dir_fd, const char *name, const char *keep);

static void each_entry(int dir_fd, const char *keep, entry_fn each)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (!directory) {
		base_close(fd);
		return;
	}
	while ((entry = readdir(directory)))
		each(fd, entry->d_name, keep);
	closedir(directory);
}

/* What a killed process left, and seeds of other versions of the agent (a VM that uses one keeps it
 * open). */
static int remove_old(int dir_fd, const char *name, const char *keep)
{
	uint64_t bytes;

	if (str_after(name, SEED_TMP))
		return workdir_remove_stale(dir_fd, name, false, &bytes);
	if (str_after(name, SEED_PREFIX) && !streq(name, keep))
		return unlinkat(dir_fd, name, 0);
	return 0;
}

/* Publishes the finished file under its name. Returns a descriptor of it. */
static int publish(int dir_fd, const char *made, const char *name, struct error *err)
{
	autoclose int fd = open(made, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0 || renameat(AT_FDCWD, made, dir_fd, name) < 0 ||
		fsync(dir_fd) < 0)
		return fail_errno(err, -errno, "cannot write the seed '%s'", name);
	each_entry(dir_fd, name, remove_old);
	return TAKE_FD(fd);
}

static int make_in(
	int dir_fd, const char *temporary, int agent_fd, const char *name, struct error *err)
{
	autofree char *content = path_format("%s/content", temporary);
	autofree char *made = path_format("%s/made", temporary);
	autoclose int content_fd = -1;
	int r;

	if (!content || !made)
		return fail(err, -ENOMEM, "out of memory");
	if (mkdir(content, 0700) < 0)
		return fail_errno(err, -errno, "cannot make '%s'", content);
	content_fd = open(content, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = content_fd < 0 ? fail_errno(err, -errno, "cannot open '%s'", content)
			   : fill_content(content_fd, agent_fd, err);
	if (r >= 0)
		r = run_iso_program(content, made, err);
	return r < 0 ? r : publish(dir_fd, made, name, err);
}

static int seed_make(
	const char *directory, int dir_fd, int agent_fd, const char *name, struct error *err)
{
	autofree char *temporary = path_format("%s/" SEED_TMP "XXXXXX", directory);
	autoclose int lock_fd = -1;
	int r;

	if (!temporary)
		return fail(err, -ENOMEM, "out of memory");
	if (!mkdtemp(temporary))
		return fail_errno(err, -errno, "cannot write to '%s'", directory);
	lock_fd = open(temporary, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lock_fd >= 0)
		file_lock(lock_fd, true, false);
	r = make_in(dir_fd, temporary, agent_fd, name, err);
	file_remove_tree(AT_FDCWD, temporary);
	return r;
}

int seed_open_in(const char *directory, const char *agent, struct error *err)
{
	autoclose int agent_fd = open(agent, O_RDONLY | O_CLOEXEC);
	autoclose int dir_fd = -1;
	autofree char *name = NULL;
	int r, fd;

	if (agent_fd < 0)
		return fail_errno(err, -errno, "cannot open the guest agent '%s'", agent);
	r = seed_name(agent_fd, &name, err);
	if (r < 0)
		return r;
	r = file_make_dirs(directory, 0700);
	if (r < 0)
		return fail_errno(err, r, "cannot make '%s'", directory);
	dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return fail_errno(err, -errno, "cannot open '%s'", directory);
	fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0 || errno != ENOENT)
		return fd >= 0 ? fd : fail_errno(err, -errno, "cannot open '%s'", name);
	return seed_make(directory, dir_fd, agent_fd, name, err);
}

int seed_open(struct error *err)
{
	const char *kept = getenv(SEED_DIRECTORY_ENV);
	autofree char *directory = kept && kept[0] == '/' ? strdup(kept) : path_cache();
	autofree char *agent = path_format("%s/" SEED_AGENT, path_libexec());

	if (!directory || !agent)
		return fail(err, -ENOMEM, "out of memory");
	return seed_open_in(directory, agent, err);
}
