#include "vm/accel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/file.h"
#include "lib/path.h"
#include "vm/qemu.h"

#ifndef KVM_DEVICE /* a test has one of its own */
#define KVM_DEVICE "/dev/kvm"
#endif
/* Translated code: a Linux that boots makes some 20 MiB of it. */
#define CACHE_MIN_MIB 32
#define CACHE_MAX_MIB 256
#define CACHE_CPU_MIB 8
#define CACHE_PART    16 /* of the guest's memory */

#define ACCEL_FILE   "accel"
#define VERDICT_MAX  512
#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"

static const char *const names[] = {
	[ACCEL_TCG] = "tcg", [ACCEL_KVM] = "kvm", [ACCEL_AUTO] = "auto"};

uint64_t accel_cache_mib(uint64_t cpus, uint64_t memory_mib)
{
	uint64_t part = MIN_OF(memory_mib / CACHE_PART, (uint64_t)CACHE_MAX_MIB);

	return MAX_OF(MAX_OF(part, (uint64_t)CACHE_MIN_MIB), cpus * CACHE_CPU_MIB);
}

const char *accel_name(enum accel accel)
{
	return names[accel];
}

enum accel accel_parse(const char *name)
{
	for (enum accel a = ACCEL_TCG; a < ACCEL_AUTO; a++)
		if (streq(names[a], name))
			return a;
	return ACCEL_AUTO;
}

/* What a verdict depends on: the host's boot and the QEMU program. */
static int accel_key(const char *qemu, char *ret, size_t size)
{
	autofree char *boot_id = NULL;
	autofree char *program = qemu_find(qemu);
	struct stat st;
	size_t length;

	if (file_read(AT_FDCWD, BOOT_ID_FILE, 64, &boot_id, &length) < 0 || !program ||
		stat(program, &st) < 0)
		return -ENOENT;
	boot_id[strcspn(boot_id, "\n")] = '\0';
	snprintf(ret, size, "%s %llu %lld", boot_id, (unsigned long long)st.st_ino,
		(long long)st.st_mtime);
	return 0;
}

static char *accel_file(void)
{
	autofree char *cache = path_cache();
	return cache ? path_format("%s/" ACCEL_FILE, cache) : NULL;
}

/* Returns ACCEL_AUTO when nothing was learned since the last boot. */
static enum accel accel_recall(const char *qemu)
{
	autofree char *file = accel_file();
	autofree char *text = NULL;
	char key[VERDICT_MAX];
	const char *verdict;
	size_t length;

	if (!file || accel_key(qemu, key, sizeof(key)) < 0 ||
		file_read(AT_FDCWD, file, VERDICT_MAX, &text, &length) < 0)
		return ACCEL_AUTO;
	verdict = str_after(text, key);
	if (verdict && streq(verdict, " kvm\n"))
		return ACCEL_KVM;
	return verdict && streq(verdict, " tcg\n") ? ACCEL_TCG : ACCEL_AUTO;
}

enum accel accel_choose(const char *qemu, bool *ret_trial)
{
	autoclose int fd = open(KVM_DEVICE, O_RDWR | O_CLOEXEC);
	enum accel known = fd >= 0 ? accel_recall(qemu) : ACCEL_TCG;

	*ret_trial = known == ACCEL_AUTO;
	return known == ACCEL_AUTO ? ACCEL_KVM : known;
}

void accel_learn(const char *qemu, bool kvm_works)
{
	autofree char *cache = path_cache();
	autofree char *file = accel_file();
	char key[VERDICT_MAX - 8], text[VERDICT_MAX];

	if (!cache || !file || accel_key(qemu, key, sizeof(key)) < 0)
		return;
	snprintf(text, sizeof(text), "%s %s\n", key, kvm_works ? "kvm" : "tcg");
	if (file_make_dirs(cache, 0700) == 0)
		file_replace(AT_FDCWD, file, text, strlen(text), 0600);
}
