"""Jobs in VMs under Slurm: a cluster of one node with its daemon, on this machine."""

import contextlib
import os
import pathlib
import pwd
import subprocess
import tempfile
import time
from statistics import median

import program

TOOLS = pathlib.Path(__file__).resolve().parents[1] / "slurm"
PLUGIN = program.BUILD / "src/lrms/slurm/plugin/wnodes_slurm.so"
SLOTS, JOBS, JOB_SECONDS = 4, 100, 1
SINGLE_ROUNDS = 20
UNSEEN = "nobody"
VM = ["--vm-image=debian", "--vm-cpus=1", "--vm-memory=512M"]
MEMORY = "--mem=1000"


class Cluster:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.state = self.directory / "state"
        self.home = self.directory / "home"
        self.user = pwd.getpwnam(UNSEEN)
        settings = self.directory / "wnodes.conf"
        settings.write_text("[run]\nnetwork = none\n[vm]\naccel = tcg\nbroker = /run/wnodes/hypervisor\n")
        self.directory.chmod(0o755)
        self.home.mkdir()
        os.chown(self.home, self.user.pw_uid, self.user.pw_gid)
        lines = subprocess.check_output(
            [TOOLS / "up.sh", "--state", self.state, "--build", program.BUILD, "--nodes", "1", "--cpus", str(SLOTS),
             "--memory", "8000", "--hypervisor", program.STORE, "--settings", settings], text=True,
            timeout=program.TIMEOUT)
        self.conf = lines.split("SLURM_CONF=")[1].split("\n")[0]
        self.plugstack = self.state / "etc/plugstack.conf"
        self.with_plugin = self.plugstack.read_text()
        self.env = {"SLURM_CONF": self.conf, "HOME": str(self.home), "PATH": os.environ["PATH"]}

    def down(self):
        subprocess.run([TOOLS / "down.sh", "--state", self.state], check=True, timeout=program.TIMEOUT)

    def call(self, *words):
        """As a user without rights, in a directory that the VM has, too."""
        return subprocess.check_output(words, env=self.env, text=True, cwd=self.home, stdin=subprocess.DEVNULL,
                                       user=self.user.pw_uid, group=self.user.pw_gid, extra_groups=[],
                                       timeout=program.TIMEOUT)

    def seconds(self, *options):
        began = time.monotonic()
        self.call("srun", "--quiet", MEMORY, *options, "/bin/true")
        return time.monotonic() - began

    def warm(self):
        """Until a VM has been a clone of the node's template."""
        for _ in range(60):
            self.call("srun", "--quiet", MEMORY, *VM, "/bin/true")
            with contextlib.suppress(subprocess.CalledProcessError):
                self.call("srun", "--quiet", MEMORY, *VM, "--vm-start=clone", "/bin/true")
                return
            time.sleep(2)
        raise RuntimeError("the node made no template")

    def rate(self, *options):
        """Jobs a second, from the first submission to the end of the last."""
        script = self.directory / "job.sh"
        script.write_text(f"#!/bin/sh\nsleep {JOB_SECONDS}\n")
        script.chmod(0o755)
        began = time.monotonic()
        for _ in range(JOBS):
            self.call("sbatch", "--parsable", MEMORY, "-n1", "-o", "/dev/null", *options, script)
        while self.call("squeue", "-h", "-o", "%A"):
            time.sleep(0.1)
        return JOBS / (time.monotonic() - began)

    def failures(self):
        states = self.call("sacct", "-nXP", "-o", "state", "-S", "now-1hours", "--name=job.sh").split()
        return sum(1 for state in states if state != "COMPLETED")


@contextlib.contextmanager
def cluster():
    with tempfile.TemporaryDirectory() as directory:
        up = Cluster(directory)
        try:
            yield up
        finally:
            up.down()


def bench_plugin(results, slurm, rounds):
    """What a job that wants no VM pays for the plugin. Each goes first in every other round."""
    took = {"": [], slurm.with_plugin: []}
    for number in range(2 * max(rounds, SINGLE_ROUNDS)):
        for lines in sorted(took, reverse=number % 2 == 0):
            slurm.plugstack.write_text(lines)
            took[lines].append(slurm.seconds())
    more = median(a - b for a, b in zip(took[slurm.with_plugin], took[""]))
    results.add("Slurm: srun true, the plugin's part (ms)", 1000 * more, "<= 2")


def bench_single(results, slurm, rounds):
    plain, clone = [], []
    for _ in range(max(rounds, SINGLE_ROUNDS)):
        plain.append(slurm.seconds())
        clone.append(slurm.seconds(*VM))
    more = median(a - b for a, b in zip(clone, plain))
    results.add("Slurm: srun true (s)", median(plain))
    results.add("Slurm: srun --vm-image true (s)", median(clone))
    results.add("Slurm: the VM's part of it (s)", more, "<= 0.25")


def bench_slurm(results, rounds):
    if os.geteuid() != 0 or not PLUGIN.exists():
        print("Slurm needs root and a build with its headers: not measured")
        return
    with cluster() as slurm:
        slurm.warm()
        bench_plugin(results, slurm, rounds)
        slurm.plugstack.write_text(slurm.with_plugin)
        bench_single(results, slurm, rounds)
        plain, inside = slurm.rate(), slurm.rate(*VM)
        results.add(f"Slurm: {JOBS} jobs of {JOB_SECONDS} s on {SLOTS} slots (a second)", plain)
        results.add("Slurm: the same in VMs (a second)", inside)
        results.add("Slurm: VM jobs / plain jobs", inside / plain, ">= 0.5")
        results.add("Slurm: of these, failed", slurm.failures(), "<= 0")
