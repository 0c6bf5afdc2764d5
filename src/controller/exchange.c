#include "controller/exchange.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "controller/edition.h"
#include "controller/route.h"
#include "lib/log.h"
#include "lib/printable.h"

/* What is asked of us is flat; no reader of it should need a deep stack. */
#define BODY_DEPTH_MAX 32

/* When a client may try again after a failure that passes. */
#define RETRY_AFTER_S 1

/* Texts from outside may have been cut in the middle of a character. */
static json_t *text_to_json(char *text)
{
	json_t *json;

	printable_make_line(text, strlen(text));
	json = json_string(text);
	for (char *c = text; !json && *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	return json ? json : json_string(text);
}

static void drop_answer(struct exchange *x)
{
	json_decref(x->answer);
	x->answer = NULL;
	free(x->text);
	x->text = NULL;
	if (x->file.is)
		base_close(x->file.fd);
	x->file.is = false;
	free(x->bytes.data);
	x->bytes.data = NULL;
	x->edition = edition_unref(x->edition);
	x->etag[0] = '\0';
}

int exchange_fail(struct exchange *x, int status, const char *format, ...)
{
	char text[ERROR_TEXT_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	drop_answer(x);
	x->status = status;
	if (status == 503 && x->retry_after_s == 0)
		x->retry_after_s = RETRY_AFTER_S;
	x->answer = json_pack("{s:o*, s:i}", "error", text_to_json(text), "status", status);
	return status;
}

int exchange_fail_sql(struct exchange *x, int code, const struct error *err)
{
	switch (code) {
	case -ENOTCONN:
	case -EAGAIN:
	case -EBUSY:
	case -ESHUTDOWN:
		log_debug("the database: %s", err->text);
		return exchange_fail(
			x, 503, "the database is not reached at the moment; try again");
	case -EEXIST:
		return exchange_fail(x, 409, "this is there already, or is in use by another");
	case -ENOSPC:
		log_warning("the database: %s", err->text);
		return exchange_fail(x, 507,
			"the controller's disk is full; its administrators have to make room");
	default:
		log_warning("the database: %s", err->text[0] ? err->text : strerror(-code));
		return exchange_fail(x, 500, "the controller has failed; its log has the reason");
	}
}

int exchange_answer(struct exchange *x, int status, json_t *answer)
{
	if (!answer)
		return exchange_fail(x, 500, "the controller is out of memory");
	json_decref(x->answer);
	x->answer = answer;
	x->status = status;
	return status;
}

int exchange_answer_nothing(struct exchange *x)
{
	drop_answer(x);
	x->status = 204;
	return x->status;
}

int exchange_answer_file(struct exchange *x, int fd, uint64_t size)
{
	drop_answer(x);
	x->file.is = true;
	x->file.fd = fd;
	x->file.size = size;
	x->status = 200;
	return x->status;
}

int exchange_answer_bytes(struct exchange *x, struct buffer *bytes)
{
	drop_answer(x);
	/* A buffer's memory may begin before its bytes do. */
	if (bytes->start > 0)
		memmove(bytes->data, bytes->data + bytes->start, bytes->len);
	x->bytes.data = bytes->data;
	x->bytes.length = bytes->len;
	*bytes = (struct buffer){0};
	x->status = 200;
	return x->status;
}

int exchange_answer_edition(struct exchange *x, char *text, struct edition *e)
{
	char etag[sizeof(x->etag)];

	if (!text)
		return -ENOMEM;
	memcpy(etag, x->etag, sizeof(etag));
	drop_answer(x);
	memcpy(x->etag, etag, sizeof(etag));
	x->text = text;
	e->references++;
	x->edition = e;
	x->status = 200;
	return x->status;
}

int exchange_answer_unchanged(struct exchange *x)
{
	json_decref(x->answer);
	x->answer = NULL;
	x->status = 304;
	return x->status;
}

const char *exchange_query(const struct exchange *x, const char *name)
{
	return json_string_value(json_object_get(x->query, name));
}

int exchange_check_match(struct exchange *x, int64_t revision)
{
	char etag[sizeof(x->etag)];

	if (!x->if_match)
		return x->route && x->route->matches
			       ? exchange_fail(x, 428,
					 "If-Match is missing: send the ETag of what you have read, "
					 "so that nobody's change is lost")
			       : 0;
	snprintf(etag, sizeof(etag), "%" PRId64, revision);
	if (streq(x->if_match, "*") || streq(x->if_match, etag))
		return 0;
	return exchange_fail(x, 412,
		"it was changed by somebody else meanwhile; read it again, and decide anew");
}

void exchange_set_etag(struct exchange *x, int64_t revision)
{
	snprintf(x->etag, sizeof(x->etag), "%" PRId64, revision);
}

/* How deep lists and objects are nested, outside of texts. */
static bool is_too_deep(const char *text, size_t length)
{
	bool in_text = false;
	int depth = 0;

	for (size_t i = 0; i < length; i++) {
		char c = text[i];

		if (in_text && c == '\\')
			i++;
		else if (c == '"')
			in_text = !in_text;
		else if (!in_text && (c == '{' || c == '['))
			depth++;
		else if (!in_text && (c == '}' || c == ']'))
			depth--;
		if (depth > BODY_DEPTH_MAX)
			return true;
	}
	return false;
}

int exchange_parse_body(struct exchange *x, const void *data, size_t length)
{
	json_error_t error;

	json_decref(x->body);
	x->body = NULL;
	if (length == 0)
		return 0;
	if (is_too_deep(data, length))
		return exchange_fail(
			x, 400, "the body is nested more than %d deep", BODY_DEPTH_MAX);
	x->body = json_loadb(data, length, JSON_REJECT_DUPLICATES, &error);
	if (!x->body)
		return exchange_fail(
			x, 400, "the body is not JSON: line %d: %s", error.line, error.text);
	if (!json_is_object(x->body))
		return exchange_fail(x, 400, "the body is not a JSON object");
	return 0;
}

void exchange_done(struct exchange *x)
{
	if (x->finish)
		x->finish(x);
	drop_answer(x);
	json_decref(x->query);
	json_decref(x->body);
	caller_done(&x->caller);
	*x = (struct exchange){0};
}
