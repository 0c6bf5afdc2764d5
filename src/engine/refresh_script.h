/* What is done in the VM that upgrades a copy of its image's disk. */
#pragma once

/* The script's exit status where there is nothing to upgrade. */
#define REFRESH_NOTHING 100

/* What of the log is looked at to explain a failure. */
#define REFRESH_LOG_MAX (64 * 1024 * 1024)

/* Returns the script, for the caller to free; NULL when out of memory. It is run by root's sh,
 * reads a package with the agent from its standard input if $AGENT is 1, uses the lines in $SOURCES
 * if there are any, and writes the archive that renewal_finish() takes to its standard output. It
 * ends with the root file system read-only, and so whole. */
char *refresh_script(void);
