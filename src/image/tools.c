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

int tools_check(const char *path, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(tools); i++) {
		autofree char *file = path_find_program(path, tools[i].program);

		if (file || (geteuid() == 0 && !tools[i].root_needs_it))
			continue;
		return fail(err, -ENOENT,
			"the program '%s' is needed and not installed; apt-get install %s",
			tools[i].program, tools[i].package);
	}
	return 0;
}
