/* All tables go through the same tests: the values are made from the tables themselves, so that a
 * new message is tested by adding its row here. */
#include "lib/message.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "lib/wire.h"

#define FIELDS_MAX 16

#define ROW(type, members)                                         \
	{                                                          \
#type, type##_fields, sizeof(struct type), members \
	}

static const struct {
	const char *name;
	const struct message_field *fields;
	size_t size;
	int members; /* of the struct: a table that misses one would lose it in silence */
} tables[] = {
	ROW(hello_guest, 10),
	ROW(hello_host, 2),
	ROW(reply, 3),
	ROW(identity, 7),
	ROW(clock_set, 1),
	ROW(account, 9),
	ROW(mount_request, 8),
	ROW(network_request, 10),
	ROW(file_write, 6),
	ROW(file_read, 3),
	ROW(statistics, 8),
	ROW(probe, 4),
	ROW(shutdown, 2),
	ROW(exec_request, 12),
	ROW(credit, 1),
	ROW(signal_request, 2),
	ROW(resize, 2),
	ROW(exit_status, 6),
	ROW(quiesce, 1),
};

/* Large enough and aligned for every message. */
union message {
	uint64_t alignment;
	char bytes[512];
};

static const char *const sample_strings[] = {"first", "", "third with \xc3\xa9", NULL};
static uint32_t sample_numbers[] = {0, 1, UINT32_MAX};

/* Fills one member with a value that depends on its position, so that swapped fields show. */
static void member_fill(const struct message_field *f, size_t index, union message *m)
{
	void *member = m->bytes + f->offset;

	switch (f->kind) {
	case MESSAGE_U16:
		*(uint16_t *)member = (uint16_t)(0xa500 + index);
		break;
	case MESSAGE_U32:
		*(uint32_t *)member = (uint32_t)(0xa5a50000 + index);
		break;
	case MESSAGE_U64:
		*(uint64_t *)member = 0xa5a5a5a5a5a50000 + index;
		break;
	case MESSAGE_STRING:
		*(const char **)member = sample_strings[index % 3];
		break;
	case MESSAGE_STRINGS:
		*(const char *const **)member = sample_strings;
		break;
	case MESSAGE_NUMBERS:
		*(struct message_numbers *)member =
			(struct message_numbers){sample_numbers, ARRAY_SIZE(sample_numbers)};
		break;
	case MESSAGE_BYTES:
		*(struct message_bytes *)member =
			(struct message_bytes){(const uint8_t *)"\0\xff\0bytes", 8};
		break;
	case MESSAGE_END:
		break;
	}
}

static void message_fill(const struct message_field *fields, union message *m)
{
	memset(m, 0, sizeof(*m));
	for (size_t i = 0; fields[i].kind != MESSAGE_END; i++)
		member_fill(&fields[i], i, m);
}

/* Encodes the first `count` fields alone, as a sender of an older version would. */
static void encode_first(const struct message_field *fields, size_t count, const union message *m,
	struct buffer *out)
{
	struct message_field some[FIELDS_MAX + 1] = {0};

	assert_true(count <= FIELDS_MAX);
	memcpy(some, fields, count * sizeof(*some));
	some[count].kind = MESSAGE_END;
	assert_int_equal(message_encode(some, m, out), 0);
}

static size_t fields_count(const struct message_field *fields)
{
	size_t n = 0;

	while (fields[n].kind != MESSAGE_END)
		n++;
	return n;
}

static void strings_equal(const char *const *a, const char *const *b)
{
	for (; *a && *b; a++, b++)
		assert_string_equal(*a, *b);
	assert_null(*a);
	assert_null(*b);
}

static void member_equal(
	const struct message_field *f, const union message *a, const union message *b)
{
	const void *x = a->bytes + f->offset, *y = b->bytes + f->offset;
	const struct message_numbers *n = x, *o = y;
	const struct message_bytes *p = x, *q = y;

	switch (f->kind) {
	case MESSAGE_U16:
		assert_int_equal(*(const uint16_t *)x, *(const uint16_t *)y);
		break;
	case MESSAGE_U32:
		assert_int_equal(*(const uint32_t *)x, *(const uint32_t *)y);
		break;
	case MESSAGE_U64:
		assert_true(*(const uint64_t *)x == *(const uint64_t *)y);
		break;
	case MESSAGE_STRING:
		assert_string_equal(*(const char *const *)x, *(const char *const *)y);
		break;
	case MESSAGE_STRINGS:
		strings_equal(*(const char *const *const *)x, *(const char *const *const *)y);
		break;
	case MESSAGE_NUMBERS:
		assert_int_equal(n->count, o->count);
		assert_memory_equal(n->values, o->values, n->count * sizeof(*n->values));
		break;
	case MESSAGE_BYTES:
		assert_int_equal(p->length, q->length);
		assert_memory_equal(p->data, q->data, p->length);
		break;
	case MESSAGE_END:
		break;
	}
}

/* The value that a field has which was not sent: zero, and never a NULL string or list. */
static void member_is_default(const struct message_field *f, const union message *m)
{
	const void *member = m->bytes + f->offset;

	switch (f->kind) {
	case MESSAGE_U16:
		assert_int_equal(*(const uint16_t *)member, 0);
		break;
	case MESSAGE_U32:
		assert_int_equal(*(const uint32_t *)member, 0);
		break;
	case MESSAGE_U64:
		assert_true(*(const uint64_t *)member == 0);
		break;
	case MESSAGE_STRING:
		assert_string_equal(*(const char *const *)member, "");
		break;
	case MESSAGE_STRINGS:
		assert_non_null(*(const void *const *)member);
		assert_null(**(const char *const *const *)member);
		break;
	case MESSAGE_NUMBERS:
		assert_int_equal(((const struct message_numbers *)member)->count, 0);
		break;
	case MESSAGE_BYTES:
		assert_int_equal(((const struct message_bytes *)member)->length, 0);
		break;
	case MESSAGE_END:
		break;
	}
}

/* Decodes from a copy of exactly that length, so that a read beyond it is seen by ASan. */
static int decode_copy(const struct message_field *fields, const void *bytes, size_t length,
	union message *ret, void **ret_copy)
{
	*ret_copy = malloc(length + (length == 0));
	assert_non_null(*ret_copy);
	memcpy(*ret_copy, bytes, length);
	/* What was in the memory before must not matter. */
	memset(ret, 0xee, sizeof(*ret));
	return message_decode(fields, *ret_copy, length, ret);
}

static void every_message_comes_back_as_it_was_sent(void **state)
{
	for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
		const struct message_field *fields = tables[t].fields;
		struct buffer b AUTO(buffer_done) = {0};
		union message sent, got;
		autofree void *copy = NULL;

		assert_true(tables[t].size <= sizeof(union message));
		message_fill(fields, &sent);
		assert_int_equal(message_encode(fields, &sent, &b), 0);
		assert_int_equal(decode_copy(fields, buffer_head(&b), b.len, &got, &copy), 0);
		for (size_t i = 0; fields[i].kind != MESSAGE_END; i++)
			member_equal(&fields[i], &sent, &got);
		message_release(fields, &got);
	}
}

static void every_member_of_a_message_is_in_its_table_once(void **state)
{
	for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
		const struct message_field *fields = tables[t].fields;

		assert_int_equal(fields_count(fields), tables[t].members);
		for (size_t i = 0; fields[i].kind != MESSAGE_END; i++) {
			assert_true(fields[i].offset < tables[t].size);
			for (size_t j = 0; j < i; j++)
				assert_int_not_equal(fields[i].offset, fields[j].offset);
		}
	}
}

/* Cut between two fields it is a message of an older version; cut anywhere else it is none. */
static void message_cut_at_every_byte_is_refused_or_has_defaults(void **state)
{
	for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
		const struct message_field *fields = tables[t].fields;
		struct buffer b AUTO(buffer_done) = {0};
		union message sent, got;
		size_t whole = 1, boundary;

		message_fill(fields, &sent);
		assert_int_equal(message_encode(fields, &sent, &b), 0);
		for (size_t n = 0; n < b.len; n++) {
			struct buffer first AUTO(buffer_done) = {0};
			autofree void *copy = NULL;
			int r = decode_copy(fields, buffer_head(&b), n, &got, &copy);

			encode_first(fields, whole, &sent, &first);
			boundary = first.len;
			assert_int_equal(r, n == boundary ? 0 : -EPROTO);
			for (size_t i = 0; i < whole && r == 0; i++)
				member_equal(&fields[i], &sent, &got);
			for (size_t i = whole; fields[i].kind != MESSAGE_END && r == 0; i++)
				member_is_default(&fields[i], &got);
			whole += n == boundary;
			message_release(fields, &got);
		}
		assert_int_equal(whole, fields_count(fields));
	}
}

static void fields_of_a_later_version_are_ignored(void **state)
{
	for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
		const struct message_field *fields = tables[t].fields;
		struct buffer b AUTO(buffer_done) = {0};
		union message sent, got;

		message_fill(fields, &sent);
		assert_int_equal(message_encode(fields, &sent, &b), 0);
		assert_int_equal(buffer_append(&b, "\xff\xff\xff\xff more", 9), 0);
		assert_int_equal(message_decode(fields, buffer_head(&b), b.len, &got), 0);
		for (size_t i = 0; fields[i].kind != MESSAGE_END; i++)
			member_equal(&fields[i], &sent, &got);
		message_release(fields, &got);
	}
}

/* Overwrites every four bytes in turn by lengths and counts that no message has. */
static void hostile_lengths_and_counts_do_no_harm(void **state)
{
	static const uint32_t hostile[] = {0, 1, 0x7fffffff, 0x80000000, 0xfffffffe, UINT32_MAX,
		MESSAGE_LIST_MAX, MESSAGE_LIST_MAX + 1, 0x40000001, 0x01010101};

	for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
		const struct message_field *fields = tables[t].fields;
		struct buffer b AUTO(buffer_done) = {0};
		union message sent, got;

		message_fill(fields, &sent);
		assert_int_equal(message_encode(fields, &sent, &b), 0);
		for (size_t at = 0; at + 4 <= b.len; at++)
			for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
				autofree void *copy = NULL;
				uint8_t *bytes = b.data + b.start + at, saved[4];
				int r;

				memcpy(saved, bytes, sizeof(saved));
				le32_store(bytes, hostile[i]);
				r = decode_copy(fields, buffer_head(&b), b.len, &got, &copy);
				assert_true(r == 0 || r == -EPROTO);
				message_release(fields, &got);
				memcpy(bytes, saved, sizeof(saved));
			}
	}
}

/* A count must be covered by bytes that are there before anything is allocated for it. */
static void count_above_what_follows_is_refused(void **state)
{
	static const uint32_t counts[] = {
		2, 1000, MESSAGE_LIST_MAX, MESSAGE_LIST_MAX + 1, UINT32_MAX};
	uint8_t wire[8] = {0};
	struct probe p;

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		le32_store(wire, counts[i]);
		assert_int_equal(message_decode(probe_fields, wire, sizeof(wire), &p), -EPROTO);
		message_release(probe_fields, &p);
	}
}

static int decode_string(const char *bytes, size_t length)
{
	struct file_read got;
	int r = message_decode(file_read_fields, bytes, length, &got);

	message_release(file_read_fields, &got);
	return r;
}

static void string_must_end_where_its_length_says(void **state)
{
	assert_int_equal(decode_string("\3\0\0\0ab\0", 7), 0);
	assert_int_equal(decode_string("\1\0\0\0\0", 5), 0);
	assert_int_equal(decode_string("\0\0\0\0", 4), -EPROTO);
	assert_int_equal(decode_string("\3\0\0\0abc", 7), -EPROTO);
	assert_int_equal(decode_string("\3\0\0\0a\0\0", 7), -EPROTO);
	assert_int_equal(decode_string("\4\0\0\0ab\0", 7), -EPROTO);
}

static void absent_strings_and_lists_are_sent_as_empty(void **state)
{
	struct exec_request sent = {0}, got;
	struct buffer b AUTO(buffer_done) = {0};

	assert_int_equal(message_encode(exec_request_fields, &sent, &b), 0);
	assert_int_equal(message_decode(exec_request_fields, buffer_head(&b), b.len, &got), 0);
	assert_string_equal(got.workdir, "");
	assert_null(got.argv[0]);
	assert_null(got.env[0]);
	assert_int_equal(got.gids.count, 0);
	message_release(exec_request_fields, &got);
	message_release(exec_request_fields, &got);
}

static void empty_payload_is_no_message(void **state)
{
	struct credit c;

	assert_int_equal(message_decode(credit_fields, NULL, 0, &c), -EPROTO);
}

/* What an agent sends that was built before there were templates. */
static void hello_of_an_old_agent_has_no_features(void **state)
{
	struct hello_guest sent = {.agent_version = "0.1.0", .features = UINT32_MAX}, got;
	struct buffer b AUTO(buffer_done) = {0};

	assert_int_equal(message_encode(hello_guest_fields, &sent, &b), 0);
	assert_int_equal(message_decode(hello_guest_fields, buffer_head(&b), b.len - 4, &got), 0);
	assert_string_equal(got.agent_version, "0.1.0");
	assert_int_equal(got.features, 0);
}

static void message_travels_in_a_frame(void **state)
{
	struct buffer b AUTO(buffer_done) = {0};
	struct resize sent = {.rows = 24, .columns = 80}, got;
	struct frame f;

	assert_int_equal(
		message_append_frame(&b, FRAME_RESIZE, 9, FRAME_STDIN, resize_fields, &sent), 0);
	assert_int_equal(frame_parse(&b, FRAME_GUEST_ACCEPTS_MAX, &f), 1);
	assert_int_equal(f.type, FRAME_RESIZE);
	assert_int_equal(f.id, 9);
	assert_int_equal(message_decode(resize_fields, f.payload, f.length, &got), 0);
	assert_int_equal(got.rows, 24);
	assert_int_equal(got.columns, 80);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_message_comes_back_as_it_was_sent),
		cmocka_unit_test(every_member_of_a_message_is_in_its_table_once),
		cmocka_unit_test(message_cut_at_every_byte_is_refused_or_has_defaults),
		cmocka_unit_test(fields_of_a_later_version_are_ignored),
		cmocka_unit_test(hostile_lengths_and_counts_do_no_harm),
		cmocka_unit_test(count_above_what_follows_is_refused),
		cmocka_unit_test(string_must_end_where_its_length_says),
		cmocka_unit_test(absent_strings_and_lists_are_sent_as_empty),
		cmocka_unit_test(empty_payload_is_no_message),
		cmocka_unit_test(hello_of_an_old_agent_has_no_features),
		cmocka_unit_test(message_travels_in_a_frame),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
