/* A configuration file. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#include "engine/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is accepted is within the range of its row. */
static void check_numbers(const struct settings *s)
{
	for (const struct conf_setting *row = settings_table; row->key; row++) {
		uint64_t value;

		if (row->type != CONF_NUMBER && row->type != CONF_SIZE &&
			row->type != CONF_DURATION)
			continue;
		memcpy(&value, (const char *)s + row->offset, sizeof(value));
		assert(row->max == 0 || (value >= row->min && value <= row->max));
	}
}

static void check_texts(const struct settings *s)
{
	assert(s->env && s->mount && s->image);
	for (size_t i = 0; s->env[i]; i++)
		assert(strlen(s->env[i]) > 0);
	assert(strcmp(s->network, "user") == 0 || strcmp(s->network, "none") == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct settings s = {0};
	struct error err = {0};
	char path[40];
	int fd, r;

	fd = memfd_create("conf", MFD_CLOEXEC);
	assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert(conf_init(settings_table, &s, &err) == 0);
	r = conf_load(settings_table, &s, path, &err);
	assert(r == 0 || (r == -EINVAL && err.text[0]));
	check_numbers(&s);
	check_texts(&s);
	settings_done(&s);
	close(fd);
	return 0;
}
