/* A file of usage records: what is read from it, and that one that is appended can be read. */
#include <assert.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "engine/record.h"
#include "lib/file.h"
#include "lib/path.h"
#include "lib/timestamp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OWN_ID "ffffffff-ffff-4fff-bfff-ffffffffffff"

/* Reads all; returns how many there are, and whether the last is ours. */
static size_t read_all(const char *path, const struct record_filter *filter, bool *ret_own_last)
{
	struct record_reader *reader = NULL;
	json_t *json;
	size_t count = 0;

	assert(record_reader_open(path, filter, &reader, NULL) == 0);
	while (record_reader_next(reader, &json, NULL) == 1) {
		const char *id = json_string_value(json_object_get(json, "id"));
		const char *ended = json_string_value(json_object_get(json, "ended"));
		uint64_t ended_us;

		assert(uuid_is_text(id) && timestamp_parse(ended, &ended_us) == 0);
		assert(ended_us >= filter->from_us && ended_us < filter->until_us);
		*ret_own_last = strcmp(id, OWN_ID) == 0;
		json_decref(json);
		count++;
	}
	record_reader_free(reader);
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct record_filter all = {0, UINT64_MAX},
				   some = {UINT64_C(1700000000000000), UINT64_C(1800000000000000)};
	struct record r = RECORD_INIT;
	static char directory[] = "/dev/shm/fuzz-record-XXXXXX";
	static char *path;
	size_t before, after;
	bool own = false;

	if (!path) {
		assert(mkdtemp(directory));
		path = path_format("%s/records", directory);
	}
	assert(file_replace(AT_FDCWD, path, data, size, 0600) == 0);
	before = read_all(path, &all, &own);
	assert(read_all(path, &some, &own) <= before);
	r.id = OWN_ID;
	r.ended_us = 1;
	assert(record_append(path, &r, NULL) == 0);
	after = read_all(path, &all, &own);
	/* What looked like the beginning of a line may have been a whole record. */
	assert(own && (after == before + 1 || after == before + 2));
	unlink(path);
	return 0;
}
