"""The site's controller: leases, reads, 10,000 simulated nodes, and the loss of one of two."""

import contextlib
import json
import os
import pathlib
import select
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from statistics import median

import program

LOAD = program.BUILD / "tests/bench/site-load"
POSTGRES = pathlib.Path(__file__).resolve().parents[1] / "postgres"
CLIENTS = 64
SECONDS = 5
NODES = int(os.environ.get("BENCH_NODES", "10000"))
VMS = 10
INTERVAL = 30
NODES_TIME = 600  # at most, until all of them have told what they have
POOL = {"vlan": 0, "host_pattern": "wn-%04d", "first_address": "10.1.0.1", "size": 4000,
        "prefix": 16, "mac_prefix": "52:54:01"}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Controller:
    """One of a site, with a socket and a port."""

    def __init__(self, directory, database):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(exist_ok=True)
        self.socket = self.directory / "socket"
        self.local, self.remote = f"unix:{self.socket}", f"https://localhost:{free_port()}"
        self.config = self.directory / "controller.conf"
        self.config.write_text(f"""[controller]
listen = 127.0.0.1:{self.remote.split(":")[-1]}
socket = {self.socket}
database = {database}
state = {self.directory}/state
user = root
administrators = root
connections = {NODES + 2000}
address_connections = {NODES + 1000}
log_level = warning
""")

    def start(self):
        with open(self.directory / "log", "a") as log:
            self.process = subprocess.Popen([f"{program.WNODES}-controller", "--config",
                                             self.config], stderr=log)
        end = time.monotonic() + program.TIMEOUT
        while True:
            with contextlib.suppress(OSError, subprocess.CalledProcessError, ValueError):
                if self.ask("GET", "/healthz")["status"] == "ok":
                    return self
            if time.monotonic() > end or self.process.poll() is not None:
                raise RuntimeError((self.directory / "log").read_text())
            time.sleep(0.05)

    def stop(self):
        self.process.terminate()
        self.process.wait(program.TIMEOUT)

    def kill(self):
        self.process.kill()
        self.process.wait(program.TIMEOUT)

    def ask(self, method, path, body=None):
        command = ["curl", "-sS", "--fail-with-body", "-m", "60", "--unix-socket", self.socket,
                   "-X", method, f"http://controller{path}"]
        if body is not None:
            command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        return json.loads(subprocess.check_output(command, stderr=subprocess.DEVNULL))

    def options(self):
        """Of site-load, for somebody who comes by HTTPS and may do all."""
        ca = self.directory / "ca.pem"
        ca.write_text(self.ask("GET", "/v1/ca")["certificate"])
        token = self.ask("PUT", f"/v1/tokens/{uuid.uuid4()}",
                         {"kind": "bearer", "roles": ["administrator"]})["token"]
        return ["--ca", ca, "--token", token]

    def cpu(self):
        """Seconds of processor time that it has had."""
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def sqlite(directory):
    yield f"sqlite:{directory}/site.db"


@contextlib.contextmanager
def postgres(directory):
    """None where there is no PostgreSQL."""
    place = f"{directory}/postgres"
    up = subprocess.run([POSTGRES / "up.sh", "--open", place], stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE, text=True)
    if up.returncode not in (0, 77):
        raise RuntimeError(up.stderr)
    try:
        yield up.stdout.strip() or None
    finally:
        if up.returncode == 0:
            subprocess.run([POSTGRES / "down.sh", place], check=True)


@contextlib.contextmanager
def site(database, count=1):
    """So many controllers on a fresh database; None where there is none of this kind."""
    with tempfile.TemporaryDirectory(dir=program.BUILD) as directory:
        os.chmod(directory, 0o711)
        with database(directory) as url:
            controllers = [Controller(f"{directory}/{i}", url) for i in range(count)] if url else []
            try:
                for controller in controllers:
                    controller.start()
                if url:
                    controllers[0].ask("PUT", "/v1/pools/load", POOL)
                yield controllers or None
            finally:
                for controller in controllers:
                    controller.stop()


def load(mode, *options):
    """What site-load prints at its end."""
    done = subprocess.run([LOAD, mode, *map(str, options)], stdout=subprocess.PIPE,
                          timeout=program.TIMEOUT)
    return json.loads(done.stdout.splitlines()[-1])


def bench_leases(results, rounds):
    for name, database, goal in (("SQLite", sqlite, 1500), ("PostgreSQL", postgres, 1000)):
        with site(database) as controllers:
            if not controllers:
                print(f"there is no {name}: leases are not measured with it")
                continue
            cpu = controllers[0].cpu()
            runs = [load("leases", "--clients", CLIENTS, "--seconds", SECONDS,
                         controllers[0].local) for _ in range(rounds)]
            cpu = controllers[0].cpu() - cpu
        results.add(f"controller: leases given and returned a second, {CLIENTS} clients, {name}",
                    median(run["pairs_s"] for run in runs), f">= {goal}")
        results.add(f"controller: a lease, {name}, p99 (ms)",
                    median(run["give"]["p99_ms"] for run in runs))
        results.add(f"controller: a lease given and returned, {name}, processor time (ms)",
                    cpu * 1000 / sum(run["pairs"] for run in runs))
        results.add(f"controller: leases that failed, {name}",
                    sum(run["failed"] for run in runs), "<= 0")


class Nodes:
    """Simulated nodes, until their time is over. What they print is read line by line."""

    def __init__(self, controller, seconds, *options):
        command = [LOAD, "nodes", "--nodes", NODES, "--vms", VMS, "--ramp", INTERVAL, "--interval",
                   INTERVAL, "--seconds", seconds, *options, "--ca", controller.directory / "ca.pem",
                   controller.local, controller.remote]
        self.process = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE)
        self.file = os.fdopen(os.dup(self.process.stdout.fileno()))

    def read(self):
        if not select.select([self.file], [], [], NODES_TIME)[0]:
            raise RuntimeError("the simulated nodes say nothing")
        line = self.file.readline()
        if not line:
            raise RuntimeError("the simulated nodes have failed")
        return json.loads(line)

    def stop(self):
        self.process.terminate()
        self.process.wait(program.TIMEOUT)
        self.file.close()


def measure_nodes(controller, kind, results, *options):
    """Reads while all nodes send their heartbeats."""
    identity = controller.options()
    nodes = Nodes(controller, NODES_TIME + 90, *options)
    try:
        nodes.read()  # joined
        nodes.read()  # told all
        cpu, began = controller.cpu(), time.monotonic()
        reads = load("reads", "--clients", 16, "--seconds", 40, "--rate", 100, "--nodes", NODES,
                     "--vms", VMS, *identity, controller.remote)
        share = (controller.cpu() - cpu) / (time.monotonic() - began)
        memory = program.pss_mib(controller.process.pid)
    finally:
        nodes.stop()
    name = f"controller, {NODES} nodes and {NODES * VMS} VMs, {kind}"
    results.add(f"{name}: reads, p99 (ms)", reads["all"]["p99_ms"], "<= 50")
    results.add(f"{name}: a page of 100 VMs, p50 (ms)", reads["vm_page"]["p50_ms"], "<= 5")
    results.add(f"{name}: a page of 100 VMs, p99 (ms)", reads["vm_page"]["p99_ms"])
    results.add(f"{name}: reads that failed", reads["failed"], "<= 0")
    results.add(f"{name}: memory (MiB PSS)", memory, "<= 300")
    results.add(f"{name}: processor time a second (s)", share)


def measure_reads(controller, results, rounds):
    """One VM, and a page of 100, as fast as it goes."""
    identity = controller.options()
    for kind, what, goal in (("vm", "one VM", ">= 20000"), ("vm_page", "100 VMs", None)):
        cpu = controller.cpu()
        runs = [load("reads", "--clients", 32, "--seconds", SECONDS, "--kind", kind, "--nodes",
                     NODES, "--vms", VMS, *identity, controller.remote) for _ in range(rounds)]
        results.add(f"controller: reads of {what} a second, TLS, keep-alive",
                    median(run["reads_s"] for run in runs), goal)
        results.add(f"controller: a read of {what}, processor time (ms)",
                    (controller.cpu() - cpu) * 1000 / sum(run["reads"] for run in runs))


def bench_nodes(results, rounds):
    with site(sqlite) as controllers:
        measure_nodes(controllers[0], "connections that stay", results)
        measure_reads(controllers[0], results, rounds)
    with site(sqlite) as controllers:
        measure_nodes(controllers[0], "a connection for each heartbeat", results, "--once")


def lose_one(controllers):
    """Kills one and the other in turn, while leases are given."""
    time.sleep(2)
    for controller in controllers:
        controller.kill()
        time.sleep(2)
        controller.start()
        time.sleep(1)


def bench_failover(results, rounds):
    runs = []
    with site(postgres, 2) as controllers:
        if not controllers:
            print("there is no PostgreSQL: fail-over is not measured")
            return
        for _ in range(rounds):
            killer = threading.Thread(target=lose_one, args=(controllers,))
            killer.start()
            runs.append(load("leases", "--clients", CLIENTS, "--seconds", 12, "--check",
                             *(controller.local for controller in controllers)))
            killer.join()
    results.add("fail-over: the longest that a call took, controllers killed (s)",
                median(run["outage_s"] for run in runs), "<= 3")
    results.add("fail-over: the same, the worst of all rounds (s)",
                max(run["outage_s"] for run in runs))
    results.add("fail-over: calls that failed after retry", sum(run["failed"] for run in runs),
                "<= 0")
    results.add("fail-over: leases given twice", sum(run["twice"] for run in runs), "<= 0")
