#include "image/sample_test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "lib/file.h"
#include "lib/path.h"

/* Each test has a store of its own, "store" in the working directory. */
int sample_setup(void **state)
{
	char *directory = strdup("/tmp/wnodes-store-test-XXXXXX");

	if (!directory || !mkdtemp(directory) || chdir(directory) < 0)
		return -1;
	*state = directory;
	return 0;
}

int sample_teardown(void **state)
{
	autofree char *directory = *state;

	return chdir("/") < 0 || file_remove_tree(AT_FDCWD, directory) < 0;
}

struct store *sample_open(void)
{
	autofree char *directory = path_absolute("store");
	struct store *s = NULL;
	struct error err = {0};

	if (store_open(directory, true, &s, &err) < 0)
		fail_msg("%s", err.text);
	return s;
}

int sample_put(struct store *s, const void *data, size_t length, struct image_part *ret)
{
	struct store_upload *u AUTO(store_upload_freep) = NULL;
	int r = store_upload_open(s, &u, NULL);

	if (r == 0)
		r = file_write_all(store_upload_fd(u), data, length);
	return r < 0 ? r : store_upload_commit(u, ret, NULL);
}

/* Adds an image whose disk is `size` bytes made from `seed`. */
int sample_add(struct store *s, const char *name, const char *tag, unsigned seed, size_t size,
	char digest[DIGEST_HEX_SIZE], struct error *err)
{
	char format[] = "raw", architecture[] = "x86_64";
	struct manifest m = {
		.format = format,
		.architecture = architecture,
		.boot = IMAGE_BOOT_DISK,
		.agent = IMAGE_AGENT_SEED,
		.created = seed,
		.disk_size = 1 << 30,
		.part_count = 1,
	};
	autofree uint8_t *data = malloc(size);
	int r;

	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)(seed + i * 7 + (i >> 8));
	r = sample_put(s, data, size, &m.parts[0]);
	m.parts[0].kind = IMAGE_DISK;
	return r < 0 ? r : store_add(s, &m, name, tag, digest, err);
}

struct image *sample_find(struct store *s, const char *reference)
{
	struct image *image = NULL;
	struct error err = {0};

	if (store_find(s, reference, &image, &err) < 0)
		fail_msg("%s", err.text);
	return image;
}

void sample_collect(struct store *s, uint64_t *ret_files)
{
	struct error err = {0};
	uint64_t bytes;

	if (store_collect(s, false, ret_files, &bytes, &err) < 0)
		fail_msg("%s", err.text);
}

int sample_count_entries(const char *path)
{
	DIR *directory = opendir(path);
	int n = 0;

	assert_non_null(directory);
	for (const struct dirent *e; (e = readdir(directory));)
		n += e->d_name[0] != '.' || strlen(e->d_name) > 2;
	closedir(directory);
	return n;
}
