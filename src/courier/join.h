/* A node joins its site: one question on standard input, {"controller","node","token","csr"} with
 * "ca" (PEM) or "fingerprint" of the authority, and one answer on standard output,
 * {"certificate","ca"} or {"error"}. The key stays with who asks. */
#pragma once

/* Returns the exit status: 0 when there is an answer, whatever it says. */
int join_run(void);
