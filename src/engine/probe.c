#include "engine/probe.h"

#include <errno.h>

#include "engine/run.h"

/* File systems by which host directories can get into a guest. */
static const char *const gateway_filesystems[] = {"9p", "virtiofs", "fuse", "nfs4"};

/* Enough for any distribution's first boot; shapes that an image needs more for are its user's. */
#define PROBE_MEMORY_MIB 1024

/* The largest that Linux has; a hostile guest may send any number. */
#define ERRNO_MAX 4095

/* Is this a gateway's file system that the list has not yet? */
static bool is_news(const char *filesystem, const struct strv *list)
{
	for (size_t i = 0; i < list->count; i++)
		if (streq(list->items[i], filesystem))
			return false;
	for (size_t i = 0; i < ARRAY_SIZE(gateway_filesystems); i++)
		if (streq(gateway_filesystems[i], filesystem))
			return true;
	return false;
}

int probe_fill(const struct reply *reply, struct probe_result *ret)
{
	struct probe probe;
	int r;

	if (reply->error)
		return reply->error <= ERRNO_MAX ? -(int)reply->error : -EPROTO;
	r = message_decode(probe_fields, reply->body.data, reply->body.length, &probe);
	for (const char **have = r < 0 ? NULL : probe.filesystems; have && *have; have++)
		if (is_news(*have, &ret->filesystems))
			strv_add(&ret->filesystems, *have);
	if (r == 0)
		ret->os = strdup(probe.os_name);
	message_release(probe_fields, &probe);
	return r == 0 && (ret->filesystems.failed || !ret->os) ? -ENOMEM : r;
}

int probe_image(const char *reference, const struct settings *settings, struct probe_result *ret)
{
	struct caller caller AUTO(caller_done) = {0};
	struct request request AUTO(request_done) = {
		.caller = &caller,
		.settings = settings,
		.image = reference,
		.cpus = 1,
		.memory_mib = MAX_OF(settings->memory / (1024 * 1024), (uint64_t)PROBE_MEMORY_MIB),
		.accel = accel_parse(settings->accel),
		.probe = ret,
		.progress = isatty(STDERR_FILENO),
	};

	*ret = (struct probe_result){0};
	if (caller_load(&caller, NULL) < 0)
		return -EIO;
	return run_execute(&request) == 0 ? 0 : -EIO;
}

void probe_done(struct probe_result *p)
{
	strv_done(&p->filesystems);
	free(p->os);
	free(p->agent_version);
}
