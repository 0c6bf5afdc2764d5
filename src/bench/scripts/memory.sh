#!/bin/sh
# Copies within memory, one core.
need mbw mbw
[ "$QUICK" = 1 ] && mib=32 || mib=$((MEMORY_MIB / 4))
program_of mbw
echo "size $mib MiB, 5 copies"
for method in MEMCPY DUMB; do
	mbw -q -n 5 "$mib" | awk -v m="$method" '/^AVG/ && index($0, "Method: " m) {
		for (i = 1; i < NF; i++) if ($i == "Copy:") printf "figure %s %s\n", tolower(m), $(i + 1) }'
done
