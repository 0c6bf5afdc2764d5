#include "lib/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "lib/printable.h"

/* One line is one write, so that lines of several processes do not mix. */
#define LOG_LINE_MAX 4096

static struct {
	const char *program;
	enum log_level level;
	void (*before)(void *userdata);
	void *before_data;
	void (*sink)(enum log_level level, const char *text);
} logger = {.program = "wnodes", .level = LOG_LEVEL_WARNING};

void log_set(const char *program, enum log_level level)
{
	logger.program = program;
	/* Other threads may be logging. */
	__atomic_store_n(&logger.level, level, __ATOMIC_RELAXED);
}

enum log_level log_get_level(void)
{
	return __atomic_load_n(&logger.level, __ATOMIC_RELAXED);
}

void log_set_before(void (*before)(void *userdata), void *userdata)
{
	logger.before = before;
	logger.before_data = userdata;
}

void log_set_sink(void (*sink)(enum log_level level, const char *text))
{
	__atomic_store_n(&logger.sink, sink, __ATOMIC_RELAXED);
}

void log_print(enum log_level level, const char *format, ...)
{
	char line[LOG_LINE_MAX];
	void (*sink)(enum log_level, const char *);
	int saved = errno;
	va_list args;
	size_t used;

	if (level > log_get_level())
		return;
	if (logger.before)
		logger.before(logger.before_data);
	sink = __atomic_load_n(&logger.sink, __ATOMIC_RELAXED);
	used = sink ? 0
		    : (size_t)snprintf(line, sizeof(line), "%s: %s", logger.program,
			      level == LOG_LEVEL_WARNING ? "warning: " : "");
	va_start(args, format);
	vsnprintf(line + used, sizeof(line) - used - 1, format, args);
	va_end(args);
	used = strlen(line);
	if (sink) {
		sink(level, line);
		errno = saved;
		return;
	}
	printable_make(line, used);
	line[used] = '\n';
	/* Nothing sensible can be done if stderr is gone. */
	if (write(STDERR_FILENO, line, used + 1) < 0)
		errno = 0;
	errno = saved;
}
