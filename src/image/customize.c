#include "image/customize.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#include "image/recipe_script.h"
#include "image/workshop.h"
#include "lib/file.h"
#include "lib/path.h"

#define CUSTOMIZE_SCRIPT "wnodes-script"

struct customize {
	const struct customize_request *request;
	struct store *store;
	struct workshop shop;
	struct store_upload *upload;
	struct manifest manifest; /* the image's, with what is new; strings that are ours: */
	char *origin;
};

static void customize_done(struct customize *c)
{
	c->upload = store_upload_free(c->upload);
	free(c->origin);
	workshop_done(&c->shop);
}

static void customize_step(const struct customize *c, const char *what)
{
	workshop_note(&c->shop, what);
	if (c->request->on_step)
		c->request->on_step(what, c->request->userdata);
}

static int check_program(struct error *err)
{
	autofree char *search = path_search();
	autofree char *found = search ? path_find_program(search, CUSTOMIZE_PROGRAM) : NULL;

	return found ? 0
		     : fail(err, -ENOENT,
			       CUSTOMIZE_PROGRAM
			       ", which changes images of others, is not installed; "
			       "apt-get install libguestfs-tools (or dnf install guestfs-tools)");
}

/* What an image has, whoever made it. */
static int check_recipe(const struct recipe *r, struct error *err)
{
	static const char *const keys[] = {"suite", "mirror", "size", "init"};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (recipe_has(r, keys[i]))
			return fail(err, -EINVAL,
				"%s: %s is for images that are built; this one has its own",
				r->origin, keys[i]);
	return 0;
}

static int check_request(const struct customize_request *request, struct error *err)
{
	const struct image *image = request->image;
	autofree char *reference = path_format("%s:%s", image->name, request->tag);
	autofree char *name = NULL, *tag = NULL;
	int r;

	if (image->manifest->boot != IMAGE_BOOT_DISK)
		return fail(err, -EOPNOTSUPP,
			"'%s' was built by WNoDeS: build it again with wnodes image build --recipe",
			image->name);
	r = check_recipe(request->recipe, err);
	if (r >= 0)
		r = reference ? store_parse_reference(reference, &name, &tag, err) : -ENOMEM;
	return r < 0 ? r : check_program(err);
}

static int copy_disk(struct customize *c, struct error *err)
{
	const struct image_part *part = manifest_part(c->request->image->manifest, IMAGE_DISK);
	autoclose int from = store_open_part(c->store, part, err);
	int r = from < 0 ? from : store_upload_open(c->store, &c->upload, err);

	if (r < 0)
		return r;
	r = file_copy(from, store_upload_fd(c->upload), NULL, NULL);
	return r < 0 ? fail_errno(err, r, "cannot copy the image's disk") : 0;
}

static int write_script(struct customize *c, struct error *err)
{
	struct buffer text AUTO(buffer_done) = {0};
	int r = recipe_script(c->request->recipe, RECIPE_FOREIGN, &text, err);

	if (r < 0)
		return r;
	r = file_replace(c->shop.work->fd, CUSTOMIZE_SCRIPT, buffer_head(&text), text.len, 0700);
	return r < 0 ? fail_errno(err, r, "cannot write the recipe's script") : 0;
}

static void add_packages(const struct recipe_image *image, struct strv *argv)
{
	for (size_t i = 0; image->packages[i]; i++)
		strv_add_all(argv, "--install", image->packages[i], NULL);
	if (image->syslog)
		strv_add_all(argv, "--install", "rsyslog", NULL);
}

/* The direct back end starts QEMU as we do, without libvirt. */
static int run_program(struct customize *c, struct error *err)
{
	struct strv argv AUTO(strv_done) = {0};

	if (!strv_env_get(&c->shop.env, "LIBGUESTFS_BACKEND"))
		strv_env_set(&c->shop.env, "LIBGUESTFS_BACKEND", "direct");
	strv_add_all(&argv, CUSTOMIZE_PROGRAM, "--format", c->request->image->manifest->format,
		"--add", store_upload_path(c->upload), NULL);
	add_packages(&c->request->recipe->image, &argv);
	if (!recipe_script_is_empty(c->request->recipe, RECIPE_FOREIGN))
		strv_add_all(&argv, "--run", CUSTOMIZE_SCRIPT, NULL);
	strv_add_all(&argv, "--selinux-relabel", "--no-logfile", NULL);
	if (argv.failed || c->shop.env.failed)
		return fail(err, -ENOMEM, "out of memory");
	return runner_run(&c->shop.runner, strv_list(&argv), err);
}

static int add_image(struct customize *c, char ret_digest[DIGEST_HEX_SIZE], struct error *err)
{
	const struct image *image = c->request->image;
	autofree char *text = path_format("%s, with a recipe",
		image->manifest->origin ? image->manifest->origin : image->name);

	c->manifest = *image->manifest;
	c->origin = text ? manifest_clean_text(text) : NULL;
	if (!c->origin)
		return fail(err, -ENOMEM, "out of memory");
	c->manifest.origin = c->origin;
	c->manifest.recipe = c->request->recipe->text;
	c->manifest.created = (uint64_t)time(NULL);
	c->manifest.parts[0].kind = IMAGE_DISK;
	c->manifest.part_count = 1;
	if (store_upload_commit(c->upload, &c->manifest.parts[0], err) < 0)
		return err->code;
	return store_add(c->store, &c->manifest, image->name, c->request->tag, ret_digest, err);
}

static int customize(struct customize *c, char ret_digest[DIGEST_HEX_SIZE], struct error *err)
{
	const struct image *image = c->request->image;
	int r = workshop_open(c->store, "customize", image->name, c->request->tag,
		c->request->cancel, &c->shop, err);

	if (r < 0)
		return r;
	customize_step(c, "copying the disk");
	r = copy_disk(c, err);
	if (r >= 0)
		r = write_script(c, err);
	if (r >= 0) {
		customize_step(c, "applying the recipe");
		r = run_program(c, err);
	}
	if (r >= 0)
		r = add_image(c, ret_digest, err);
	if (r != -EIO && r != -ETIMEDOUT) /* no program failed: the log explains nothing */
		workshop_drop_log(&c->shop);
	return r;
}

int customize_image(struct store *s, const struct customize_request *request,
	char ret_digest[DIGEST_HEX_SIZE], struct error *err)
{
	struct customize c AUTO(customize_done) = {
		.request = request, .store = s, .shop = WORKSHOP_INIT};
	int r = check_request(request, err);

	return r < 0 ? r : customize(&c, ret_digest, err);
}
