#include "vm/template_sample_test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#include "lib/file.h"

int sample_setup(void **state)
{
	char *directory = strdup("/tmp/wnodes-template-test-XXXXXX");

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

const char *sample_key(char digit)
{
	static char keys[128][DIGEST_HEX_SIZE];
	char *key = keys[(unsigned char)digit % ARRAY_SIZE(keys)];

	memset(key, digit, DIGEST_HEX_SIZE - 1);
	return key;
}

struct template_info sample_info(void)
{
	struct template_info info = {
		.image_name = "debian",
		.image_tag = "12",
		.cpus = 2,
		.memory_mib = SAMPLE_MIB,
		.shares = 4,
		.accel = "tcg",
		.cpu_model = "max",
		.qemu_version = "7.2.22 (Debian 1:7.2+dfsg-7)",
		.agent_version = "0.1.0",
		.devices = "network, 2 shares",
		.created = (uint64_t)time(NULL),
		.boot_us = 1500000,
	};

	memcpy(info.image_digest, sample_key('1'), DIGEST_HEX_SIZE);
	memcpy(info.qemu_digest, sample_key('2'), DIGEST_HEX_SIZE);
	return info;
}

int sample_fill(struct template_making *m, unsigned used_kib)
{
	struct error err = {0};
	char block[1024];
	int r = template_make_resize(m, SAMPLE_MIB, &err);

	memset(block, 'm', sizeof(block));
	for (unsigned i = 0; i < used_kib && r >= 0; i++)
		if (pwrite(m->memory_fd, block, sizeof(block), (off_t)i * 1024) < 0)
			r = -errno;
	if (r >= 0)
		r = file_write_all(m->state_fd, "the state", 9);
	return r < 0 ? r : file_write_all(m->overlay_fd, "the overlay", 11);
}

int sample_make(const char *key, uint64_t created, unsigned used_kib, struct error *err)
{
	struct template_making *m AUTO(template_make_freep) = NULL;
	struct template_info info = sample_info();
	int r = template_make_start(SAMPLE_DIRECTORY, key, false, &m, err);

	if (r >= 0)
		r = sample_fill(m, used_kib);
	info.created = created;
	return r < 0 ? r : template_make_commit(m, &info, err);
}

struct template *sample_open(const char *key)
{
	struct template *t = NULL;
	struct error err = {0};

	if (template_open(SAMPLE_DIRECTORY, key, &t, &err) < 0)
		fail_msg("%s", err.text);
	return t;
}

static bool is_text(int fd, const char *expected)
{
	char text[32] = "";

	return pread(fd, text, sizeof(text) - 1, 0) >= 0 && streq(text, expected);
}

bool sample_is_whole(const struct template *t)
{
	struct stat st;

	return fstat(t->memory_fd, &st) == 0 && st.st_size == SAMPLE_MIB << 20 &&
	       is_text(t->state_fd, "the state") && is_text(t->overlay_fd, "the overlay");
}

int sample_count_entries(void)
{
	DIR *directory = opendir(SAMPLE_DIRECTORY);
	const struct dirent *entry;
	int count = 0;

	assert_non_null(directory);
	while ((entry = readdir(directory)))
		count += entry->d_name[0] != '.';
	closedir(directory);
	return count;
}
