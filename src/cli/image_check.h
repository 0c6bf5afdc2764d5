/* What checks of an image have shown, for people and for programs. */
#pragma once

#include <jansson.h>

#include "engine/imagecheck.h"

void image_check_print(const struct imagecheck *c);
json_t *image_check_json(const struct imagecheck *c);
