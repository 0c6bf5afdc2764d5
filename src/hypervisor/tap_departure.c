/* Taps that are taken back. To remove a device the kernel waits until nobody looks at it any more,
 * 10 to 20 ms, for one as for hundreds: those that end while some are removed go together. */
#include <errno.h>
#include <stdio.h>

#include "hypervisor/tap_private.h"
#include "lib/log.h"

/* The group of devices that are to go. */
#define DEPARTURE_GROUP 0x776e7400u

#define DEPARTURE_MAX 256

struct departure {
	struct worker_job job;
	struct taps *taps;
	char names[DEPARTURE_MAX][IFNAMSIZ];
	int fds[DEPARTURE_MAX]; /* ours, until the device is gone: the last one to go waits alone */
	size_t count;
	struct error err;
};

/* In the worker: on a socket of its own. The devices are down, so that their rules may go first: a
 * device that has some takes the kernel as long as if it were alone. */
static void work(struct worker_job *job)
{
	struct departure *d = (struct departure *)(void *)job;
	struct netlink *n AUTO(netlink_freep) = NULL;
	const char *names[DEPARTURE_MAX];
	int r;

	for (size_t i = 0; i < d->count; i++)
		names[i] = d->names[i];
	firewall_remove(names, d->count, &d->err);
	r = netlink_open(&n, &d->err);
	if (r == 0)
		r = link_remove_group(n, DEPARTURE_GROUP);
	if (r < 0)
		fail_errno(&d->err, r, "cannot remove taps");
	for (size_t i = 0; i < d->count; i++)
		d->fds[i] = base_close(d->fds[i]);
}

static void depart_next(struct taps *t);

static void done(struct worker_job *job, bool cancelled)
{
	struct departure *d = (struct departure *)(void *)job;
	struct taps *t = d->taps;

	if (!cancelled && d->err.text[0])
		log_warning("%s", d->err.text);
	for (size_t i = 0; i < d->count; i++)
		base_close(d->fds[i]);
	free(d);
	t->departing = false;
	if (!cancelled)
		depart_next(t);
}

/* One at a time: all that end until it is done are the next. */
static void depart_next(struct taps *t)
{
	struct departure *d = t->departing ? NULL : TAKE_PTR(t->departure);

	if (!d)
		return;
	t->departing = true;
	worker_add(t->worker, &d->job);
}

static struct departure *departure_get(struct taps *t)
{
	struct departure *d = t->departure;

	if (d && d->count == DEPARTURE_MAX) { /* the worker does it after the one before */
		worker_add(t->worker, &TAKE_PTR(t->departure)->job);
		t->departing = true;
		d = NULL;
	}
	if (!d)
		d = t->departure = calloc(1, sizeof(*d));
	if (d) {
		d->job = (struct worker_job){.work = work, .done = done};
		d->taps = t;
	}
	return d;
}

void tap_depart(struct taps *t, const char *name, int index, int fd)
{
	const struct link_change change = {
		.down = true, .no_master = true, .group = DEPARTURE_GROUP};
	struct departure *d = departure_get(t);
	int r = link_change(t->netlink, index, &change);

	if (r < 0 && r != -ENODEV)
		log_warning("the tap '%s' cannot be taken back: %s", name, strerror(-r));
	if (!d) {
		log_warning("out of memory for the end of '%s', ignoring", name);
		base_close(fd);
		return;
	}
	d->fds[d->count] = fd;
	snprintf(d->names[d->count++], IFNAMSIZ, "%s", name);
	depart_next(t);
}
