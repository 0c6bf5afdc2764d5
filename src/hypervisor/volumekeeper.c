#include "hypervisor/volumekeeper.h"

#include <errno.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "hypervisor/keeper.h"
#include "hypervisor/rights.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/path.h"
#include "storage/volume.h"
#include "vm/scratch.h"

static int open_volume(
	const struct volume_pool *pool, const struct keeper_call *c, struct error *err)
{
	uint64_t bytes = 0;
	int r = *c->ret_fd = volume_open(pool, c->name, err);

	if (r >= 0 && ioctl(r, BLKGETSIZE64, &bytes) < 0)
		r = fail_errno(err, -errno, "cannot look at the volume '%s'", c->name);
	json_object_set_new(c->answer, "bytes", json_integer((json_int_t)bytes));
	return MIN_OF(r, 0);
}

static int check_room(const struct volume_pool *pool, uint64_t bytes, struct error *err)
{
	struct volume_room room;
	int r = volume_look(pool, &room, err);

	return r < 0 ? r : volume_check_room(pool, &room, bytes, err);
}

static int on_make(void *userdata, const struct keeper_call *c, struct error *err)
{
	const struct volume_pool *pool = userdata;
	uint64_t bytes = keeper_number(c, "bytes");
	/* An image's disk is mostly holes: it takes what is in it. */
	int r = check_room(pool, keeper_is_set(c, "bare") ? 0 : bytes, err);
	struct error unused;

	if (r == 0)
		r = volume_make(pool, c->name, bytes, err);
	if (r < 0)
		return r;
	r = open_volume(pool, c, err);
	if (r == 0 && !keeper_is_set(c, "bare"))
		r = scratch_format(*c->ret_fd, err);
	if (r < 0)
		volume_remove(pool, c->name, &unused);
	return r;
}

static int on_snapshot(void *userdata, const struct keeper_call *c, struct error *err)
{
	const struct volume_pool *pool = userdata;
	const char *of = keeper_text(c, "of");
	int r = volume_name_is_valid(of) ? check_room(pool, 0, err) : -EINVAL;
	struct error unused;

	if (r == 0)
		r = volume_snapshot(pool, c->name, of, err);
	if (r < 0)
		return r;
	r = open_volume(pool, c, err);
	if (r < 0)
		volume_remove(pool, c->name, &unused);
	return r;
}

static int on_mark(void *userdata, const struct keeper_call *c, struct error *err)
{
	const char *digest = keeper_text(c, "digest");

	return digest_is_hex(digest) ? volume_mark(userdata, c->name, digest, err) : -EINVAL;
}

static int on_remove(void *userdata, const struct keeper_call *c, struct error *err)
{
	const struct volume_pool *pool = userdata;
	struct error unused;
	int r;

	/* Its room is back at once, whoever has it open. */
	if (keeper_is_set(c, "discard")) {
		autoclose int fd = volume_open(pool, c->name, &unused);

		if (fd >= 0)
			volume_discard(fd, &unused);
	}
	r = volume_remove(pool, c->name, err);
	if (r == -EBUSY && keeper_is_set(c, "cut"))
		volume_cut(pool, c->name, &unused);
	if (r == -EBUSY)
		json_object_set_new(c->answer, "busy", json_true());
	return r == -EBUSY ? 0 : r;
}

static int on_list(void *userdata, const struct keeper_call *c, struct error *err)
{
	struct strv names AUTO(strv_done) = {0}, images AUTO(strv_done) = {0};
	int r = volume_list(userdata, &names, &images, err);
	json_t *marked = json_object();

	for (size_t i = 0; r == 0 && i < names.count; i++)
		if (images.items[i][0])
			json_object_set_new(marked, names.items[i], json_string(images.items[i]));
	json_object_set_new(c->answer, "names", json_from_strings(strv_list(&names)));
	json_object_set_new(c->answer, "images", marked);
	return r;
}

static const struct keeper_op ops[] = {
	{"make", on_make, true},
	{"snapshot", on_snapshot, true},
	{"mark", on_mark, true},
	{"remove", on_remove, true},
	{"list", on_list, false},
	{NULL, NULL, false},
};

/* LVM's tag of this node's volumes: a group that several nodes see is nobody's to clean up. */
static char *make_tag(const struct settings *s)
{
	char name[65] = "";

	gethostname(name, sizeof(name) - 1);
	return path_format("wnodes.%s", s->node_name && s->node_name[0] ? s->node_name : name);
}

static int drop_rights(void *userdata, struct error *err)
{
	return rights_drop_to_volumes(err);
}

int volumekeeper_start(
	const struct settings *settings, const char *state, int *ret_fd, struct error *err)
{
	autofree char *tag = make_tag(settings), *lock = path_format("%s/volumes.lock", state);
	struct volume_pool pool = {settings->node_volume_group, settings->node_thin_pool, tag};
	const struct keeper_spec spec = {.name = "wnodes-volumes",
		.open = drop_rights,
		.lock = lock,
		.name_is_valid = volume_name_is_valid,
		.ops = ops,
		.userdata = &pool};

	if (!settings->node_volume_group || !settings->node_volume_group[0])
		return 0;
	if (!tag || !lock)
		return fail(err, -ENOMEM, "out of memory");
	file_make_dirs(state, 0755);
	*ret_fd = keeper_start(&spec, err);
	return *ret_fd < 0 ? *ret_fd : 1;
}
