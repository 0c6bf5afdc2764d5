#include "engine/refresh_script.h"

#include <stdio.h>

#include "image/bootstrap.h"
#include "image/runner.h"
#include "lib/path.h"

/* Linux spreads what it writes over all of an empty disk, to find room quickly. Here it is to stay
 * together, as an image's file ends where its data ends.
 *
 * The old kernel runs while it is removed, which its package would ask about.
 *
 * A disk has nothing in /boot: the kernel is a part of its own. So a kernel that is there when all
 * is upgraded is new.
 *
 * A read-only root file system is a whole one; where services keep files open for writing, the
 * kernel is told not to mind (sysrq). */
static const char head[] =
	"exec 3>&1 >&2\n"
	"set -e\n"
	"fail() {\n"
	"	printf '\\n" RUNNER_FAILED "%s\\n' \"$1\"\n"
	"	exit 1\n"
	"}\n"
	"export DEBIAN_FRONTEND=noninteractive\n"
	"for limit in /sys/fs/ext4/*/mb_max_linear_groups; do\n"
	"	[ ! -e \"$limit\" ] || echo 1000000 >\"$limit\"\n"
	"done\n"
	"work=/run/wnodes-refresh\n"
	"mkdir $work && cd $work\n"
	"apt() {\n"
	"	apt-get -q -y -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \\\n"
	"		-o APT::Install-Recommends=no -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 \\\n"
	"		-o APT::Update::Error-Mode=any ${SOURCES:+-o} \\\n"
	"		${SOURCES:+Dir::Etc::SourceList=$work/sources.list} ${SOURCES:+-o} \\\n"
	"		${SOURCES:+Dir::Etc::SourceParts=-} \"$@\"\n"
	"}\n"
	"printf %s \"$SOURCES\" >sources.list\n"
	"echo '" RUNNER_BEGIN "apt-get update'\n"
	"apt update || fail 'the list of packages cannot be fetched'\n"
	"apt -s dist-upgrade >plan || fail 'apt-get finds no way to upgrade'\n"
	"sed -nE -e 's/^Inst ([^ ]+) \\[([^]]+)\\] \\(([^ ]+).*/\\1 \\2 \\3/p' \\\n"
	"	-e 's/^Inst ([^ ]+) \\(([^ ]+).*/\\1 - \\2/p' plan >changes\n"
	"[ -s changes ] || [ \"$AGENT\" = 1 ] || exit 100\n"
	"if [ \"$AGENT\" = 1 ]; then\n"
	"	agent_version() { dpkg-query -W -f '${Version}' wnodes-image 2>/dev/null || echo -; }\n"
	"	old=$(agent_version)\n"
	"	cat >agent.deb\n"
	"	dpkg --install agent.deb || fail 'the agent cannot be installed'\n"
	"	echo \"wnodes-image $old $(agent_version)\" >>changes\n"
	"fi\n"
	"echo '" RUNNER_BEGIN "apt-get dist-upgrade'\n"
	"apt dist-upgrade || fail 'the packages cannot be upgraded'\n"
	"release=\n"
	"for r in $(ls /lib/modules | sort -V); do\n"
	"	[ ! -e \"/lib/modules/$r/modules.dep\" ] || release=$r\n"
	"done\n"
	"owner=$(dpkg-query --search \"/lib/modules/$release/modules.builtin\" | cut -d: -f1) || owner=\n"
	"if [ -n \"$owner\" ]; then\n"
	"	echo 'linux-base linux-base/removing-running-kernel boolean false' |\n"
	"		debconf-set-selections || true\n"
	"	for p in $(dpkg-query -W -f '${Package}\\n' 'linux-image-[0-9]*'); do\n"
	"		[ \"$p\" = \"$owner\" ] || apt purge \"$p\" || fail 'an old kernel stays'\n"
	"	done\n"
	"fi\n"
	"set -- -C $work ./changes\n"
	"if [ -e \"/boot/vmlinuz-$release\" ] || [ \"$AGENT\" = 1 ]; then\n"
	"	[ -e \"/boot/vmlinuz-$release\" ] || : >\"/boot/vmlinuz-$release\"\n"
	"	set -- \"$@\" -C / \"./boot/vmlinuz-$release\" \"./lib/modules/$release\"\n"
	"fi\n"
	"tar -cf - \"$@\" >&3 || fail 'the kernel cannot be handed out'\n"
	"exec 3>&-\n"
	"apt clean\n"
	"cd /\n"
	"rm -rf var/lib/apt/lists/* boot/* var/log/journal/* tmp/* var/tmp/* etc/hosts\n";

static const char tail[] = "\n"
			   "sync\n"
			   "fstrim / || fail 'the disk cannot be trimmed'\n"
			   "is_read_only() {\n"
			   "	grep -qE '^[^ ]+ / ext4 ro[, ]' /proc/mounts\n"
			   "}\n"
			   "mount -o remount,ro / 2>/dev/null || echo u >/proc/sysrq-trigger\n"
			   "for i in 1 2 3 4 5 6 7 8 9 10; do\n"
			   "	! is_read_only || exit 0\n"
			   "	sleep 1\n"
			   "done\n"
			   "fail 'the file system cannot be closed'\n";

char *refresh_script(void)
{
	return path_format("%s%s%s", head, bootstrap_clean, tail);
}
