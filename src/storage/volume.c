#include "storage/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "lib/child.h"
#include "lib/file.h"
#include "lib/path.h"
#include "storage/room.h"

/* LVM waits for its lock, which an administrator's command may hold for long. */
#define VOLUME_COMMAND_MS 60000

/* A group's name has at most 127 characters, each of which may be doubled. */
#define DEVICE_NAME_MAX 512

#define SYSFS_MAX 65536 /* more than a page, which is what its files say they have */

#define VOLUME_OUTPUT_MAX (4 * 1024 * 1024)

/* Before the digest of the image that lies on a volume. */
#define IMAGE_TAG "wnodes.image."

/* Who asks tries again later: until then it is to serve others. */
#define VOLUME_CONFIG "activation { retry_deactivation = 0 }"

bool volume_name_is_valid(const char *name)
{
	const char *rest = str_after(name, VOLUME_PREFIX);
	size_t n = rest ? strspn(rest, "abcdefghijklmnopqrstuvwxyz0123456789_") : 0;

	return n > 0 && rest[n] == '\0' && strlen(name) < VOLUME_NAME_MAX;
}

/* In the language that is looked into, and without a word on descriptors of ours. */
static void fill_env(struct strv *env)
{
	autofree char *search = path_search();

	strv_env_set(env, "PATH", search ? search : "/usr/sbin:/sbin:/usr/bin:/bin");
	strv_env_set(env, "LC_ALL", "C");
	strv_env_set(env, "LVM_SUPPRESS_FD_WARNINGS", "1");
}

static int missing_program(const char *name, struct error *err)
{
	return fail(err, -ENOENT,
		"'%s' was not found; install LVM (lvm2, with its thin-provisioning tools)", name);
}

/* Runs a command of LVM to its end: not even our own death may stop one that has devices suspended.
 * `ret` (may be NULL) is what it writes. */
static int volume_run(const struct strv *argv, char **ret, struct error *err)
{
	struct strv env AUTO(strv_done) = {0};
	struct child_spec child = CHILD_SPEC_INIT;
	autofree char *search = path_search();
	autofree char *program = NULL;

	fill_env(&env);
	if (argv->failed || env.failed || !search)
		return fail(err, -ENOMEM, "out of memory");
	program = path_find_program(search, argv->items[0]);
	if (!program)
		return missing_program(argv->items[0], err);
	free(argv->items[0]);
	argv->items[0] = TAKE_PTR(program);
	child.argv = strv_list(argv);
	child.env = strv_list(&env);
	child.dies_with_parent = false;
	child.new_session = true;
	return ret ? child_output(&child, VOLUME_COMMAND_MS, VOLUME_OUTPUT_MAX, ret, err)
		   : child_run(&child, VOLUME_COMMAND_MS, err);
}

static void add_path(struct strv *argv, const struct volume_pool *p, const char *name)
{
	strv_add_format(argv, "%s/%s", p->group, name);
}

static int report(const struct volume_pool *p, const char *fields, const char *name, char **ret,
	struct error *err)
{
	struct strv argv AUTO(strv_done) = {0};

	strv_add_all(&argv, "lvs", "--reportformat", "json", "--units", "b", "--nosuffix", "-o",
		fields, NULL);
	if (name)
		add_path(&argv, p, name);
	else
		strv_add(&argv, p->group);
	return volume_run(&argv, ret, err);
}

/* Returns the array of volumes, borrowed from `json`, or NULL. */
static json_t *find_volumes(json_t *json)
{
	json_t *reports = json_object_get(json, "report");

	return json_object_get(json_array_get(reports, 0), "lv");
}

static double number_of(json_t *volume, const char *key)
{
	const char *text = json_string_value(json_object_get(volume, key));

	return text ? strtod(text, NULL) : 0;
}

int volume_parse_room(const char *text, struct volume_room *ret, struct error *err)
{
	json_t *json = json_loads(text, 0, NULL);
	json_t *volume = json_array_get(find_volumes(json), 0);
	const char *kind = json_string_value(json_object_get(volume, "segtype"));
	int r = 0;

	if (!kind || !streq(kind, "thin-pool"))
		r = fail(err, kind ? -EINVAL : -EPROTO,
			kind ? "it is no thin pool" : "`lvs` says nothing of it");
	else
		*ret = (struct volume_room){
			.bytes = (uint64_t)number_of(volume, "lv_size"),
			.data_percent = number_of(volume, "data_percent"),
			.tables_percent = number_of(volume, "metadata_percent"),
		};
	json_decref(json);
	return r;
}

/* As device-mapper writes a part of a device's name. */
static void add_escaped(char *ret, size_t size, const char *part)
{
	size_t n = strlen(ret);

	for (; *part && n + 3 < size; part++) {
		if (*part == '-')
			ret[n++] = '-';
		ret[n++] = *part;
	}
	ret[n] = '\0';
}

/* The beginning of all names of the group's devices. */
static void device_prefix(const char *group, char *ret, size_t size)
{
	size_t n;

	ret[0] = '\0';
	add_escaped(ret, size - 1, group);
	n = strlen(ret);
	snprintf(ret + n, size - n, "-");
}

/* The kernel is asked first: `lvs` takes as long as making a volume. */
int volume_look(const struct volume_pool *p, struct volume_room *ret, struct error *err)
{
	autofree char *text = NULL;
	char device[DEVICE_NAME_MAX];
	int r;

	device_prefix(p->group, device, sizeof(device));
	add_escaped(device, sizeof(device), p->pool);
	if (room_ask(device, ret) == 0)
		return 0;
	r = report(p, "lv_name,segtype,lv_size,data_percent,metadata_percent", p->pool, &text, err);

	if (r == 0)
		r = volume_parse_room(text, ret, err);
	return r < 0 ? fail_within(err, "the thin pool '%s/%s' cannot be used", p->group, p->pool)
		     : 0;
}

int volume_check_room(const struct volume_pool *p, const struct volume_room *room, uint64_t bytes,
	struct error *err)
{
	if (room->data_percent >= VOLUME_POOL_FULL_PERCENT ||
		room->tables_percent >= VOLUME_POOL_FULL_PERCENT)
		return fail(err, -ENOSPC,
			"the thin pool '%s/%s' is full (data %.0f %%, tables %.0f %%; none is made from "
			"%d %% on); extend it with `lvextend`, or its tables with `lvextend "
			"--poolmetadatasize`",
			p->group, p->pool, room->data_percent, room->tables_percent,
			VOLUME_POOL_FULL_PERCENT);
	if (bytes > room->bytes)
		return fail(err, -ENOSPC,
			"the thin pool '%s/%s' has %llu MiB, fewer than are asked for", p->group,
			p->pool, (unsigned long long)(room->bytes >> 20));
	return 0;
}

static int run_make(const struct strv *argv, const char *name, struct error *err)
{
	int r = volume_run(argv, NULL, err);

	return r < 0 && strstr(err->text, "already exists")
		       ? fail(err, -EEXIST, "there is a volume '%s' already", name)
		       : r;
}

int volume_make(const struct volume_pool *p, const char *name, uint64_t bytes, struct error *err)
{
	struct strv argv AUTO(strv_done) = {0};

	strv_add_all(&argv, "lvcreate", "--quiet", "--yes", "--type", "thin", "--addtag", p->tag,
		"-n", name, "-V", NULL);
	strv_add_format(&argv, "%lluB", (unsigned long long)bytes);
	strv_add(&argv, "--thinpool");
	add_path(&argv, p, p->pool);
	return run_make(&argv, name, err);
}

/* By its type, not as --snapshot, for which LVM wants the kernel's module of thick ones. Without
 * the flag it would not activate it. */
int volume_snapshot(
	const struct volume_pool *p, const char *name, const char *origin, struct error *err)
{
	struct strv argv AUTO(strv_done) = {0};

	strv_add_all(&argv, "lvcreate", "--quiet", "--yes", "--type", "thin", "--setactivationskip",
		"n", "--permission", "rw", "--addtag", p->tag, "-n", name, NULL);
	add_path(&argv, p, origin);
	return run_make(&argv, name, err);
}

/* Inactive: a snapshot of it needs nothing suspended then. The tag comes last, as it is what
 * counts.
 */
int volume_mark(
	const struct volume_pool *p, const char *name, const char *digest, struct error *err)
{
	struct strv off AUTO(strv_done) = {0}, tag AUTO(strv_done) = {0};
	int r;

	strv_add_all(&off, "lvchange", "--quiet", "--activate", "n", NULL);
	add_path(&off, p, name);
	r = volume_run(&off, NULL, err);
	strv_add_all(&tag, "lvchange", "--quiet", "--setactivationskip", "y", "--addtag", NULL);
	strv_add_format(&tag, IMAGE_TAG "%s", digest);
	add_path(&tag, p, name);
	return r < 0 ? r : volume_run(&tag, NULL, err);
}

int volume_open(const struct volume_pool *p, const char *name, struct error *err)
{
	autofree char *path = path_format("/dev/%s/%s", p->group, name);
	int fd = path ? open(path, O_RDWR | O_CLOEXEC | O_NOCTTY) : -1;

	return fd < 0 ? fail_errno(err, path ? -errno : -ENOMEM, "cannot open the volume '%s/%s'",
				p->group, name)
		      : fd;
}

int volume_identify(int fd, const char *group, char ret_name[VOLUME_NAME_MAX])
{
	char path[64], prefix[DEVICE_NAME_MAX];
	autofree char *text = NULL;
	const char *name;
	struct stat st;
	size_t length;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode))
		return -ENOENT;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/dm/name", major(st.st_rdev),
		minor(st.st_rdev));
	if (file_read(AT_FDCWD, path, SYSFS_MAX, &text, &length) < 0)
		return -ENOENT;
	text[strcspn(text, "\n")] = '\0';
	device_prefix(group, prefix, sizeof(prefix));
	name = str_after(text, prefix);
	if (!name || !volume_name_is_valid(name))
		return -ENOENT;
	snprintf(ret_name, VOLUME_NAME_MAX, "%s", name);
	return 0;
}

int volume_discard(int fd, struct error *err)
{
	uint64_t range[2] = {0, 0};

	if (ioctl(fd, BLKGETSIZE64, &range[1]) < 0 || ioctl(fd, BLKDISCARD, range) < 0)
		return fail_errno(err, -errno, "cannot give back the blocks of a volume");
	return 0;
}

int volume_remove(const struct volume_pool *p, const char *name, struct error *err)
{
	struct strv argv AUTO(strv_done) = {0};
	int r;

	strv_add_all(&argv, "lvremove", "--quiet", "--quiet", "--force", "--config", VOLUME_CONFIG,
		NULL);
	add_path(&argv, p, name);
	r = volume_run(&argv, NULL, err);
	if (r == 0 || strstr(err->text, "Failed to find logical volume"))
		return 0;
	if (strstr(err->text, "in use") || strstr(err->text, "is used by"))
		return fail(err, -EBUSY, "somebody has the volume '%s/%s' open", p->group, name);
	return r;
}

int volume_cut(const struct volume_pool *p, const char *name, struct error *err)
{
	struct strv argv AUTO(strv_done) = {0};
	char device[DEVICE_NAME_MAX];

	device_prefix(p->group, device, sizeof(device));
	add_escaped(device, sizeof(device), name);
	strv_add_all(&argv, "dmsetup", "wipe_table", device, NULL);
	return volume_run(&argv, NULL, err);
}

/* Tags are a list with commas. Returns what comes after the one that begins so (all of it unless
 * `is_prefix`), or NULL. */
static const char *find_tag(const char *tags, const char *tag, bool is_prefix)
{
	size_t n = strlen(tag);

	for (; tags; tags = strchr(tags, ',')) {
		tags += *tags == ',';
		if (strncmp(tags, tag, n) == 0 && (is_prefix || tags[n] == ',' || tags[n] == '\0'))
			return tags + n;
	}
	return NULL;
}

/* "" if no image is said to be on it. */
static void image_of(const char *tags, char ret[DIGEST_HEX_SIZE])
{
	const char *at = find_tag(tags, IMAGE_TAG, true);

	snprintf(ret, DIGEST_HEX_SIZE, "%s", at ? at : "");
	if (!digest_is_hex(ret))
		ret[0] = '\0';
}

int volume_parse_list(const char *text, const char *tag, struct strv *ret, struct strv *ret_images)
{
	json_t *json = json_loads(text, 0, NULL), *volume;
	size_t i;

	json_array_foreach(find_volumes(json), i, volume)
	{
		const char *name = json_string_value(json_object_get(volume, "lv_name"));
		const char *tags = json_string_value(json_object_get(volume, "lv_tags"));
		char digest[DIGEST_HEX_SIZE];

		if (!name || !volume_name_is_valid(name) || !find_tag(tags, tag, false))
			continue;
		image_of(tags, digest);
		strv_add(ret, name);
		strv_add(ret_images, digest);
	}
	json_decref(json);
	return ret->failed || ret_images->failed ? -ENOMEM : 0;
}

int volume_list(
	const struct volume_pool *p, struct strv *ret, struct strv *ret_images, struct error *err)
{
	autofree char *text = NULL;
	int r = report(p, "lv_name,lv_tags", NULL, &text, err);

	if (r < 0)
		return r;
	r = volume_parse_list(text, p->tag, ret, ret_images);
	return r < 0 ? fail(err, r, "out of memory") : 0;
}
