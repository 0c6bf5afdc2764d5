#include "engine/site_account.h"

#include <pwd.h>

#include "lib/parse.h"

#define FALLBACK        "nobody"
#define FALLBACK_NUMBER 65534

void site_account_find(const char *name, uid_t *ret_uid, gid_t *ret_gid)
{
	const struct passwd *account = getpwnam(name);
	uint64_t number;

	if (!account && parse_number(name, 1, UINT32_MAX - 1, &number, NULL) == 0) {
		*ret_uid = *ret_gid = (uid_t)number;
		return;
	}
	if (!account || account->pw_uid == 0)
		account = getpwnam(FALLBACK);
	*ret_uid = account ? account->pw_uid : FALLBACK_NUMBER;
	*ret_gid = account ? account->pw_gid : FALLBACK_NUMBER;
}
