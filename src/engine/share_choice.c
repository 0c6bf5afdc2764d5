#include "engine/share_choice.h"

#include <errno.h>
#include <stdio.h>

#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"

/* What the choice is made by. */
struct choice {
	const struct manifest *manifest;
	const struct gateway_host *host;
	bool is_clone;
};

/* An import whose abilities were never looked at gets the benefit of the doubt. */
static bool image_mounts(const struct manifest *m, const struct gateway *gateway)
{
	return !m->gateways || manifest_has_gateway(m, gateway->filesystem);
}

static int fail_image(const struct vm_share *share, const char *image, struct error *err)
{
	return fail(err, -EOPNOTSUPP,
		"the image '%s' cannot mount '%s': its kernel has no %s; run without host "
		"directories (--mount none) or use another image",
		image, share->source, share->gateway ? share->gateway->filesystem : "9p");
}

static bool image_mounts_any(const struct manifest *m, const struct vm_share *share)
{
	const struct gateway *gateway;

	if (share->gateway)
		return image_mounts(m, share->gateway);
	for (size_t i = 0; (gateway = gateway_at(i)); i++)
		if ((gateway->boot_rank || gateway->clone_rank) && image_mounts(m, gateway))
			return true;
	return false;
}

int share_choice_check(const struct share_list *shares, const char *image, const struct manifest *m,
	struct error *err)
{
	for (size_t i = 0; i < shares->count; i++)
		if (!image_mounts_any(m, &shares->items[i]))
			return fail_image(&shares->items[i], image, err);
	return 0;
}

/* Is there one that may be chosen in a clone? */
static bool image_clones(const struct manifest *m)
{
	const struct gateway *gateway;

	for (size_t i = 0; (gateway = gateway_at(i)); i++)
		if (gateway->clone_rank && image_mounts(m, gateway))
			return true;
	return false;
}

int share_choice_may_clone(
	const struct share_list *shares, const struct manifest *m, struct error *err)
{
	for (size_t i = 0; i < shares->count; i++) {
		const struct gateway *gateway = shares->items[i].gateway;

		if (gateway && !gateway->cloneable)
			return fail(err, -EOPNOTSUPP,
				"the gateway %s of '%s' is not possible in a clone; use another "
				"one, or start with --start auto",
				gateway->name, shares->items[i].source);
		if (!gateway && !image_clones(m))
			return fail(err, -EOPNOTSUPP,
				"a clone of this image can mount no host directories; start with "
				"--start auto, or --mount none");
	}
	return 0;
}

size_t share_choice_slots(const struct share_list *shares)
{
	size_t n = 0;

	for (size_t i = 0; i < shares->count; i++) {
		const struct gateway *gateway = shares->items[i].gateway;

		n += !gateway || (gateway->cloneable && gateway->kind == GATEWAY_DEVICE);
	}
	return n;
}

/* Will this gateway do? Returns 0 or negative errno with why not. */
static int choice_try(const struct choice *c, const struct gateway *gateway,
	const struct vm_share *share, struct error *err)
{
	if (!image_mounts(c->manifest, gateway))
		return fail(err, -EOPNOTSUPP, "the image's kernel has no %s", gateway->filesystem);
	if (c->is_clone && !gateway->cloneable)
		return fail(err, -EOPNOTSUPP, "it is not possible in a clone");
	if (gateway->needs_network && !c->host->has_network)
		return fail(err, -ENETUNREACH, "the VM has no network (--network user)");
	return gateway->check ? gateway->check(c->host, share, err) : 0;
}

static unsigned int choice_rank(const struct choice *c, const struct gateway *gateway)
{
	return c->is_clone ? gateway->clone_rank : gateway->boot_rank;
}

/* The one whose turn is next after that of `rank`, or NULL. */
static const struct gateway *choice_next(const struct choice *c, unsigned int rank)
{
	const struct gateway *gateway, *best = NULL;

	for (size_t i = 0; (gateway = gateway_at(i)); i++)
		if (choice_rank(c, gateway) > rank &&
			(!best || choice_rank(c, gateway) < choice_rank(c, best)))
			best = gateway;
	return best;
}

/* The first that will do; why those before it will not is told to who wants to know. */
static int choice_best(const struct choice *c, struct vm_share *share, struct error *err)
{
	const struct gateway *gateway = NULL;
	struct error why = {0};

	while ((gateway = choice_next(c, gateway ? choice_rank(c, gateway) : 0))) {
		if (choice_try(c, gateway, share, &why) == 0)
			break;
		log_debug("'%s': not by %s: %s", share->target, gateway->name, why.text);
	}
	share->gateway = gateway;
	return gateway ? 0
		       : fail(err, -EOPNOTSUPP, "no gateway can bring '%s' into the VM: %s",
				 share->source, why.text);
}

static int choice_make(const struct choice *c, struct vm_share *share, struct error *err)
{
	bool named = share->gateway;
	int r = named ? choice_try(c, share->gateway, share, err) : choice_best(c, share, err);

	if (r < 0 && named)
		fail_within(err, "cannot share '%s' by %s", share->source, share->gateway->name);
	if (r == 0)
		log_debug("'%s': by %s, %s", share->target, share->gateway->name,
			named         ? "as asked for"
			: c->is_clone ? "the best for a clone"
				      : "the best for a VM that boots");
	return r;
}

/* The share in which the mount point of `shares->items[i]` lies, or NULL. */
static const struct vm_share *share_around(const struct share_list *shares, size_t i)
{
	const struct vm_share *best = NULL;

	for (size_t k = 0; k < shares->count; k++)
		if (k != i && path_is_below(shares->items[i].target, shares->items[k].target) &&
			(!best || strlen(shares->items[k].target) > strlen(best->target)))
			best = &shares->items[k];
	return best;
}

/* A mount point within another share is a directory of the host's, which the guest's root may have
 * no right to make. That it cannot be made here is heard from the guest, with the reason. */
static void make_mount_points(const struct share_list *shares)
{
	for (size_t i = 0; i < shares->count; i++) {
		const struct vm_share *around = share_around(shares, i);
		autofree char *path =
			around ? path_format("%s%s", around->source,
					 shares->items[i].target + strlen(around->target))
			       : NULL;

		if (path && !around->read_only)
			file_make_dirs(path, 0755);
	}
}

int share_choice_start(struct share_list *shares, const struct manifest *m, bool is_clone,
	const struct gateway_host *host, struct error *err)
{
	const struct choice c = {m, host, is_clone};
	int r = 0;

	make_mount_points(shares);
	for (size_t i = 0; i < shares->count && r == 0; i++)
		r = choice_make(&c, &shares->items[i], err);
	for (size_t i = 0; i < shares->count && r == 0; i++) {
		struct vm_share *share = &shares->items[i];

		if (!share->gateway->start)
			continue;
		r = share->gateway->start(host, share, i, err);
		if (r < 0)
			fail_within(err, "cannot share '%s' by %s", share->source,
				share->gateway->name);
	}
	if (r < 0)
		share_choice_stop(shares);
	return r;
}

void share_choice_stop(struct share_list *shares)
{
	for (size_t i = 0; i < shares->count; i++)
		if (shares->items[i].gateway && shares->items[i].gateway->start)
			gateway_helper_stop(&shares->items[i].helper);
}
