#!/bin/sh
# bonnie++: one large file by characters and blocks, seeks, and many small files.
need bonnie++ bonnie++
[ "$QUICK" = 1 ] && mib=64 files=1 || mib=$((MEMORY_MIB * 2)) files=16
program_of bonnie++
echo "size $mib MiB, $files x 1024 files"
enter_work
[ "$(id -u)" -eq 0 ] && user="-u root" || user=
# The fields of its CSV are those of bon_csv2html(1), format 2.00.
# shellcheck disable=SC2086 # two words, or none
line=$(bonnie++ -q -d . -s "${mib}M" -r $((mib / 2)) -n "$files" -f -b $user -m bench 2>/dev/null | tail -1)
field() {
	echo "$line" | cut -d, -f"$1" | tr -d '+'
}
figure write "$(kib_to_mb "$(field 12)")"
figure rewrite "$(kib_to_mb "$(field 14)")"
figure read "$(kib_to_mb "$(field 18)")"
figure seeks "$(field 20)"
figure create "$(field 27)"
figure remove "$(field 31)"
