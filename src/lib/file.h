/* Files: whole reads, crash-safe writes, descriptors. Nothing here knows what is in them. */
#pragma once

#include "lib/error.h"

/* Reads a whole file of at most `max` bytes; *ret is NUL-terminated (one byte beyond *ret_length)
 * and the caller's to free. `dir_fd` as openat(2). Returns 0, -EFBIG above max, or negative errno.
 */
int file_read(int dir_fd, const char *path, size_t max, char **ret, size_t *ret_length);

/* Writes all bytes to a blocking descriptor. Returns 0 or negative errno. */
int file_write_all(int fd, const void *data, size_t length);

/* Replaces `path` by a file with this content: temporary file, fsync, rename, fsync of the
 * directory; a crash leaves the old or the new file, whole. Returns 0 or negative errno. */
int file_replace(int dir_fd, const char *path, const void *data, size_t length, mode_t mode);

/* The same without waiting for the disk: it survives the end of any process, and that of the
 * machine if that comes later. What is being written is PATH.new until then, by one process at a
 * time. */
int file_replace_soon(const char *path, const void *data, size_t length, mode_t mode);

/* mkdir -p, for all missing parts with `mode`. Returns 0 or negative errno. */
int file_make_dirs(const char *path, mode_t mode);

/* Removes a file or a whole tree below `dir_fd` without following symbolic links; missing is no
 * error. Returns 0 or negative errno. */
int file_remove_tree(int dir_fd, const char *path);

/* Opens a nameless temporary file in `directory` (O_TMPFILE, or made and unlinked where the file
 * system has none): it vanishes with its last descriptor. Returns the descriptor or -errno. */
int file_open_temporary(const char *directory);

/* Takes an advisory lock (flock) on `fd`: `exclusive` or shared, waiting or not.
 * Returns 0, -EWOULDBLOCK where it would have to wait, or negative errno. */
int file_lock(int fd, bool exclusive, bool wait);

/* Finds the first piece of data at or after `from` in a file of `size` bytes: [*ret_start,
 * *ret_end), both `size` when only a hole is left. A file system that cannot tell has data
 * everywhere. Moves the descriptor's offset. Returns 0 or negative errno. */
int file_find_data(int fd, uint64_t from, uint64_t size, uint64_t *ret_start, uint64_t *ret_end);

/* Copies all bytes from `from` to `to`, holes kept, by reflink or in-kernel copy where the file
 * systems can. What `to` held is dropped. `progress` (may be NULL) is called with the bytes done.
 * Returns 0 or -errno. */
int file_copy(int from, int to, void (*progress)(uint64_t done, void *userdata), void *userdata);

int file_set_nonblocking(int fd, bool nonblocking);

/* Puts /dev/null in the place of standard descriptors that the caller has closed. Returns 0 or
 * negative errno. */
int file_open_stdio(void);
