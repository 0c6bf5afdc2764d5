/* The host may send FRAME_WINDOW bytes ahead of the process, so the buffer is never larger. A
 * process that closes its stdin must not stop the host: from then on data is dropped as it comes,
 * and credit is granted as if it had been read.
 */
#include "guest/input.h"

#include <errno.h>
#include <termios.h>

/* Credit goes back in quarters of the window: often enough that the host never runs dry, seldom
 * enough that it costs nothing. */
#define INPUT_GRANT (FRAME_WINDOW / 4)

void input_init(struct input *in, int fd, bool tty, bool streamed)
{
	*in = (struct input){
		.fd = fd,
		.tty = tty,
		.end = !streamed,
		.credit = streamed ? FRAME_WINDOW : 0,
		.stopped = fd < 0,
		.slot = -1,
	};
}

/* Nothing more is written. A terminal stays open as long as its process lives: a process that
 * closes its streams just before it ends would otherwise be hung up, and die of that. */
static void input_stop(struct input *in)
{
	in->stopped = true;
	if (!in->tty)
		in->fd = base_close(in->fd);
	in->owed += (uint32_t)in->data.len;
	buffer_done(&in->data);
}

void input_close(struct input *in)
{
	input_stop(in);
	in->fd = base_close(in->fd);
}

/* A terminal has no end of file but its "end of file" character. In line mode the first one ends a
 * line that was begun, if there is one, and only the second is an end of file; what is left of them
 * is for whoever reads next. A program that takes the terminal raw (a shell that edits its line)
 * knows what the character means. */
static void input_end(struct input *in)
{
	struct termios t;
	cc_t end[2];
	ssize_t n;

	if (in->tty && tcgetattr(in->fd, &t) == 0) {
		end[0] = end[1] = t.c_cc[VEOF];
		n = write(in->fd, end, t.c_lflag & ICANON ? 2 : 1);
		(void)n; /* a terminal whose buffer is full has other troubles */
	}
	input_stop(in);
}

static void input_write(struct input *in)
{
	ssize_t n = buffer_write(&in->data, in->fd);

	if (n >= 0)
		in->owed += (uint32_t)n;
	else if (n != -EAGAIN)
		input_stop(in);
}

/* Most data goes from the link's buffer to the pipe at once, without a copy. */
static size_t input_write_direct(struct input *in, const struct frame *f)
{
	ssize_t n;

	if (in->stopped || in->data.len > 0)
		return 0;
	n = write(in->fd, f->payload, f->length);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		input_stop(in);
	return n < 0 ? 0 : (size_t)n;
}

int input_put(struct input *in, const struct frame *f)
{
	size_t direct;

	if (f->length == 0) {
		in->end = true;
		return 0;
	}
	if (in->end || f->length > in->credit || f->length > FRAME_DATA_MAX)
		return -EPROTO;
	in->credit -= f->length;
	direct = input_write_direct(in, f);
	in->owed += (uint32_t)direct;
	if (in->stopped) {
		in->owed += f->length - (uint32_t)direct;
		return 0;
	}
	return buffer_append(&in->data, f->payload + direct, f->length - direct);
}

static int input_grant(struct input *in, struct link *link, uint32_t id)
{
	struct credit credit = {.bytes = in->owed};

	in->credit += in->owed;
	in->owed = 0;
	return link_send(link, FRAME_CREDIT, id, FRAME_STDIN, credit_fields, &credit);
}

int input_serve(struct input *in, bool ready, struct link *link, uint32_t id)
{
	if (ready && !in->stopped)
		input_write(in);
	if (!in->stopped && in->data.len == 0 && in->end)
		input_end(in);
	if (in->owed >= INPUT_GRANT && !in->end)
		return input_grant(in, link, id);
	return 0;
}
