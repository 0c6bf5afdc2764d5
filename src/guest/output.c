/* A background process may keep a pipe open long after the command has ended. As with ssh and
 * containers nobody waits for it: what was in the pipe when the command ended is sent, then the
 * pipe is closed as soon as it has been idle for a moment, or after a second if it never is.
 */
#include "guest/output.h"

#include <errno.h>
#include <sys/ioctl.h>

#define OUTPUT_LAST_MS 1000

void output_init(struct output *out, int fd, enum frame_channel channel)
{
	*out = (struct output){.fd = fd, .channel = channel, .credit = FRAME_WINDOW, .slot = -1};
}

bool output_is_open(const struct output *out, const struct link *link)
{
	return out->fd >= 0 && out->credit > 0 && link_has_room(link);
}

int output_close(struct output *out, struct link *link, uint32_t id)
{
	if (out->fd < 0)
		return 0;
	out->fd = base_close(out->fd);
	out->ready = false;
	return link_send_eof(link, id, out->channel);
}

static void output_count(struct output *out, size_t n)
{
	out->credit -= (uint32_t)n;
	out->left -= MIN_OF(out->left, (uint64_t)n);
	out->idle_ms = 0;
}

int output_serve(struct output *out, struct link *link, uint32_t id)
{
	size_t max = MIN_OF(out->credit, (uint32_t)FRAME_DATA_MAX);
	uint8_t *room = link_reserve_data(link, max);
	ssize_t n;

	if (!room)
		return -ENOMEM;
	n = read(out->fd, room, max);
	if (n < 0 && errno == EINTR)
		return 0;
	if (n > 0) {
		link_commit_data(link, id, out->channel, (size_t)n);
		output_count(out, (size_t)n);
		return 0;
	}
	out->ready = false;
	if (n < 0 && errno == EAGAIN)
		return 0;
	/* A terminal whose other side is closed gives EIO. */
	return output_close(out, link, id);
}

void output_on_exit(struct output *out, int64_t now)
{
	int n = 0;

	if (out->fd < 0)
		return;
	if (ioctl(out->fd, FIONREAD, &n) == 0 && n > 0)
		out->left = (uint64_t)n;
	out->idle_ms = now;
}

int64_t output_tick(struct output *out, struct link *link, uint32_t id, int64_t now)
{
	if (out->fd < 0)
		return 0;
	/* Only time in which it could have given something counts. */
	if (out->idle_ms == 0 || !output_is_open(out, link))
		out->idle_ms = now;
	if (out->left == 0 && out->last_call_ms == 0)
		out->last_call_ms = now;
	if (now - out->idle_ms >= OUTPUT_IDLE_MS ||
		(out->last_call_ms > 0 && now - out->last_call_ms >= OUTPUT_LAST_MS))
		return output_close(out, link, id);
	return out->idle_ms + OUTPUT_IDLE_MS;
}
