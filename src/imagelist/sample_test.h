/* An image list made up for tests. */
#pragma once

#include "imagelist/list.h"

#define SAMPLE_DN "/DC=org/DC=example/CN=Alice Endorser"
#define SAMPLE_CA "/DC=org/DC=example/CN=Example CA"

/* As text, for json_decref(): a list of one image, "cernvm". */
json_t *sample_list(void);

/* The list's, and its first image's, object in it, borrowed. */
json_t *sample_object(json_t *root);
json_t *sample_image(json_t *root);

/* Parses it, or fails the test. */
struct imagelist *sample_parse(json_t *root);

/* Adds an image of this identifier and title. */
void sample_add(json_t *root, const char *identifier, const char *title);
