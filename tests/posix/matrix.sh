#!/bin/bash
# Which gateway passes what: matrix.sh [--quick] [GATEWAY...]
#
# Runs our own suite and testers of Debian (fio with verification, bonnie++, stress-ng's file system
# stressors) in a VM for each gateway, in a directory of the host that comes by it, and prints a table
# for docs/storage.md. The gateway "disk" is none: the VM's own scratch disk, on which all should hold.
# IMAGE (bench) has the programs; WNODES is the program. Takes an hour or so in software emulation;
# --quick makes all sizes small.
set -u

top=$(cd "$(dirname "$0")/../.." && pwd)
build=${BUILD:-$top/build}
wnodes=${WNODES:-$build/wnodes}
files=100000 mib=5000 seconds=60
if [ "${1:-}" = --quick ]; then
	files=2000 mib=64 seconds=5
	shift
fi
gateways=${*:-9p virtiofs sshfs nfs}
stressors="access chattr chdir chmod chown copy-file dentry dir dirdeep dup fallocate fcntl fiemap filename flock fpunch \
getdent hdd iomix link lockf lockofd mknod mmapaddr msync open readahead rename revio seek sendfile symlink sync-file \
utime xattr"
work=$(mktemp -d "${DIRECTORY:-/var/tmp}/wnodes-matrix.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
results=$work/results
mkdir -p "$results" "$work/share"
cp "$build/tests/posix/posix" "$work/share/posix"

# in_vm GATEWAY COMMAND...: in a directory of its own of the share
in_vm() {
	local gateway=$1 directory=/share/here
	shift
	[ "$gateway" != disk ] || { gateway=9p directory=/scratch; }
	rm -rf "$work/share/here"
	mkdir "$work/share/here"
	timeout 7200 "$wnodes" run --image "${IMAGE:-bench}" --memory 1G --cpus 2 --scratch 1G --mount none \
		--mount "$work/share:/share:gateway=$gateway" --workdir "$directory" -- "$@" 2>&1
}

# note GATEWAY WHAT VERDICT
note() {
	grep -qxF "$2" "$work/order" 2>/dev/null || echo "$2" >>"$work/order"
	echo "$3" >"$results/$1.$2"
	echo "$1: $2: $3" >&2
}

posix_suite() {
	local line name
	while read -r line; do
		name=$(echo "$line" | sed -n 's/^\(not \)\?ok [0-9]* - \([a-z_]*\).*/\2/p')
		case $line in
		"ok "*"# skip "*) note "$1" "posix: $name" "not there" ;;
		"ok "*) note "$1" "posix: $name" "yes" ;;
		"not ok "*) note "$1" "posix: $name" "**no**: ${line#*# }" ;;
		esac
	done < <(in_vm "$1" env "POSIX_FILES=$files" /share/posix .)
}

# verdict GATEWAY WHAT COMMAND...: by its exit status
verdict() {
	local gateway=$1 what=$2 output
	shift 2
	if output=$(in_vm "$gateway" "$@"); then
		note "$gateway" "$what" yes
	else
		note "$gateway" "$what" "**no**"
		echo "$output" | tail -5 >&2
	fi
}

stress() {
	local output stressor
	output=$(in_vm "$1" sh -c "for s in $stressors; do
		stress-ng --\$s 2 --timeout $seconds --verify --temp-path . >log 2>&1; echo result \$s \$?; tail -2 log; done")
	for stressor in $stressors; do
		case $(echo "$output" | sed -n "s/^result $stressor //p") in
		0) note "$1" "stress-ng: $stressor" yes ;;
		3 | 4) note "$1" "stress-ng: $stressor" "not there" ;;
		*) note "$1" "stress-ng: $stressor" "**no**" ;;
		esac
	done
}

for gateway in $gateways; do
	posix_suite "$gateway"
	verdict "$gateway" "fio: written, read back and verified, $mib MiB, 2 writers" \
		fio --name=v --rw=randrw --bs=4k-256k --size="$((mib / 2))M" --numjobs=2 --verify=crc32c --fallocate=none --end_fsync=1 --group_reporting
	verdict "$gateway" "bonnie++" bonnie++ -q -d . -s "$((mib > 256 ? 2048 : 64))M" -r "$((mib > 256 ? 1024 : 32))" -n 1 -f -u "$(id -un)"
	stress "$gateway"
done

echo "| what | ${gateways// / | } |"
echo "|---|$(for _ in $gateways; do printf -- '---|'; done)"
while read -r what; do
	printf '| %s |' "$what"
	for gateway in $gateways; do
		printf ' %s |' "$(cat "$results/$gateway.$what" 2>/dev/null || echo '-')"
	done
	echo
done <"$work/order"
