/* What is in a usage record, as numbers and texts. */
#pragma once

#include <jansson.h>

#include "lib/base.h"

/* The member `key` of the record's `object` (NULL: of the record itself), or NULL. */
const json_t *record_value_get(const json_t *record, const char *object, const char *key);

/* The same if it is a text, else NULL. */
const char *record_value_text(const json_t *record, const char *object, const char *key);

/* A time, us since the epoch; 0: there is none. */
uint64_t record_value_time(const json_t *record, const char *key);

/* From `started` to `ended`, us; 0 where either is not known. */
uint64_t record_value_took(const json_t *record);

/* CPU time of user and system, us. Returns false, and 0, where either is not known. */
bool record_value_cpu(const json_t *record, uint64_t *ret_us);

/* "17", or "17.2" with its step if there is one; NULL without a job, or out of memory. The caller
 * frees. */
char *record_value_job(const json_t *record, bool step);

/* "debian:latest"; NULL without an image, or out of memory. The caller frees. */
char *record_value_image(const json_t *record);
