/* Accounting: of a VM that has ended, one usage record, at the node's daemon where it has lent the
 * VM, else in the user's own file. */
#pragma once

#include "engine/report.h"

/* Is a record to be written at the end? Then the VM is asked before what it has used. */
bool accounting_is_wanted(const struct request *request, const struct resources *resources);

/* Writes the record of a VM that is gone; none if there was no VM. What fails is a warning: the
 * command's end is worth more. */
void accounting_write(const struct report *report);

/* The user's own file by these settings; the caller frees. NULL for none, or when out of memory. */
char *accounting_file(const struct settings *settings);
