#include "lib/message.h"

#include <errno.h>

#include "lib/wire.h"

#define FIELD(kind, type, member)                             \
	{                                                     \
		MESSAGE_##kind, offsetof(struct type, member) \
	}
#define FIELDS_END             \
	{                      \
		MESSAGE_END, 0 \
	}

const struct message_field hello_guest_fields[] = {
	FIELD(U32, hello_guest, magic),
	FIELD(U16, hello_guest, version_min),
	FIELD(U16, hello_guest, version_max),
	FIELD(STRING, hello_guest, agent_version),
	FIELD(STRING, hello_guest, kernel),
	FIELD(STRING, hello_guest, init),
	FIELD(U32, hello_guest, cpus),
	FIELD(U64, hello_guest, memory_kib),
	FIELD(U64, hello_guest, uptime_us),
	FIELD(U32, hello_guest, features),
	FIELDS_END,
};

const struct message_field hello_host_fields[] = {
	FIELD(U32, hello_host, magic),
	FIELD(U16, hello_host, version),
	FIELDS_END,
};

const struct message_field reply_fields[] = {
	FIELD(U32, reply, error),
	FIELD(STRING, reply, reason),
	FIELD(BYTES, reply, body),
	FIELDS_END,
};

const struct message_field identity_fields[] = {
	FIELD(STRING, identity, hostname),
	FIELD(STRING, identity, machine_id),
	FIELD(STRING, identity, hosts),
	FIELD(BYTES, identity, entropy),
	FIELD(STRING, identity, boot_id),
	FIELD(STRING, identity, ssh_key),
	FIELD(STRING, identity, ssh_public_key),
	FIELDS_END,
};

const struct message_field clock_set_fields[] = {
	FIELD(U64, clock_set, realtime_ns),
	FIELDS_END,
};

const struct message_field account_fields[] = {
	FIELD(U32, account, uid),
	FIELD(U32, account, gid),
	FIELD(STRING, account, name),
	FIELD(STRING, account, gecos),
	FIELD(STRING, account, home),
	FIELD(STRING, account, shell),
	FIELD(NUMBERS, account, gids),
	FIELD(STRINGS, account, group_names),
	FIELD(STRING, account, gid_name),
	FIELDS_END,
};

const struct message_field mount_request_fields[] = {
	FIELD(STRING, mount_request, type),
	FIELD(STRING, mount_request, source),
	FIELD(STRING, mount_request, target),
	FIELD(STRING, mount_request, options),
	FIELD(U32, mount_request, flags),
	FIELD(U32, mount_request, uid),
	FIELD(U32, mount_request, gid),
	FIELD(U32, mount_request, mode),
	FIELDS_END,
};

const struct message_field network_request_fields[] = {
	FIELD(STRING, network_request, mac),
	FIELD(STRING, network_request, address),
	FIELD(U32, network_request, prefix),
	FIELD(STRING, network_request, gateway),
	FIELD(STRINGS, network_request, nameservers),
	FIELD(U32, network_request, mtu),
	FIELD(STRING, network_request, card),
	FIELD(STRING, network_request, address6),
	FIELD(U32, network_request, prefix6),
	FIELD(STRING, network_request, gateway6),
	FIELDS_END,
};

const struct message_field file_write_fields[] = {
	FIELD(STRING, file_write, path),
	FIELD(U32, file_write, mode),
	FIELD(U32, file_write, uid),
	FIELD(U32, file_write, gid),
	FIELD(U32, file_write, append),
	FIELD(BYTES, file_write, data),
	FIELDS_END,
};

const struct message_field file_read_fields[] = {
	FIELD(STRING, file_read, path),
	FIELD(U64, file_read, offset),
	FIELD(U32, file_read, max),
	FIELDS_END,
};

const struct message_field statistics_fields[] = {
	FIELD(U64, statistics, memory_total_kib),
	FIELD(U64, statistics, memory_available_kib),
	FIELD(U64, statistics, cpu_busy_us),
	FIELD(U64, statistics, uptime_us),
	FIELD(U32, statistics, processes),
	FIELD(U32, statistics, oom_kills),
	FIELD(U64, statistics, network_received_bytes),
	FIELD(U64, statistics, network_sent_bytes),
	FIELDS_END,
};

const struct message_field probe_fields[] = {
	FIELD(STRINGS, probe, filesystems),
	FIELD(STRING, probe, os_name),
	FIELD(STRING, probe, os_id),
	FIELD(U32, probe, vmgenid),
	FIELDS_END,
};

const struct message_field shutdown_fields[] = {
	FIELD(U32, shutdown, how),
	FIELD(U32, shutdown, grace_ms),
	FIELDS_END,
};

const struct message_field exec_request_fields[] = {
	FIELD(STRINGS, exec_request, argv),
	FIELD(STRINGS, exec_request, env),
	FIELD(STRING, exec_request, workdir),
	FIELD(U32, exec_request, uid),
	FIELD(U32, exec_request, gid),
	FIELD(NUMBERS, exec_request, gids),
	FIELD(U32, exec_request, umask),
	FIELD(U32, exec_request, flags),
	FIELD(U32, exec_request, rows),
	FIELD(U32, exec_request, columns),
	FIELD(NUMBERS, exec_request, limits),
	FIELD(NUMBERS, exec_request, cpus),
	FIELDS_END,
};

const struct message_field credit_fields[] = {
	FIELD(U32, credit, bytes),
	FIELDS_END,
};

const struct message_field signal_request_fields[] = {
	FIELD(U32, signal_request, signo),
	FIELD(U32, signal_request, group),
	FIELDS_END,
};

const struct message_field resize_fields[] = {
	FIELD(U32, resize, rows),
	FIELD(U32, resize, columns),
	FIELDS_END,
};

const struct message_field exit_status_fields[] = {
	FIELD(U32, exit_status, exited),
	FIELD(U32, exit_status, code),
	FIELD(U64, exit_status, user_us),
	FIELD(U64, exit_status, system_us),
	FIELD(U64, exit_status, max_rss_kib),
	FIELD(U32, exit_status, alone),
	FIELDS_END,
};

const struct message_field quiesce_fields[] = {
	FIELD(STRINGS, quiesce, drivers),
	FIELDS_END,
};

/* The wire's view of a message being read; a failure sticks. */
struct reader {
	const uint8_t *p;
	size_t left;
	int error;
};

static const uint8_t *reader_take(struct reader *r, size_t n)
{
	const uint8_t *p = r->p;

	if (r->error || n > r->left) {
		r->error = r->error ? r->error : -EPROTO;
		return NULL;
	}
	r->p += n;
	r->left -= n;
	return p;
}

static uint32_t reader_u32(struct reader *r)
{
	const uint8_t *p = reader_take(r, 4);
	return p ? le32_load(p) : 0;
}

static const char *reader_string(struct reader *r)
{
	uint32_t n = reader_u32(r);
	const uint8_t *p = reader_take(r, n);

	if (!p || n == 0 || memchr(p, 0, n) != p + n - 1) {
		r->error = r->error ? r->error : -EPROTO;
		return "";
	}
	return (const char *)p;
}

/* A count whose elements take at least four bytes each, so that a short message cannot make us
 * allocate for a long list. */
static uint32_t reader_count(struct reader *r)
{
	uint32_t n = reader_u32(r);

	if (n > MESSAGE_LIST_MAX || n > r->left / 4) {
		r->error = r->error ? r->error : -EPROTO;
		return 0;
	}
	return n;
}

static const char **reader_strings(struct reader *r)
{
	uint32_t n = reader_count(r);
	const char **list = calloc((size_t)n + 1, sizeof(*list));

	if (!list) {
		r->error = -ENOMEM;
		return NULL;
	}
	for (uint32_t i = 0; i < n; i++)
		list[i] = reader_string(r);
	return list;
}

static struct message_numbers reader_numbers(struct reader *r)
{
	struct message_numbers list = {.count = reader_count(r)};

	list.values = calloc((size_t)list.count + 1, sizeof(*list.values));
	if (!list.values) {
		r->error = -ENOMEM;
		list.count = 0;
	}
	for (uint32_t i = 0; i < list.count; i++)
		list.values[i] = reader_u32(r);
	return list;
}

static struct message_bytes reader_bytes(struct reader *r)
{
	struct message_bytes bytes = {.length = reader_u32(r)};

	bytes.data = reader_take(r, bytes.length);
	if (!bytes.data)
		bytes.length = 0;
	return bytes;
}

static void field_decode(struct reader *r, enum message_kind kind, void *member)
{
	const uint8_t *p;

	switch (kind) {
	case MESSAGE_U16:
		p = reader_take(r, 2);
		*(uint16_t *)member = p ? le16_load(p) : 0;
		break;
	case MESSAGE_U32:
		*(uint32_t *)member = reader_u32(r);
		break;
	case MESSAGE_U64:
		p = reader_take(r, 8);
		*(uint64_t *)member = p ? le64_load(p) : 0;
		break;
	case MESSAGE_STRING:
		*(const char **)member = reader_string(r);
		break;
	case MESSAGE_STRINGS:
		*(const char ***)member = reader_strings(r);
		break;
	case MESSAGE_NUMBERS:
		*(struct message_numbers *)member = reader_numbers(r);
		break;
	case MESSAGE_BYTES:
		*(struct message_bytes *)member = reader_bytes(r);
		break;
	case MESSAGE_END:
		break;
	}
}

/* The value of a field that the sender, being of an older version, did not send. */
static int field_default(enum message_kind kind, void *member)
{
	if (kind == MESSAGE_STRING)
		*(const char **)member = "";
	if (kind == MESSAGE_STRINGS) {
		*(const char ***)member = calloc(1, sizeof(char *));
		return *(const char ***)member ? 0 : -ENOMEM;
	}
	return 0;
}

/* Zeroes each member by its own size: a message is as large as its table says, no larger. */
static void field_clear(enum message_kind kind, void *member)
{
	static const size_t sizes[] = {
		[MESSAGE_U16] = sizeof(uint16_t),
		[MESSAGE_U32] = sizeof(uint32_t),
		[MESSAGE_U64] = sizeof(uint64_t),
		[MESSAGE_STRING] = sizeof(char *),
		[MESSAGE_STRINGS] = sizeof(char **),
		[MESSAGE_NUMBERS] = sizeof(struct message_numbers),
		[MESSAGE_BYTES] = sizeof(struct message_bytes),
		[MESSAGE_END] = 0,
	};
	memset(member, 0, sizes[kind]);
}

int message_decode(
	const struct message_field *fields, const void *payload, size_t length, void *message)
{
	struct reader r = {.p = payload, .left = length};
	const struct message_field *f;
	int error = 0;

	for (f = fields; f->kind != MESSAGE_END; f++)
		field_clear(f->kind, (char *)message + f->offset);
	for (f = fields; f->kind != MESSAGE_END && !r.error; f++) {
		void *member = (char *)message + f->offset;

		if (r.left > 0)
			field_decode(&r, f->kind, member);
		else if (f == fields)
			r.error = -EPROTO;
		else if (!error)
			error = field_default(f->kind, member);
	}
	return r.error ? r.error : error;
}

void message_release(const struct message_field *fields, void *message)
{
	for (const struct message_field *f = fields; f->kind != MESSAGE_END; f++) {
		void *member = (char *)message + f->offset;

		if (f->kind == MESSAGE_STRINGS)
			free(*(void **)member);
		if (f->kind == MESSAGE_NUMBERS)
			free(((struct message_numbers *)member)->values);
		if (f->kind == MESSAGE_STRINGS || f->kind == MESSAGE_NUMBERS)
			field_clear(f->kind, member);
	}
}

static int put_number(struct buffer *out, uint64_t value, size_t size)
{
	uint8_t wire[8];

	le64_store(wire, value);
	return buffer_append(out, wire, size);
}

static int put_block(struct buffer *out, const void *data, size_t length)
{
	int r = put_number(out, length, 4);
	return r < 0 ? r : buffer_append(out, data, length);
}

static int put_string(struct buffer *out, const char *s)
{
	s = s ? s : "";
	return put_block(out, s, strlen(s) + 1);
}

static int put_strings(struct buffer *out, const char *const *list)
{
	uint32_t n = 0;
	int r;

	while (list && list[n])
		n++;
	r = put_number(out, n, 4);
	for (uint32_t i = 0; i < n && r >= 0; i++)
		r = put_string(out, list[i]);
	return r;
}

static int put_numbers(struct buffer *out, const struct message_numbers *list)
{
	int r = put_number(out, list->count, 4);

	for (uint32_t i = 0; i < list->count && r >= 0; i++)
		r = put_number(out, list->values[i], 4);
	return r;
}

static int field_encode(struct buffer *out, enum message_kind kind, const void *member)
{
	const struct message_bytes *bytes = member;

	switch (kind) {
	case MESSAGE_U16:
		return put_number(out, *(const uint16_t *)member, 2);
	case MESSAGE_U32:
		return put_number(out, *(const uint32_t *)member, 4);
	case MESSAGE_U64:
		return put_number(out, *(const uint64_t *)member, 8);
	case MESSAGE_STRING:
		return put_string(out, *(const char *const *)member);
	case MESSAGE_STRINGS:
		return put_strings(out, *(const char *const *const *)member);
	case MESSAGE_NUMBERS:
		return put_numbers(out, member);
	case MESSAGE_BYTES:
		return put_block(out, bytes->data, bytes->length);
	case MESSAGE_END:
		break;
	}
	return 0;
}

int message_encode(const struct message_field *fields, const void *message, struct buffer *out)
{
	for (const struct message_field *f = fields; f->kind != MESSAGE_END; f++) {
		int r = field_encode(out, f->kind, (const char *)message + f->offset);
		if (r < 0)
			return r;
	}
	return 0;
}

int message_append_frame(struct buffer *out, enum frame_type type, uint32_t id,
	enum frame_channel channel, const struct message_field *fields, const void *message)
{
	struct buffer payload AUTO(buffer_done) = {0};
	int r = message_encode(fields, message, &payload);

	return r < 0 ? r : frame_append(out, type, id, channel, buffer_head(&payload), payload.len);
}
