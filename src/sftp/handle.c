#include "sftp/handle.h"

#include <errno.h>

#define HANDLES_STEP 64

static int handle_close(struct handle *handle)
{
	int r = handle->dir ? closedir(handle->dir) : handle->fd >= 0 ? close(handle->fd) : 0;

	*handle = (struct handle){.fd = -1};
	return r < 0 ? -errno : 0;
}

void handles_done(struct handles *h)
{
	for (size_t i = 0; i < h->count; i++)
		handle_close(&h->items[i]);
	free(h->items);
	*h = (struct handles){0};
}

static int handles_grow(struct handles *h)
{
	size_t count = h->count + MAX_OF(h->count / 2, (size_t)HANDLES_STEP);
	struct handle *items =
		count > HANDLES_MAX ? NULL : realloc(h->items, count * sizeof(*items));

	if (!items)
		return count > HANDLES_MAX ? -EMFILE : -ENOMEM;
	for (size_t i = h->count; i < count; i++)
		items[i] = (struct handle){.fd = -1};
	h->items = items;
	h->count = count;
	return 0;
}

static int64_t handle_add(struct handles *h, struct handle handle)
{
	int r = 0;

	while (h->first < h->count && h->items[h->first].fd >= 0)
		h->first++;
	if (h->first == h->count)
		r = handles_grow(h);
	if (r < 0) {
		handle_close(&handle);
		return r;
	}
	h->items[h->first] = handle;
	return (int64_t)h->first++;
}

int64_t handle_add_file(struct handles *h, int fd)
{
	return handle_add(h, (struct handle){.fd = fd});
}

int64_t handle_add_directory(struct handles *h, int fd)
{
	DIR *dir = fdopendir(fd);

	if (!dir) {
		int error = errno;

		close(fd);
		return -error;
	}
	return handle_add(h, (struct handle){.fd = fd, .dir = dir});
}

struct handle *handle_find(struct handles *h, uint64_t number)
{
	return number < h->count && h->items[number].fd >= 0 ? &h->items[number] : NULL;
}

struct handle *handle_find_file(struct handles *h, uint64_t number)
{
	struct handle *handle = handle_find(h, number);

	return handle && !handle->dir ? handle : NULL;
}

struct handle *handle_find_directory(struct handles *h, uint64_t number)
{
	struct handle *handle = handle_find(h, number);

	return handle && handle->dir ? handle : NULL;
}

int handle_remove(struct handles *h, struct handle *handle)
{
	h->first = MIN_OF(h->first, (size_t)(handle - h->items));
	return handle_close(handle);
}
