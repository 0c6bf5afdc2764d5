/* Where files belong: the XDG directories of a user, the system's for root. */
#pragma once

#include "lib/error.h"

/* Each returns an absolute path for the caller to free, or NULL when out of memory.
 *                  user                                        root
 * path_data        $XDG_DATA_HOME/wnodes, ~/.local/share/...   /var/lib/wnodes
 * path_cache       $XDG_CACHE_HOME/wnodes, ~/.cache/...        /var/cache/wnodes
 * path_runtime     $XDG_RUNTIME_DIR/wnodes, /tmp/wnodes-UID    /run/wnodes
 * path_state       $XDG_STATE_HOME/wnodes, ~/.local/state/...  /root/.local/state/... likewise
 * path_config      $XDG_CONFIG_HOME/wnodes, ~/.config/...      /root/.config/... likewise
 * Root uses the XDG variables too where they are set. */
char *path_data(void);
char *path_cache(void);
char *path_runtime(void);
char *path_state(void);
char *path_config(void);

/* printf into fresh memory; NULL when out of memory. */
char *path_format(const char *format, ...) PRINTF(1, 2);

/* Where programs are searched: $PATH, and the directories of mke2fs and its like, which users need
 * not have in it. NULL when out of memory. */
char *path_search(void);

/* The program's file in the first directory of `search` that has it; NULL if none has. */
char *path_find_program(const char *search, const char *program);

/* Makes `path` absolute against the current directory and removes "." ".." and "//" by text alone
 * (symbolic links are kept). NULL when out of memory or without a current directory. */
char *path_absolute(const char *path);

/* Is `path` equal to `directory` or below it? Both absolute and normal. */
bool path_is_below(const char *path, const char *directory);

/* A program of ours that is not on PATH, for the caller to free: beside this one in a build
 * directory, else the installed one. NULL when out of memory. */
char *path_own_program(const char *name);

/* The directory with the program's own files that are not on PATH (wnodes-guest, ...): the build
 * directory when run from there, else the installed libexec directory. Static storage. */
const char *path_libexec(void);
