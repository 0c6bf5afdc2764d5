#include "vm/usage.h"

#include <errno.h>

/* A counter that QEMU would write as a negative number is none. */
static int take_counter(const json_t *stats, const char *key, uint64_t *sum)
{
	const json_t *value = json_object_get(stats, key);

	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
		__builtin_add_overflow(*sum, (uint64_t)json_integer_value(value), sum))
		return -EPROTO;
	return 0;
}

int usage_take_blockstats(struct vm_usage *u, json_t *result)
{
	uint64_t read = 0, written = 0;
	json_t *disk;
	size_t i;

	if (!json_is_array(result))
		return -EPROTO;
	json_array_foreach(result, i, disk)
	{
		const json_t *stats = json_object_get(disk, "stats");

		if (take_counter(stats, "rd_bytes", &read) < 0 ||
			take_counter(stats, "wr_bytes", &written) < 0)
			return -EPROTO;
	}
	u->disk_read_bytes = read;
	u->disk_written_bytes = written;
	u->has_disk = true;
	return 0;
}

int usage_take_statistics(struct vm_usage *u, const struct reply *reply)
{
	struct statistics s;
	int r;

	if (reply->error)
		return -(int)MIN_OF(reply->error, 4095u);
	r = message_decode(statistics_fields, reply->body.data, reply->body.length, &s);
	if (r < 0)
		return r;
	u->network_received_bytes = s.network_received_bytes;
	u->network_sent_bytes = s.network_sent_bytes;
	u->oom_kills = s.oom_kills;
	u->has_guest = true;
	return 0;
}
