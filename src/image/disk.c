/* Unpacking and mke2fs run in one session of fakeroot: it remembers whose files are whose only as
 * long as it lives.
 *
 * The file system has no journal, because every VM throws its writes away. It keeps its own data
 * together at the start of the disk (one group of block groups, no spare superblocks), so that the
 * file ends where the data ends and the rest of the disk costs nothing to hash or copy. The guest
 * is told that the inode tables are zero, as in a sparse file they are: it would else write them.
 */
#include "image/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "lib/path.h"

/* $1 archive, $2 tree, $3 disk, $4 its size in KiB, $5 a file for a list.
 *
 * fakeroot (1.31) loses the type of a file whose first change is an extended attribute, such as
 * ping's capability. So everything is unpacked without them, and then the few files that have some
 * once more. */
static const char disk_script[] =
	"set -e\n"
	"unpack() {\n"
	"	tar --extract --file \"$archive\" --directory \"$tree\" --numeric-owner --same-owner"
	" --preserve-permissions --exclude './boot/*' --exclude './dev/*' \"$@\"\n"
	"}\n"
	"archive=$1 tree=$2 disk=$3 size=$4 list=$5\n"
	"mkdir \"$tree\"\n"
	"unpack\n"
	"tar --list -vv --xattrs '--xattrs-include=*' --quoting-style=literal --file \"$archive\""
	" >\"$list.all\"\n"
	"sed -n 's/^[^ ]\\{10\\}\\* *[^ ]* *[^ ]* *[^ ]* *[^ ]* //p' \"$list.all\" >\"$list\"\n"
	"if [ -s \"$list\" ]; then\n"
	"	unpack --overwrite --xattrs '--xattrs-include=*' --verbatim-files-from"
	" --files-from \"$list\"\n"
	"fi\n"
	"exec mke2fs -q -F -t ext4 -m 0 -G 65536 -O '^has_journal,^resize_inode,sparse_super2'"
	" -E num_backup_sb=0,root_owner=0:0,assume_storage_prezeroed=1 -L wnodes-root"
	" -d \"$tree\" \"$disk\" \"$size\"\n";

int disk_write(const struct runner *runner, const char *archive, const char *tree, const char *path,
	uint64_t size, struct error *err)
{
	autofree char *kib = path_format("%lluk", (unsigned long long)(size / 1024));
	autofree char *list = path_format("%s.list", tree);
	const char *const argv[] = {"fakeroot", "--", "sh", "-c", disk_script, "sh", archive, tree,
		path, kib, list, NULL};

	if (!kib || !list)
		return fail(err, -ENOMEM, "out of memory");
	if (size < DISK_SIZE_MIN || size > DISK_SIZE_MAX)
		return fail(err, -EINVAL, "a disk must have a size from 1 GiB to 8 TiB");
	return runner_run(runner, geteuid() == 0 ? argv + 2 : argv, err);
}

int disk_trim(int fd)
{
	off_t end = 0, data = 0;

	while (data >= 0) {
		data = lseek(fd, end, SEEK_DATA);
		if (data < 0 && errno != ENXIO)
			return -errno;
		if (data >= 0)
			end = lseek(fd, data, SEEK_HOLE);
		if (end < 0)
			return -errno;
	}
	return ftruncate(fd, end) < 0 ? -errno : 0;
}
