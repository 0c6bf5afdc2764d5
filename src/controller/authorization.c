#include "controller/authorization.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <strings.h>

#include "site/proof.h"

int authorization_parse(const char *header, struct authorization *ret, struct error *err)
{
	static const struct {
		const char *scheme;
		enum authorization_kind kind;
	} schemes[] = {{"Bearer", AUTHORIZATION_BEARER}, {"MUNGE", AUTHORIZATION_MUNGE}};
	size_t n = strcspn(header, " "), length;
	const char *value = header + n + strspn(header + n, " ");

	for (length = 0; isgraph((unsigned char)value[length]);)
		length++;
	if (length == 0 || length >= sizeof(ret->value) ||
		value[length + strspn(value + length, " ")] != '\0')
		return fail(err, -EINVAL,
			"the header Authorization is not 'Bearer TOKEN' or 'MUNGE CREDENTIAL'");
	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
		if (n == strlen(schemes[i].scheme) &&
			strncasecmp(header, schemes[i].scheme, n) == 0) {
			ret->kind = schemes[i].kind;
			snprintf(ret->value, sizeof(ret->value), "%.*s", (int)length, value);
			return 0;
		}
	return fail(err, -EINVAL,
		"the header Authorization has a scheme that is not known; there "
		"are Bearer and MUNGE");
}

bool authorization_fits(const void *payload, size_t length, const char *method, const char *target,
	const void *body, size_t body_length)
{
	autofree char *expected = proof_payload(method, target, body, body_length);

	return expected && payload && length == strlen(expected) &&
	       CRYPTO_memcmp(payload, expected, length) == 0;
}
