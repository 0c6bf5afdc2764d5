#include "bench/machine.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "lib/child.h"
#include "lib/file.h"

#define FILE_BYTES_MAX (4 << 20)
#define QEMU_MS        10000

/* What follows `key` in the first line of a file that begins with it, up to `ends`. */
static json_t *file_value(const char *path, const char *key, const char *ends)
{
	autofree char *text = NULL;
	const char *found = NULL;
	size_t length;

	if (file_read(AT_FDCWD, path, FILE_BYTES_MAX, &text, &length) == 0)
		found = strstr(text, key);
	if (!found)
		return json_null();
	found += strlen(key);
	found += strspn(found, " \t:=\"");
	return json_stringn_nocheck(found, strcspn(found, ends));
}

static json_t *qemu_version(const char *qemu)
{
	const char *argv[] = {qemu, "--version", NULL};
	struct child_spec spec = CHILD_SPEC_INIT;
	autofree char *text = NULL;

	spec.argv = argv;
	if (child_output(&spec, QEMU_MS, FILE_BYTES_MAX, &text, NULL) < 0)
		return json_null();
	return json_stringn_nocheck(text, strcspn(text, "\n"));
}

json_t *machine_to_json(const char *qemu)
{
	struct utsname name = {0};
	struct sysinfo info = {0};

	uname(&name);
	sysinfo(&info);
	return json_pack("{s:o, s:I, s:I, s:s, s:o, s:o}", "cpu",
		file_value("/proc/cpuinfo", "model name", "\n"), "cpus",
		(json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "memory_bytes",
		(json_int_t)info.totalram * info.mem_unit, "kernel", name.release, "os",
		file_value("/etc/os-release", "PRETTY_NAME", "\"\n"), "qemu", qemu_version(qemu));
}
