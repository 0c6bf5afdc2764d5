"""virtiofs as we have it against QEMU and virtiofsd started by hand with the same device: two VMs that
live at the same time, each asked in turn."""

import os
import pathlib
import subprocess
import tempfile
import time
from statistics import median

import machine
import program
from table import Table

MIB = 128
SERVERS = ("/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd")

# Prints the seconds of a write and of a read, as root of the guest.
ROUND = r"""
now() { date +%s.%N; }
drop() { sync; echo 3 >/proc/sys/vm/drop_caches; }
drop; a=$(now); dd if=/dev/zero of=/fs/f bs=1M count=MIB conv=fsync 2>/dev/null; b=$(now)
drop; c=$(now); dd if=/fs/f of=/dev/null bs=1M 2>/dev/null; d=$(now)
echo $a $b $c $d
""".replace("MIB", str(MIB))


def times(line):
    a, b, c, d = map(float, line.split())
    return {"write": b - a, "read": d - c}


class Ours:
    def __init__(self, directory):
        self.process = subprocess.Popen(
            [program.WNODES, "run", *program.BARE, "--start", "boot", "--memory",
             f"{program.MEMORY_MIB}M", "--mount", f"{directory}:/fs:gateway=virtiofs", "--",
             "sh", "-c", f"while read -r line; do {ROUND}\ndone"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate(timeout=program.TIMEOUT)

    def round(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return times(self.process.stdout.readline())


class ByHand:
    """Started as root, whom the agent's commands are, too."""

    def __init__(self, directory, work):
        kernel, initrd, base, size, command_line = program.image()
        socket = work / "socket"
        disk = work / "disk.qcow2"
        machine.make_overlay(disk, base, size)
        server = next(path for path in SERVERS if os.path.exists(path))
        self.server = subprocess.Popen(
            [server, f"--socket-path={socket}", "-o", f"source={directory}", "-o", "cache=auto"],
            stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + program.TIMEOUT
        while not socket.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        memory = ["-m", f"{program.MEMORY_MIB}M", "-object",
                  f"memory-backend-memfd,id=memory,size={program.MEMORY_MIB}M,share=on"]
        self.machine = machine.Machine([
            *machine.arguments(kernel, initrd, command_line, disk, memory),
            "-chardev", f"socket,id=fs,path={socket}",
            "-device", "vhost-user-fs-pci,chardev=fs,tag=fs,queue-size=1024"])

    def __enter__(self):
        self.machine.agent.greet()
        self.machine.agent.execute("sh", "-c", "mkdir -p /fs && mount -t virtiofs fs /fs")
        return self

    def __exit__(self, *arguments):
        self.machine.__exit__(*arguments)
        self.server.kill()
        self.server.wait()

    def round(self):
        self.machine.agent.start("sh", "-c", ROUND)
        found = times(self.machine.agent.read_line())
        self.machine.agent.wait()
        return found


def bench_virtiofs(results, rounds):
    if os.geteuid() != 0 or not any(map(os.path.exists, SERVERS)):
        print("virtiofs: only root measures this, where virtiofsd is installed\n")
        return
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory) as shared, tempfile.TemporaryDirectory() as work:
        directories = [pathlib.Path(shared) / name for name in ("ours", "by-hand")]
        for directory in directories:
            directory.mkdir()
        with Ours(directories[0]) as ours, ByHand(directories[1], pathlib.Path(work)) as by_hand:
            ours.round(), by_hand.round()  # not counted: what is cold is
            pairs = [(ours.round(), by_hand.round()) for _ in range(rounds)]
    table = Table(f"virtiofs, {MIB} MiB, seconds", "wnodes", "by hand", "times as fast")
    for what in ("write", "read"):
        ratio = median(theirs[what] / mine[what] for mine, theirs in pairs)
        table.add(what, *(median(pair[i][what] for pair in pairs) for i in (0, 1)), ratio)
        results.add(f"virtiofs: {what}, against QEMU by hand", ratio, ">= 1.0")
    table.print()
    print(flush=True)
