/* Every message of the agent protocol: decoded, read to the last byte, encoded again, and decoded
 * to the same. The first byte chooses the message. */
#include <assert.h>

#include "engine/probe.h"
#include "lib/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct message_field *const tables[] = {hello_guest_fields, hello_host_fields,
	reply_fields, identity_fields, clock_set_fields, account_fields, mount_request_fields,
	network_request_fields, file_write_fields, file_read_fields, statistics_fields,
	probe_fields, shutdown_fields, exec_request_fields, credit_fields, signal_request_fields,
	resize_fields, exit_status_fields, quiesce_fields};

/* As large and as aligned as any of them. */
union message {
	struct hello_guest hello;
	struct account account;
	struct exec_request exec;
	struct network_request network;
	struct identity identity;
	struct mount_request mount;
	struct file_write file_write;
	struct statistics statistics;
	struct exit_status exit;
};

/* A fresh copy, so that a read beyond the end is seen. */
static uint8_t *copy_of(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size + (size == 0));

	assert(copy);
	if (size > 0)
		memcpy(copy, data, size);
	return copy;
}

/* The second form is the canonical one: without fields that are unknown, with those that were
 * left out. */
static void check_round_trip(const struct message_field *fields, const union message *first)
{
	struct buffer one AUTO(buffer_done) = {0}, two AUTO(buffer_done) = {0};
	union message second;

	assert(message_encode(fields, first, &one) == 0);
	assert(message_decode(fields, buffer_head(&one), one.len, &second) == 0);
	assert(message_encode(fields, &second, &two) == 0);
	assert(one.len == two.len && memcmp(buffer_head(&one), buffer_head(&two), one.len) == 0);
	message_release(fields, &second);
}

/* What `wnodes image import --check` makes of an answer. */
static void check_probe(const uint8_t *data, size_t size)
{
	struct probe_result result = {0};
	const struct reply reply = {
		.error = size > 0 && data[0] >= 0xfe ? 0x800000ffu - data[0] : 0,
		.reason = "",
		.body = {data, (uint32_t)size}};

	assert(probe_fill(&reply, &result) <= (reply.error ? -1 : 0));
	assert(result.filesystems.count <= 8);
	probe_done(&result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct message_field *fields;
	autofree uint8_t *copy = NULL;
	union message message;

	if (size == 0)
		return 0;
	fields = tables[data[0] % ARRAY_SIZE(tables)];
	copy = copy_of(data + 1, size - 1);
	if (message_decode(fields, copy, size - 1, &message) == 0)
		check_round_trip(fields, &message);
	message_release(fields, &message);
	if (fields == probe_fields)
		check_probe(copy, size - 1);
	return 0;
}
