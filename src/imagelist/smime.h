/* Signed texts: S/MIME as `openssl smime -sign` and vmcaster write it, the text readable and its
 * signature behind it. */
#pragma once

#include "lib/buffer.h"
#include "lib/error.h"

/* Whom to believe. All is borrowed. */
struct smime_trust {
	/* A directory as OpenSSL and IGTF have it (/etc/grid-security/certificates: names are
	 * hashes), or a file of certificates and revocation lists in PEM. */
	const char *ca;
	bool crl;        /* each authority's list of revoked certificates must be there, and new */
	uint64_t now_us; /* the time at which certificates must be valid; 0: the clock's */
};

/* Who has signed, as texts: "/DC=org/DC=example/CN=Alice". */
struct smime_signer {
	char *subject, *issuer;
};

void smime_signer_done(struct smime_signer *signer);

/* Checks the one signature of `message` and that an authority vouches for who made it. Returns 0
 * and the text without its MIME header, for free() (*ret has a NUL behind *ret_length bytes), and
 * the signer; -EBADMSG with what is wrong with message, signature or certificate, -EKEYREVOKED for
 * a certificate that was revoked, or another negative errno if the authorities cannot be read. */
int smime_verify(const void *message, size_t length, const struct smime_trust *trust, char **ret,
	size_t *ret_length, struct smime_signer *ret_signer, struct error *err);

/* Certificate and key, of PEM files. */
struct smime_identity;

/* `certificate` may have those of authorities behind the first, which are sent along. A passphrase
 * is asked for at the terminal. Returns 0 or negative errno. */
int smime_identity_open(
	const char *certificate, const char *key, struct smime_identity **ret, struct error *err);
struct smime_identity *smime_identity_free(struct smime_identity *identity);
DEFINE_CLEANUP(struct smime_identity *, smime_identity_free)

/* The names of a certificate in a PEM file. Returns 0 or negative errno. */
int smime_read_names(const char *certificate, struct smime_signer *ret, struct error *err);

/* What a list tells of its endorser; borrowed. The email address is the certificate's; NULL: none.
 */
const struct smime_signer *smime_identity_names(const struct smime_identity *identity);
const char *smime_identity_common_name(const struct smime_identity *identity);
const char *smime_identity_email(const struct smime_identity *identity);

/* Signs a text. Returns 0 and the message, whose memory is buffer_done()'s to free. */
int smime_sign(const struct smime_identity *identity, const char *text, size_t length,
	struct buffer *ret, struct error *err);
