/* One expectation of a file system, and what all of them use. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SKIPPED 1

struct expectation {
	const char *name;
	int (*run)(void); /* 0, -1 by broken(), or SKIPPED with broken()'s text */
};

/* Each ends with one that has no name. */
extern const struct expectation names[], contents[], locks[], attributes[], crowds[];

struct group {
	const char *name;
	const struct expectation *expectations;
};

extern const struct group groups[]; /* likewise */

/* Says why, with errno's text if it is not 0, and returns -1. */
int broken(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A new file with this text, open; -1. */
int make(const char *path, const char *text);

/* Is this text, and no more, in the file from there on? 0 or -1. */
int reads(int fd, off_t at, const char *text);

/* The status of a child that does this, or -1. */
int child_says(int (*function)(void *), void *argument);
