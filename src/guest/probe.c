/* PROBE: what an image can do, asked once when it is imported. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/utsname.h>

#include "guest/call.h"
#include "guest/disk.h"
#include "guest/guest.h"

#define PROBE_CHUNK    16384
#define PROBE_LINE_MAX 256 /* of os-release, which people wrote */

/* A file system, the name of its module, and a part of its name in /proc/filesystems. */
static const struct candidate {
	const char *name;
	const char *module;
} candidates[] = {
	{"9p", "9p"},
	{"virtiofs", "virtiofs"},
	{"fuse", "fuse"},
	{"fuse.sshfs", "fuse"}, /* and its program */
	{"overlay", "overlay"},
	{"nfs", "nfs"},
	{"nfs4", "nfsv4"},
	{"ext4", "ext4"},
	{"xfs", "xfs"},
	{"btrfs", "btrfs"},
	{"tmpfs", "tmpfs"},
};

/* What a file contains is found by chunks: modules.dep of a distribution has 600 KB. `found` gets
 * a true for each "/MODULE.ko" in it. */
static void modules_scan(const char *path, bool *found)
{
	int fd autoclose = open(path, O_RDONLY | O_CLOEXEC);
	char text[PROBE_CHUNK + 1], name[32];
	size_t kept = 0;
	ssize_t n;

	while (fd >= 0 && (n = read(fd, text + kept, PROBE_CHUNK - kept)) > 0) {
		kept += (size_t)n;
		text[kept] = '\0';
		for (size_t i = 0; i < ARRAY_SIZE(candidates); i++) {
			snprintf(name, sizeof(name), "/%s.ko", candidates[i].module);
			found[i] |= strstr(text, name) != NULL;
		}
		/* The end may be the first half of a name. */
		n = (ssize_t)MIN_OF(kept, sizeof(name));
		memmove(text, text + kept - n, (size_t)n);
		kept = (size_t)n;
	}
}

static void kernel_scan(bool *found)
{
	char text[4096], name[32];

	if (disk_read("/proc/filesystems", text, sizeof(text)) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(candidates); i++) {
		snprintf(name, sizeof(name), "\t%s\n", candidates[i].name);
		found[i] |= strstr(text, name) != NULL;
	}
}

/* The value of KEY=value or KEY="value" in os-release. */
static void os_get(const char *text, const char *key, char *ret, size_t size)
{
	size_t n = strlen(key), length;
	const char *line = text;

	ret[0] = '\0';
	while (line && !(strncmp(line, key, n) == 0 && line[n] == '=')) {
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	if (!line)
		return;
	line += n + 1;
	line += *line == '"' || *line == '\'';
	length = strcspn(line, "\"'\n");
	snprintf(ret, size, "%.*s", (int)MIN_OF(length, size - 1), line);
}

static void os_load(const char *root, char *name, char *id)
{
	char path[PATH_MAX], text[4096], version[PROBE_LINE_MAX / 2], word[PROBE_LINE_MAX / 2];

	text[0] = '\0';
	if (disk_path(path, sizeof(path), root, "/etc/os-release") < 0 ||
		disk_read(path, text, sizeof(text)) < 0)
		text[0] = '\0';
	os_get(text, "PRETTY_NAME", name, PROBE_LINE_MAX);
	os_get(text, "ID", word, sizeof(word));
	os_get(text, "VERSION_ID", version, sizeof(version));
	snprintf(id, PROBE_LINE_MAX, "%s%s%s", word, version[0] ? " " : "", version);
}

/* The kernel's own need none. */
static bool candidate_has_program(const char *root, const char *name)
{
	const char *program = str_after(name, "fuse.");
	char path[PATH_MAX];

	return !program || program_find(root, program, path, sizeof(path)) == 0;
}

int probe_on_call(const struct call *c)
{
	static const char *const lists[] = {"modules.dep", "modules.builtin"};
	const char *filesystems[ARRAY_SIZE(candidates) + 1] = {NULL};
	char name[PROBE_LINE_MAX], id[PROBE_LINE_MAX], path[PATH_MAX];
	bool found[ARRAY_SIZE(candidates)] = {false};
	struct probe p = {.filesystems = filesystems, .os_name = name, .os_id = id};
	struct utsname u = {0};
	size_t n = 0;

	uname(&u);
	kernel_scan(found);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		snprintf(path, sizeof(path), "%s/lib/modules/%s/%s", c->guest->root, u.release,
			lists[i]);
		modules_scan(path, found);
	}
	for (size_t i = 0; i < ARRAY_SIZE(candidates); i++)
		if (found[i] && candidate_has_program(c->guest->root, candidates[i].name))
			filesystems[n++] = candidates[i].name;
	os_load(c->guest->root, name, id);
	p.vmgenid = access("/sys/bus/acpi/drivers/vmgenid", F_OK) == 0;
	return message_encode(probe_fields, &p, c->body);
}
