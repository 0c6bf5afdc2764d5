/* Bars, as SVG: of one trial, how good each place is beside the host. */
#pragma once

#include <jansson.h>
#include <stdio.h>

/* Draws the rows of `report` (outcome_to_json()) that are of the trial and have a ratio. Returns
 * how many bars there are; with none nothing is written. */
size_t plot_write(json_t *report, const char *trial, FILE *out);
