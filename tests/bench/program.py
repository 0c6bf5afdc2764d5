"""The program under test: `wnodes run`, timed from outside, and its own report."""

import json
import os
import pathlib
import resource
import select
import subprocess
import tempfile
import time

TIMEOUT = 120
MEMORY_MIB = 1024  # of a VM, where nothing else is asked for

BUILD = pathlib.Path(os.environ["BENCH_BUILD"])
WNODES = str(BUILD / "wnodes")
STORE = pathlib.Path(os.environ["XDG_DATA_HOME"]) / "wnodes"

BARE = ("--network", "none", "--mount", "none")

# What a template must have for such runs, and for those with all that a job needs.
BARE_DEVICES = ("--network", "none", "--shares", "0")
FULL_DEVICES = ("--network", "user", "--shares", "2", "--scratch")


def ask(*command):
    """What a verb prints as JSON."""
    return json.loads(subprocess.check_output([WNODES, *command, "--json"], timeout=TIMEOUT))


def image():
    """The image's parts as paths, its disk's size and its kernel command line."""
    show = ask("image", "show", "debian")
    parts = {p["kind"]: STORE / "blobs" / p["digest"] for p in show["parts"]}
    return parts["kernel"], parts["initrd"], parts["disk"], show["disk_size"], show["command_line"]


def warm(*options, devices=BARE_DEVICES):
    """Makes the template, if need be. Returns the seconds that this took."""
    began = time.monotonic()
    subprocess.run([WNODES, "image", "warm", "--quiet", *devices, *options, "debian"], check=True,
                   timeout=TIMEOUT)
    return time.monotonic() - began


def template(cpus=1, memory_mib=MEMORY_MIB):
    """The template of this shape as `wnodes template list` shows it."""
    return next(t for t in ask("template", "list")
                if t["cpus"] == cpus and t["memory_bytes"] == memory_mib << 20 and t["shares"] == 0)


def pss_mib(pid):
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no Pss")


class Run:
    """A `wnodes run` that has ended: `took` seconds from exec to exit, and what these were."""

    def __init__(self, took, usage, report):
        self.took = took
        self.report = report
        self.start = report["start"]
        self.all_cpu = usage.ru_utime + usage.ru_stime

    def phase(self, name):
        return next((p["duration_s"] for p in self.report["phases"] if p["phase"] == name), 0.0)

    def start_part(self, name):
        return self.start.get(name, 0.0)

    def own_cpu(self):
        """Processor time of wnodes and of the tools that it ran, without QEMU's."""
        usage = self.report["usage"]
        return self.all_cpu - usage["user_s"] - usage["system_s"]

    def own_wall(self):
        """From exec to QEMU's start, and from QEMU's end to exit: nobody else is waited for."""
        waited = (sum(self.start_part(p) for p in ("qemu_s", "restore_s", "guest_s")) +
                  sum(self.phase(p) for p in ("prepare", "run", "stop")))
        return self.took - waited

    def own_wall_with_stop(self):
        """The same, and all that follows the command's end: the guest flushes, QEMU ends."""
        return self.own_wall() + self.phase("stop")


def wait_for(pid):
    """The resource usage of our child `pid`, once it has ended well."""
    pidfd = os.pidfd_open(pid)
    try:
        if not select.select([pidfd], [], [], TIMEOUT)[0]:
            os.kill(pid, 9)
    finally:
        os.close(pidfd)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise RuntimeError(f"wnodes run ended with {os.waitstatus_to_exitcode(status)}")
    return usage


def seconds(*command, how="clone", options=BARE):
    """What a whole `wnodes run` takes, without a report, for which the VM would be asked more."""
    began = time.monotonic()
    wait_for(os.posix_spawn(WNODES, [WNODES, "run", "--start", how, *options, "--", *command],
                            os.environ))
    return time.monotonic() - began


def run(*command, how="clone", options=BARE, stdin=None, stdout=None):
    """A whole `wnodes run`. Its report is written to memory: flushing a disk is not its work."""
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    actions = [(os.POSIX_SPAWN_DUP2, file.fileno(), number)
               for number, file in ((0, stdin), (1, stdout)) if file]
    with tempfile.NamedTemporaryFile(dir=memory, suffix=".json") as report:
        argv = [WNODES, "run", "--start", how, *options, "--report", report.name, "--", *command]
        began = time.monotonic()
        pid = os.posix_spawn(WNODES, argv, os.environ, file_actions=actions)
        usage = wait_for(pid)
        return Run(time.monotonic() - began, usage, json.load(open(report.name)))


class Living:
    """A VM that answers each line with the same line, until it is told to end."""

    def __init__(self, how="clone", options=BARE):
        self.process = subprocess.Popen([WNODES, "run", "--start", how, *options, "--", "cat"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        self.process.stdin.write(b"hello\n")
        self.process.stdin.flush()

    def end(self):
        """None, or why it did not end well."""
        try:
            _, messages = self.process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            _, messages = self.process.communicate()
        if self.process.returncode == 0:
            return None
        return f"status {self.process.returncode}: {messages.decode(errors='replace').strip()}"


def wait_for_answers(living, seconds=TIMEOUT):
    """Returns when all have answered, or how many have not after `seconds` or by their end."""
    waiting = {v.process.stdout.fileno() for v in living}
    deadline = time.monotonic() + seconds
    silent = 0
    while waiting and time.monotonic() < deadline:
        ready, _, _ = select.select(list(waiting), [], [], deadline - time.monotonic())
        for fd in ready:
            waiting.remove(fd)
            silent += os.read(fd, 64) != b"hello\n"
    return len(waiting) + silent


def start_living(count, how):
    """`count` VMs at once. Returns them, the seconds until the last answer, and the silent ones."""
    began = time.monotonic()
    living = [Living(how) for _ in range(count)]
    silent = wait_for_answers(living)
    return living, time.monotonic() - began, silent


def allow_descriptors():
    """Three pipes for each of many VMs."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
