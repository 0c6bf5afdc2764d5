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
} logger = {.program = "wnodes", .level = LOG_LEVEL_WARNING};

void log_set(const char *program, enum log_level level)
{
	logger.program = program;
	logger.level = level;
}

enum log_level log_get_level(void)
{
	return logger.level;
}

void log_set_before(void (*before)(void *userdata), void *userdata)
{
	logger.before = before;
	logger.before_data = userdata;
}

void log_print(enum log_level level, const char *format, ...)
{
	char line[LOG_LINE_MAX];
	int saved = errno;
	va_list args;
	size_t used;

	if (level > logger.level)
		return;
	if (logger.before)
		logger.before(logger.before_data);
	used = (size_t)snprintf(line, sizeof(line), "%s: %s", logger.program,
		level == LOG_LEVEL_WARNING ? "warning: " : "");
	va_start(args, format);
	vsnprintf(line + used, sizeof(line) - used - 1, format, args);
	va_end(args);
	used = strlen(line);
	printable_make(line, used);
	line[used] = '\n';
	/* Nothing sensible can be done if stderr is gone. */
	if (write(STDERR_FILENO, line, used + 1) < 0)
		errno = 0;
	errno = saved;
}
