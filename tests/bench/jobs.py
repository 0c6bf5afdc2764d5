"""The local queue: how fast jobs get into it, and through it."""

import os
import pathlib
import subprocess
import tempfile
import time
from statistics import median

import program

JOBS = 100


class Queue:
    """A queue of its own, whose CPUs a first job holds until it is told to go."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.env = dict(os.environ, XDG_STATE_HOME=str(self.directory / "state"),
                        XDG_CONFIG_HOME=str(self.directory / "config"))
        config = self.directory / "config/wnodes/wnodes.conf"
        config.parent.mkdir(parents=True)
        config.write_text(f"[lrms]\ntype = local\ncpus = {os.cpu_count()}\nmemory = 1G\n")
        os.mkfifo(self.directory / "gate")
        self.first = self.submit("sh", "-c", "read line <gate", cpus=os.cpu_count())
        while self.states() != ["running"]:
            time.sleep(0.01)

    def call(self, *words):
        return subprocess.check_output([program.WNODES, *words], env=self.env, text=True,
                                       cwd=self.directory, timeout=program.TIMEOUT)

    def submit(self, *command, cpus=1):
        return self.call("submit", "--no-vm", "--cpus", str(cpus), "--memory", "1M", "--output",
                         "/dev/null", "--error", "/dev/null", "--", *command).strip()

    def states(self):
        return self.call("queue").split("\n")[1].split()[2:3]

    def open_gate(self):
        (self.directory / "gate").write_text("go\n")


def bench_queue(results, rounds):
    submitted, done = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as directory:
            queue = Queue(directory)
            began = time.monotonic()
            ids = [queue.submit("true") for _ in range(JOBS)]
            submitted.append(JOBS / (time.monotonic() - began))
            began = time.monotonic()
            queue.open_gate()
            queue.call("wait", *ids)
            done.append(JOBS / (time.monotonic() - began))
            while queue.call("queue", "--quiet"):
                time.sleep(0.01)
    results.add("local queue: submissions (a second)", median(submitted))
    results.add("local queue: jobs of true, no VM (a second)", median(done))
