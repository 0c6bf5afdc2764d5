#include "cli/site_path.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

void site_path_done(struct site_path *p)
{
	buffer_done(&p->text);
}

static void append(struct site_path *p, const char *text, size_t length)
{
	if (buffer_append(&p->text, text, length) < 0)
		p->failed = true;
}

/* What RFC 3986 calls unreserved stays as it is. */
static void append_encoded(struct site_path *p, const char *text)
{
	char code[4];

	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (isalnum(c) || strchr("-._~", c)) {
			append(p, text, 1);
			continue;
		}
		snprintf(code, sizeof(code), "%%%02X", c);
		append(p, code, 3);
	}
}

void site_path_init(struct site_path *p, ...)
{
	const char *part;
	va_list parts;

	*p = (struct site_path){0};
	append(p, "/v1", 3);
	va_start(parts, p);
	while ((part = va_arg(parts, const char *))) {
		append(p, "/", 1);
		append_encoded(p, part);
	}
	va_end(parts);
}

void site_path_set(struct site_path *p, const char *path)
{
	*p = (struct site_path){0};
	append(p, path, strlen(path));
}

void site_path_add(struct site_path *p, const char *name, const char *value)
{
	if (!value)
		return;
	append(p, p->queried ? "&" : "?", 1);
	p->queried = true;
	append_encoded(p, name);
	append(p, "=", 1);
	append_encoded(p, value);
}

const char *site_path_text(struct site_path *p)
{
	append(p, "", 1);
	p->text.len -= !p->failed;
	return p->failed ? NULL : (const char *)buffer_head(&p->text);
}
