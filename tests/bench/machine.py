"""QEMU by hand: the machine that wnodes makes, and nothing else."""

import json
import pathlib
import shutil
import socket
import subprocess
import time

import program
from agent import Agent


class Qmp:
    """QEMU's monitor."""

    def __init__(self, connection):
        self.connection = connection
        self.file = connection.makefile("r")
        self.events = []
        json.loads(self.file.readline())
        self.execute("qmp_capabilities")

    def _read(self):
        line = self.file.readline()
        if not line:
            raise RuntimeError("QEMU's monitor has closed")
        return json.loads(line)

    def execute(self, command, **arguments):
        """What the command returns."""
        message = json.dumps({"execute": command, "arguments": arguments})
        self.connection.sendall(message.encode() + b"\n")
        while True:
            answer = self._read()
            if "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
            self.events.append(answer)

    def human(self, line):
        text = self.execute("human-monitor-command", **{"command-line": line})
        if text:
            raise RuntimeError(f"{line}: {text.strip()}")

    def wait_for_migration(self):
        while True:
            event = self.events.pop(0) if self.events else self._read()
            status = event.get("data", {}).get("status")
            if event.get("event") == "MIGRATION" and status in ("completed", "failed"):
                break
        if status == "failed":
            raise RuntimeError("QEMU could not move the devices' state")


class Machine:
    """A running QEMU with its agent's channel; its monitor is connected when it is first used."""

    def __init__(self, args):
        agent, their_agent = socket.socketpair()
        monitor, their_monitor = socket.socketpair()
        fds = (their_agent.fileno(), their_monitor.fileno())
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", *args,
             "-chardev", f"socket,id=agent,fd={fds[0]}", "-device", "virtio-serial-pci",
             "-device", "virtserialport,chardev=agent,name=org.wnodes.agent.0",
             "-chardev", f"socket,id=qmp,fd={fds[1]}", "-mon", "chardev=qmp,mode=control"],
            pass_fds=fds, stdin=subprocess.DEVNULL)
        for end in (agent, monitor):
            end.settimeout(program.TIMEOUT)
        their_agent.close()
        their_monitor.close()
        self.port = agent
        self.agent = Agent(agent)
        self.monitor = monitor
        self._qmp = None

    @property
    def qmp(self):
        self._qmp = self._qmp or Qmp(self.monitor)
        return self._qmp

    def age(self):
        return time.monotonic() - self.began

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.port.close()
        self.monitor.close()


def arguments(kernel, initrd, command_line, disk=None, memory=None, smp="1"):
    """The command line for a Machine, without its channels."""
    args = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-machine", "q35,usb=off,vmport=off,smbus=off,sata=on,hpet=off" +
            (",memory-backend=memory" if memory else ""),
            "-accel", "tcg,thread=multi", "-cpu", "max,-erms", "-smp", smp,
            *(memory or ["-m", f"{program.MEMORY_MIB}M"]),
            "-chardev", "null,id=console", "-serial", "chardev:console"]
    if kernel:
        args += ["-kernel", str(kernel), "-initrd", str(initrd), "-append", command_line]
    if disk:
        args += ["-drive", f"file={disk},format=qcow2,if=none,id=d,cache=unsafe",
                 "-device", "virtio-blk-pci,drive=d"]
    return args


def make_overlay(path, base, size=None, form="raw"):
    path.unlink(missing_ok=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", form,
                    str(path)] + ([str(size)] if size else []), check=True)


def boot_to_first_byte(args):
    """Seconds from exec to the first byte from the guest."""
    with Machine(args) as machine:
        if not machine.port.recv(1):
            raise RuntimeError("QEMU ended before the guest answered")
        return machine.age()


def busybox_initrd(directory, initrd):
    """A bare guest: busybox as init, which loads the console's modules and says hello."""
    root = pathlib.Path(directory) / "root"
    subprocess.run(["mkdir", "-p", root / "bin", root / "dev", root / "proc", root / "sys"],
                   check=True)
    subprocess.run(f"cd {root} && cpio -idm --quiet --no-absolute-filenames < {initrd} "
                   "2>/dev/null; true", shell=True, check=True)
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
    subprocess.run(f"cd {root} && find . | cpio -o -H newc --quiet > {made}", shell=True,
                   check=True)
    return made


class ByHand:
    """A command in a VM without wnodes: booted, or from a snapshot inside of the qcow2 file."""

    def __init__(self, directory):
        directory = pathlib.Path(directory)
        self.kernel, self.initrd, self.base, self.size, self.command_line = program.image()
        self.disk = directory / "disk.qcow2"
        self.saved = directory / "saved.qcow2"

    def _arguments(self, disk):
        return arguments(self.kernel, self.initrd, self.command_line, disk)

    def boot(self):
        """Seconds from exec until `true` has ended."""
        make_overlay(self.disk, self.base, self.size)
        with Machine(self._arguments(self.disk)) as machine:
            machine.agent.greet()
            machine.agent.execute("true")
            return machine.age()

    def save(self):
        """A VM that has said its hello and has run `true` once already."""
        make_overlay(self.saved, self.base, self.size)
        with Machine(self._arguments(self.saved)) as machine:
            machine.agent.greet()
            machine.agent.execute("true")
            machine.qmp.execute("stop")
            machine.qmp.human("savevm ready")

    def load(self):
        """Seconds for a copy of the saved disk, and from exec until `true` has ended."""
        began = time.monotonic()
        subprocess.run(["cp", str(self.saved), str(self.disk)], check=True)
        with Machine(self._arguments(self.disk) + ["-loadvm", "ready"]) as machine:
            machine.agent.greet_again()
            machine.agent.execute("true")
            return time.monotonic() - began
