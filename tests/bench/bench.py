"""The benchmark: bench.py BUILD ROUNDS. See bench.sh, which prepares its surroundings."""

import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

BUILD = pathlib.Path(sys.argv[1])
ROUNDS = max(5, int(sys.argv[2]))
WNODES = str(BUILD / "wnodes")
STORE = pathlib.Path(os.environ["XDG_DATA_HOME"]) / "wnodes"
TIMEOUT = 120
MIB = 1048576


def image():
    """The image's parts as paths, and its kernel command line."""
    show = json.loads(subprocess.check_output([WNODES, "image", "show", "--json", "debian"]))
    parts = {p["kind"]: STORE / "blobs" / p["digest"] for p in show["parts"]}
    return parts["kernel"], parts["initrd"], parts["disk"], show["disk_size"], show["command_line"]


def qemu(kernel, initrd, command_line, port_socket, disk=None):
    """The command line of QEMU by hand: the machine that wnodes makes, and nothing else."""
    args = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-machine", "q35,usb=off,vmport=off,smbus=off,sata=on,hpet=off",
            "-accel", "tcg,thread=multi", "-cpu", "max,-erms", "-smp", "1", "-m", "1024M",
            "-kernel", str(kernel), "-initrd", str(initrd), "-append", command_line,
            "-chardev", f"socket,id=agent,path={port_socket}",
            "-chardev", "null,id=console", "-serial", "chardev:console",
            "-device", "virtio-serial-pci",
            "-device", "virtserialport,chardev=agent,name=org.wnodes.agent.0"]
    if disk:
        args += ["-drive", f"file={disk},format=qcow2,if=none,id=d,cache=unsafe",
                 "-device", "virtio-blk-pci,drive=d"]
    return args


def boot_by_hand(args, port_socket):
    """Seconds from exec to the first byte from the guest."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(port_socket)
    server.listen(1)
    server.settimeout(TIMEOUT)
    start = time.monotonic()
    process = subprocess.Popen(args)
    try:
        connection, _ = server.accept()
        connection.settimeout(TIMEOUT)
        if not connection.recv(1):
            raise RuntimeError("QEMU ended before the guest answered")
        return time.monotonic() - start
    finally:
        process.kill()
        process.wait()
        server.close()
        os.unlink(port_socket)


def run(*command, **more):
    """Seconds that a whole `wnodes run` takes, and its report."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        start = time.monotonic()
        subprocess.run([WNODES, "run", "--network", "none", "--mount", "none", "--report",
                        report.name, "--", *command], check=True, timeout=TIMEOUT, **more)
        took = time.monotonic() - start
        return took, json.load(open(report.name))


def phase(report, name):
    return next(p["duration_s"] for p in report["phases"] if p["phase"] == name)


def busybox_initrd(directory, initrd):
    """A bare guest: busybox as init, which loads the console's modules and says hello."""
    root = pathlib.Path(directory) / "root"
    subprocess.run(["mkdir", "-p", root / "bin", root / "dev", root / "proc", root / "sys"], check=True)
    subprocess.run(f"cd {root} && cpio -idm --quiet --no-absolute-filenames < {initrd} 2>/dev/null; true",
                   shell=True, check=True)
    shutil.copy(shutil.which("busybox"), root / "bin/busybox")
    (root / "init").unlink()
    (root / "init").write_text(
        "#!/bin/busybox sh\n"
        "busybox mount -t devtmpfs dev /dev\n"
        "while read m; do case $m in *virtio*) busybox insmod $m;; esac; done < /modules\n"
        "while [ ! -e /dev/vport0p1 ]; do :; done\n"
        "echo hello > /dev/vport0p1\n"
        "while :; do busybox sleep 1; done\n")
    (root / "init").chmod(0o755)
    made = pathlib.Path(directory) / "bare.img"
    subprocess.run(f"cd {root} && find . | cpio -o -H newc --quiet > {made}", shell=True, check=True)
    return made


def pss(pid):
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no Pss")


def median(values):
    return statistics.median(values)


def bench_start(results, directory):
    kernel, initrd, base, size, command_line = image()
    disk = str(pathlib.Path(directory) / "disk.qcow2")
    bare = busybox_initrd(directory, initrd)
    port = str(pathlib.Path(directory) / "port")
    hand, whole, boot, busybox = [], [], [], []
    for _ in range(ROUNDS):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", disk, str(size)],
                       check=True)
        hand.append(boot_by_hand(qemu(kernel, initrd, command_line, port, disk), port))
        took, report = run("true")
        whole.append(took)
        boot.append(phase(report, "boot"))
        busybox.append(boot_by_hand(qemu(kernel, bare, command_line, port), port))
    results["cold start: wnodes run -- true (s)"] = (median(whole), None)
    results["cold start: QEMU by hand to the agent's first byte (s)"] = (median(hand), None)
    results["cold start, ratio"] = (median([a / b for a, b in zip(whole, hand)]), "<= 1.15")
    results["boot to agent ready (s)"] = (median(boot), None)
    results["boot of a bare busybox guest (s)"] = (median(busybox), None)
    results["boot, ratio to the bare guest"] = (median([a / b for a, b in zip(boot, busybox)]), "<= 2")


def bench_streams(results):
    size = 512 * MIB
    out, into = [], []
    zeros = ["dd", "if=/dev/zero", "bs=1M", f"count={size // MIB}", "status=none"]
    for _ in range(ROUNDS):
        with open("/dev/null", "wb") as null:
            _, report = run(*zeros, stdout=null)
        out.append(size / 1e6 / phase(report, "run"))
        source = subprocess.Popen(zeros, stdout=subprocess.PIPE)
        _, report = run("dd", "of=/dev/null", "bs=1M", "iflag=fullblock", "status=none",
                        stdin=source.stdout)
        source.stdout.close()
        source.wait()
        into.append(size / 1e6 / phase(report, "run"))
    results["stdout (MB/s)"] = (median(out), ">= 100")
    results["stdin (MB/s)"] = (median(into), ">= 100")


def bench_memory(results):
    ours, agents = [], []
    for _ in range(5):
        process = subprocess.Popen([WNODES, "run", "--network", "none", "--mount", "none", "--",
                                    "sh", "-c", "grep -i ^pss: /proc/1/smaps_rollup; read x"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = process.stdout.readline()
        ours.append(pss(process.pid))
        if line.startswith("Pss:"):
            agents.append(int(line.split()[1]) / 1024)
        process.communicate("\n", timeout=TIMEOUT)
    results["wnodes, memory while a command runs (MiB PSS)"] = (median(ours), "<= 8")
    if agents:
        results["wnodes-guest, memory (MiB PSS)"] = (median(agents), "<= 2")


def main():
    results = {}
    with tempfile.TemporaryDirectory() as directory:
        bench_start(results, directory)
    bench_streams(results)
    bench_memory(results)
    width = max(map(len, results))
    print(f"medians of {ROUNDS} paired rounds, software emulation, {os.cpu_count()} host CPUs\n")
    for name, (value, goal) in results.items():
        print(f"{name:<{width}}  {value:9.2f}  {goal or ''}")
    with open(BUILD / "bench.json", "w") as file:
        json.dump({"rounds": ROUNDS, "results": {n: {"median": v, "goal": g}
                                                for n, (v, g) in results.items()}}, file, indent=2)


main()
