/* What wnodes-porter asks, and is answered. It speaks with the network: all that it says is
 * checked, as from anyone. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#include "hypervisor/cache.h"
#include "hypervisor/envoy.h"
#include "hypervisor/liaison.h"
#include "hypervisor/porter_private.h"
#include "hypervisor/pull.h"
#include "lib/fields.h"
#include "lib/path.h"

#define MANIFEST_TEXT_MAX 131072 /* so that it fits into a packet */

/* What wnodes-porter says; what it does not name is 0, "" or NULL. */
struct question {
	char op[16], digest[DIGEST_HEX_SIZE], blob[DIGEST_HEX_SIZE], reason[512], path[PATH_MAX];
	const char *text;
	struct pull_progress progress;
};

#define AT(member) offsetof(struct question, member)

static const struct field fields[] = {
	{"op", FIELD_TEXT, AT(op), 0, 16, true},
	{"digest", FIELD_DIGEST, AT(digest)},
	{"blob", FIELD_DIGEST, AT(blob)},
	{"reason", FIELD_TEXT, AT(reason), 0, 512},
	{"path", FIELD_TEXT, AT(path), 0, PATH_MAX},
	{"text", FIELD_LINES, AT(text), 0, MANIFEST_TEXT_MAX},
	{"bytes", FIELD_NUMBER, AT(progress.bytes), 0, INT64_MAX},
	{"total", FIELD_NUMBER, AT(progress.total), 0, INT64_MAX / 128},
	{"reused", FIELD_NUMBER, AT(progress.reused), 0, INT64_MAX},
	{"from_peers", FIELD_NUMBER, AT(progress.from_peers), 0, INT64_MAX},
	{"from_origin", FIELD_NUMBER, AT(progress.from_origin), 0, INT64_MAX},
	{"rate", FIELD_NUMBER, AT(progress.rate), 0, INT64_MAX},
	{.name = NULL},
};

static void answer(struct porter *p, json_t *json, const int *fds, size_t count)
{
	envoy_answer(p->envoy, json, fds, count);
}

static void refuse(struct porter *p, const char *why)
{
	answer(p, json_pack("{s:s}", "error", why), NULL, 0);
}

static void conclude(struct porter *p, int r, const struct error *err)
{
	if (r < 0)
		refuse(p, err->text);
	else
		answer(p, json_object(), NULL, 0);
}

static int open_file(const struct porter *p, const char *name, int *ret, struct error *err)
{
	autofree char *path = path_format("%s/%s", p->hypervisor->state, name);

	*ret = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	return *ret < 0 ? fail_errno(err, path ? -errno : -ENOMEM, "cannot open '%s'", name) : 0;
}

static json_t *controllers_to_json(const struct settings *s)
{
	json_t *list = json_array();

	for (char **i = s->site_controllers; i && *i; i++)
		if (str_after(*i, "https://"))
			json_array_append_new(list, json_string(*i));
	return list;
}

/* Without the '/' at its end. */
static int length_of_origin(const char *text)
{
	size_t n = strlen(text);

	while (n > 1 && text[n - 1] == '/')
		n--;
	return (int)n;
}

/* The controllers' own depots, where no others are set. */
static json_t *origins_to_json(const struct settings *s)
{
	bool set = s->images_origins && s->images_origins[0];
	json_t *list = json_array();

	for (char **i = set ? s->images_origins : s->site_controllers; i && *i; i++)
		if (set || str_after(*i, "https://"))
			json_array_append_new(list, json_sprintf("%.*s%s", length_of_origin(*i), *i,
							    set ? "" : "/depot"));
	return list;
}

/* How others reach us: as it is set, or by our name and the port. */
static json_t *address_to_json(const struct porter *p, const char *listen)
{
	const struct settings *s = &p->hypervisor->settings;
	const char *port = strrchr(listen, ':');

	if (s->images_address && s->images_address[0])
		return json_string(s->images_address);
	return port ? json_sprintf("https://%s%s", p->node, port) : json_string("");
}

static json_t *hello_to_json(const struct porter *p)
{
	const struct settings *s = &p->hypervisor->settings;
	const char *listen = streq(s->images_listen, "none") ? "" : s->images_listen;

	return json_pack("{s:s, s:o, s:o, s:s, s:o, s:s, s:I, s:I, s:[s,s,s]}", "node", p->node,
		"controllers", controllers_to_json(s), "origins", origins_to_json(s), "listen",
		listen, "address", address_to_json(p, listen), "rack",
		s->images_rack ? s->images_rack : "", "rate_bytes", (json_int_t)s->images_rate,
		"slots", (json_int_t)s->images_slots, "descriptors", "key", "certificate", "ca");
}

static void on_hello(struct porter *p, const struct question *q)
{
	int fds[3] = {-1, -1, -1}, r;
	struct error err = {0};

	r = open_file(p, LIAISON_KEY, &fds[0], &err);
	if (r == 0)
		r = open_file(p, LIAISON_CERTIFICATE, &fds[1], &err);
	if (r == 0)
		r = open_file(p, LIAISON_CA, &fds[2], &err);
	if (r < 0)
		refuse(p, err.text);
	else
		answer(p, hello_to_json(p), fds, 3);
	for (int i = 0; i < 3; i++)
		base_close(fds[i]);
}

/* Only such as the settings name. */
static void on_origin(struct porter *p, const struct question *q)
{
	const struct settings *s = &p->hypervisor->settings;
	struct error err = {0};
	bool known = false;
	int fd;

	for (char **i = s->images_origins; i && *i; i++)
		known |= q->path[0] == '/' && length_of_origin(*i) == (int)strlen(q->path) &&
			 str_after(*i, q->path);
	fd = known ? directories_open(p->directories, q->path, &err)
		   : fail(&err, -EPERM, "this directory is no origin");
	if (fd >= 0)
		answer(p, json_pack("{s:[s]}", "descriptors", "directory"), &fd, 1);
	else if (fd == -EAGAIN)
		answer(p, json_object(), NULL, 0);
	else
		refuse(p, err.text);
	if (fd >= 0)
		close(fd);
}

static void on_work(struct porter *p, const struct question *q)
{
	const struct hypervisor *h = p->hypervisor;

	p->told_change = false;
	answer(p,
		json_pack("{s:o, s:o, s:o}", "fetch", pulls_work_to_json(h->pulls), "serve",
			cache_serve_to_json(h->cache), "own", cache_own_to_json(h->cache)),
		NULL, 0);
}

static void on_manifest(struct porter *p, const struct question *q)
{
	struct error err = {0};
	int r = q->text ? pulls_take_manifest(p->hypervisor->pulls, q->digest, q->text, &err)
			: fail(&err, -EINVAL, "a manifest has a text");

	conclude(p, r, &err);
}

static void on_part(struct porter *p, const struct question *q)
{
	struct pull_files files;
	struct error err = {0};

	if (pulls_open_part(p->hypervisor->pulls, q->digest, q->blob, &files, &err) < 0) {
		refuse(p, err.text);
	} else {
		const int fds[] = {files.partial_fd, files.have_fd, files.index_fd};

		answer(p, json_pack("{s:[s,s,s]}", "descriptors", "partial", "have", "index"), fds,
			3);
	}
	pull_files_done(&files);
}

struct waiting {
	struct porter *porter;
	uint64_t who;
};

static void on_taken(const char *why, void *userdata)
{
	struct waiting w = *(struct waiting *)userdata;

	free(userdata);
	if (!envoy_resume(w.porter->envoy, w.who))
		return;
	if (why)
		refuse(w.porter, why);
	else
		answer(w.porter, json_object(), NULL, 0);
}

static void on_done(struct porter *p, const struct question *q)
{
	struct waiting *w = calloc(1, sizeof(*w));
	struct error err = {0};
	int r = w ? 0 : fail(&err, -ENOMEM, "out of memory");

	if (r == 0) {
		*w = (struct waiting){p, envoy_pause(p->envoy)};
		r = pulls_take_part(p->hypervisor->pulls, q->digest, q->blob, on_taken, w, &err);
	}
	if (r == 0)
		return;
	if (w)
		envoy_resume(p->envoy, w->who);
	free(w);
	refuse(p, err.text);
}

static void on_local(struct porter *p, const struct question *q)
{
	const struct hypervisor *h = p->hypervisor;
	int fds[2] = {-1, -1};

	if (cache_open_part(h->cache, q->blob, &fds[0], &fds[1]) < 0 &&
		pulls_open_ready(h->pulls, q->blob, &fds[0], &fds[1]) < 0) {
		refuse(p, "this node does not have that part");
		return;
	}
	answer(p, json_pack("{s:[s,s]}", "descriptors", "blob", "index"), fds, 2);
	base_close(fds[0]);
	base_close(fds[1]);
}

static void on_own(struct porter *p, const struct question *q)
{
	int fd = cache_open_own(p->hypervisor->cache, q->blob);

	if (fd < 0) {
		refuse(p, "this node has no such part of its own");
		return;
	}
	answer(p, json_pack("{s:[s]}", "descriptors", "blob"), &fd, 1);
	close(fd);
}

static void on_progress(struct porter *p, const struct question *q)
{
	struct error err = {0};

	conclude(p, pulls_note_progress(p->hypervisor->pulls, q->digest, &q->progress, &err), &err);
}

static void on_failed(struct porter *p, const struct question *q)
{
	struct error err = {0};

	conclude(p, pulls_note_failure(p->hypervisor->pulls, q->digest, q->reason, &err), &err);
}

static const struct {
	const char *op;
	void (*handle)(struct porter *p, const struct question *q);
} handlers[] = {
	{"hello", on_hello},
	{"origin", on_origin},
	{"work", on_work},
	{"manifest", on_manifest},
	{"part", on_part},
	{"done", on_done},
	{"local", on_local},
	{"own", on_own},
	{"progress", on_progress},
	{"failed", on_failed},
};

void porter_answer(struct porter *p, json_t *question)
{
	struct question q = {.op = ""};
	struct error err = {0};

	if (fields_parse(fields, question, &q, &err) < 0) {
		refuse(p, err.text);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
		if (streq(handlers[i].op, q.op)) {
			handlers[i].handle(p, &q);
			return;
		}
	refuse(p, "no such operation");
}
