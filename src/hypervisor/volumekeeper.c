#include "hypervisor/volumekeeper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "engine/packet.h"
#include "hypervisor/rights.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/path.h"
#include "storage/volume.h"
#include "vm/scratch.h"

/* By it a process list tells it from the daemon. At most 15 characters. */
#define KEEPER_NAME "wnodes-volumes"

struct keeper {
	struct volume_pool pool;
	int fd;
};

static const char *text_of(json_t *question, const char *key)
{
	const char *text = json_string_value(json_object_get(question, key));

	return text ? text : "";
}

static uint64_t number_of(json_t *question, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(question, key));
}

static bool is_set(json_t *question, const char *key)
{
	return json_is_true(json_object_get(question, key));
}

static int keeper_open(
	struct keeper *k, const char *name, json_t *answer, int *ret_fd, struct error *err)
{
	uint64_t bytes = 0;
	int r = *ret_fd = volume_open(&k->pool, name, err);

	if (r >= 0 && ioctl(r, BLKGETSIZE64, &bytes) < 0)
		r = fail_errno(err, -errno, "cannot look at the volume '%s'", name);
	json_object_set_new(answer, "bytes", json_integer((json_int_t)bytes));
	return MIN_OF(r, 0);
}

static int check_room(struct keeper *k, uint64_t bytes, struct error *err)
{
	struct volume_room room;
	int r = volume_look(&k->pool, &room, err);

	return r < 0 ? r : volume_check_room(&k->pool, &room, bytes, err);
}

static int on_make(
	struct keeper *k, json_t *question, json_t *answer, int *ret_fd, struct error *err)
{
	const char *name = text_of(question, "name");
	uint64_t bytes = number_of(question, "bytes");
	/* An image's disk is mostly holes: it takes what is in it. */
	int r = check_room(k, is_set(question, "bare") ? 0 : bytes, err);
	struct error unused;

	if (r == 0)
		r = volume_make(&k->pool, name, bytes, err);
	if (r < 0)
		return r;
	r = keeper_open(k, name, answer, ret_fd, err);
	if (r == 0 && !is_set(question, "bare"))
		r = scratch_format(*ret_fd, err);
	if (r < 0)
		volume_remove(&k->pool, name, &unused);
	return r;
}

static int on_snapshot(
	struct keeper *k, json_t *question, json_t *answer, int *ret_fd, struct error *err)
{
	const char *name = text_of(question, "name"), *of = text_of(question, "of");
	int r = volume_name_is_valid(of) ? check_room(k, 0, err) : -EINVAL;
	struct error unused;

	if (r == 0)
		r = volume_snapshot(&k->pool, name, of, err);
	if (r < 0)
		return r;
	r = keeper_open(k, name, answer, ret_fd, err);
	if (r < 0)
		volume_remove(&k->pool, name, &unused);
	return r;
}

static int on_mark(
	struct keeper *k, json_t *question, json_t *answer, int *ret_fd, struct error *err)
{
	const char *digest = text_of(question, "digest");

	return digest_is_hex(digest) ? volume_mark(&k->pool, text_of(question, "name"), digest, err)
				     : -EINVAL;
}

static int on_remove(
	struct keeper *k, json_t *question, json_t *answer, int *ret_fd, struct error *err)
{
	const char *name = text_of(question, "name");
	struct error unused;
	int r;

	/* Its room is back at once, whoever has it open. */
	if (is_set(question, "discard")) {
		autoclose int fd = volume_open(&k->pool, name, &unused);

		if (fd >= 0)
			volume_discard(fd, &unused);
	}
	r = volume_remove(&k->pool, name, err);
	if (r == -EBUSY && is_set(question, "cut"))
		volume_cut(&k->pool, name, &unused);
	if (r == -EBUSY)
		json_object_set_new(answer, "busy", json_true());
	return r == -EBUSY ? 0 : r;
}

static int on_list(
	struct keeper *k, json_t *question, json_t *answer, int *ret_fd, struct error *err)
{
	struct strv names AUTO(strv_done) = {0}, images AUTO(strv_done) = {0};
	int r = volume_list(&k->pool, &names, &images, err);
	json_t *marked = json_object();

	for (size_t i = 0; r == 0 && i < names.count; i++)
		if (images.items[i][0])
			json_object_set_new(marked, names.items[i], json_string(images.items[i]));
	json_object_set_new(answer, "names", json_from_strings(strv_list(&names)));
	json_object_set_new(answer, "images", marked);
	return r;
}

static const struct {
	const char *op;
	int (*run)(
		struct keeper *k, json_t *question, json_t *answer, int *ret_fd, struct error *err);
	bool named;
} handlers[] = {
	{"make", on_make, true},
	{"snapshot", on_snapshot, true},
	{"mark", on_mark, true},
	{"remove", on_remove, true},
	{"list", on_list, false},
};

/* The daemon is believed as far as what it says is well-formed: names are those of volumes of ours.
 */
static void keeper_answer(struct keeper *k, json_t *question)
{
	const char *op = text_of(question, "op"), *name = text_of(question, "name");
	json_t *answer = json_pack("{s:s, s:s}", "op", op, "name", name);
	autoclose int fd = -1;
	struct error err = {0};
	int r = -EINVAL;

	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
		if (streq(handlers[i].op, op) && (!handlers[i].named || volume_name_is_valid(name)))
			r = handlers[i].run(k, question, answer, &fd, &err);
	if (r < 0)
		json_object_set_new(answer, "error",
			json_string(err.text[0] ? err.text : "there is no such thing to do"));
	if (r == -ENOSPC)
		json_object_set_new(answer, "full", json_true());
	packet_send(k->fd, answer, &fd, r >= 0 && fd >= 0 ? 1 : 0);
	json_decref(answer);
}

static void keeper_loop(struct keeper *k)
{
	for (;;) {
		int fds[PACKET_FDS_MAX], r;
		json_t *question = NULL;
		size_t count = 0;

		r = packet_recv(k->fd, &question, fds, &count);
		if (r == -EINTR)
			continue;
		if (r <= 0)
			return;
		keeper_answer(k, question);
		json_decref(question);
		while (count > 0)
			close(fds[--count]);
	}
}

/* It ends by the daemon's end alone: who stops a service signals all of its processes. */
static void ignore_signals(void)
{
	static const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE};

	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
}

/* LVM's tag of this node's volumes: a group that several nodes see is nobody's to clean up. */
static char *make_tag(const struct settings *s)
{
	char name[65] = "";

	gethostname(name, sizeof(name) - 1);
	return path_format("wnodes.%s", s->node_name && s->node_name[0] ? s->node_name : name);
}

/* Only the descriptor stays. One that was killed in the middle has the lock until it is done. */
static void run(const struct settings *settings, const char *state, int fd)
{
	autofree char *tag = make_tag(settings);
	autofree char *path = path_format("%s/volumes.lock", state);
	struct keeper k = {{settings->node_volume_group, settings->node_thin_pool, tag}, fd};
	autoclose int lock = -1;
	struct error err = {0};

	if (!tag || !path)
		return;
	prctl(PR_SET_NAME, KEEPER_NAME, 0, 0, 0);
	ignore_signals();
	if (rights_drop_to_volumes(&err) < 0) {
		log_error("%s", err.text);
		return;
	}
	file_make_dirs(state, 0755);
	lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (lock < 0 || file_lock(lock, true, true) < 0)
		log_warning("cannot lock '%s', ignoring", path);
	keeper_loop(&k);
}

int volumekeeper_start(
	const struct settings *settings, const char *state, int *ret_fd, struct error *err)
{
	int ends[2];
	pid_t pid;

	if (!settings->node_volume_group || !settings->node_volume_group[0])
		return 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return fail_errno(err, -errno, "cannot make a socket");
	pid = fork();
	if (pid < 0) {
		close(ends[0]);
		close(ends[1]);
		return fail_errno(err, -errno, "cannot start the keeper of volumes");
	}
	if (pid == 0) {
		close(ends[0]);
		run(settings, state, ends[1]);
		_exit(0);
	}
	close(ends[1]);
	*ret_fd = ends[0];
	return file_set_nonblocking(ends[0], true) < 0 ? -EIO : 1;
}
