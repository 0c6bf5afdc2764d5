/* Scope-bound clean-up and the few macros that every file uses.
 *
 * A variable marked `autofree`, `autoclose` or `AUTO(fn)` releases what it holds when it goes out
 * of scope; TAKE_PTR and TAKE_FD move ownership out. They are never mixed with goto in one
 * function.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN_OF(a, b)  ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b)  ((a) > (b) ? (a) : (b))
#define PRINTF(f, a)  __attribute__((format(printf, f, a)))
#define UNUSED        __attribute__((unused))
#define AUTO(destroy) __attribute__((cleanup(destroy)))
#define autofree      AUTO(base_freep)
#define autoclose     AUTO(base_closep)

#define TAKE_PTR(p)                            \
	({                                     \
		__typeof__(p) *take_ = &(p);   \
		__typeof__(p) taken_ = *take_; \
		*take_ = NULL;                 \
		taken_;                        \
	})

#define TAKE_FD(fd)                  \
	({                           \
		int *take_ = &(fd);  \
		int taken_ = *take_; \
		*take_ = -1;         \
		taken_;              \
	})

/* Defines NAMEp(), the form of a destructor that AUTO() takes. */
#define DEFINE_CLEANUP(type, destroy)          \
	static inline void destroy##p(type *p) \
	{                                      \
		*p = destroy(*p);              \
	}

static inline void base_freep(void *p)
{
	free(*(void **)p);
}

/* Closes a descriptor if it is one; returns -1 so that `fd = base_close(fd)` reads well. */
static inline int base_close(int fd)
{
	if (fd >= 0)
		close(fd);
	return -1;
}

static inline void base_closep(int *fd)
{
	*fd = base_close(*fd);
}

static inline bool streq(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

/* Returns the text after `prefix`, or NULL if `s` does not begin with it. */
static inline const char *str_after(const char *s, const char *prefix)
{
	size_t n = strlen(prefix);
	return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}
