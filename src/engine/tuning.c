#include "engine/tuning.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "lib/file.h"
#include "lib/log.h"

#define MEMINFO "/proc/meminfo"

#define MEMINFO_MAX 65536

static uint64_t meminfo_number(const char *text, const char *key)
{
	const char *line = strstr(text, key);

	return line ? strtoull(line + strlen(key), NULL, 10) : 0;
}

uint64_t tuning_huge_mib(void)
{
	autofree char *text = NULL;
	size_t length;

	if (file_read(AT_FDCWD, MEMINFO, MEMINFO_MAX, &text, &length) < 0)
		return 0;
	return meminfo_number(text, "HugePages_Free:") * meminfo_number(text, "Hugepagesize:") /
	       1024;
}

/* It may be missing, switched off (kernel.io_uring_disabled), or forbidden by a container. */
bool tuning_has_io_uring(void)
{
	struct io_uring_params params = {0};
	autoclose int fd = (int)syscall(SYS_io_uring_setup, 1, &params);

	return fd >= 0;
}

bool tuning_is_direct(int fd)
{
	autoclose int again = -1;
	char path[40];

	if (fd < 0)
		return false;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	/* Only its owner may open a volume again, and it has no page cache that could be refused.
	 */
	return again >= 0 || errno == EACCES;
}

bool tuning_forbids_clones(const struct settings *settings)
{
	return streq(settings->huge_pages, "yes");
}

static bool wants_huge_pages(const struct settings *settings, const struct vm_spec *spec)
{
	if (spec->start != VM_START_BOOT || streq(settings->huge_pages, "no"))
		return false;
	return streq(settings->huge_pages, "yes") || tuning_huge_mib() >= spec->memory_mib;
}

/* io_uring was not faster where it was measured (docs/performance.md). */
static const char *choose_aio(const char *setting)
{
	bool missing = streq(setting, "io_uring") && !tuning_has_io_uring();

	return streq(setting, "auto") || missing ? "native" : setting;
}

void tuning_fill_spec(const struct settings *settings, struct vm_spec *spec)
{
	bool direct = streq(settings->disk_cache, "none");

	spec->memory_huge = wants_huge_pages(settings, spec);
	spec->pin_cpus = settings->cpu_pinning;
	spec->aio = choose_aio(settings->disk_aio);
	spec->direct_volumes = direct;
	spec->direct_files = direct && tuning_is_direct(spec->overlay_fd) &&
			     (spec->scratch_fd < 0 || spec->scratch_is_volume ||
				     tuning_is_direct(spec->scratch_fd));
	if (direct && !spec->direct_files)
		log_debug("the file system of VMs' files has no O_DIRECT: the page cache is used");
}
