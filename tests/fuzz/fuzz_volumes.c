/* What the site says of volumes, as the courier brings it: volumes that are to be made, attachments
 * that are to be served, and those that VMs of this node wait for. */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>

#include "hypervisor/volume_row.h"
#include "lib/file.h"
#include "lib/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In memory: what is used is noted on the disk before anything else. */
static char state[] = "/dev/shm/wnodes-fuzz-volumes.XXXXXX";
static unsigned int answers;

static void check_row(const struct volume_row *row)
{
	assert(uuid_is_text(row->id));
	assert(!row->volume[0] || uuid_is_text(row->volume));
	assert(!row->source[0] || uuid_is_text(row->source));
	assert(!row->key[0] || digest_is_hex(row->key));
	assert(row->port <= UINT16_MAX && row->read_only <= 1);
	/* No volume is root's. */
	assert(!row->has_owner || row->uid > 0);
}

static int lend(json_t *json, struct volume_offer *ret, void *userdata, struct error *err)
{
	static struct volume_row row;
	int r = volume_row_parse(json, &row, err);

	if (r < 0)
		return r;
	check_row(&row);
	ret->address = row.address;
	ret->key = row.key;
	ret->port = row.port;
	return row.port > 0;
}

static void on_offer(const struct volume_offer *offer, const char *why, void *userdata)
{
	assert(why ? why[0] != '\0' : offer != NULL);
	answers++;
}

static void parse_rows(json_t *rows)
{
	json_t *json;
	size_t i;

	json_array_foreach(rows, i, json)
	{
		struct error err = {0};
		struct volume_row row;

		if (volume_row_parse(json, &row, &err) == 0)
			check_row(&row);
		else
			assert(err.text[0]);
	}
}

/* One VM waits: the first row of each list is its. */
static void hear(struct volume_uses *uses, json_t *document)
{
	static const char *const lists[] = {"attachments", "refused"};
	json_t *attach = json_array(), *detach = json_array(), *id;

	volume_uses_ask(uses, attach, detach);
	id = json_object_get(json_array_get(attach, 0), "id");
	for (size_t i = 0; id && i < ARRAY_SIZE(lists); i++)
		json_object_set(json_array_get(json_object_get(document, lists[i]), 0), "id", id);
	for (int i = 0; i < 2; i++)
		volume_uses_hear(uses, json_object_get(document, "attachments"),
			json_object_get(document, "refused"), lend, NULL);
	json_decref(attach);
	json_decref(detach);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct volume_wish wish = {
		.volume = "data", .vm = "6f1c1d2e-0000-4000-8000-000000000001", .uid = 1000};
	struct volume_uses *uses AUTO(volume_uses_freep) = NULL;
	json_t *document = json_loadb((const char *)data, size, 0, NULL);
	struct error err = {0};
	static bool ready;

	if (!ready) {
		log_set("fuzz", LOG_LEVEL_ERROR);
		assert(mkdtemp(state));
		ready = true;
	}
	parse_rows(json_object_get(document, "attachments"));
	parse_rows(json_object_get(document, "served"));
	parse_rows(json_object_get(document, "volumes"));
	answers = 0;
	assert(volume_uses_new(state, &uses, &err) == 0);
	assert(volume_uses_add(uses, &wish, on_offer, NULL, &err) == 0);
	hear(uses, document);
	assert(answers <= 1);
	json_decref(document);
	assert(file_remove_tree(AT_FDCWD, state) == 0);
	return 0;
}
