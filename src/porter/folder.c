#include "porter/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/thread.h"

/* Files are small, and what takes most of the time is the way to the file server and back. */
#define THREADS 4

#define READ_BYTES (256 * 1024)

enum reading_state { READING_WAITS, READING_RUNS, READING_ENDED };

struct reading {
	struct folder *folder;
	struct reading *next; /* in the queue */
	char *path;
	uint64_t max;
	enum reading_state state;
	bool cancelled; /* while it runs: its thread throws it away */
	int result;
	struct buffer bytes;
};

/* Each of its threads has a reference: one that hangs ends with its file server or with us. */
struct folder {
	int fd;
	void (*wake)(void *userdata);
	void *userdata;
	pthread_mutex_t lock; /* of what follows, and of readings that do not run */
	pthread_cond_t changed;
	unsigned int references;
	bool ending;
	struct reading *first, **end;
};

static struct reading *reading_free(struct reading *r)
{
	buffer_done(&r->bytes);
	free(r->path);
	free(r);
	return NULL;
}

/* With the lock, which is gone afterwards. */
static void leave(struct folder *f)
{
	bool last = --f->references == 0;

	pthread_mutex_unlock(&f->lock);
	if (!last)
		return;
	pthread_cond_destroy(&f->changed);
	pthread_mutex_destroy(&f->lock);
	close(f->fd);
	free(f);
}

/* One name after the other, so that none of them is a link: what openat2(2) does in one call, which
 * kernels of EL 8 do not have. */
static int open_below(int dir_fd, const char *path)
{
	autofree char *names = strdup(path);
	char *rest = NULL, *name = names ? strtok_r(names, "/", &rest) : NULL, *next;
	autoclose int at = dir_fd < 0 ? -1 : fcntl(dir_fd, F_DUPFD_CLOEXEC, 0);

	if (!names || at < 0)
		return names ? -errno : -ENOMEM;
	for (; name; name = next) {
		int flags = O_NOFOLLOW | O_CLOEXEC, fd;

		next = strtok_r(NULL, "/", &rest);
		if (streq(name, "..") || streq(name, "."))
			return -EINVAL;
		fd = openat(at, name,
			next ? flags | O_PATH | O_DIRECTORY
			     : flags | O_RDONLY | O_NONBLOCK | O_NOCTTY);
		if (fd < 0 || !next)
			return fd < 0 ? -errno : fd;
		close(at);
		at = fd;
	}
	return -EINVAL;
}

/* The size is looked at first; what comes beyond it is not taken. */
static int read_bytes(int fd, uint64_t max, struct buffer *ret)
{
	struct stat st;
	uint64_t left;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if ((uint64_t)st.st_size > max)
		return -EFBIG;
	for (left = (uint64_t)st.st_size; left > 0;) {
		ssize_t n = buffer_read(ret, fd, MIN_OF(left, (uint64_t)READ_BYTES));

		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		left -= (uint64_t)n;
	}
	return 0;
}

static int read_file(const struct folder *f, struct reading *r)
{
	autoclose int fd = open_below(f->fd, r->path);

	return fd < 0 ? fd : read_bytes(fd, r->max, &r->bytes);
}

static struct reading *take_first(struct folder *f)
{
	struct reading *r = f->first;

	f->first = r->next;
	if (!f->first)
		f->end = &f->first;
	r->state = READING_RUNS;
	return r;
}

static void *run(void *userdata)
{
	struct folder *f = userdata;

	pthread_mutex_lock(&f->lock);
	while (!f->ending) {
		struct reading *r;
		int result;

		if (!f->first) {
			pthread_cond_wait(&f->changed, &f->lock);
			continue;
		}
		r = take_first(f);
		pthread_mutex_unlock(&f->lock);
		result = read_file(f, r);
		pthread_mutex_lock(&f->lock);
		r->result = result;
		r->state = READING_ENDED;
		if (r->cancelled)
			reading_free(r);
		else
			f->wake(f->userdata);
	}
	leave(f);
	return NULL;
}

int folder_new(int fd, void (*wake)(void *userdata), void *userdata, struct folder **ret,
	struct error *err)
{
	struct folder *f AUTO(folder_freep) = calloc(1, sizeof(*f));
	int r = 0;

	if (!f) {
		close(fd);
		return fail(err, -ENOMEM, "out of memory");
	}
	f->fd = fd;
	f->wake = wake;
	f->userdata = userdata;
	f->references = 1;
	f->end = &f->first;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	for (int i = 0; i < THREADS && r == 0; i++) {
		pthread_t thread;

		pthread_mutex_lock(&f->lock);
		r = thread_start(&thread, run, f);
		f->references += r == 0;
		pthread_mutex_unlock(&f->lock);
		if (r == 0)
			pthread_detach(thread);
	}
	if (r < 0)
		return fail_errno(err, r, "cannot start a thread");
	*ret = TAKE_PTR(f);
	return 0;
}

struct folder *folder_free(struct folder *f)
{
	if (!f)
		return NULL;
	pthread_mutex_lock(&f->lock);
	f->ending = true;
	pthread_cond_broadcast(&f->changed);
	leave(f);
	return NULL;
}

struct reading *folder_read(struct folder *f, const char *path, uint64_t max)
{
	struct reading *r = calloc(1, sizeof(*r));

	if (r)
		r->path = strdup(path);
	if (!r || !r->path) {
		free(r);
		return NULL;
	}
	r->folder = f;
	r->max = max;
	pthread_mutex_lock(&f->lock);
	*f->end = r;
	f->end = &r->next;
	pthread_cond_signal(&f->changed);
	pthread_mutex_unlock(&f->lock);
	return r;
}

bool reading_take(struct reading *r, int *ret_result, struct buffer *ret_bytes)
{
	struct folder *f = r->folder;
	bool ended;

	pthread_mutex_lock(&f->lock);
	ended = r->state == READING_ENDED;
	pthread_mutex_unlock(&f->lock);
	if (!ended)
		return false;
	*ret_result = r->result;
	*ret_bytes = r->bytes;
	r->bytes = (struct buffer){0};
	reading_free(r);
	return true;
}

/* One that waits is taken out of the queue. */
static void unlink_reading(struct folder *f, struct reading *r)
{
	struct reading **at = &f->first;

	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	if (!*at)
		f->end = at;
}

void reading_cancel(struct reading *r)
{
	struct folder *f = r->folder;
	bool runs;

	pthread_mutex_lock(&f->lock);
	runs = r->state == READING_RUNS;
	r->cancelled = runs;
	if (r->state == READING_WAITS)
		unlink_reading(f, r);
	pthread_mutex_unlock(&f->lock);
	if (!runs)
		reading_free(r);
}
