/* What the site says of a volume, or of an attachment, as the courier brings it: checked as from
 * anyone. */
#pragma once

#include <jansson.h>

#include "hypervisor/volume_use.h"
#include "lib/digest.h"

struct volume_row {
	char id[UUID_TEXT_SIZE], volume[UUID_TEXT_SIZE], source[UUID_TEXT_SIZE]; /* "": none */
	char state[16], node[256], key[DIGEST_HEX_SIZE], address[VOLUME_ADDRESS_MAX];
	uint64_t size_bytes, generation, port, read_only, uid, gid;
	bool has_owner; /* uid and gid are its owner's, who is not root */
};

/* What is not said is 0 or "". Returns 0 or -EINVAL with what is wrong. */
int volume_row_parse(json_t *json, struct volume_row *ret, struct error *err);
