/* Random identities: UUIDs of version 4. */
#pragma once

#include "lib/base.h"

#define UUID_TEXT_SIZE 37 /* with the NUL */

/* A fresh one, as 16 bytes or as text. Returns 0 or negative errno. */
int uuid_make(uint8_t ret[16]);
int uuid_new(char ret[UUID_TEXT_SIZE]);

/* Is it 36 characters, 8-4-4-4-12 hex digits in lower case? */
bool uuid_is_text(const char *text);
