#include "lib/json.h"

json_t *json_from_strings(const char *const *list)
{
	json_t *array = json_array();

	for (; array && list && *list; list++)
		if (json_array_append_new(array, json_string(*list)) < 0) {
			json_decref(array);
			return NULL;
		}
	return array;
}
