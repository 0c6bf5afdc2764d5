"""What the node's daemon costs: its own memory, and how many VMs a second it serves."""

import array
import concurrent.futures
import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
from statistics import median

import program

LENT = 50
TAPS = 200
SCRATCH_BYTES = 4 << 30
SECONDS = 2.0
TOGETHER = 32
RECORD = {"schema": 1, "id": "00000000-0000-4000-8000-000000000000", "vm": "vm-1",
          "started": "2026-11-21T17:51:00.250000Z", "ended": "2026-11-21T17:51:00.250000Z",
          "phases": [{"phase": "boot", "start_s": 0.1, "duration_s": 1.5}], "exit_status": 0}


@contextlib.contextmanager
def daemon():
    """A daemon with the image in its store. Gives its socket and its process."""
    with tempfile.TemporaryDirectory() as directory:
        state = pathlib.Path(directory) / "state"
        shutil.copytree(program.STORE, state, copy_function=os.link, symlinks=True,
                        ignore=shutil.ignore_patterns("checked", "tmp", "lock"))
        config = pathlib.Path(directory) / "wnodes.conf"
        config.write_text("[node]\nuser = 64200\nlrms = none\n")
        path = f"{directory}/socket"
        process = subprocess.Popen([f"{program.WNODES}-hypervisor", "--socket", path, "--state",
                                    state, "--config", config], stderr=subprocess.PIPE)
        try:
            process.stderr.readline()
            yield path, process
        finally:
            process.terminate()
            process.wait(program.TIMEOUT)


class Lent:
    """A VM that has what it needs, and is not started."""

    def __init__(self, path, scratch_bytes=0):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(program.TIMEOUT)
        self.socket.connect(path)
        self.socket.send(json.dumps({"op": "open", "image": "debian", "cpus": 1, "memory_mib": 1024,
                                     "scratch_bytes": scratch_bytes}).encode())
        data, control, _, _ = self.socket.recvmsg(200000, socket.CMSG_LEN(8 * 4))
        self.fds = array.array("i")
        for _, _, part in control:
            self.fds.frombytes(part)
        if "descriptors" not in json.loads(data):
            raise RuntimeError(data.decode())

    def record(self, pid):
        """All that a VM does: it starts, and has its record on the disk at its end."""
        self.socket.send(json.dumps({"op": "vm", "pid": pid}).encode())
        self.socket.send(json.dumps({"op": "record", "record": RECORD}).encode())
        answer = self.socket.recv(200000)
        if answer != b"{}":
            raise RuntimeError(answer.decode())

    def end(self):
        self.socket.close()
        for fd in self.fds:
            os.close(fd)


def lend_ms(path, scratch_bytes=0):
    """From the connection to the descriptors, and to the end of the connection that gives them back."""
    began = time.monotonic()
    Lent(path, scratch_bytes).end()
    return 1000 * (time.monotonic() - began)


def rate(path):
    began, count = time.monotonic(), 0
    while time.monotonic() - began < SECONDS:
        Lent(path).end()
        count += 1
    return count / (time.monotonic() - began)


def record_rate(path):
    """VMs a second that end one after the other, and so wait each for the disk; and at once."""
    def serve(end):
        with subprocess.Popen(["sleep", "100"]) as vm:
            count = 0
            while time.monotonic() < end:
                lent = Lent(path)
                lent.record(vm.pid)
                lent.end()
                count += 1
            vm.kill()
        return count

    alone = serve(time.monotonic() + SECONDS) / SECONDS
    end = time.monotonic() + SECONDS
    with concurrent.futures.ThreadPoolExecutor(TOGETHER) as pool:
        together = sum(pool.map(serve, [end] * TOGETHER)) / SECONDS
    return alone, together


def bench_hypervisor(results, rounds):
    if os.geteuid() != 0:
        print("the node's daemon needs root: not measured")
        return
    with daemon() as (path, process):
        idle = program.pss_mib(process.pid)
        Lent(path).end()  # hashes the image once
        lent = [Lent(path) for _ in range(LENT)]
        used = program.pss_mib(process.pid)
        for vm in lent:
            vm.end()
        rates = [rate(path) for _ in range(rounds)]
        records = [record_rate(path) for _ in range(rounds)]
        files = [lend_ms(path, SCRATCH_BYTES) for _ in range(10 * rounds)]
    results.add("node's daemon, idle (MiB PSS)", idle, "<= 8")
    results.add(f"node's daemon with {LENT} VMs lent (MiB PSS)", used, "<= 16")
    results.add("node's daemon: VMs lent and taken back a second", median(rates), ">= 2000")
    results.add("node's daemon: the same with a record each, one after the other",
                median(alone for alone, _ in records))
    results.add(f"node's daemon: the same with a record each, {TOGETHER} at once",
                median(together for _, together in records))
    results.add("node's daemon: a VM with a scratch file lent and returned (ms)", median(files), "<= 15")


def bench_taps(results, rounds):
    """In a network of its own, which ends with the program."""
    if os.geteuid() != 0 or not os.access("/dev/net/tun", os.W_OK):
        print("taps need root and /dev/net/tun: not measured")
        return
    command = ["unshare", "--net", program.BUILD / "tests/bench/taps", str(TAPS)]
    rates = [int(subprocess.check_output(command, text=True, timeout=program.TIMEOUT).split()[0])
             for _ in range(rounds)]
    results.add(f"{TAPS} taps with address, rules and rate, made and removed (a second)", median(rates), ">= 100")
