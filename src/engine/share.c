#include "engine/share.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "lib/log.h"
#include "lib/path.h"

/* What a default mount must never hide in the guest: these trees with all that is in them, */
static const char *const system_trees[] = {"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32",
	"/lib64", "/libx32", "/proc", "/run", "/sbin", "/sys", "/usr"};

/* and these directories themselves. */
static const char *const system_directories[] = {
	"/", "/home", "/var", "/var/cache", "/var/lib", "/var/log", "/var/spool"};

void share_list_done(struct share_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->items[i].source);
		free(list->items[i].target);
	}
	list->count = 0;
}

static int share_check_source(const char *source, bool read_only, struct error *err)
{
	struct stat st;

	if (stat(source, &st) < 0)
		return fail_errno(err, -errno, "cannot share '%s'", source);
	if (!S_ISDIR(st.st_mode))
		return fail(err, -ENOTDIR,
			"cannot share '%s': it is no directory; share the directory that it is in",
			source);
	if (access(source, R_OK | X_OK) < 0)
		return fail_errno(err, -errno, "cannot share '%s'", source);
	return 0;
}

/* Takes source and target. `gateway` is a name, or NULL. */
static int share_put(struct share_list *list, char *source, char *target, bool read_only,
	const char *gateway, struct error *err)
{
	autofree char *from = source, *to = target;

	if (!from || !to)
		return fail(err, -ENOMEM, "out of memory");
	if (streq(to, "/"))
		return fail(err, -EINVAL, "cannot mount '%s' over the VM's root directory", from);
	for (size_t i = 0; i < list->count; i++)
		if (streq(list->items[i].target, to))
			return fail(err, -EEXIST, "two directories are to be mounted on '%s'", to);
	if (list->count == VM_SHARES_MAX)
		return fail(err, -E2BIG, "more than %d mounts; share a directory above them",
			VM_SHARES_MAX);
	list->items[list->count++] = (struct vm_share){
		.gateway = gateway ? gateway_find(gateway) : list->usual,
		.source = TAKE_PTR(from),
		.target = TAKE_PTR(to),
		.read_only = read_only,
		.helper = GATEWAY_HELPER_INIT,
	};
	return 0;
}

int share_add(struct share_list *list, const char *text, struct error *err)
{
	autofree char *copy = strdup(text), *source = NULL;
	struct share_text parts;
	char *to;
	int r;

	if (!copy)
		return fail(err, -ENOMEM, "out of memory");
	r = share_split(copy, &parts, err);
	if (r < 0) {
		fail_within(err, "--mount");
		return r;
	}
	source = path_absolute(parts.source);
	if (!source)
		return fail(err, -ENOMEM, "cannot make '%s' an absolute path", parts.source);
	r = share_check_source(source, parts.read_only, err);
	if (r < 0)
		return r;
	to = path_absolute(parts.target ? parts.target : source);
	return share_put(list, TAKE_PTR(source), to, parts.read_only, parts.gateway, err);
}

static bool share_covers(const struct share_list *list, const char *path)
{
	for (size_t i = 0; i < list->count; i++)
		if (path_is_below(path, list->items[i].target))
			return true;
	return false;
}

static bool is_system_directory(const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(system_directories); i++)
		if (streq(path, system_directories[i]))
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(system_trees); i++)
		if (path_is_below(path, system_trees[i]))
			return true;
	return false;
}

static int share_add_default(struct share_list *list, const char *path, struct error *err)
{
	autofree char *normal = path ? path_absolute(path) : NULL;
	char *source;

	if (!normal || is_system_directory(normal) || share_covers(list, normal))
		return 0;
	/* A home that does not exist, as those of system accounts, is no reason to fail. */
	if (share_check_source(normal, false, NULL) < 0)
		return 0;
	source = strdup(normal);
	return share_put(list, source, TAKE_PTR(normal), false, NULL, err);
}

int share_add_defaults(struct share_list *list, const struct caller *caller, struct error *err)
{
	int r = share_add_default(list, caller->home, err);

	return r < 0 ? r : share_add_default(list, caller->directory, err);
}

static void share_drop(struct share_list *list, size_t index)
{
	free(list->items[index].source);
	free(list->items[index].target);
	list->count--;
	memmove(&list->items[index], &list->items[index + 1],
		(list->count - index) * sizeof(list->items[0]));
}

/* As sharing_decide(), for where the path leads: who may make symbolic links must not choose. */
static int share_decide(const struct vm_share *share, const struct sharing *sharing,
	const struct caller *caller, struct error *err)
{
	const struct sharing_subject subject = {
		caller->uid, caller->name, (const char *const *)caller->group_names};
	autofree char *real = realpath(share->source, NULL);

	if (!real)
		return fail_errno(err, -errno, "cannot share '%s'", share->source);
	return sharing_decide(sharing, &subject, real, err);
}

int share_restrict(struct share_list *list, size_t first, const struct sharing *sharing,
	const struct caller *caller, bool asked, struct error *err)
{
	struct error why = {0};
	size_t i = first;

	while (i < list->count) {
		struct vm_share *share = &list->items[i];
		int r = share_decide(share, sharing, caller, &why);

		if (r < 0 && asked)
			return fail(err, r, "%s", why.text);
		if (r < 0) {
			log_info("not shared: %s", why.text);
			share_drop(list, i);
			continue;
		}
		if (r == 1 && asked && !share->read_only)
			log_notice(
				"'%s' can only be read in the VM: the site says so", share->source);
		share->read_only |= r == 1;
		i++;
	}
	return 0;
}

static int by_target(const void *a, const void *b)
{
	const struct vm_share *left = a, *right = b;
	return strcmp(left->target, right->target);
}

void share_sort(struct share_list *list)
{
	qsort(list->items, list->count, sizeof(list->items[0]), by_target);
}

char *share_translate(const struct share_list *list, const char *path)
{
	const struct vm_share *best = NULL;
	const char *rest;

	for (size_t i = 0; i < list->count; i++) {
		const struct vm_share *share = &list->items[i];
		if (path_is_below(path, share->source) &&
			(!best || strlen(share->source) > strlen(best->source)))
			best = share;
	}
	if (!best)
		return NULL;
	rest = path + strlen(best->source);
	/* Only "/" ends in the slash that `rest` is to begin with. */
	return path_format(
		"%s%s%s", best->target, streq(best->source, "/") && *rest ? "/" : "", rest);
}
