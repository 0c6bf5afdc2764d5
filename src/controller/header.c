#include "controller/header.h"

#include <stdio.h>
#include <strings.h>

#define AT(member) offsetof(struct header, member)

static const struct {
	const char *name;
	size_t offset;
} headers[] = {
	{"Authorization", AT(authorization)},
	{"Content-Type", AT(content_type)},
	{"Content-Length", AT(content_length)},
	{"Transfer-Encoding", AT(transfer_encoding)},
	{"If-Match", AT(if_match)},
	{"If-None-Match", AT(if_none_match)},
	{"Accept", AT(accept)},
	{"Last-Event-ID", AT(last_event_id)},
	{"X-Request-Id", AT(request_id)},
	{"Host", AT(host)},
};

static enum MHD_Result on_header(
	void *userdata, enum MHD_ValueKind kind, const char *key, const char *value)
{
	struct header *h = userdata;

	for (size_t i = 0; key && i < ARRAY_SIZE(headers); i++)
		if (strcasecmp(key, headers[i].name) == 0) {
			const char **member =
				(const char **)(void *)((char *)h + headers[i].offset);

			h->twice = h->twice || *member;
			*member = value ? value : "";
			break;
		}
	return MHD_YES;
}

void header_read(struct MHD_Connection *connection, struct header *ret)
{
	*ret = (struct header){0};
	MHD_get_connection_values(connection, MHD_HEADER_KIND, on_header, ret);
}

int header_check(const struct header *h, struct error *err)
{
	int r = 0;

	if (h->twice)
		r = fail(err, 400, "a header is there twice that may be there once");
	else if (h->transfer_encoding && h->content_length)
		r = fail(err, 400, "there are both Content-Length and Transfer-Encoding");
	else if (h->transfer_encoding && strcasecmp(h->transfer_encoding, "chunked") != 0)
		r = fail(err, 501, "Transfer-Encoding is not chunked");
	return r;
}

uint64_t header_body_length(const struct header *h)
{
	return h->content_length ? strtoull(h->content_length, NULL, 10) : 0;
}

/* Is it the type, maybe with parameters? */
static bool is_type(const char *text, size_t length, const char *type)
{
	size_t n = strlen(type);

	return length >= n && strncasecmp(text, type, n) == 0 &&
	       (length == n || text[n] == ';' || text[n] == ' ' || text[n] == '\t');
}

bool header_is_json(const struct header *h)
{
	return h->content_type &&
	       is_type(h->content_type, strlen(h->content_type), "application/json");
}

bool header_is_bytes(const struct header *h)
{
	return h->content_type &&
	       is_type(h->content_type, strlen(h->content_type), "application/octet-stream");
}

bool header_accepts(const struct header *h, const char *type)
{
	const char *rest = h->accept;

	while (rest && *rest) {
		rest += strspn(rest, " \t,");
		if (is_type(rest, strcspn(rest, ","), type))
			return true;
		rest += strcspn(rest, ",");
	}
	return false;
}

const char *header_etag(const char *text, char *ret, size_t size)
{
	size_t n = text ? strlen(text) : 0;

	if (!text)
		return NULL;
	if (n >= 2 && text[0] == '"' && text[n - 1] == '"') {
		text++;
		n -= 2;
	}
	/* One that is too long, or is a list, is that of no revision. */
	snprintf(ret, size, "%.*s", (int)MIN_OF(n, size), text);
	return ret;
}
