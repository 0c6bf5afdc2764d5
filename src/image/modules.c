#include "image/modules.h"

#include <errno.h>
#include <stdio.h>

/* The longest chain of dependencies in a distribution's kernel is about ten. */
#define MODULES_DEPTH_MAX 32
#define MODULES_NAME_MAX  64

/* Writes the module's name for its path: no directory, no ".ko" and what follows, '-' as '_'.
 * Returns false for a path that is none of a module. */
static bool module_name(const char *path, size_t length, char ret[MODULES_NAME_MAX])
{
	const char *slash = memrchr(path, '/', length);
	const char *base = slash ? slash + 1 : path;
	size_t left = length - (size_t)(base - path);
	const char *end = memmem(base, left, ".ko", 3);

	if (!end || end == base || (size_t)(end - base) >= MODULES_NAME_MAX)
		return false;
	for (left = 0; base + left < end; left++)
		ret[left] = base[left] == '-' ? '_' : base[left];
	ret[left] = '\0';
	return true;
}

/* Returns the line whose first word is the path of the module, or NULL. */
static const char *find_line(const char *text, const char *name)
{
	char candidate[MODULES_NAME_MAX];

	for (const char *line = text; *line;) {
		if (module_name(line, strcspn(line, ": \n"), candidate) && streq(candidate, name))
			return line;
		line += strcspn(line, "\n");
		line += *line == '\n';
	}
	return NULL;
}

static bool has_path(const struct strv *list, const char *path)
{
	for (size_t i = 0; i < list->count; i++)
		if (streq(list->items[i], path))
			return true;
	return false;
}

static int add_line(
	const char *dep, const char *line, int depth, struct strv *ret, struct error *err);

static int add_dependency(const char *dep, const char *path, size_t length, int depth,
	struct strv *ret, struct error *err)
{
	char name[MODULES_NAME_MAX];
	const char *line;

	if (!module_name(path, length, name))
		return fail(err, -EINVAL, "modules.dep: '%.*s' is no module", (int)length, path);
	line = find_line(dep, name);
	if (!line)
		return fail(err, -EINVAL, "modules.dep: no line for '%s'", name);
	return add_line(dep, line, depth + 1, ret, err);
}

/* Adds what the line's module needs, then the module. */
static int add_line(
	const char *dep, const char *line, int depth, struct strv *ret, struct error *err)
{
	size_t length = strcspn(line, ": \n");
	autofree char *path = strndup(line, length);
	const char *p = line + length;

	if (!path)
		return fail(err, -ENOMEM, "out of memory");
	if (depth > MODULES_DEPTH_MAX)
		return fail(err, -EINVAL, "modules.dep: '%s' depends on itself", path);
	if (has_path(ret, path))
		return 0;
	for (p += *p == ':'; *p != '\n' && *p != '\0';) {
		size_t word = strcspn(p, " \n");
		int r = word == 0 ? 0 : add_dependency(dep, p, word, depth, ret, err);

		if (r < 0)
			return r;
		p += word + (p[word] == ' ');
	}
	strv_add(ret, path);
	return ret->failed ? fail(err, -ENOMEM, "out of memory") : 0;
}

int modules_resolve(const char *dep, const char *builtin, const struct module_want *wanted,
	struct strv *ret, struct error *err)
{
	for (const struct module_want *w = wanted; w->name; w++) {
		const char *line = find_line(dep, w->name);
		int r;

		if (!line && (w->optional || find_line(builtin, w->name)))
			continue;
		if (!line)
			return fail(err, -ENOENT, "the kernel has no module '%s'", w->name);
		r = add_line(dep, line, 0, ret, err);
		if (r < 0)
			return r;
	}
	return 0;
}
