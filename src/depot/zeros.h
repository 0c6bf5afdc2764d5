/* Ids of chunks that are all zeros, so that these are known without being fetched: in a file that
 * is being put together they are holes. */
#pragma once

#include "depot/chunk.h"

/* Is this the id of `size` zeros? Known for multiples of 4 KiB up to CHUNK_SIZE_MAX, at no cost;
 * false for all other sizes. Any thread may call it. */
bool zeros_is_id(const uint8_t id[CHUNK_ID_SIZE], size_t size);
