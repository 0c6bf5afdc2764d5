/* The central configuration: texts for the site, host groups and nodes, which nodes fetch joined
 * into one (configuration_text.h). */
#pragma once

#include "controller/route.h"

/* What a node is to have: the columns that a statement on the table `node` selects, or returns,
 * from `column` on, as a new joined text. Returns 0 or negative errno. */
#define CONFIGURATION_COLUMNS                                                         \
	"(SELECT text FROM configuration WHERE scope = 'site'),"                      \
	" (SELECT text FROM configuration WHERE scope = 'group:' || node.hostgroup)," \
	" (SELECT text FROM configuration WHERE scope = 'node:' || node.name)"
int configuration_read(const struct sql_rows *rows, int column, char **ret, struct error *err);

extern const struct listing configuration_listing;
extern const struct route configuration_routes[];
