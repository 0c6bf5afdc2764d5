/* Messages to people on stderr. A message is logged once, at the level that decides what happens
 * next; libraries log only at debug. Messages may quote what a guest said: control characters are
 * made harmless. */
#pragma once

#include "lib/base.h"

/* A notice is no complaint, but worth as much attention as a warning: why somebody waits. */
enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_NOTICE,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG
};

/* Sets the name before each message and the least important level that is still printed. */
void log_set(const char *program, enum log_level level);
enum log_level log_get_level(void);

/* Called before each line is printed, so that a progress display can clear its own line. */
void log_set_before(void (*before)(void *userdata), void *userdata);

/* Called instead of printing, by any thread, for daemons whose log has another form; the text has
 * no name and no end. NULL: messages are printed. */
void log_set_sink(void (*sink)(enum log_level level, const char *text));

void log_print(enum log_level level, const char *format, ...) PRINTF(2, 3);

#define log_error(...)   log_print(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_notice(...)  log_print(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_warning(...) log_print(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_print(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_print(LOG_LEVEL_DEBUG, __VA_ARGS__)
