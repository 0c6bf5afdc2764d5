#include "lib/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static void PRINTF(3, 0) error_format(struct error *err, int code, const char *format, va_list args)
{
	err->code = code;
	vsnprintf(err->text, sizeof(err->text), format, args);
}

int fail(struct error *err, int code, const char *format, ...)
{
	va_list args;

	if (!err)
		return code;
	va_start(args, format);
	error_format(err, code, format, args);
	va_end(args);
	return code;
}

int fail_errno(struct error *err, int code, const char *format, ...)
{
	va_list args;
	size_t used;

	if (!err)
		return code;
	va_start(args, format);
	error_format(err, code, format, args);
	va_end(args);
	used = strlen(err->text);
	snprintf(err->text + used, sizeof(err->text) - used, ": %s", strerror(-code));
	return code;
}

int fail_within(struct error *err, const char *format, ...)
{
	char inner[ERROR_TEXT_MAX];
	va_list args;
	size_t used;

	if (!err)
		return -EIO;
	memcpy(inner, err->text, sizeof(inner));
	va_start(args, format);
	error_format(err, err->code, format, args);
	va_end(args);
	used = strlen(err->text);
	snprintf(err->text + used, sizeof(err->text) - used, ": %s", inner);
	return err->code;
}
