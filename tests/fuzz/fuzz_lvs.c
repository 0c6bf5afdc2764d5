/* What LVM and the kernel say of volumes: names and tags that anybody with rights on the group has
 * chosen, and numbers. */
#include <assert.h>

#include "storage/volume.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct strv names AUTO(strv_done) = {0}, images AUTO(strv_done) = {0};
	autofree char *text = strndup((const char *)data, size);
	struct volume_room room;
	struct error err = {0};

	if (!text)
		return 0;
	assert(volume_parse_list(text, "wnodes.node1", &names, &images) == 0);
	assert(names.count == images.count);
	for (size_t i = 0; i < names.count; i++) {
		assert(volume_name_is_valid(names.items[i]));
		assert(!images.items[i][0] || digest_is_hex(images.items[i]));
	}
	assert(volume_parse_room(text, &room, &err) == 0 || err.text[0]);
	if (room_parse(text, 1, &room) == 0)
		assert(room.bytes == 1 && room.data_percent >= 0 && room.tables_percent >= 0);
	return 0;
}
