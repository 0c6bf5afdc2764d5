#include "hypervisor/rights.h"

#include <errno.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* Descriptors for some thousand VMs. */
#define RIGHTS_DESCRIPTORS 65536

/* All that is kept of root's rights, and what for. */
static const int kept[] = {
	CAP_CHOWN,           /* a VM's files become its user's */
	CAP_SETUID,          /* templates are made by the user without rights */
	CAP_SETGID,          /* the same */
	CAP_KILL,            /* ends that process */
	CAP_DAC_READ_SEARCH, /* reads what it has made, and records that users have left */
};

/* System calls that neither we nor what we start makes; with what they could do to a node. */
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

static bool is_kept(int capability)
{
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		if (kept[i] == capability)
			return true;
	return false;
}

static int drop_capabilities(struct error *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	/* From what programs that we start can have. The first unknown one ends the list. */
	for (int i = 0; prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++)
		if (!is_kept(i) && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0)
			return fail_errno(err, -errno, "cannot drop a right");
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
		data[kept[i] / 32].effective |= 1u << (kept[i] % 32);
		data[kept[i] / 32].permitted |= 1u << (kept[i] % 32);
	}
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
		syscall(SYS_capset, &header, data) < 0)
		return fail_errno(err, -errno, "cannot keep only the rights that are needed");
	return 0;
}

static int forbid_calls(struct error *err)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int r = filter ? 0 : -ENOMEM;

	for (size_t i = 0; i < ARRAY_SIZE(forbidden) && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), forbidden[i], 0);
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r < 0 ? fail_errno(err, r, "cannot forbid system calls (seccomp)") : 0;
}

static int set_limits(struct error *err)
{
	const struct rlimit no_core = {0, 0};
	struct rlimit descriptors;

	umask(022);
	if (setrlimit(RLIMIT_CORE, &no_core) < 0 || getrlimit(RLIMIT_NOFILE, &descriptors) < 0)
		return fail_errno(err, -errno, "cannot set limits");
	descriptors.rlim_cur = MIN_OF(descriptors.rlim_max, (rlim_t)RIGHTS_DESCRIPTORS);
	if (setrlimit(RLIMIT_NOFILE, &descriptors) < 0)
		return fail_errno(err, -errno, "cannot set the limit of descriptors");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return fail_errno(err, -errno, "cannot give up new privileges");
	return 0;
}

int rights_drop(struct error *err)
{
	int r = set_limits(err);

	if (r == 0 && geteuid() == 0)
		r = drop_capabilities(err);
	return r < 0 ? r : forbid_calls(err);
}
