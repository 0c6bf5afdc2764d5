"""Directories of the host: 9p as we mount it against other options, virtiofs against 9p, in one VM
that boots; and what a directory costs a clone."""

import os
import pathlib
import subprocess
import tempfile
from statistics import median

import program

MIB = 64
FILES = 100
SHARES = 4  # of the clone; a template has slots for 2, 4, 8, ...

OURS = "msize=512000,cache=mmap"
OTHERS = ("msize=512000,cache=none", "msize=262144,cache=mmap", "msize=131072,cache=mmap")
WHAT = ("write", "read", "small", "create", "stat")

# Says "WAY WHAT SECONDS", as root of the guest: the caches are dropped before all that reads.
SCRIPT = r"""
now() { date +%s.%N; }
drop() { sync; echo 3 >/proc/sys/vm/drop_caches; }
timed() { what=$1; shift; from=$(now); "$@" >/dev/null 2>&1; echo "$way $what $from $(now)"; }
create() { for i in $(seq FILES); do : >$1/s$i; done; }
one() {
	way=$1; mkdir $2/b
	timed write dd if=/dev/zero of=$2/b/f bs=1M count=MIB conv=fsync; drop
	timed read dd if=$2/b/f of=/dev/null bs=1M; drop
	timed small dd if=$2/b/f of=/dev/null bs=4k count=2048; drop
	timed create create $2/b; drop
	timed stat stat $2/b/s*
	rm -r $2/b
}
umount /9p
for round in $(seq ROUNDS); do
	one virtiofs /fs
	for options in OPTIONS; do
		mount -t 9p -o trans=virtio,version=9p2000.L,access=any,$options share0 /9p
		one $options /9p
		umount /9p
	done
done
"""


def measure(rounds):
    """The seconds of each round by way and what."""
    script = SCRIPT.replace("OPTIONS", " ".join((OURS, *OTHERS))).replace("MIB", str(MIB))
    script = script.replace("FILES", str(FILES)).replace("ROUNDS", str(rounds))
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    found = {}
    with tempfile.TemporaryDirectory(dir=memory) as share:
        output = subprocess.check_output(
            [program.WNODES, "run", *program.BARE, "--memory", "1G", "--start", "boot",
             "--mount", f"{share}:/9p:gateway=9p", "--mount", f"{share}:/fs:gateway=virtiofs",
             "--", "bash", "-c", script], text=True, timeout=program.TIMEOUT * rounds)
    for line in output.splitlines():
        way, what, start, end = line.split()
        found.setdefault((way, what), []).append(float(end) - float(start))
    return found


def times_as_fast(took, way, other, what):
    """Of one way against another: the median of the rounds' own ratios."""
    return median(theirs / mine for mine, theirs in zip(took[way, what], took[other, what]))


def bench_gateways(results, rounds):
    if os.geteuid() == 0:  # else the guest's command is not root, who alone mounts
        took = measure(rounds)
        for what in WHAT:
            for other in OTHERS:
                results.add(f"9p: {what}, times as fast as with {other}",
                            times_as_fast(took, OURS, other, what),
                            ">= 1.0" if what in ("read", "write") else None)
        for what in WHAT:
            results.add(f"virtiofs: {what}, times as fast as 9p",
                        times_as_fast(took, "virtiofs", OURS, what))
    program.warm(devices=("--network", "none", "--shares", str(SHARES)))
    program.warm()
    with tempfile.TemporaryDirectory() as directory:
        options = list(program.BARE)
        for i in range(SHARES):
            (pathlib.Path(directory) / str(i)).mkdir()
            options += ["--mount", f"{directory}/{i}"]
        pairs = [(program.seconds("true", options=options), program.seconds("true"))
                 for _ in range(rounds)]
    results.add(f"a clone with {SHARES} host directories, more for each (s)",
                median((with_them - bare) / SHARES for with_them, bare in pairs), "<= 0.040")
