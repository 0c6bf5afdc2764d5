#include "image/tools.h"

#include <errno.h>

#include "lib/path.h"

static const struct {
	const char *program, *package;
	bool root_needs_it;
} tools[] = {
	{"mmdebstrap", "mmdebstrap", true},
	{"dpkg-deb", "dpkg", true},
	{"tar", "tar", true},
	{"mke2fs", "e2fsprogs", true},
	{"xz", "xz-utils", true},
	{"fakeroot", "fakeroot", false},
};

static bool is_installed(const char *path, const char *program)
{
	for (size_t n; *path; path += n + (path[n] == ':')) {
		autofree char *file = NULL;

		n = strcspn(path, ":");
		file = path_format("%.*s/%s", (int)n, path, program);
		if (file && access(file, X_OK) == 0)
			return true;
	}
	return false;
}

int tools_check(const char *path, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(tools); i++) {
		if ((geteuid() == 0 && !tools[i].root_needs_it) ||
			is_installed(path, tools[i].program))
			continue;
		return fail(err, -ENOENT,
			"the program '%s' is needed and not installed; apt-get install %s",
			tools[i].program, tools[i].package);
	}
	return 0;
}
