/* Source: Documentation/userspace-api/landlock.rst of Linux. The numbers are ours to give, as the
 * headers of a build may be older than the kernel that it runs on. */
#include "sftp/landlock.h"

#include <errno.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define RIGHTS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define RIGHTS_WRITE                                                                      \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                  \
		LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |            \
		LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SYM | RIGHT_REFER | \
		RIGHT_TRUNCATE)
#define RIGHT_REFER     (UINT64_C(1) << 13) /* to another directory; version 2 */
#define RIGHT_TRUNCATE  (UINT64_C(1) << 14) /* version 3 */
#define RIGHT_IOCTL_DEV (UINT64_C(1) << 15) /* version 5 */

/* The larger the version, the longer: struct landlock_ruleset_attr. */
struct ruleset {
	uint64_t files;
	uint64_t network; /* version 4: connect and bind by TCP */
	uint64_t scoped;  /* version 6: abstract sockets and signals of others */
};

static uint64_t rights_of(long version)
{
	uint64_t all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;

	all |= version >= 2 ? RIGHT_REFER : 0;
	all |= version >= 3 ? RIGHT_TRUNCATE : 0;
	return all | (version >= 5 ? RIGHT_IOCTL_DEV : 0);
}

int landlock_enter(int fd, bool read_only)
{
	const long version =
		syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct ruleset ruleset = {.files = rights_of(version), .network = 3, .scoped = 3};
	struct landlock_path_beneath_attr rule = {.parent_fd = fd};
	autoclose int rules = -1;

	/* Before version 2 a rename to another directory could not be allowed. */
	if (version < 2)
		return version < 0 && errno != ENOSYS && errno != EOPNOTSUPP ? -errno : 1;
	rule.allowed_access = ruleset.files & (RIGHTS_READ | (read_only ? 0 : RIGHTS_WRITE));
	rules = (int)syscall(SYS_landlock_create_ruleset, &ruleset,
		version >= 6   ? sizeof(ruleset)
		: version >= 4 ? 2 * sizeof(uint64_t)
			       : sizeof(uint64_t),
		0);
	if (rules < 0 ||
		syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0 ||
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		syscall(SYS_landlock_restrict_self, rules, 0) < 0)
		return -errno;
	return 0;
}
