"""Fetching an image whole, from a depot that is warm: how many MB/s, with every byte verified."""

import json
import os
import pathlib
import shutil
import subprocess
import time
from statistics import median

import program
import publish

DISK_MIB, DATA_MIB = 1536, 850  # of the image, and of files in it
HOME = pathlib.Path(os.environ["XDG_DATA_HOME"]).parent
TIMEOUT = 600


def collect(tree):
    """Files of this machine, as an image would have them."""
    left = DATA_MIB << 20
    for top in ("/usr/bin", "/usr/lib/x86_64-linux-gnu", "/usr/share"):
        for directory, _, names in os.walk(top):
            for name in sorted(names):
                path = os.path.join(directory, name)
                size = os.lstat(path).st_size
                if os.path.islink(path) or not os.path.isfile(path) or size > left:
                    continue
                target = pathlib.Path(f"{tree}{path}")
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    shutil.copyfile(path, target)
                except PermissionError:
                    continue
                left -= size
                if left < 1 << 20:
                    return


def make_image(work):
    """Publishes a disk of 1.5 GiB into work/depot. Returns its release's file."""
    raw = f"{work}/disk.raw"
    collect(f"{work}/tree")
    subprocess.run(["sh", "-c", f"""truncate -s {DISK_MIB}M {raw} &&
        PATH=$PATH:/sbin:/usr/sbin mke2fs -q -t ext4 -m 0 -d {work}/tree {raw}"""],
                   check=True, timeout=TIMEOUT)
    shutil.rmtree(f"{work}/tree")
    publish.finish_disk(raw)
    publish.import_disk("fetch", raw)
    os.unlink(raw)
    release = publish.publish(f"{work}/depot", "bench-fetch")
    pathlib.Path(f"{work}/release.json").write_text(json.dumps(release))
    publish.run(program.WNODES, "image", "remove", "bench-fetch")
    publish.run(program.WNODES, "image", "gc")
    return f"{work}/release.json", release["digest"]


def fetch(depot, home, *options):
    """Into an empty store. Returns MB/s of the image, and of processor time."""
    shutil.rmtree(home, ignore_errors=True)
    began, used = time.monotonic(), publish.children_cpu()
    done = subprocess.run([program.WNODES, "image", "fetch", "--from", str(depot), "--name", "x",
                           "--json", *options], check=True, timeout=TIMEOUT, stdout=subprocess.PIPE,
                          env={**os.environ, "XDG_DATA_HOME": str(home)}).stdout
    megabytes = json.loads(done)["bytes"] / 1e6
    return (megabytes / (time.monotonic() - began),
            megabytes / (publish.children_cpu() - used))


def bench_fetch(results, rounds):
    """In memory, where no disk is measured; on the disk, with all that it does to be safe; each with
    a release and without one, in turn."""
    found = {}
    with publish.memory_directory() as work:
        release, digest = make_image(work)
        ways = {"release": ["--release", release], "digest": [digest]}
        places = {"memory": f"{work}/home", "disk": HOME / "fetch-home"}
        for _ in range(rounds):
            for place, home in places.items():
                for way, options in ways.items():
                    found.setdefault((place, way), []).append(
                        fetch(f"{work}/depot", home, *options))
                shutil.rmtree(home, ignore_errors=True)
    for (place, way), rates in found.items():
        results.add(f"fetch 1.5 GiB to {place}, by {way} (MB/s)", median(r[0] for r in rates),
                    ">= 600" if (place, way) == ("memory", "release") else None)
    for way in ways:
        results.add(f"the same by {way}, one core (MB/s)",
                    median(r[1] for r in found["memory", way]),
                    ">= 600" if way == "release" else None)
