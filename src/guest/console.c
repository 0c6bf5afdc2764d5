/* One write(2) a line, so that lines do not mix with those of the kernel. */
#include "guest/console.h"

#include <stdarg.h>
#include <stdio.h>

#include "guest/cmdline.h"
#include "guest/now.h"

#define CONSOLE_LINE_MAX 1280 /* an error's text, and a context before it */

static bool console_debugging;

void console_init(void)
{
	console_debugging = cmdline_has("wnodes.debug");
}

static void PRINTF(2, 0) console_write(bool timed, const char *format, va_list args)
{
	char line[CONSOLE_LINE_MAX] = "wnodes-guest: ";
	size_t used = strlen(line);
	ssize_t n;

	/* Where a start spends its time is the question most asked. */
	if (timed)
		used += (size_t)sprintf(line + used, "%lld ms: ", (long long)now_ms());
	vsnprintf(line + used, sizeof(line) - used - 1, format, args);
	used = strlen(line);
	line[used++] = '\n';
	n = write(STDERR_FILENO, line, used);
	(void)n; /* there is nowhere else to complain */
}

void console_print(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	console_write(false, format, args);
	va_end(args);
}

void console_debug(const char *format, ...)
{
	va_list args;

	if (!console_debugging)
		return;
	va_start(args, format);
	console_write(true, format, args);
	va_end(args);
}
