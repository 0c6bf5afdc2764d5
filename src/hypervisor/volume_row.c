#include "hypervisor/volume_row.h"

#include <errno.h>

#include "lib/fields.h"

#define AT(member)   offsetof(struct volume_row, member)
#define TEXT(member) FIELD_TEXT, AT(member), 0, sizeof(((struct volume_row *)0)->member)

static const struct field row_fields[] = {
	{"id", FIELD_ID, AT(id), .required = true},
	{"volume", FIELD_ID, AT(volume)},
	{"source", TEXT(source)},
	{"state", TEXT(state)},
	{"node", TEXT(node)},
	{"key", FIELD_DIGEST, AT(key)},
	{"address", TEXT(address)},
	{"size_bytes", FIELD_NUMBER, AT(size_bytes), 0, INT64_MAX},
	{"generation", FIELD_NUMBER, AT(generation), 0, INT64_MAX},
	{"port", FIELD_NUMBER, AT(port), 0, UINT16_MAX},
	{"read_only", FIELD_NUMBER, AT(read_only), 0, 1},
	{"uid", FIELD_NUMBER, AT(uid), 1, UINT32_MAX - 1, .given = AT(has_owner)},
	{"gid", FIELD_NUMBER, AT(gid), 0, UINT32_MAX - 1},
	{.name = NULL},
};

int volume_row_parse(json_t *json, struct volume_row *ret, struct error *err)
{
	int r;

	*ret = (struct volume_row){0};
	r = fields_parse(row_fields, json, ret, err);
	if (r == 0 && ret->source[0] && !uuid_is_text(ret->source))
		r = fail(err, -EINVAL, "'source' is no id");
	return r;
}
