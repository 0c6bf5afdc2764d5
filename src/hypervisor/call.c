#include "hypervisor/call.h"

#include <errno.h>

#include "lib/fields.h"

#define BIT(op) (1u << (op))

static const char *const ops[CALL_OPS] = {
	[CALL_OPEN] = "open",
	[CALL_HOLD] = "hold",
	[CALL_TEMPLATE] = "template",
	[CALL_TEMPLATE_FAILED] = "template-failed",
	[CALL_USED] = "used",
	[CALL_WISH] = "wish",
	[CALL_STARTED] = "started",
	[CALL_FAILED] = "failed",
	[CALL_NODE] = "node",
	[CALL_DRAIN] = "drain",
	[CALL_RESUME] = "resume",
	[CALL_VM] = "vm",
	[CALL_RECORD] = "record",
	[CALL_MAP_GROUPS] = "map-groups",
	[CALL_VOLUME] = "volume",
	[CALL_EXPORT] = "export",
};

#define MIB_MAX   (UINT64_C(64) << 20) /* 64 TiB */
#define BYTES_MAX (UINT64_C(1) << 50)
#define SHAPED    (BIT(CALL_OPEN) | BIT(CALL_HOLD) | BIT(CALL_WISH))
#define KEYED     (BIT(CALL_TEMPLATE) | BIT(CALL_TEMPLATE_FAILED) | BIT(CALL_USED))

#define AT(member) offsetof(struct call, member)

/* One row a member, and the requests that must have it. Members that no row knows are ignored, so
 * that newer clients are served. */
static const struct {
	struct field field;
	unsigned int needs;
} fields[] = {
	{{"image", FIELD_TEXT, AT(image), 0, CALL_IMAGE_MAX}, BIT(CALL_OPEN) | BIT(CALL_HOLD)},
	{{"digest", FIELD_DIGEST, AT(digest)}, BIT(CALL_HOLD)},
	{{"key", FIELD_DIGEST, AT(key)}, KEYED},
	{{"reason", FIELD_TEXT, AT(reason), 0, CALL_REASON_MAX},
		BIT(CALL_FAILED) | BIT(CALL_DRAIN)},
	{{"accel", FIELD_WORD, AT(accel), .words = "kvm|tcg"}, BIT(CALL_WISH)},
	{{"network", FIELD_TEXT, AT(network), 0, NETWORK_NAME_MAX, .check = network_check_name},
		BIT(CALL_WISH)},
	{{"cpus", FIELD_NUMBER, AT(cpus), 1, 4096}, SHAPED},
	{{"memory_mib", FIELD_NUMBER, AT(memory_mib), 1, MIB_MAX}, SHAPED},
	{{"scratch_bytes", FIELD_NUMBER, AT(scratch_bytes), 0, BYTES_MAX}, 0},
	{{"slots", FIELD_NUMBER, AT(slots), 0, VM_SHARES_MAX}, 0},
	{{"queues", FIELD_NUMBER, AT(queues), 1, 4096}, 0},
	{{"start_us", FIELD_NUMBER, AT(start_us), 0, INT64_MAX}, 0},
	{{"pid", FIELD_NUMBER, AT(pid), 1, INT32_MAX},
		BIT(CALL_HOLD) | BIT(CALL_VM) | BIT(CALL_MAP_GROUPS)},
	{{"own", FIELD_BOOL, AT(own)}, 0},
	{{"scratch", FIELD_BOOL, AT(scratch)}, 0},
	{{"root_lvm", FIELD_BOOL, AT(root_lvm)}, 0},
	{{"wait", FIELD_NOT, AT(no_wait)}, 0},
	{{"name", FIELD_TEXT, AT(name), 0, CALL_NAME_MAX}, 0},
	{{"volume", FIELD_TEXT, AT(volume), 0, CALL_VOLUME_MAX}, BIT(CALL_VOLUME)},
	{{"read_only", FIELD_BOOL, AT(read_only)}, 0},
	{{"record_id", FIELD_ID, AT(record_id)}, 0},
	{{"record", FIELD_OBJECT, AT(record)}, BIT(CALL_RECORD)},
	{{"job_network", FIELD_OBJECT, AT(job_network)}, 0},
};

static int parse_op(json_t *json, enum call_op *ret, struct error *err)
{
	const char *op = json_string_value(json_object_get(json, "op"));

	for (size_t i = 0; op && i < CALL_OPS; i++)
		if (streq(ops[i], op)) {
			*ret = (enum call_op)i;
			return 0;
		}
	return fail(err, -EINVAL, "no such operation");
}

int call_parse(json_t *json, struct call *ret, struct error *err)
{
	int r;

	*ret = (struct call){.given_fds = {-1, -1}};
	r = parse_op(json, &ret->op, err);
	for (size_t i = 0; i < ARRAY_SIZE(fields) && r == 0; i++) {
		const struct field *row = &fields[i].field;
		json_t *value = json_object_get(json, row->name);

		if (value)
			r = field_parse(row, value, ret, err);
		else if (fields[i].needs & BIT(ret->op))
			r = fail(err, -EINVAL, "'%s' is missing", row->name);
	}
	if (r == 0 && ret->op == CALL_WISH && !streq(ret->network, "none") &&
		!streq(ret->network, "user"))
		r = fail(err, -EINVAL, "a template's 'network' is none or user");
	if (r == 0 && ret->op == CALL_OPEN && ret->own && !ret->digest[0])
		r = fail(err, -EINVAL, "'digest' is missing");
	return r;
}
