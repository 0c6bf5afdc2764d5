#!/bin/sh
# A directory of the host, through a gateway: one large file written and read, many small ones made,
# looked at and removed; with the processor time that it takes on both sides.
need fio fio
[ "$QUICK" = 1 ] && mib=64 files=200 || mib=1024 files=5000
program_of fio
echo "size one file of $mib MiB, $files files of 4 KiB"
enter_work
transfer() {
	rate=$(kib_to_mb "$(fio_terse --filename=data --rw="$1" --bs=1M --size="${mib}M" | cut -d';' -f"$2")")
}
# What fio has to make before it measures is not in its rate, but is in the processor time.
metadata() {
	rate=$(fio_terse --nrfiles="$files" --filesize=4k "$@" | cut -d';' -f8)
}
measured write transfer write 48
figure write "$rate"
measured read transfer read 7
figure read "$rate"
rm -f data
measured create metadata --ioengine=filecreate --openfiles=1 --create_on_open=1
figure create "$rate"
metadata --ioengine=filestat
figure stat "$rate"
metadata --ioengine=filedelete
figure remove "$rate"
