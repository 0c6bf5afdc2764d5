#include <errno.h>

#include "hypervisor/envoy.h"
#include "hypervisor/porter_private.h"
#include "hypervisor/pull.h"

bool porter_is_running(const struct porter *p)
{
	return envoy_is_running(p->envoy);
}

void porter_note_change(struct porter *p)
{
	if (p && !p->told_change)
		p->told_change = envoy_tell(p->envoy, json_pack("{s:b}", "changed", true));
}

static void on_gone(void *userdata)
{
	struct porter *p = userdata;

	p->told_change = false;
}

static void on_packet(void *userdata, json_t *question, int fd)
{
	porter_answer(userdata, question);
}

/* Whoever waits for an image is told, instead of waiting for something that does not come. */
static void on_failing(void *userdata, const char *why)
{
	struct porter *p = userdata;

	pulls_fail_all(p->hypervisor->pulls, why);
}

static const struct envoy_calls calls = {
	.packet = on_packet,
	.gone = on_gone,
	.failing = on_failing,
};

static void on_directory(void *userdata)
{
	porter_note_change(userdata);
}

int porter_new(struct hypervisor *h, struct porter **ret, struct error *err)
{
	struct porter *p AUTO(porter_freep) = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return fail(err, -ENOMEM, "out of memory");
	p->hypervisor = h;
	r = envoy_new(h, "wnodes-porter", "images cannot be fetched", &calls, p, &p->envoy, err);
	if (r == 0)
		r = directories_new(h->event, on_directory, p, &p->directories, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(p);
	return 0;
}

struct porter *porter_free(struct porter *p)
{
	if (!p)
		return NULL;
	envoy_free(p->envoy);
	directories_free(p->directories);
	free(p->node);
	free(p);
	return NULL;
}

void porter_renew(struct porter *p)
{
	if (p)
		envoy_renew(p->envoy);
}

void porter_set_site(struct porter *p, const char *node)
{
	bool same = p && (node ? p->node && streq(p->node, node) : !p->node);

	if (!p || same)
		return;
	free(p->node);
	p->node = node ? strdup(node) : NULL;
	envoy_renew(p->envoy); /* it knows the name */
	envoy_want(p->envoy, p->node != NULL);
}
