#!/bin/sh
# Makes a cloud image of Debian as distributions publish them: a qcow2 disk with a partition table, a
# boot loader for BIOS, systemd, cloud-init, the cloud kernel and its own initrd. Nothing of WNoDeS is
# in it. The tests import it, because they must not depend on what a web site offers today.
#
#	make-cloud-image.sh OUTPUT [SUITE]
#
# Neither root, nor a mount, nor a loop device is needed: mmdebstrap makes an archive, mke2fs fills
# the partition inside the disk file, sfdisk writes the table, and GRUB's two parts are put where its
# installer would put them. An OUTPUT that is newer than this script is left as it is.
set -eu

output=${1:?usage: make-cloud-image.sh OUTPUT [SUITE]}
suite=${2:-bookworm}
mirror=${MIRROR:-http://deb.debian.org/debian}
security=${SECURITY_MIRROR:-http://deb.debian.org/debian-security}

# In MiB. The partition begins where all partitioning programs let the first one begin; the gap
# before it holds GRUB.
size=2048
start=1

if [ -s "$output" ] && [ "$output" -nt "$0" ]; then
	exit 0
fi
PATH=$PATH:/usr/sbin:/sbin
for tool in mmdebstrap mke2fs sfdisk qemu-img tar; do
	command -v $tool >/dev/null || {
		echo "$0: $tool is missing; apt-get install mmdebstrap e2fsprogs fdisk qemu-utils tar" >&2
		exit 1
	}
done
as_root=
if [ "$(id -u)" -ne 0 ]; then
	command -v fakeroot >/dev/null || {
		echo "$0: fakeroot is missing; apt-get install fakeroot" >&2
		exit 1
	}
	as_root='fakeroot --'
fi

work=$(mktemp -d "${TMPDIR:-/var/tmp}/cloud-image-XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM
chmod 755 "$work" # mmdebstrap may run as another user

umask 022
cat >"$work/customize" <<'END'
#!/bin/sh
# Runs outside of the chroot "$1", as root (or as one who seems to be).
set -eu
root=$1
echo 'LABEL=cloudimg-rootfs / ext4 defaults 0 1' >"$root/etc/fstab"
echo localhost >"$root/etc/hostname"
# As distributions do: the names of interfaces that cloud-init knows, a serial console.
cat >"$root/grub.cfg.new" <<CFG
serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
set timeout=0
set root='hd0,msdos1'
menuentry 'Debian' {
	linux $(cd "$root" && ls boot/vmlinuz-* | sed 's|^|/|') root=LABEL=cloudimg-rootfs ro console=tty0 console=ttyS0,115200
	initrd $(cd "$root" && ls boot/initrd.img-* | sed 's|^|/|')
}
CFG
mkdir -p "$root/boot/grub"
mv "$root/grub.cfg.new" "$root/boot/grub/grub.cfg"
chroot "$root" grub-mkimage --format=i386-pc --output=/boot/grub/core.img \
	--prefix='(hd0,msdos1)/boot/grub' \
	biosdisk part_msdos ext2 normal linux configfile serial terminal echo test
cp "$root/usr/lib/grub/i386-pc/boot.img" "$root/boot/grub/boot.img"
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/resolv.conf" "$root/etc/machine-id"
ln -s ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
: >"$root/etc/machine-id"
END
chmod 755 "$work/customize"

# mmdebstrap's own root directory goes under $TMPDIR too.
mkdir "$work/tmp"
chmod 755 "$work/tmp"
(
	cd "$work"
	TMPDIR=$work/tmp mmdebstrap --quiet --variant=minbase --format=tar --architectures=amd64 \
		--include=systemd,systemd-sysv,systemd-resolved,udev,dbus,cloud-init,netplan.io \
		--include=linux-image-cloud-amd64,initramfs-tools,grub-pc-bin,grub-common,e2fsprogs \
		--include=kmod,procps,iproute2,openssh-server,sudo,util-linux-extra \
		--dpkgopt=path-exclude='/usr/share/doc/*' \
		--dpkgopt=path-include='/usr/share/doc/*/copyright' \
		--dpkgopt=path-exclude='/usr/share/man/*' \
		--dpkgopt=path-exclude='/usr/share/locale/*' \
		--customize-hook="$work"'/customize "$1"' \
		"$suite" root.tar \
		"deb $mirror $suite main" \
		"deb $mirror $suite-updates main" \
		"deb $security $suite-security main" </dev/null
)

# The file system, with every file's owner as the archive has it, straight into the disk's partition.
truncate -s "${size}M" "$work/disk"
echo "start=${start}MiB, type=83, bootable" | sfdisk --quiet --label dos "$work/disk"
# shellcheck disable=SC2016 # the inner shell expands them
$as_root sh -euc '
	mkdir "$1/tree"
	tar --extract --file "$1/root.tar" --directory "$1/tree" --numeric-owner --same-owner \
		--preserve-permissions --xattrs "--xattrs-include=*" --exclude "./dev/*"
	mke2fs -q -F -t ext4 -L cloudimg-rootfs -E "offset=$2,root_owner=0:0" -d "$1/tree" \
		"$1/disk" "$3k"
' sh "$work" $((start * 1024 * 1024)) $(((size - start) * 1024))

# The first 440 bytes of the disk are code, the rest of that sector is the partition table. The code
# expects the rest of GRUB in the sectors that follow.
dd if="$work/tree/boot/grub/boot.img" of="$work/disk" bs=440 count=1 conv=notrunc status=none
dd if="$work/tree/boot/grub/core.img" of="$work/disk" bs=512 seek=1 conv=notrunc status=none

mkdir -p "$(dirname "$output")"
qemu-img convert -f raw -O qcow2 "$work/disk" "$output.new"
mv "$output.new" "$output"
