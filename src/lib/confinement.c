#include "lib/confinement.h"

#include <errno.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* System calls that none of our daemons makes, nor what they start; with what they could do. */
static const int forbidden[] = {
	SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(chroot),
	SCMP_SYS(move_mount), SCMP_SYS(open_tree), SCMP_SYS(fsopen), SCMP_SYS(fsmount),
	SCMP_SYS(fspick), SCMP_SYS(fsconfig), SCMP_SYS(mount_setattr), /* file systems */
	SCMP_SYS(swapon), SCMP_SYS(swapoff), SCMP_SYS(quotactl), SCMP_SYS(mknod), SCMP_SYS(mknodat),
	SCMP_SYS(open_by_handle_at), /* any file, by CAP_DAC_READ_SEARCH */
	SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module), /* the kernel */
	SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load), SCMP_SYS(reboot), SCMP_SYS(bpf),
	SCMP_SYS(perf_event_open), SCMP_SYS(syslog), SCMP_SYS(acct), SCMP_SYS(iopl),
	SCMP_SYS(ioperm), SCMP_SYS(userfaultfd), SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev), /* processes */
	SCMP_SYS(pidfd_getfd), SCMP_SYS(kcmp), SCMP_SYS(setns), SCMP_SYS(unshare),
	SCMP_SYS(settimeofday), SCMP_SYS(clock_settime), SCMP_SYS(clock_adjtime), /* the host */
	SCMP_SYS(adjtimex), SCMP_SYS(sethostname), SCMP_SYS(setdomainname), SCMP_SYS(add_key),
	SCMP_SYS(request_key), SCMP_SYS(keyctl), /* keys */
};

static int forbid(scmp_filter_ctx filter, const int *calls, size_t count)
{
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), calls[i], 0);
	return r;
}

int confinement_forbid(const int *more, size_t count, struct error *err)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int r = filter ? forbid(filter, forbidden, ARRAY_SIZE(forbidden)) : -ENOMEM;

	if (r == 0)
		r = forbid(filter, more, count);
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r < 0 ? fail_errno(err, r, "cannot forbid system calls (seccomp)") : 0;
}

int confinement_set_limits(size_t descriptors, struct error *err)
{
	const struct rlimit no_core = {0, 0};
	struct rlimit limit;

	umask(022);
	if (setrlimit(RLIMIT_CORE, &no_core) < 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return fail_errno(err, -errno, "cannot set limits");
	limit.rlim_cur = MIN_OF(limit.rlim_max, (rlim_t)descriptors);
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		return fail_errno(err, -errno, "cannot set the limit of descriptors");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return fail_errno(err, -errno, "cannot give up new privileges");
	return 0;
}

int confinement_set_helper(size_t descriptors, struct error *err)
{
	static const int never[] = {SCMP_SYS(execve), SCMP_SYS(execveat)};
	int r = confinement_set_limits(descriptors, err);

	return r < 0 ? r : confinement_forbid(never, ARRAY_SIZE(never), err);
}
