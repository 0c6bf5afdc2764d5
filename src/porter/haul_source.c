#include <errno.h>
#include <stdio.h>

#include "lib/log.h"
#include "porter/haul_private.h"

static int find(const struct haul *h, const char *node, const char *url)
{
	for (int i = 0; i < SWARM_SOURCES_MAX; i++) {
		const struct source *s = &h->sources[i];

		if (s->used && streq(s->node, node) && streq(s->url, url))
			return i;
	}
	return -1;
}

static void add(struct haul *h, const char *node, const char *url, struct folder *folder)
{
	bool origin = !node[0];
	struct source s = {.used = true, .listed = true, .origin = origin, .folder = folder};
	int number = -E2BIG;

	if (strlen(node) < sizeof(s.node) && strlen(url) < sizeof(s.url))
		number = swarm_add_source(h->swarm, folder   ? SWARM_WEB
						    : origin ? SWARM_ORIGIN
							     : SWARM_PEER);
	if (number < 0) {
		folder_free(folder);
		return;
	}
	snprintf(s.node, sizeof(s.node), "%s", node);
	snprintf(s.url, sizeof(s.url), "%s", url);
	/* One '/' between the address and the path, however the address ends. */
	for (size_t n = strlen(s.url); n > 0 && s.url[n - 1] == '/'; n--)
		s.url[n - 1] = '\0';
	s.outsider = !str_after(url, "https://");
	h->sources[number] = s;
}

/* Returns 1 when it is settled what becomes of it, 0 if the daemon has yet to open it, or negative
 * errno. */
static int add_folder(struct haul *h, const char *path, struct error *err)
{
	struct daemon_answer answer AUTO(daemon_answer_done) = {0};
	struct porter *p = h->porter;
	struct folder *folder = NULL;
	struct error why = {0};
	int fd, r;

	r = daemon_ask(
		&p->daemon, json_pack("{s:s, s:s}", "op", "origin", "path", path), &answer, &why);
	if (r < 0 && r != -EREMOTEIO)
		return fail(err, r, "%s", why.text);
	fd = r < 0 ? -1 : daemon_answer_take(&answer, "directory");
	if (r == 0 && fd < 0) {
		snprintf(h->reason, sizeof(h->reason), "the directory '%.200s' does not answer",
			path);
		return 0;
	}
	if (r == 0)
		r = folder_new(fd, carrier_wake, p->carrier, &folder, &why);
	if (r < 0) {
		snprintf(h->reason, sizeof(h->reason), "%.250s", why.text);
		log_warning("images cannot be had from '%s': %s, ignoring", path, why.text);
	} else {
		add(h, "", path, folder);
	}
	return 1;
}

int haul_add_origins(struct haul *h, struct error *err)
{
	json_t *item;
	size_t i;

	json_array_foreach(h->porter->origins, i, item)
	{
		const char *text = json_string_value(item);
		int r = 1;

		if (i >= ORIGINS_MAX || h->settled[i] || !text)
			continue;
		if (text[0] == '/')
			r = add_folder(h, text, err);
		else if (str_after(text, "http://") || str_after(text, "https://"))
			add(h, "", text, NULL);
		if (r < 0)
			return r;
		h->settled[i] = r > 0;
	}
	return 0;
}

void haul_remove_sources(struct haul *h)
{
	for (size_t i = 0; i < SWARM_SOURCES_MAX; i++)
		h->sources[i].folder = folder_free(h->sources[i].folder);
}

/* A node's name is put into a URL, so that it is one. */
static bool is_name(const char *name)
{
	return name && name[0] && name[0] != '.' && name[0] != '-' &&
	       name[strspn(name,
		       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")] ==
		       '\0';
}

static void take_peer(struct haul *h, const json_t *peer)
{
	const char *node = json_string_value(json_object_get(peer, "node"));
	const char *url = json_string_value(json_object_get(peer, "address"));
	int known;

	if (!is_name(node) || !url || !str_after(url, "https://") || streq(node, h->porter->node) ||
		json_object_get(h->porter->banned, node))
		return;
	known = find(h, node, url);
	if (known >= 0)
		h->sources[known].listed = true;
	else
		add(h, node, url, NULL);
}

void haul_set_peers(struct haul *h, const json_t *peers)
{
	const json_t *peer;
	size_t i;

	for (i = 0; i < SWARM_SOURCES_MAX; i++)
		h->sources[i].listed = h->sources[i].origin;
	json_array_foreach(peers, i, peer) take_peer(h, peer);
	for (i = 0; i < SWARM_SOURCES_MAX; i++) {
		/* Its number is free for another one when its requests have ended. */
		if (!h->sources[i].used || h->sources[i].listed)
			continue;
		swarm_remove_source(h->swarm, i);
		h->sources[i].used = swarm_count_requests(h->swarm, i) > 0;
	}
}

void haul_address(const struct haul *h, size_t source, struct errand_address *ret)
{
	const struct source *s = &h->sources[source];

	*ret = (struct errand_address){.url = s->url,
		.node = s->origin ? NULL : s->node,
		.site = s->origin && !s->outsider,
		.folder = s->folder};
}

void haul_ban(struct haul *h, size_t source, const char *chunk, const char *reason)
{
	struct source *s = &h->sources[source];

	log_warning("'%s' has sent what is not %s: %s; it is not asked any more",
		s->origin ? s->url : s->node, chunk, reason);
	if (!s->origin) {
		json_object_set_new(h->porter->banned, s->node, json_string(reason));
		herald_report(h->porter->herald, s->node, chunk, reason);
	}
}

bool haul_take_outsider(struct haul *h, size_t source, const char *why)
{
	struct source *s = &h->sources[source];

	if (!s->origin || s->outsider || !strstr(why, "certificate"))
		return false;
	s->outsider = true;
	return true;
}
