#include "net/rules.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>

#include "lib/child.h"

/* It waits for whoever else changes rules just now. */
#define NFT            "nft"
#define NFT_TIMEOUT_MS 5000

void rules_add(struct rules *r, const char *format, ...)
{
	autofree char *line = NULL;
	va_list args;
	int length;

	va_start(args, format);
	length = vasprintf(&line, format, args);
	va_end(args);
	if (length < 0) {
		line = NULL;
		r->failed = true;
	} else if (buffer_append(&r->text, line, (size_t)length) < 0) {
		r->failed = true;
	}
}

static int nft_run(int stdin_fd, struct error *err)
{
	static const char *const argv[] = {NFT, "-f", "-", NULL};
	struct child_spec spec = CHILD_SPEC_INIT;

	spec.argv = argv;
	spec.stdin_fd = stdin_fd;
	return child_run(&spec, NFT_TIMEOUT_MS, err);
}

int rules_run(struct rules *rules, const char *what, struct error *err)
{
	autoclose int fd = memfd_create("rules", MFD_CLOEXEC);
	int r = fd < 0 ? -errno : rules->failed ? -ENOMEM : 0;

	while (r >= 0 && rules->text.len > 0)
		r = (int)buffer_write(&rules->text, fd);
	buffer_done(&rules->text);
	if (r < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return fail_errno(err, MIN_OF(r, -EIO), "cannot write the rules %s", what);
	r = nft_run(fd, err);
	if (r == -ENOENT)
		return fail(err, r,
			"networks need the program nft, which is not there; install the package "
			"nftables");
	if (r < 0)
		fail_within(err, "cannot set the rules %s", what);
	return r;
}
