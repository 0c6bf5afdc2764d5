/* Usage records as CSV (RFC 4180): a line of names, then one for each record.
 *
 * Lines end with LF alone, which all readers take and the tools of a shell need. A value with a
 * comma, a quote, or an end of a line in it stands in quotes; a text stays what it is otherwise,
 * also one that a spreadsheet would take for a formula. What is not known is empty. */
#pragma once

#include <jansson.h>
#include <stdio.h>

void record_csv_print_titles(FILE *out);
void record_csv_print(const json_t *record, FILE *out);
