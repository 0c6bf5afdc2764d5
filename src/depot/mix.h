/* Chunk ids as keys of hash tables. Ids come from indexes of others, who could choose them so that
 * a table becomes a list; so they are mixed with numbers that nobody outside knows. */
#pragma once

#include "depot/chunk.h"

/* 64 bits that are the same for the same id within a process. Any thread may call it. */
uint64_t mix_id(const uint8_t id[CHUNK_ID_SIZE]);
