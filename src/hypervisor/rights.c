#include "hypervisor/rights.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "lib/confinement.h"

/* Descriptors for some thousand VMs. */
#define RIGHTS_DESCRIPTORS 65536

/* All that is kept of root's rights, and what for. */
static const int kept[] = {
	CAP_CHOWN,     /* a VM's files become its user's */
	CAP_SETUID,    /* templates are made by the user without rights */
	CAP_SETGID,    /* the same */
	CAP_KILL,      /* ends that process */
	CAP_NET_ADMIN, /* VMs' taps, their bridges, rules and rates; of programs, nft has it */
	CAP_DAC_READ_SEARCH, /* reads what it has made, and records that users have left */
};

/* All that LVM needs, in a process that hears the daemon alone. */
static const int kept_for_volumes[] = {
	CAP_SYS_ADMIN,    /* device-mapper */
	CAP_MKNOD,        /* where no udev makes its devices' nodes */
	CAP_DAC_OVERRIDE, /* its files, and those of devices */
	CAP_CHOWN, CAP_FOWNER, CAP_IPC_LOCK,
	CAP_SYS_NICE, /* it must not wait for memory while a device is suspended */
};

/* All that the NFS server is told of directories with: exportfs writes root's own files. */
static const int kept_for_exports[] = {
	CAP_SYS_ADMIN,       /* mounts what is open, and unmounts it */
	CAP_DAC_READ_SEARCH, /* the server's list of clients is a directory that nobody may pass */
};

static bool is_kept(const int *list, size_t count, int capability)
{
	for (size_t i = 0; i < count; i++)
		if (list[i] == capability)
			return true;
	return false;
}

static int drop_capabilities(const int *list, size_t count, struct error *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	/* From what programs that we start can have, if nobody has done so before, who may have
	 * taken the right to do so as well. The first unknown one ends the list. */
	for (int i = 0, has; (has = prctl(PR_CAPBSET_READ, i, 0, 0, 0)) >= 0; i++)
		if (has && !is_kept(list, count, i) && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0)
			return fail_errno(err, -errno, "cannot drop a right");
	for (size_t i = 0; i < count; i++) {
		data[list[i] / 32].effective |= 1u << (list[i] % 32);
		data[list[i] / 32].permitted |= 1u << (list[i] % 32);
	}
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
		syscall(SYS_capset, &header, data) < 0)
		return fail_errno(err, -errno, "cannot keep only the rights that are needed");
	return 0;
}

int rights_drop(struct error *err)
{
	int r = confinement_set_limits(RIGHTS_DESCRIPTORS, err);

	if (r == 0 && geteuid() == 0)
		r = drop_capabilities(kept, ARRAY_SIZE(kept), err);
	return r < 0 ? r : confinement_forbid(NULL, 0, err);
}

/* The filter of system calls forbids nodes of devices, which LVM may have to make. */
int rights_drop_to_volumes(struct error *err)
{
	int r = confinement_set_limits(RIGHTS_DESCRIPTORS, err);

	if (r < 0)
		return r;
	r = drop_capabilities(kept_for_volumes, ARRAY_SIZE(kept_for_volumes), err);
	return r < 0 ? fail_within(err,
			       "volumes cannot be used: LVM needs more rights than the service has "
			       "(examples/systemd/volumes.conf)")
		     : 0;
}

int rights_drop_to_exports(struct error *err)
{
	int r = confinement_set_limits(RIGHTS_DESCRIPTORS, err);

	return r < 0 ? r : drop_capabilities(kept_for_exports, ARRAY_SIZE(kept_for_exports), err);
}
