/* The exit statuses that are WNoDeS's own; every other one of `wnodes run` and `wnodes vm exec` is
 * the command's. */
#pragma once

/* WNoDeS itself failed, a wrong command line included. */
#define EXIT_WNODES 125

/* As timeout(1): the command ran into its time limit. */
#define EXIT_TIMEOUT 124
