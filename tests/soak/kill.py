"""Rounds of jobs in VMs, of each of which something is killed: see kill.sh."""
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

TESTER = 64321
ROUND_S = 300
RECORDS_S = 60
PATIENCE_S = 5
# Slurm believes for so long in a job that its node does not know: BatchStartTimeout and MessageTimeout.
BELIEF_S = 20
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "REQUEUED"}

# What is killed: the name of its process (15 characters), as the kernel has it.
VICTIMS = {
    "job starter": "wnodes-bait",
    "QEMU": "qemu-system-x86",
    "hypervisor daemon": "wnodes-hypervis",
    "slurmstepd": "slurmstepd",
    "slurmd": "slurmd",
}

SCRIPT = """#!/bin/sh
echo begin $SLURM_RESTART_COUNT
sleep 1
echo end
"""


class Cluster:
    def __init__(self, state):
        self.state = pathlib.Path(state)
        self.top = self.state.parent
        self.home = self.top / "home"
        self.tools = pathlib.Path(__file__).resolve().parent.parent / "slurm"
        self.nodes = run("sinfo", "-h", "-N", "-o", "%N").split()
        self.script = self.top / "job.sh"
        self.script.write_text(SCRIPT)
        self.script.chmod(0o755)
        self.waiting = {}  # jobs that wait, and since when

    def on(self, node, *command):
        return run(str(self.tools / "on.sh"), "--state", str(self.state), node, *command)

    def as_tester(self, *command):
        files = "".join(f"mount --bind {self.state}/etc/{f} /etc/{f}; " for f in ("hosts", "passwd", "group"))
        return ["unshare", "--mount", "--propagation", "slave", "sh", "-ec", files + 'cd "$HOME"; exec "$@"', "sh",
                "setpriv", f"--reuid={TESTER}", f"--regid={TESTER}", "--clear-groups", *command]

    def environment(self):
        return {"HOME": str(self.home), "PATH": os.environ["PATH"], "SLURM_CONF": os.environ["SLURM_CONF"]}

    def submit(self):
        return subprocess.run(
            self.as_tester("sbatch", "--parsable", "--mem=1000", "--vm-image=debian", "--vm-cpus=1",
                           "--vm-memory=256M", "-o", f"{self.home}/%j.out", str(self.script)),
            env=self.environment(), check=True, capture_output=True, text=True, timeout=60).stdout.strip()

    def step(self):
        return subprocess.Popen(
            self.as_tester("timeout", "-k", "5", str(ROUND_S), "srun", "--quiet", "--mem=1000", "-n2",
                           "--vm-image=debian", "--vm-cpus=1", "--vm-memory=256M", "sleep", "1"),
            env=self.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def processes(self, name):
        """The processes of this name that belong to this cluster."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if (entry / "comm").read_text().strip() != name:
                    continue
                if str(self.state).encode() in (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
        return found

    def start_slurmd(self):
        for node in self.nodes:
            pid = self.state / "run" / f"slurmd-{node}.pid"
            if not pid.exists() or not pathlib.Path("/proc", pid.read_text().strip()).exists():
                self.on(node, "slurmd", "-f", os.environ["SLURM_CONF"])

    def renew_slurmd(self):
        """Nodes register anew, by which Slurm sees which jobs they have lost. By itself it does within minutes."""
        time.sleep(BELIEF_S + 3)
        for pid in self.processes("slurmd"):
            os.kill(pid, signal.SIGTERM)
        wait(10, lambda: not self.processes("slurmd"))
        self.start_slurmd()

    def active(self):
        return [line.split() for line in run("squeue", "-h", "-o", "%A %t").splitlines()]

    def hasten(self):
        """A job that was put back would wait for minutes, and a node that lost its jobs stay down. A node that has
        not done with a job refuses it."""
        for job, state in self.active():
            if state != "PD":
                self.waiting.pop(job, None)
            elif time.monotonic() - self.waiting.setdefault(job, time.monotonic()) > PATIENCE_S:
                run("scontrol", "update", f"jobid={job}", "starttime=now", check=False)
        for node in self.nodes:
            if run("sinfo", "-h", "-n", node, "-o", "%T").startswith(("down", "drain")):
                run("scontrol", "update", f"nodename={node}", "state=resume", check=False)

    def left(self):
        """What is left of VMs when no job is there."""
        found = [f"{name}: {pids}" for name in ("QEMU", "job starter", "slurmstepd")
                 if (pids := self.processes(VICTIMS[name]))]
        for node in self.nodes:
            lib = self.state / "nodes" / node / "lib"
            answer = run(str(self.tools / "on.sh"), "--state", str(self.state), node, "wnodes", "node", "show",
                         "--json", check=False)
            vms = json.loads(answer)["vms"] if answer else "no answer"
            if vms != 0:
                found.append(f"{node} lends to {vms} VMs")
            found += [str(f) for f in (lib / "instances").rglob("*") if f.is_file()]
        return found


    def records(self):
        """The usage records of the nodes."""
        lines = []
        for node in self.nodes:
            file = self.state / "nodes" / node / "lib" / "records.jsonl"
            lines += file.read_text().splitlines() if file.exists() else []
        return [json.loads(line) for line in lines]

    def without_record(self, jobs):
        """The jobs whose command ran in a VM of which there is no record."""
        recorded = {record["job"]["id"] for record in self.records() if record["job"]}
        return [job for job in jobs if job not in recorded and "begin" in self.output(job)]

    def output(self, job):
        file = self.home / f"{job}.out"
        return file.read_text() if file.exists() else ""


def run(*command, check=True):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    if check and done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    return done.stdout.strip()


def wait(seconds, done, meanwhile=lambda: None):
    end = time.monotonic() + seconds
    while not (result := done()):
        if time.monotonic() > end:
            return None
        meanwhile()
        time.sleep(0.3)
    return result


def states_of(job):
    """How the job ended, each time that it was started, by Slurm's records."""
    return [line.split()[0] for line in run("sacct", "-nX", "-D", "-P", "-j", job, "-o", "state").splitlines() if line]


def has_ended(job):
    states = states_of(job)
    return bool(states) and states[-1] in ENDED


def outcome(job, cluster):
    """What Slurm's records say of the job, some seconds late, and what is wrong with that."""
    wait(20, lambda: has_ended(job))
    states = states_of(job)
    text = cluster.output(job)
    if not states or states[-1] not in ENDED:
        return states, f"job {job} is lost: {states}"
    if states[-1] == "COMPLETED" and not text.rstrip().endswith("end"):
        return states, f"job {job} is said to have completed, and did not: {text!r}"
    return states, None


def play(cluster, kind, rng):
    jobs = [cluster.submit() for _ in range(2)]
    step = cluster.step()
    time.sleep(rng.uniform(0, 2.5))
    victims = wait(5, lambda: cluster.processes(VICTIMS[kind])) or []
    victim = rng.choice(victims) if victims else None
    if victim:
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            victim = None
    time.sleep(0.5)
    cluster.start_slurmd()
    if kind == "slurmstepd":
        cluster.renew_slurmd()
        # With or without a VM, srun waits for ever for a step whose slurmstepd was killed.
        run("scancel", "--name=sleep", check=False)
    wait(ROUND_S, lambda: not cluster.active(), cluster.hasten)
    wrong = [f"still there: {cluster.active()}"] if cluster.active() else []
    if wrong:
        run("scancel", "-u", str(TESTER), check=False)
    try:
        step.wait(timeout=30)
    except subprocess.TimeoutExpired:
        wrong.append("srun does not end")
        step.kill()
    states = []
    for job in jobs:
        state, problem = outcome(job, cluster)
        states.append("+".join(state))
        if state and state[-1] not in ("COMPLETED", "REQUEUED"):
            states[-1] += f" {cluster.output(job)!r}"
        wrong += [problem] if problem else []
    if not wait(20, lambda: not cluster.left()):
        wrong += cluster.left()
    # A daemon that was killed waits for the programs of its VMs before it writes what it knows of them.
    if not wait(RECORDS_S, lambda: not cluster.without_record(jobs)):
        wrong += [f"no record of job {job}" for job in cluster.without_record(jobs)]
    return victim, states, wrong


def main():
    cluster = Cluster(sys.argv[1])
    rounds, seed = int(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(seed)
    failures = 0
    print(f"seed {seed}", flush=True)
    for number in range(rounds):
        kind = list(VICTIMS)[number % len(VICTIMS)]
        begin = time.monotonic()
        victim, states, wrong = play(cluster, kind, rng)
        print(f"round {number + 1}: {kind}{'' if victim else ' (none was there)'}: {' '.join(states)}, "
              f"{time.monotonic() - begin:.0f} s", *wrong, sep="\n  ", flush=True)
        failures += bool(wrong)
    ids = [record["id"] for record in cluster.records()]
    if len(ids) != len(set(ids)):
        failures += 1
        print(f"{len(ids) - len(set(ids))} records were written twice")
    print(f"{len(ids)} records of VMs")
    print(f"{rounds} rounds, {failures} with something wrong")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
