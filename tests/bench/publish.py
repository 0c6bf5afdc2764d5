"""Publishing images: how fast on one core, and what an update of a Debian image costs to move."""

import os
import pathlib
import shutil
import subprocess
import tempfile
from statistics import median

import program

MIB = 1 << 20
HOME = pathlib.Path(os.environ["XDG_DATA_HOME"]).parent
IMAGES = HOME / "update"
UUID = "6f2c1d5e-0000-4000-8000-000000000001"  # the same for both, as a rebuild that cares has it
PACKAGES = "gcc,g++,python3,python3-numpy,munge,linux-image-cloud-amd64,initramfs-tools,systemd-sysv," \
    "openssh-client,curl,ca-certificates,git,vim,less,perl"
MAIN = "deb http://deb.debian.org/debian bookworm main"
UPDATES = ["deb http://deb.debian.org/debian bookworm-updates main",
           "deb http://deb.debian.org/debian-security bookworm-security main"]
BUILD_TIMEOUT = 1800


def run(*command, timeout=program.TIMEOUT, **more):
    subprocess.run([str(word) for word in command], check=True, timeout=timeout,
                   stdout=subprocess.DEVNULL, **more)


def memory_directory():
    """A directory whose file system is in memory, so that no disk is measured; else any."""
    shm = pathlib.Path("/dev/shm")
    where = shm if shm.is_dir() and shutil.disk_usage(shm).free > 2 << 30 else None
    return tempfile.TemporaryDirectory(prefix="wnodes-bench-", dir=where)


def publish(depot, name, *options):
    return program.ask("image", "publish", "--depot", str(depot), *options, name)


def children_cpu():
    times = os.times()
    return times.children_user + times.children_system


def casync_make(store, raw):
    """The same by casync. Returns the bytes of the new chunks."""
    before = stored_bytes(store)
    run("casync", "make", "--digest=sha256", "--compression=zstd", f"--store={store}",
        f"{store}.caibx", raw, timeout=BUILD_TIMEOUT)
    return stored_bytes(store) - before


def stored_bytes(store):
    return sum(f.stat().st_size for f in pathlib.Path(store).glob("*/*.cacnk"))


def bench_publish(results, rounds):
    """Cut, hash, compress and write what no depot has: the bench's own image, by one thread. By
    processor time, of which one core has a second in each, however busy the machine is."""
    ours, theirs = [], []
    disk = program.image()[2]
    for _ in range(rounds):
        with memory_directory() as work:
            began = children_cpu()
            done = publish(f"{work}/depot", "debian", "--threads", "1")
            ours.append(done["new_bytes"] / 1e6 / (children_cpu() - began))
            if shutil.which("casync"):
                began = children_cpu()
                casync_make(f"{work}/casync", disk)
                theirs.append(disk.stat().st_blocks * 512 / 1e6 / (children_cpu() - began))
    results.add("publish, one core (MB/s of data)", median(ours), ">= 150")
    if theirs:
        results.add("casync make, one core (MB/s of data)", median(theirs))


def bootstrap(tar, *sources):
    work = IMAGES / "tmp"
    work.mkdir(exist_ok=True)
    run("mmdebstrap", "--quiet", "--architectures=amd64", f"--include={PACKAGES}", "bookworm", tar,
        *sources, timeout=BUILD_TIMEOUT, env={**os.environ, "TMPDIR": str(work)})


def finish_disk(raw):
    """Whoever imports a disk looks for a boot loader's mark, which lies where ext4 has nothing."""
    with open(raw, "r+b") as disk:
        disk.seek(510)
        disk.write(b"\x55\xaa")


def make_disk(tar, raw):
    """A file system from nothing; under fakeroot, so that files are root's without root."""
    with tempfile.TemporaryDirectory(dir=IMAGES) as root:
        script = f"""tar -xf {tar} --exclude='./dev/*' -C {root} && truncate -s 1536M {raw}.new &&
            PATH=$PATH:/sbin:/usr/sbin mke2fs -q -t ext4 -U {UUID} -E hash_seed={UUID} -m 0 \\
                -O ^has_journal -d {root} {raw}.new"""
        shell = ["sh", "-c", script]
        run(*(shell if os.geteuid() == 0 else ["fakeroot", *shell]), timeout=BUILD_TIMEOUT)
    finish_disk(f"{raw}.new")
    os.rename(f"{raw}.new", raw)


def update_in_place(old, raw):
    """What an administrator does: a copy, mounted, upgraded, trimmed."""
    run("cp", "--sparse=always", old, f"{raw}.new")
    sources = "\n".join([MAIN, *UPDATES])
    script = f"""set -e
        mount -o loop {raw}.new {IMAGES}/mnt
        trap 'umount {IMAGES}/mnt' EXIT
        cd {IMAGES}/mnt
        cp /etc/resolv.conf etc/resolv.conf
        echo '{sources}' >etc/apt/sources.list
        chroot . sh -c 'export DEBIAN_FRONTEND=noninteractive
            apt-get update -qq && apt-get -y -qq dist-upgrade && apt-get clean
            rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin'
        : >etc/resolv.conf
        cd /
        fstrim {IMAGES}/mnt"""
    (IMAGES / "mnt").mkdir(exist_ok=True)
    # A mount namespace of its own: whatever happens, nothing stays mounted.
    run("unshare", "--mount", "sh", "-c", script, timeout=BUILD_TIMEOUT,
        stderr=subprocess.DEVNULL)
    os.rename(f"{raw}.new", raw)


def make_images():
    """The old one, and what its update is made into. They are kept for the next time."""
    IMAGES.mkdir(exist_ok=True)
    old, rebuilt, in_place = (IMAGES / f"{name}.raw" for name in ("old", "rebuilt", "in-place"))
    for raw, sources in ((old, [MAIN]), (rebuilt, [MAIN, *UPDATES])):
        if not raw.exists():
            bootstrap(IMAGES / "root.tar", *sources)
            make_disk(IMAGES / "root.tar", raw)
            (IMAGES / "root.tar").unlink()
    found = {"rebuilt": rebuilt}
    try:
        if not in_place.exists():
            update_in_place(old, in_place)
        found["in-place"] = in_place
    except subprocess.CalledProcessError:
        print("update in place: needs root and a loop device; not measured\n", flush=True)
    return old, found


def import_disk(name, raw):
    run(program.WNODES, "image", "import", "--name", f"bench-{name}", raw)


def bench_update(results, rounds):
    """Bytes to move from one version of a Debian to the next; two whole Debians are built first."""
    old, found = make_images()
    import_disk("old", old)
    for name, raw in found.items():
        import_disk(name, raw)
        with memory_directory() as work:
            publish(f"{work}/depot", "bench-old")
            moved = publish(f"{work}/depot", f"bench-{name}")["new_file_bytes"]
            results.add(f"update {name} (MiB to move)", moved / MIB, "<= 100")
            if shutil.which("casync"):
                casync_make(f"{work}/casync", old)
                results.add(f"update {name}, casync's (MiB)",
                            casync_make(f"{work}/casync", raw) / MIB)
        whole = subprocess.run(f"zstd -3 -T1 -q -c {raw} | wc -c", shell=True, check=True,
                               timeout=program.TIMEOUT, capture_output=True).stdout
        results.add(f"update {name}, whole by zstd -3 (MiB)", int(whole) / MIB)
    for name in ("old", *found):
        run(program.WNODES, "image", "remove", f"bench-{name}")
    run(program.WNODES, "image", "gc")
