#include "image/locate.h"

#include <errno.h>
#include <sys/stat.h>

#include "image/store_private.h"
#include "lib/buffer.h"
#include "lib/path.h"

#define LOCATE_SYSTEM     "/var/lib/wnodes"
#define LOCATE_SYSTEM_ENV "WNODES_SYSTEM_STORE" /* elsewhere, for tests and unusual sites */
#define LOCATE_STORES     2

const char *locate_system_directory(void)
{
	const char *directory = getenv(LOCATE_SYSTEM_ENV);

	return directory && directory[0] == '/' ? directory : LOCATE_SYSTEM;
}

/* The stores' directories, the user's first; for root they are the same one. */
static int locate_directories(char *ret[LOCATE_STORES])
{
	ret[0] = path_data();
	ret[1] = NULL;
	if (!ret[0])
		return -ENOMEM;
	if (streq(ret[0], locate_system_directory()))
		return 1;
	ret[1] = strdup(locate_system_directory());
	return ret[1] ? 2 : -ENOMEM;
}

static void free_directories(char *directories[LOCATE_STORES])
{
	for (size_t i = 0; i < LOCATE_STORES; i++)
		free(directories[i]);
}

/* Opens a store to read from it; for changes too where that is allowed, because then it can note
 * what it has verified. Returns 0, -ENOENT if there is none, or negative errno. */
static int open_existing(const char *directory, struct store **ret, struct error *err)
{
	if (access(directory, F_OK) < 0)
		return fail_errno(err, -errno, "no image store '%s'", directory);
	if (access(directory, W_OK) == 0 && store_open(directory, true, ret, err) == 0)
		return 0;
	return store_open(directory, false, ret, err);
}

int locate_own_store(struct store **ret, struct error *err)
{
	autofree char *directory = path_data();

	if (!directory)
		return fail(err, -ENOMEM, "out of memory");
	/* The system's store is for everybody to read, whatever root's umask. */
	if (streq(directory, locate_system_directory()))
		umask(022);
	return store_open(directory, true, ret, err);
}

/* Looks in one store. What it has is added to `seen` for the message if none has the image. */
static int try_store(const char *directory, const char *reference, struct store **ret_store,
	struct image **ret_image, struct buffer *seen, struct error *err)
{
	struct store *store AUTO(store_freep) = NULL;
	int r = open_existing(directory, &store, err);

	if (r == 0)
		r = store_find(store, reference, ret_image, err);
	if (r == -ENOENT && store)
		store_describe(store, seen);
	if (r == 0)
		*ret_store = TAKE_PTR(store);
	return r;
}

int locate_image(const char *reference, struct store **ret_store, struct image **ret_image,
	struct error *err)
{
	char *directories[LOCATE_STORES];
	struct buffer seen AUTO(buffer_done) = {0};
	int count = locate_directories(directories);
	int r = count < 0 ? count : -ENOENT;

	for (int i = 0; i < count && r == -ENOENT; i++)
		r = try_store(directories[i], reference, ret_store, ret_image, &seen, err);
	free_directories(directories);
	if (r == -ENOENT)
		return reference_not_found(reference, &seen, err);
	return r == -ENOMEM ? fail(err, r, "out of memory") : r;
}

int locate_own_image(const char *reference, struct store **ret_store, struct image **ret_image,
	struct error *err)
{
	char *directories[LOCATE_STORES];
	struct buffer seen AUTO(buffer_done) = {0};
	int count = locate_directories(directories);
	int r = count > 1 ? try_store(directories[0], reference, ret_store, ret_image, &seen, err)
			  : (count < 0 ? count : -ENOENT);

	free_directories(directories);
	return r;
}

int locate_explain_missing(const char *reference, int r, struct error *err)
{
	char *directories[LOCATE_STORES];
	int count = locate_directories(directories);
	struct store *store AUTO(store_freep) = NULL;
	struct image *image AUTO(image_freep) = NULL;

	if (r == -ENOENT && count > 1 && open_existing(directories[1], &store, NULL) == 0 &&
		store_find(store, reference, &image, NULL) == 0)
		r = fail(err, -EPERM,
			"the image '%.130s' is the machine's, in '%s', where only root changes "
			"something",
			reference, directories[1]);
	free_directories(directories);
	return r;
}

struct visitor {
	struct locate_visit where;
	int (*each)(const struct locate_visit *where, const struct image *image, void *userdata);
	void *userdata;
};

static int visit(const struct image *image, void *userdata)
{
	const struct visitor *v = userdata;

	return v->each(&v->where, image, v->userdata);
}

static int list_store(struct visitor *v, struct error *err)
{
	struct store *store AUTO(store_freep) = NULL;
	int r = open_existing(v->where.directory, &store, err);

	if (r == -ENOENT)
		return 0;
	return r < 0 ? r : store_list(store, visit, v, err);
}

int locate_list(
	int (*each)(const struct locate_visit *where, const struct image *image, void *userdata),
	void *userdata, struct error *err)
{
	char *directories[LOCATE_STORES];
	int count = locate_directories(directories);
	int r = count < 0 ? fail(err, count, "out of memory") : 0;

	for (int i = 0; i < count && r == 0; i++) {
		struct visitor v = {.where = {.directory = directories[i], .own = i == 0},
			.each = each,
			.userdata = userdata};

		r = list_store(&v, err);
	}
	free_directories(directories);
	return r;
}
