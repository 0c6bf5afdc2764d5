#!/bin/sh
# Whole numbers, one core, no memory to speak of: SHA-256 of zeros, by coreutils.
[ "$QUICK" = 1 ] && mib=64 || mib=512
program_of coreutils
echo "size SHA-256 of $mib MiB"
start=$(date +%s.%N)
head -c "${mib}M" /dev/zero | sha256sum >/dev/null
figure rate "$(echo "$mib $start $(date +%s.%N)" | awk '{ printf "%.2f\n", $1 * 1.048576 / ($3 - $2) }')"
