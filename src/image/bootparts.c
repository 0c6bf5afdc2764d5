#include "image/bootparts.h"

#include <errno.h>

#include "image/initrd.h"
#include "image/kernel.h"
#include "lib/child.h"
#include "lib/path.h"

#define AGENT_TIMEOUT_MS  10000
#define AGENT_VERSION_MAX 256

static int add_part(struct store_upload *upload, enum image_part_kind kind, struct manifest *m,
	struct error *err)
{
	struct image_part part = {.kind = kind};
	int r = store_upload_commit(upload, &part, err);

	if (r >= 0)
		m->parts[kind] = part;
	return r;
}

int bootparts_add_kernel(
	struct store *s, const struct rootfs *rootfs, struct manifest *m, struct error *err)
{
	struct store_upload *upload AUTO(store_upload_freep) = NULL;
	int r = store_upload_open(s, &upload, err);

	if (r >= 0)
		r = kernel_extract(rootfs->kernel_fd, store_upload_fd(upload), err);
	return r < 0 ? r : add_part(upload, IMAGE_KERNEL, m, err);
}

int bootparts_add_initrd(struct store *s, const struct rootfs *rootfs, const char *const *modules,
	struct manifest *m, struct error *err)
{
	autofree char *agent = path_format("%s/wnodes-guest", path_libexec());
	struct store_upload *upload AUTO(store_upload_freep) = NULL;
	int r = agent ? store_upload_open(s, &upload, err) : fail(err, -ENOMEM, "out of memory");

	if (r >= 0)
		r = initrd_write(store_upload_fd(upload), rootfs->tree_fd, rootfs->release, agent,
			modules, err);
	return r < 0 ? r : add_part(upload, IMAGE_INITRD, m, err);
}

/* "wnodes-guest VERSION". */
char *bootparts_agent_version(struct error *err)
{
	autofree char *agent = path_format("%s/wnodes-guest", path_libexec());
	const char *const argv[] = {agent, "--version", NULL};
	struct child_spec spec = CHILD_SPEC_INIT;
	autofree char *text = NULL;
	const char *version;

	spec.argv = argv;
	if (!agent || child_output(&spec, AGENT_TIMEOUT_MS, AGENT_VERSION_MAX, &text, err) < 0) {
		fail_within(err, "the guest agent does not run");
		return NULL;
	}
	text[strcspn(text, "\n")] = '\0';
	version = strrchr(text, ' ');
	return strdup(version ? version + 1 : text);
}
