#include "hypervisor/trial.h"

#include <errno.h>

/* What any image can do with. */
#define TRIAL_MEMORY "1G"

/* Beyond the boot's own deadline: to find the image, and to end. */
#define TRIAL_MARGIN_US (60 * UINT64_C(1000000))

struct trial {
	sd_event *event;
	const struct settings *settings;
	struct servant *servant;
	struct servant_task task;
	void (*done)(bool works, void *userdata);
	void *userdata;
};

static void on_end(int status, void *userdata)
{
	struct trial *t = userdata;

	t->done(status == 0, t->userdata);
}

int trial_new(sd_event *event, const struct settings *settings, struct servant *servant,
	struct trial **ret, struct error *err)
{
	struct trial *t = calloc(1, sizeof(*t));

	if (!t)
		return fail(err, -ENOMEM, "out of memory");
	t->event = sd_event_ref(event);
	t->settings = settings;
	t->servant = servant;
	t->task = (struct servant_task){.done = on_end, .userdata = t, .pidfd = -1};
	*ret = t;
	return 0;
}

struct trial *trial_free(struct trial *t)
{
	if (!t)
		return NULL;
	servant_stop(&t->task);
	sd_event_unref(t->event);
	free(t);
	return NULL;
}

int trial_start(struct trial *t, const char *digest, void (*done)(bool works, void *userdata),
	void *userdata, struct error *err)
{
	struct strv arguments AUTO(strv_done) = {0};

	if (!t->servant)
		return fail(err, -ENOENT, "[node] user is no account that could start a VM");
	if (t->task.pidfd >= 0)
		return 0;
	t->done = done;
	t->userdata = userdata;
	strv_add_all(&arguments, "run", "--image", digest, "--start", "boot", "--cpus", "1",
		"--memory", TRIAL_MEMORY, "--network", "none", "--mount", "none", "--workdir", "/",
		"--", "true", NULL);
	return servant_start(t->servant, t->event, &t->task, &arguments,
		t->settings->boot + t->settings->prepare + TRIAL_MARGIN_US, err);
}
