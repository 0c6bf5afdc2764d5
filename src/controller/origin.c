#include "controller/origin.h"

#include <errno.h>
#include <sys/stat.h>

#include "controller/controller.h"
#include "depot/depot.h"
#include "lib/log.h"

#define CHUNK_PREFIX 4 /* digits of the id that are the directory */

/* "DIGEST.ending": the digest. */
static bool cut(const char *name, const char *ending, char ret[DIGEST_HEX_SIZE])
{
	const size_t digits = DIGEST_HEX_SIZE - 1;

	if (strlen(name) != digits + strlen(ending) || !streq(name + digits, ending))
		return false;
	memcpy(ret, name, digits);
	ret[digits] = '\0';
	return digest_is_hex(ret);
}

static int answer_missing(struct exchange *x)
{
	return exchange_fail(x, 404, "this depot has no such file");
}

/* Takes the descriptor, or what has kept it from being opened. */
static int answer(struct exchange *x, int fd)
{
	struct stat st;

	if (fd == -ENOENT)
		return answer_missing(x);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		log_warning("cannot read the depot: %s", fd < 0 ? strerror(-fd) : "no file");
		if (fd >= 0)
			base_close(fd);
		return exchange_fail(x, 500, "the controller has failed; its log has the reason");
	}
	return exchange_answer_file(x, fd, (uint64_t)st.st_size);
}

static int run_manifest(struct exchange *x, struct sql *db)
{
	const struct depot *d = x->controller->depot;
	char digest[DIGEST_HEX_SIZE];

	if (!d || !cut(x->params[0], ".json", digest))
		return answer_missing(x);
	return answer(x, depot_open_manifest(d, digest));
}

static int run_index(struct exchange *x, struct sql *db)
{
	const struct depot *d = x->controller->depot;
	char blob[DIGEST_HEX_SIZE];

	if (!d || !cut(x->params[0], ".caibx", blob))
		return answer_missing(x);
	return answer(x, depot_open_index(d, blob));
}

static int run_chunk(struct exchange *x, struct sql *db)
{
	const struct depot *d = x->controller->depot;
	const char *directory = x->params[0], *name = x->params[1];
	uint8_t id[CHUNK_ID_SIZE];

	if (!d || chunk_parse_name(name, id) < 0 || strlen(directory) != CHUNK_PREFIX ||
		strncmp(directory, name, CHUNK_PREFIX) != 0)
		return answer_missing(x);
	return answer(x, depot_open_chunk(d, id));
}

const struct route origin_routes[] = {
	{"GET", "/depot/manifest/{file}", ROUTE_PLAIN, ROLE_ANYONE,
		"Gives an image's manifest, DIGEST.json", .answer_type = "application/json",
		.run = run_manifest},
	{"GET", "/depot/index/{file}", ROUTE_PLAIN, ROLE_ANYONE,
		"Gives the index of a part of an image, SHA256.caibx",
		.answer_type = "application/octet-stream", .run = run_index},
	{"GET", "/depot/chunks/{directory}/{file}", ROUTE_PLAIN, ROLE_ANYONE,
		"Gives a chunk, ID.cacnk in the directory of the first four digits",
		.answer_type = "application/octet-stream", .run = run_chunk},
	{.method = NULL},
};
