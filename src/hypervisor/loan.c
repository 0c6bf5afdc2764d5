#include "hypervisor/loan.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "image/seed.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"
#include "vm/scratch.h"

#define LOAN_SEEDS "seeds"
#define LOAN_AGENT "wnodes-guest"

static int open_part(struct loan_image *i, struct store *store, enum image_part_kind kind, int *ret)
{
	const struct image_part *part = manifest_part(i->manifest, kind);

	if (!part)
		return fail(&i->err, -EBADMSG, "the manifest of '%s' is incomplete", i->reference);
	*ret = store_open_part(store, part, &i->err);
	return MIN_OF(*ret, 0);
}

/* Made once for each agent; the same for all, else no template would fit two users. */
static int open_seed(struct loan_image *i)
{
	autofree char *directory = path_format("%s/" LOAN_SEEDS, i->directory);
	autofree char *agent = path_format("%s/" LOAN_AGENT, path_libexec());

	if (!directory || !agent)
		return fail(&i->err, -ENOMEM, "out of memory");
	i->seed_fd = seed_open_in(directory, agent, &i->err);
	return MIN_OF(i->seed_fd, 0);
}

static int open_parts(struct loan_image *i, struct store *store)
{
	const struct manifest *m = i->manifest;
	int r = open_part(i, store, IMAGE_DISK, &i->disk_fd);

	if (r == 0 && m->boot == IMAGE_BOOT_KERNEL)
		r = open_part(i, store, IMAGE_KERNEL, &i->kernel_fd);
	if (r == 0 && m->boot == IMAGE_BOOT_KERNEL)
		r = open_part(i, store, IMAGE_INITRD, &i->initrd_fd);
	if (r == 0 && m->agent == IMAGE_AGENT_SEED)
		r = open_seed(i);
	return r;
}

static int open_image(struct loan_image *i)
{
	struct image *image AUTO(image_freep) = NULL;
	int r = store_find(i->store, i->reference, &image, &i->err);

	if (r < 0)
		return r;
	i->name = TAKE_PTR(image->name);
	i->tag = TAKE_PTR(image->tag);
	memcpy(i->digest, image->digest, sizeof(i->digest));
	i->manifest = TAKE_PTR(image->manifest);
	r = open_parts(i, i->store);
	if (r == 0)
		store_note_use(i->store, i->digest);
	return r;
}

void loan_image_work(struct worker_job *job)
{
	struct loan_image *i = (struct loan_image *)(void *)job;

	i->result = i->reference ? open_image(i) : fail(&i->err, -ENOMEM, "out of memory");
}

void loan_image_done(struct loan_image *i)
{
	free(i->reference);
	free(i->name);
	free(i->tag);
	manifest_free(i->manifest);
	base_close(i->disk_fd);
	base_close(i->kernel_fd);
	base_close(i->initrd_fd);
	base_close(i->seed_fd);
	*i = (struct loan_image)LOAN_IMAGE_INIT;
}

int loan_file_open(struct loan_file *ret, const char *directory, uid_t uid, gid_t gid,
	uint64_t bytes, uint64_t limit, struct error *err)
{
	autoclose int fd = file_open_temporary(directory);

	if (fd < 0)
		return fail_errno(err, fd, "the node cannot make a file for the VM");
	/* The user's: their quota counts it, and their tools may open it by /proc/self/fd. */
	if ((bytes > 0 && ftruncate(fd, (off_t)bytes) < 0) || fchown(fd, uid, gid) < 0)
		return fail_errno(err, -errno, "the node cannot make a file for the VM");
	*ret = (struct loan_file){TAKE_FD(fd), limit};
	return 0;
}

int loan_file_allocate(struct loan_file *file, struct error *err)
{
	int r = scratch_allocate(file->fd, file->limit, err);

	if (r < 0)
		file->fd = base_close(file->fd);
	return r;
}

bool loan_file_trim(struct loan_file *file)
{
	struct stat st;

	if (file->fd < 0 || fstat(file->fd, &st) < 0 || (uint64_t)st.st_size <= file->limit)
		return false;
	return ftruncate(file->fd, (off_t)file->limit) == 0;
}

void loan_file_close(struct loan_file *file, bool leave)
{
	if (file->fd >= 0 && !leave && ftruncate(file->fd, 0) < 0)
		log_debug("a VM's file cannot be emptied: its room comes back with its last user");
	file->fd = base_close(file->fd);
}
