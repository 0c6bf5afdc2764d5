#include "engine/refresh.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "engine/errand.h"
#include "engine/refresh_script.h"
#include "image/apt.h"
#include "image/bootparts.h"
#include "image/build.h"
#include "image/recipe.h"
#include "image/renewal.h"
#include "lib/child.h"
#include "lib/file.h"
#include "lib/path.h"

/* A hundred packages under emulation. */
#define REFRESH_TIMEOUT_US (UINT64_C(3) * 3600 * 1000000)

struct refresh {
	struct store *store;
	const struct refresh_request *request;
	struct refresh_result *result;
	struct renewal renewal;
	bool new_agent;
	bool tried; /* the log has what a VM of the new image said */
	int log_fd;
};

static void refresh_step(const struct refresh *r, const char *what)
{
	if (r->request->on_step)
		r->request->on_step(what, r->request->userdata);
}

void refresh_done(struct refresh_result *r)
{
	manifest_free(r->manifest);
	free(r->changes);
	free(r->log_path);
	imagecheck_done(&r->checks);
	*r = (struct refresh_result){0};
}

static int open_part(
	struct store *s, const struct manifest *m, enum image_part_kind kind, struct error *err)
{
	const struct image_part *part = manifest_part(m, kind);

	return part ? store_open_part(s, part, err) : fail(err, -EBADMSG, "the image lacks a part");
}

static int fail_checks(const struct imagecheck *c, const char *log_path, struct error *err)
{
	size_t i = 0;

	while (c->results[i].passed)
		i++;
	return fail(err, -EBADMSG,
		"%zu of %zu checks failed, first '%s': %s; the new image got no name (log: %s)",
		c->failures, c->count, c->results[i].name, c->results[i].why, log_path);
}

/* Starts the new image, which has no name so far, and has it tried. */
static int try_image(
	struct refresh *r, const struct manifest *m, const char *log_path, struct error *err)
{
	autoclose int disk = open_part(r->store, m, IMAGE_DISK, err);
	autoclose int kernel = disk < 0 ? -1 : open_part(r->store, m, IMAGE_KERNEL, err);
	autoclose int initrd = kernel < 0 ? -1 : open_part(r->store, m, IMAGE_INITRD, err);
	const struct imagecheck_parts parts = {.image = r->request->image->name,
		.manifest = m,
		.disk_fd = disk,
		.kernel_fd = kernel,
		.initrd_fd = initrd};
	int e;

	if (initrd < 0)
		return err->code;
	r->tried = true;
	refresh_step(r, "trying the new image");
	e = imagecheck_run(&parts, r->request->settings, r->log_fd, &r->result->checks, err);
	if (e < 0)
		return fail_within(err, "the new image got no name (log: %s)", log_path);
	return r->result->checks.failures > 0 ? fail_checks(&r->result->checks, log_path, err) : 0;
}

/* Does the agent of this program differ from the image's? */
static int compare_agents(struct refresh *r, struct error *err)
{
	autofree char *version = bootparts_agent_version(err);
	const char *old = r->request->image->manifest->agent_version;

	if (!version)
		return -EIO;
	r->new_agent = !old || !streq(version, old);
	return 0;
}

/* The lines of sources.list to be used instead of the image's, as one text. */
static char *make_sources(const struct refresh *r, struct error *err)
{
	const char *text = r->request->image->manifest->recipe;
	struct recipe *recipe AUTO(recipe_freep) = NULL;
	struct strv lines AUTO(strv_done) = {0};
	char *sources = strdup("SOURCES=");

	text = text ? text : "";
	if (recipe_parse(text, strlen(text), "the image's recipe", NULL, &recipe, err) < 0 ||
		(r->request->mirrors &&
			apt_sources(recipe->image.suite, r->request->mirrors, &lines, err) < 0)) {
		free(sources);
		return NULL;
	}
	for (size_t i = 0; sources && i < lines.count; i++) {
		autofree char *before = sources;

		sources = path_format("%s%s\n", before, lines.items[i]);
	}
	if (!sources)
		fail(err, -ENOMEM, "out of memory");
	return sources;
}

/* What a proxy on the host's own loopback is called in the VM. */
static void add_proxy(const struct strv *from, const char *key, struct strv *env)
{
	static const char *const loopbacks[] = {"http://127.0.0.1:", "http://localhost:"};
	const char *value = strv_env_get(from, key), *rest = NULL;

	for (size_t i = 0; value && !rest && i < ARRAY_SIZE(loopbacks); i++)
		rest = str_after(value, loopbacks[i]);
	if (value)
		strv_add_format(
			env, "%s=%s%s", key, rest ? "http://10.0.2.2:" : "", rest ? rest : value);
}

static int fill_env(const struct refresh *r, struct strv *env, struct error *err)
{
	autofree char *sources = make_sources(r, err);

	if (!sources)
		return err->code;
	strv_add(env, sources);
	strv_add_format(env, "AGENT=%d", r->new_agent);
	add_proxy(&r->renewal.shop.env, "http_proxy", env);
	add_proxy(&r->renewal.shop.env, "https_proxy", env);
	return env->failed ? fail(err, -ENOMEM, "out of memory") : 0;
}

/* Says what stands in the log. */
static int explain_upgrade(const struct refresh *r, int status, struct error *err)
{
	const struct workshop *shop = &r->renewal.shop;
	char reason[RUNNER_REASON_MAX] = "";
	autofree char *log = NULL;
	size_t length;

	if (file_read(AT_FDCWD, shop->log_path, REFRESH_LOG_MAX, &log, &length) == 0)
		runner_reason(log, reason);
	return fail(err, -EIO, "the upgrade in the VM ended with status %d: %s (log: %s)", status,
		reason[0] ? reason : "it does not say why", shop->log_path);
}

/* Lets a VM change the copy. Returns 1, or 0 if there is nothing to upgrade. */
static int upgrade_disk(struct refresh *r, struct error *err)
{
	struct renewal *renewal = &r->renewal;
	const struct request_parts parts = {.manifest = renewal->manifest,
		.disk_fd = renewal_disk(renewal),
		.kernel_fd = renewal->kernel_fd,
		.initrd_fd = renewal->initrd_fd,
		.keep = true};
	struct strv env AUTO(strv_done) = {0};
	autofree char *script = refresh_script();
	autoclose int agent = r->new_agent ? renewal_open_agent(renewal, err) : -1;
	struct errand errand = {.image = r->request->image->name,
		.settings = r->request->settings,
		.parts = &parts,
		.streams = {agent, renewal->archive_fd, renewal->shop.log_fd},
		.script = script,
		.network = VM_NETWORK_USER,
		.timeout_us = REFRESH_TIMEOUT_US};
	int e = r->new_agent ? MIN_OF(agent, 0) : 0;

	if (e == 0)
		e = script ? fill_env(r, &env, err) : fail(err, -ENOMEM, "out of memory");
	if (e < 0)
		return e;
	errand.env = strv_list(&env);
	e = errand_run(&errand, err);
	if (e == 0 || e == REFRESH_NOTHING)
		return e == 0;
	return e < 0 ? fail_within(err, "(log: %s)", renewal->shop.log_path)
		     : explain_upgrade(r, e, err);
}

static int upgrade_copy(struct refresh *r, struct error *err)
{
	const struct refresh_request *request = r->request;
	struct renewal *renewal = &r->renewal;
	int e = renewal_open(r->store, request->image, request->cancel, renewal, err);

	if (e == 0)
		e = compare_agents(r, err);
	if (e < 0)
		return e;
	r->log_fd = renewal->shop.log_fd;
	refresh_step(r, "upgrading a copy in a VM");
	e = upgrade_disk(r, err);
	if (e <= 0)
		return e;
	refresh_step(r, "storing the new image");
	e = renewal_finish(renewal, err);
	if (e == 0)
		e = try_image(r, renewal->manifest, renewal->shop.log_path, err);
	if (e == 0)
		e = store_add(r->store, renewal->manifest, request->image->name, request->tag,
			r->result->digest, err);
	if (e < 0)
		return e;
	r->result->changed = true;
	r->result->changes = TAKE_PTR(renewal->changes);
	r->result->manifest = TAKE_PTR(renewal->manifest);
	return 0;
}

/* Keeps the log of what was not good, and only that. */
static void end_log(struct refresh *r, int e)
{
	const struct workshop *shop = &r->renewal.shop;

	if (e == -EIO || e == -EBADMSG || e == -EPROTO || e == -ETIMEDOUT)
		r->result->log_path = shop->log_path ? strdup(shop->log_path) : NULL;
	else
		workshop_drop_log(shop);
}

static int upgrade(struct refresh *r, struct error *err)
{
	int e = upgrade_copy(r, err);

	end_log(r, e);
	renewal_done(&r->renewal);
	return e;
}

static int on_built(struct store *s, const struct manifest *m, void *userdata, struct error *err)
{
	struct refresh *r = userdata;

	return try_image(r, m, r->result->log_path, err);
}

static void on_build_step(const char *what, void *userdata)
{
	refresh_step(userdata, what);
}

/* The log of the checks; the build has one of its own. */
static int open_log(struct refresh *r, struct error *err)
{
	const struct image *image = r->request->image;
	autofree char *cache = path_cache();
	char **path = &r->result->log_path;
	int e = cache ? file_make_dirs(cache, 0700) : -ENOMEM;

	if (e >= 0)
		*path = path_format("%s/refresh-%s-%s.log", cache, image->name, image->tag);
	if (e >= 0 && *path)
		r->log_fd = open(*path,
			O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	return r->log_fd < 0 ? fail_errno(err, e < 0 ? e : -errno, "cannot write a log in '%s'",
				       cache ? cache : "")
			     : 0;
}

static int rebuild_image(struct refresh *r, const struct recipe *recipe, struct error *err)
{
	const struct refresh_request *request = r->request;
	const struct build_request build = {
		.name = request->image->name,
		.tag = request->tag,
		.recipe = recipe,
		.origin = request->image->manifest->origin ? request->image->manifest->origin : "",
		.on_step = on_build_step,
		.approve = on_built,
		.userdata = r,
		.cancel = request->cancel,
	};

	return build_debian(r->store, &build, r->result->digest, err);
}

static int rebuild(struct refresh *r, struct error *err)
{
	const char *text = r->request->image->manifest->recipe;
	struct recipe *recipe AUTO(recipe_freep) = NULL;
	int e;

	if (!text)
		return fail(err, -ENOENT,
			"'%s' has no recipe: it is older than recipes, or was not built by WNoDeS; build "
			"it with wnodes image build",
			r->request->image->name);
	e = recipe_parse(text, strlen(text), "the image's recipe", NULL, &recipe, err);
	if (e == 0)
		e = open_log(r, err);
	if (e == 0)
		e = rebuild_image(r, recipe, err);
	base_close(r->log_fd);
	/* A program of the build that failed has a log of its own, which is named. */
	if (r->result->log_path && (e >= 0 || !r->tried)) {
		unlink(r->result->log_path);
		free(TAKE_PTR(r->result->log_path));
	}
	r->result->changed = e >= 0;
	return MIN_OF(e, 0);
}

int refresh_image(struct store *s, const struct refresh_request *request,
	struct refresh_result *ret, struct error *err)
{
	struct refresh r = {.store = s,
		.request = request,
		.result = ret,
		.renewal = RENEWAL_INIT,
		.log_fd = -1};

	return request->rebuild ? rebuild(&r, err) : upgrade(&r, err);
}
