#!/bin/sh
# The local disk, by the patterns of `iozone -r 256k -s 2xRAM -i0 -i1 -i2`: write, write again, read,
# read again, read and write at random places, records of 256 KiB, a file twice the memory.
need fio fio
[ "$QUICK" = 1 ] && mib=64 || mib=$((MEMORY_MIB * 2))
program_of fio
echo "size one file of $mib MiB, records of 256 KiB"
enter_work
pattern() {
	kind=$1 key=$2 field=$3
	figure "$key" "$(kib_to_mb "$(fio_terse --filename=data --rw="$kind" --bs=256k --size="${mib}M" | cut -d';' -f"$field")")"
}
pattern write write 48
pattern write rewrite 48
pattern read read 7
pattern read reread 7
pattern randread random_read 7
pattern randwrite random_write 48
