/* A depot's directory that is an origin. Its files are read on threads of its own, as a file server
 * that does not answer holds up whoever asks it: a reading is left alone then, and whatever else
 * there is to do goes on. */
#pragma once

#include "lib/buffer.h"
#include "lib/error.h"

struct folder;
struct reading;

/* Takes `fd`, the directory, also where it fails. `wake` is called on another thread when a reading
 * has ended, but not after folder_free(). Returns 0 or negative errno. */
int folder_new(int fd, void (*wake)(void *userdata), void *userdata, struct folder **ret,
	struct error *err);

/* Does not wait for anything; all of its readings have ended or were cancelled. */
struct folder *folder_free(struct folder *f);
DEFINE_CLEANUP(struct folder *, folder_free)

/* Begins to read a file of at most `max` bytes. `path` begins with '/', which is the directory: no
 * symbolic link is followed, and nothing leads out of it. NULL when out of memory. */
struct reading *folder_read(struct folder *f, const char *path, uint64_t max);

/* Has it ended? Then it is gone, with 0 and all of the file in *ret_bytes, which is the caller's,
 * or with a negative errno (-ENOENT, -EFBIG, -EINVAL: no ordinary file) in *ret_result. */
bool reading_take(struct reading *r, int *ret_result, struct buffer *ret_bytes);
void reading_cancel(struct reading *r);
