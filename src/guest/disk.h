/* Files of the guest's file system, read and written whole. */
#pragma once

#include "lib/base.h"

/* Reads at most size - 1 bytes and ends them with NUL. Returns their number or negative errno. */
ssize_t disk_read(const char *path, char *ret, size_t size);

/* The same for one line, without its end. */
ssize_t disk_read_line(const char *path, char *ret, size_t size);

/* Reads a whole file of at most `max` bytes into memory that the caller frees, NUL at the end.
 * Returns the length, or negative errno (-EFBIG above max). */
ssize_t disk_load(const char *path, size_t max, char **ret);

/* Replaces `path` (also a symbolic link) by a file with this content, in one step for readers.
 * Returns 0 or negative errno. */
int disk_replace(const char *path, const void *data, size_t length, mode_t mode);

/* Writes into a file that is there, not through a link of any kind, and gives it the mode (-1:
 * leaves it). Returns 0 or negative errno. */
int disk_overwrite(const char *path, const void *data, size_t length, int mode);

/* disk_overwrite(), or where that cannot be, disk_replace(). For small files: a reader could see a
 * mixture. Returns 0 or negative errno. */
int disk_update(const char *path, const void *data, size_t length, mode_t mode);

/* Does what makes a later disk_update() fast: the file is read, written as it is, and has the mode;
 * one that is empty or missing gets `content`. With `content` NULL it is only read. Returns 0 or
 * negative errno. */
int disk_rehearse(const char *path, const char *content, mode_t mode);

/* Adds at the end of the file. Returns 0 or negative errno. */
int disk_append(const char *path, const void *data, size_t length, mode_t mode);

/* mkdir -p. Returns 0 or negative errno. */
int disk_make_dirs(const char *path, mode_t mode);

/* mkdir -p for all but the last part of `path`. Returns 0 or negative errno. */
int disk_make_parents(const char *path, mode_t mode);

/* "root/path" into `ret`. Returns 0 or -ENAMETOOLONG. */
int disk_path(char *ret, size_t size, const char *root, const char *path);
