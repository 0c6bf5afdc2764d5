/* What comes from QEMU: single lines, and a connection that gets its bytes in pieces. */
#include <assert.h>
#include <sys/socket.h>

#include "lib/base.h"
#include "vm/qmp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_ready(const struct qmp_version *version, void *userdata)
{
}

static void on_event(const char *name, json_t *data, void *userdata)
{
	autofree char *text = data ? json_dumps(data, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

	assert(name);
	assert(!data || text);
}

static void on_closed(int error, void *userdata)
{
	assert(++*(int *)userdata == 1);
}

static void on_answer(json_t *result, const char *error, void *userdata)
{
	assert(++*(int *)userdata == 1);
	assert(!result || !error);
	assert(result || error);
}

static void check_line(const char *text, size_t size)
{
	struct qmp_line line;

	if (qmp_parse(text, size, &line) < 0) {
		assert(!line.root);
		return;
	}
	assert(line.root && (line.kind != QMP_EVENT || line.event));
	json_decref(line.root);
}

static void check_connection(const uint8_t *data, size_t size)
{
	static const struct qmp_callbacks callbacks = {on_ready, on_event, on_closed};
	static sd_event *event;
	struct qmp *qmp = NULL;
	int closes = 0, answers = 0, pair[2];
	size_t step = 1 + size / 3;

	if (!event)
		assert(sd_event_new(&event) >= 0);
	assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	assert(qmp_open(event, pair[0], &callbacks, &closes, &qmp) == 0);
	qmp_execute(qmp, "query-status", NULL, on_answer, &answers);
	for (size_t at = 0; at < size && closes == 0; at += step) {
		if (send(pair[1], data + at, MIN_OF(step, size - at), MSG_NOSIGNAL) < 0)
			break;
		while (sd_event_run(event, 0) > 0)
			continue;
	}
	close(pair[1]);
	while (sd_event_run(event, 0) > 0)
		continue;
	assert(closes == 1 && answers == 1);
	qmp_free(qmp);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_line((const char *)data, size);
	if (memchr(data, '\n', size))
		check_connection(data, size);
	return 0;
}
