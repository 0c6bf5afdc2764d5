#include "controller/openapi.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>

#include "config.h"

#define NAME_MAX_BYTES 128

static const char title[] = "WNoDeS controller";
static const char about[] =
	"The site's nodes, virtual machines, jobs, leases, usage records and events. Who asks is known "
	"by the socket of the machine, by MUNGE, by a token, or by a node's certificate (mutual TLS). "
	"Lists come in pages; changes name the ETag that they are based on; a request that creates "
	"something has an id of the client's choice, and may be repeated.";

static json_t *reference(const char *kind, const char *name)
{
	char text[NAME_MAX_BYTES + 32];

	snprintf(text, sizeof(text), "#/components/%s/%s", kind, name);
	return json_pack("{s:s}", "$ref", text);
}

/* "host group" -> "HostGroup" */
static const char *name_of_noun(const char *noun, char ret[NAME_MAX_BYTES])
{
	bool upper = true;
	size_t used = 0;

	for (; *noun && used + 1 < NAME_MAX_BYTES; noun++) {
		if (isalnum((unsigned char)*noun))
			ret[used++] = upper ? (char)toupper((unsigned char)*noun) : *noun;
		upper = !isalnum((unsigned char)*noun);
	}
	ret[used] = '\0';
	return ret;
}

/* "PUT /v1/pools/{name}" -> "put_pools_name" */
static const char *name_of_route(const struct route *r, char ret[NAME_MAX_BYTES])
{
	const char *path = str_after(r->path, "/v1") ? str_after(r->path, "/v1") : r->path;
	size_t used = 0;

	for (const char *c = r->method; *c && used + 1 < NAME_MAX_BYTES; c++)
		ret[used++] = (char)tolower((unsigned char)*c);
	for (const char *c = path; *c && used + 1 < NAME_MAX_BYTES; c++)
		if (isalnum((unsigned char)*c))
			ret[used++] = *c;
		else if (ret[used - 1] != '_' && c[1])
			ret[used++] = '_';
	ret[used] = '\0';
	return ret;
}

static json_t *parameter(
	const char *in, const char *name, bool required, json_t *schema, const char *help)
{
	return json_pack("{s:s, s:s, s:b, s:o, s:s*}", "in", in, "name", name, "required", required,
		"schema", schema, "description", help);
}

static void add_path_parameters(json_t *list, const struct route *r)
{
	const char *open = r->path;

	while ((open = strchr(open, '{'))) {
		char name[NAME_MAX_BYTES];
		size_t n = strcspn(++open, "}");

		snprintf(name, sizeof(name), "%.*s", (int)n, open);
		json_array_append_new(list,
			parameter("path", name, true, json_pack("{s:s}", "type", "string"), NULL));
	}
}

static void add_listing_parameters(json_t *list, const struct listing *l)
{
	json_array_append_new(
		list, parameter("query", "limit", false,
			      json_pack("{s:s, s:i, s:i, s:i}", "type", "integer", "minimum", 1,
				      "maximum", LISTING_LIMIT_MAX, "default", LISTING_LIMIT),
			      "How many there are in a page."));
	json_array_append_new(
		list, parameter("query", "after", false, json_pack("{s:s}", "type", "string"),
			      "\"next\" of the page before."));
	for (const struct listing_column *c = l->columns; c->name; c++)
		if (c->filter)
			json_array_append_new(
				list, parameter("query", c->name, false,
					      json_pack("{s:s}", "type", "string"), c->help));
}

static json_t *query_to_schema(const struct route_query *q)
{
	switch (q->type) {
	case QUERY_NUMBER:
		return json_pack(
			"{s:s, s:s, s:i}", "type", "integer", "format", "int64", "minimum", 0);
	case QUERY_TIME:
		return json_pack("{s:s, s:s}", "type", "string", "format", "date-time");
	case QUERY_BOOL:
		return json_pack("{s:s, s:[s,s]}", "type", "string", "enum", "yes", "no");
	case QUERY_TEXT:
		break;
	}
	return json_pack("{s:s}", "type", "string");
}

static json_t *parameters_new(const struct route *r)
{
	json_t *list = json_array();

	add_path_parameters(list, r);
	if (r->listing && !r->one)
		add_listing_parameters(list, r->listing);
	for (const struct route_query *q = r->queries; q && q->name; q++)
		json_array_append_new(
			list, parameter("query", q->name, false, query_to_schema(q), q->help));
	if (r->matches)
		json_array_append_new(list, reference("parameters", "IfMatch"));
	return list;
}

/* What a good answer is. */
static json_t *answer_to_schema(const struct route *r)
{
	char name[NAME_MAX_BYTES];

	if (!r->listing)
		return json_pack("{s:s}", "type", "object");
	name_of_noun(r->listing->noun, name);
	if (r->one)
		return reference("schemas", name);
	return json_pack("{s:s, s:[s,s], s:{s:{s:s, s:o}, s:o}}", "type", "object", "required",
		"items", "next", "properties", "items", "type", "array", "items",
		reference("schemas", name), "next", reference("schemas", "Next"));
}

static json_t *content_new(const struct route *r)
{
	json_t *content = json_object(), *schema;

	if (r->answer_type) {
		schema = json_pack("{s:{s:s}}", "schema", "type",
			str_after(r->answer_type, "application/json") ? "object" : "string");
		json_object_set_new(content, r->answer_type, schema);
		return content;
	}
	json_object_set_new(
		content, "application/json", json_pack("{s:o}", "schema", answer_to_schema(r)));
	if (r->kind == ROUTE_STREAM)
		json_object_set_new(content, "text/event-stream",
			json_pack("{s:{s:s}}", "schema", "type", "string"));
	return content;
}

static json_t *responses_new(const struct route *r)
{
	json_t *good = json_pack("{s:s, s:o}", "description", "Done.", "content", content_new(r));

	if (r->one && r->listing && r->listing->revision)
		json_object_set_new(
			good, "headers", json_pack("{s:o}", "ETag", reference("headers", "ETag")));
	return json_pack("{s:o, s:o}", "2XX", good, "default", reference("responses", "Error"));
}

static json_t *security_new(const struct route *r)
{
	if (r->roles & ROLE_ANYONE)
		return json_array();
	if (r->roles == ROLE_NODE)
		return NULL;
	return json_pack("[{s:[]}, {s:[]}, {}]", "bearer", "munge");
}

static const char *whom(const struct route *r)
{
	static const struct {
		unsigned int role;
		const char *text;
	} words[] = {
		{ROLE_ANYONE, "For everybody."},
		{ROLE_USER, "For users."},
		{ROLE_GROUP_ADMIN, "For administrators of the site or of the host group."},
		{ROLE_ADMINISTRATOR, "For administrators of the site."},
		{ROLE_ENDORSER, "For endorsers."},
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (r->roles & words[i].role)
			return words[i].text;
	return "For nodes.";
}

static json_t *operation_new(const struct route *r)
{
	char id[NAME_MAX_BYTES], body[NAME_MAX_BYTES + 8];
	json_t *o = json_pack("{s:s, s:s*, s:s, s:o, s:o, s:o*}", "operationId",
		name_of_route(r, id), "summary", r->summary, "description", whom(r), "parameters",
		parameters_new(r), "responses", responses_new(r), "security", security_new(r));

	if (r->upload_max > 0)
		json_object_set_new(o, "requestBody",
			json_pack("{s:b, s:{s:{s:{s:s, s:s}}}}", "required", true, "content",
				"application/octet-stream", "schema", "type", "string", "format",
				"binary"));
	if (!r->body)
		return o;
	snprintf(body, sizeof(body), "%s_body", id);
	json_object_set_new(o, "requestBody",
		json_pack("{s:b, s:{s:{s:o}}}", "required", true, "content", "application/json",
			"schema", reference("schemas", body)));
	return o;
}

static void add_route(json_t *paths, json_t *schemas, const struct route *r)
{
	json_t *path = json_object_get(paths, r->path);
	char id[NAME_MAX_BYTES], name[NAME_MAX_BYTES + 8], method[16] = "";

	for (size_t i = 0; r->method[i] && i + 1 < sizeof(method); i++)
		method[i] = (char)tolower((unsigned char)r->method[i]);
	if (!path) {
		json_object_set_new(paths, r->path, json_object());
		path = json_object_get(paths, r->path);
	}
	json_object_set_new(path, method, operation_new(r));
	if (r->body) {
		snprintf(name, sizeof(name), "%s_body", name_of_route(r, id));
		json_object_set_new(schemas, name, fields_to_schema(r->body));
	}
	if (r->listing && !json_object_get(schemas, name_of_noun(r->listing->noun, id)))
		json_object_set_new(schemas, id, listing_to_schema(r->listing));
}

static json_t *components_new(json_t *schemas)
{
	json_t *components = json_pack("{s:o, s:{s:{s:s, s:s}, s:{s:s, s:s}}}", "schemas", schemas,
		"securitySchemes", "bearer", "type", "http", "scheme", "bearer", "munge", "type",
		"http", "scheme", "munge");

	json_object_set_new(schemas, "Next",
		json_pack("{s:s}", "description",
			"?after= of the next page; null: there is no more."));
	json_object_set_new(schemas, "Error",
		json_pack("{s:s, s:[s,s], s:{s:{s:s, s:s}, s:{s:s, s:s}}}", "type", "object",
			"required", "error", "status", "properties", "error", "type", "string",
			"description", "What failed, why, and what to do.", "status", "type",
			"integer", "description", "As the answer's own."));
	json_object_set_new(components, "responses",
		json_pack("{s:{s:s, s:{s:{s:o}}}}", "Error", "description", "It was not done.",
			"content", "application/json", "schema", reference("schemas", "Error")));
	json_object_set_new(components, "headers",
		json_pack("{s:{s:{s:s}, s:s}}", "ETag", "schema", "type", "string", "description",
			"The revision, for If-Match."));
	json_object_set_new(components, "parameters",
		json_pack("{s:o}", "IfMatch",
			parameter("header", "If-Match", true, json_pack("{s:s}", "type", "string"),
				"The ETag of what was read, or *.")));
	return components;
}

/* Whether all of it is there is seen at the end: jansson passes on that memory was out. */
static bool is_whole(const json_t *json)
{
	const char *key;
	json_t *value;
	size_t i;

	if (!json || json_is_null(json))
		return json;
	json_object_foreach(
		(json_t *)(uintptr_t)json, key, value) if (!is_whole(value)) return false;
	json_array_foreach(json, i, value) if (!is_whole(value)) return false;
	return true;
}

json_t *openapi_new(void)
{
	json_t *paths = json_object(), *schemas = json_object(), *document;

	for (const struct route *const *table = route_tables; *table; table++)
		for (const struct route *r = *table; r->method; r++)
			add_route(paths, schemas, r);
	document = json_pack("{s:s, s:{s:s, s:s, s:s}, s:o, s:o}", "openapi", "3.0.3", "info",
		"title", title, "version", WNODES_VERSION, "description", about, "paths", paths,
		"components", components_new(schemas));
	if (is_whole(document))
		return document;
	json_decref(document);
	return NULL;
}

static char *text;

static void make_text(void)
{
	json_t *document = openapi_new();

	text = document ? json_dumps(document, JSON_COMPACT) : NULL;
	json_decref(document);
}

/* It does not change while the program runs. */
static int run_openapi(struct exchange *x, struct sql *db)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, make_text);
	x->text = text ? strdup(text) : NULL;
	if (!x->text)
		return exchange_fail(x, 500, "the controller is out of memory");
	x->status = 200;
	return x->status;
}

const struct route openapi_routes[] = {
	{"GET", "/v1/openapi.json", ROUTE_PLAIN, ROLE_ANYONE,
		.summary = "Describes what can be asked (OpenAPI 3.0)",
		.answer_type = "application/json", .run = run_openapi},
	{NULL},
};
