"""How fast an image reaches many nodes: real porters on machines of their own, by network namespaces, each with
a link of 200 Mbit/s both ways; aria2 beside them; and thousands of nodes in one process (swarm_sim.c)."""

import contextlib
import hashlib
import http.server
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
import porter  # noqa: E402 pylint: disable=wrong-import-position
import swarm_origin  # noqa: E402 pylint: disable=wrong-import-position

LINK = "200mbit"
SIZE = 256 << 20
PIECE = 1 << 20
NETWORK = "10.79.0"
PATIENCE = 180
ROUNDS_MAX = 3


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, timeout=20)


class Machines:
    """Namespaces on one bridge, which is in a namespace too: nothing of the host's network is touched."""

    def __init__(self, count):
        self.tag = f"wb{os.getpid() % 10000}"
        self.hub = f"{self.tag}-hub"
        self.names = [f"{self.tag}-{i}" for i in range(count)]
        self.addresses = [f"{NETWORK}.{i + 1}" for i in range(count)]

    def __enter__(self):
        ip("netns", "add", self.hub)
        ip("-n", self.hub, "link", "set", "lo", "up")
        ip("-n", self.hub, "link", "add", "bridge", "type", "bridge")
        ip("-n", self.hub, "link", "set", "bridge", "up")
        ip("-n", self.hub, "addr", "add", f"{NETWORK}.254/24", "dev", "bridge")
        for name, address in zip(self.names, self.addresses):
            port = f"p{name.rsplit('-', 1)[1]}"
            ip("netns", "add", name)
            ip("-n", self.hub, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("-n", self.hub, "link", "set", port, "master", "bridge", "up")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            for machine, device in ((self.hub, port), (name, "eth0")):
                subprocess.run(["tc", "-n", machine, "qdisc", "add", "dev", device, "root", "tbf", "rate", LINK,
                                "burst", "256k", "latency", "50ms"], check=True, timeout=20)
        return self

    def __exit__(self, *_):
        for name in (*self.names, self.hub):
            subprocess.run(["ip", "netns", "del", name], check=False, timeout=20)


def send_plainly(machines, ready):
    porter.enter(machines.names[0])
    with socket.create_server((machines.addresses[0], 7777)) as server:
        ready.set()
        connection, _ = server.accept()
        piece = os.urandom(PIECE)
        with connection:
            for _ in range(SIZE // PIECE):
                connection.sendall(piece)


def receive_plainly(machines, ret):
    porter.enter(machines.names[1])
    began = time.monotonic()
    with socket.create_connection((machines.addresses[0], 7777), timeout=PATIENCE) as connection:
        buffer = bytearray(PIECE)
        while connection.recv_into(buffer):
            pass
    ret.append(time.monotonic() - began)


def measure_link(machines):
    """Seconds for the image from one machine to another, over nothing but TCP."""
    ready, took = threading.Event(), []
    threads = [threading.Thread(target=send_plainly, args=(machines, ready)),
               threading.Thread(target=receive_plainly, args=(machines, took))]
    threads[0].start()
    ready.wait(10)
    threads[1].start()
    for thread in threads:
        thread.join(PATIENCE)
    return took[0]


class Swarm:
    """A site of porters: machine 0 has the image, the others want it."""

    def __init__(self, machines, directory, image, count, bad=0):
        self.image = image
        site = porter.Site(directory / "site")
        controller = porter.Controller(site, f"{NETWORK}.254", machines.hub)
        self.nodes = []
        for i in range(count + 1):
            whole = [image] if i == 0 else [porter.spoil(image, directory / "bad")] if i > count - bad else []
            self.nodes.append(porter.Node(site, controller, f"n{i}", directory, address=machines.addresses[i],
                                          netns=machines.names[i], whole=whole))
        self.bad = self.nodes[count + 1 - bad:]
        self.controller = controller

    def __enter__(self):
        for node in self.nodes:
            node.start()
        porter.wait_for(lambda: len(self.controller.images.get(self.image.digest, {})) == 1 + len(self.bad))
        return self

    def __exit__(self, *_):
        for node in self.nodes:
            node.stop()

    def run(self, kill=0):
        """Seconds until the last one has the image, each verified."""
        wanting = [n for n in self.nodes[1:] if n not in self.bad]
        began = time.monotonic()
        for node in wanting:
            node.want(self.image)
        for i in range(kill):
            time.sleep(2)
            wanting.pop(0).kill()
        last = max(node.wait(self.image, PATIENCE) + node.begun for node in wanting) - began
        for node in wanting:
            node.verify(self.image)
        return last


def bencode(value):
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l" + b"".join(map(bencode, value)) + b"e"
    return b"d" + b"".join(bencode(k) + bencode(value[k]) for k in sorted(value)) + b"e"


class Tracker(http.server.BaseHTTPRequestHandler):
    """Tells all who ask of each other."""
    peers = set()

    def log_message(self, *_):
        pass

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query, encoding="latin-1")
        self.peers.add((self.client_address[0], int(query["port"][0])))
        compact = b"".join(socket.inet_aton(a) + p.to_bytes(2, "big") for a, p in self.peers)
        text = bencode({"interval": 5, "min interval": 2, "peers": compact})
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def run_tracker(machines, ready):
    porter.enter(machines.hub)
    Tracker.peers = set()
    server = http.server.ThreadingHTTPServer((f"{NETWORK}.254", 6969), Tracker)
    ready.append(server)
    server.serve_forever(poll_interval=0.1)


def start_aria(machines, i, directory, torrent, log):
    directory.mkdir(exist_ok=True)
    return subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{machines.names[i]}", "aria2c", "--no-conf", f"--dir={directory}",
         "--enable-dht=false", "--bt-enable-lpd=false", "--enable-peer-exchange=true", "--seed-ratio=0",
         "--bt-tracker-interval=5", "--bt-max-peers=0", "--file-allocation=none", "--listen-port=6881",
         "--check-integrity=true", "--allow-overwrite=true", "--summary-interval=0", "--show-console-readout=false",
         f"--on-bt-download-complete={directory.parent}/done.sh", str(torrent)], stdout=log, stderr=log)


def run_aria(machines, directory, image, count):
    """Seconds until the last one has it, by aria2's BitTorrent."""
    source = image.directory / image.parts[0]["digest"]
    data = source.read_bytes()
    torrent = directory / "image.torrent"
    pieces = b"".join(hashlib.sha1(data[i:i + PIECE]).digest() for i in range(0, len(data), PIECE))
    torrent.write_bytes(bencode({"announce": f"http://{NETWORK}.254:6969/announce", "info": {
        "length": len(data), "name": "image", "piece length": PIECE, "pieces": pieces}}))
    servers, processes = [], []
    threading.Thread(target=run_tracker, args=(machines, servers), daemon=True).start()
    porter.wait_for(lambda: servers)
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(directory / "aria.log", "w"))
        stack.callback(servers[0].shutdown)
        stack.callback(lambda: [p.kill() for p in processes] and [p.wait() for p in processes])
        (directory / "done.sh").write_text('#!/bin/sh\n: >"$3.done"\n')
        (directory / "done.sh").chmod(0o755)
        (directory / "a0").mkdir()
        shutil.copy(source, directory / "a0/image")
        processes.append(start_aria(machines, 0, directory / "a0", torrent, log))
        porter.wait_for(lambda: Tracker.peers)
        began = time.monotonic()
        for i in range(1, count + 1):
            processes.append(start_aria(machines, i, directory / f"a{i}", torrent, log))
        porter.wait_for(lambda: all((directory / f"a{i}/image.done").exists() for i in range(1, count + 1)), PATIENCE)
        took = time.monotonic() - began
    for i in range(count + 1):
        shutil.rmtree(directory / f"a{i}")
    return took


def simulate(build, nodes, *options):
    return json.loads(subprocess.check_output([f"{build}/tests/bench/swarm-sim", str(nodes), *options], timeout=900))


@contextlib.contextmanager
def scratch():
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory) as directory:
        yield pathlib.Path(directory)


def bench_round(build, figures):
    porter.PROGRAM = f"{build}/wnodes-porter"
    with scratch() as directory, Machines(17) as machines:
        image = porter.Image(directory / "image", os.urandom(SIZE))
        link = measure_link(machines)
        figures.setdefault("link_s", []).append(link)
        with Swarm(machines, directory / "eight", image, 8) as swarm:
            figures.setdefault("eight", []).append(swarm.run() / link)
        shutil.rmtree(directory / "eight")
        if shutil.which("aria2c"):
            figures.setdefault("aria2", []).append(run_aria(machines, directory, image, 8) / link)
        (directory / "origin").mkdir()
        last, copies, cpu = swarm_origin.run(build, machines, directory / "origin", SIZE, 8, PATIENCE)
        shutil.rmtree(directory / "origin")
        for name, value in (("controller", last / link), ("copies", copies), ("controller_cpu_s", cpu)):
            figures.setdefault(name, []).append(value)
        with Swarm(machines, directory / "sixteen", image, 16, bad=1) as swarm:
            figures.setdefault("sixteen", []).append(swarm.run(kill=2) / link)
    print({name: round(values[-1], 3) for name, values in figures.items()}, flush=True)


def bench_swarm(results, rounds):
    """Three rounds at most: each moves the image fifty times."""
    if os.geteuid() != 0:
        print("swarm: only root can make machines of their own; left out\n", flush=True)
        return
    build = os.environ["BENCH_BUILD"]
    figures = {}
    for _ in range(min(rounds, ROUNDS_MAX)):
        bench_round(build, figures)
    worst = {name: max(values) for name, values in figures.items()}
    results.add("swarm: one image over one link, TCP alone (s)", statistics.median(figures["link_s"]))
    results.add("swarm: 8 nodes, last one, in links (worst of the rounds)", worst["eight"], "<= 1.30")
    results.add("swarm: 8 nodes, a controller as origin, in links (worst of the rounds)", worst["controller"], "<= 1.30")
    results.add("swarm: the same, copies that the controller sends", worst["copies"], "<= 2.00")
    results.add("swarm: the same, processor time of the controller (s)", statistics.median(figures["controller_cpu_s"]))
    if "aria2" in figures:
        results.add("swarm: the same by aria2", statistics.median(figures["aria2"]))
    results.add("swarm: 16 nodes, 2 killed, 1 bad, in links (worst of the rounds)", worst["sixteen"], "<= 1.60")
    few, many, two = simulate(build, 16), simulate(build, 2000), simulate(build, 2000, "origins=2")
    results.add("swarm: 16 nodes simulated, in links", few["ratio"])
    results.add("swarm: 2000 nodes simulated, last one against that", many["last_s"] / few["last_s"], "<= 1.50")
    results.add("swarm: 2000 nodes simulated, copies that the controller sends", many["origin_copies"], "<= 2.00")
    results.add("swarm: 2000 nodes simulated, copies that each of two controllers sends", two["origin_copies"] / 2,
                "<= 2.00")


if __name__ == "__main__":
    FIGURES = {}
    for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 1):
        bench_round(pathlib.Path(sys.argv[1]), FIGURES)
