#include "controller/response.h"

#include <stdio.h>

#include "controller/edition.h"
#include "controller/route.h"
#include "controller/stream.h"

static const char out_of_memory[] =
	"{\"error\":\"the controller is out of memory\",\"status\":500}";

static struct MHD_Response *from_text(char *text)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);

	if (!response)
		free(text);
	return response;
}

/* The response closes the file. */
static struct MHD_Response *from_file(struct exchange *x)
{
	struct MHD_Response *response = MHD_create_response_from_fd64(x->file.size, x->file.fd);

	if (!response)
		base_close(x->file.fd);
	x->file.is = false;
	return response;
}

/* What is one client's own, and what all have. */
struct joint {
	char *text;
	struct edition *edition;
};

static void joint_free(void *userdata)
{
	struct joint *j = userdata;

	free(j->text);
	edition_unref(j->edition);
	free(j);
}

static struct MHD_Response *from_edition(struct exchange *x)
{
	struct joint *j = calloc(1, sizeof(*j));
	struct MHD_Response *response;
	struct MHD_IoVec pieces[2];

	if (!j)
		return NULL;
	*j = (struct joint){TAKE_PTR(x->text), TAKE_PTR(x->edition)};
	pieces[0] = (struct MHD_IoVec){j->text, strlen(j->text)};
	pieces[1] = (struct MHD_IoVec){j->edition->text + 1, j->edition->length - 1};
	response = MHD_create_response_from_iovec(pieces, ARRAY_SIZE(pieces), joint_free, j);
	if (!response)
		joint_free(j);
	return response;
}

static struct MHD_Response *from_bytes(struct exchange *x)
{
	void *data = TAKE_PTR(x->bytes.data);
	struct MHD_Response *response =
		MHD_create_response_from_buffer(x->bytes.length, data, MHD_RESPMEM_MUST_FREE);

	if (!response)
		free(data);
	return response;
}

static struct MHD_Response *response_new(struct exchange *x)
{
	char *text;

	if (x->edition)
		return from_edition(x);
	text = x->text ? TAKE_PTR(x->text) : NULL;
	if (x->file.is)
		return from_file(x);
	if (x->bytes.data)
		return from_bytes(x);
	if (!text && !x->answer)
		return MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	if (!text)
		text = json_dumps(x->answer, JSON_COMPACT);
	if (text)
		return from_text(text);
	x->status = 500;
	return MHD_create_response_from_buffer(sizeof(out_of_memory) - 1,
		(void *)(uintptr_t)out_of_memory, MHD_RESPMEM_PERSISTENT);
}

static void add(struct MHD_Response *response, const char *name, const char *value)
{
	MHD_add_response_header(response, name, value);
}

/* A year is as long as there is. */
#define FOR_EVER "public, max-age=31536000, immutable"

static void add_all(struct MHD_Response *response, const char *id, const char *cache)
{
	add(response, MHD_HTTP_HEADER_CACHE_CONTROL, cache);
	add(response, "X-Content-Type-Options", "nosniff");
	add(response, "X-Request-Id", id);
}

static void add_of(struct MHD_Response *response, const struct exchange *x, const char *type,
	const char *allow)
{
	char text[sizeof(x->etag) + 4];

	if (x->status != 204 && x->status != 304)
		add(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (x->etag[0]) {
		snprintf(text, sizeof(text), "\"%s\"", x->etag);
		add(response, MHD_HTTP_HEADER_ETAG, text);
	}
	if (x->retry_after_s > 0) {
		snprintf(text, sizeof(text), "%d", x->retry_after_s);
		add(response, MHD_HTTP_HEADER_RETRY_AFTER, text);
	}
	if (x->status == 401)
		add(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
	if (x->status == 405 && allow)
		add(response, MHD_HTTP_HEADER_ALLOW, allow);
}

enum MHD_Result response_queue(
	struct MHD_Connection *connection, struct exchange *x, const char *id, const char *allow)
{
	bool is_file = x->file.is, is_typed = is_file || x->text || x->bytes.data;
	const char *type = is_typed && x->route && x->route->answer_type ? x->route->answer_type
									 : "application/json";
	struct MHD_Response *response;
	enum MHD_Result r;

	if (x->status == 0)
		exchange_fail(x, 500, "the controller has failed; its log has the reason");
	if (x->status == 200 && !x->answer && !is_typed)
		x->status = 204;
	response = response_new(x);
	if (!response)
		return MHD_NO;
	add_all(response, id, is_file ? FOR_EVER : "no-store");
	add_of(response, x, type, allow);
	r = MHD_queue_response(connection, (unsigned int)x->status, response);
	MHD_destroy_response(response);
	return r;
}

enum MHD_Result response_queue_stream(
	struct MHD_Connection *connection, struct MHD_Response *response, const char *id)
{
	enum MHD_Result r;

	add_all(response, id, "no-store");
	add(response, MHD_HTTP_HEADER_CONTENT_TYPE, STREAM_TYPE);
	r = MHD_queue_response(connection, 200, response);
	MHD_destroy_response(response);
	return r;
}
