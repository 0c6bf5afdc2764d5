#!/usr/bin/env python3
"""Nodes that take leases in blocks and give them back, while controllers and the database are killed.

    site_leases.py WORK SECONDS NODES

Two controllers on one PostgreSQL, in the directory WORK. Each node has joined, asks over TLS with its
certificate, and notes what it holds; all notes are in one place, so that a name, MAC or address that two
hold is seen at once. At random, a controller is killed and started again, or the database is. A request
without an answer is repeated as it is, at the other controller. In the end all is given back, and nobody
holds anything. What was done is an object on stdout; what is wrong is an exception.
"""
import http.client
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import uuid

BUILD = os.environ["WNODES_BUILD"]
POSTGRES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "postgres")
PATIENCE_S = 60
BLOCK_MAX = 3


def wait_for(seconds, what, condition):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.05)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Local(http.client.HTTPConnection):
    """To a controller's socket, as root."""

    def __init__(self, path):
        super().__init__("controller", timeout=20)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Controller:
    def __init__(self, home, database):
        self.home, self.port = home, free_port()
        self.socket, self.state = home + "/socket", home + "/state"
        os.makedirs(home)
        with open(home + "/controller.conf", "w") as f:
            f.write(f"[controller]\nlisten = 127.0.0.1:{self.port}\nsocket = {self.socket}\n"
                    f"state = {self.state}\nuser = root\ndatabase = {database}\naddress_connections = 500\n")
        self.log = open(home + "/controller.err", "a")
        self.start()

    def start(self):
        environment = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")
        self.process = subprocess.Popen(
            [BUILD + "/wnodes-controller", "--config", self.home + "/controller.conf"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=environment)

    def kill(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        self.process.wait(30)

    def is_up(self):
        try:
            return self.ask("GET", "/healthz")[0] == 200
        except OSError:
            return False

    def ask(self, method, path, body=None):
        connection = Local(self.socket)
        try:
            return answer_of(connection, method, path, body)
        finally:
            connection.close()

    def read(self, path):
        """What it answers, as soon as it reaches the database again."""
        end = time.monotonic() + 20
        while True:
            status, answer = self.ask("GET", path)
            if status == 200:
                return answer
            assert status == 503 and time.monotonic() < end, answer
            time.sleep(0.1)


def answer_of(connection, method, path, body):
    text = None if body is None else json.dumps(body)
    connection.request(method, path, text, {"Content-Type": "application/json"} if text else {})
    response = connection.getresponse()
    text = response.read()
    return response.status, json.loads(text) if text else None


class Database:
    def __init__(self, home):
        self.home = home

    def up(self):
        done = subprocess.run([POSTGRES + "/up.sh", "--open", self.home], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
        if done.returncode == 77:
            print("there is no PostgreSQL server", file=sys.stderr)
            sys.exit(77)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()

    def kill(self):
        """As a power cut does."""
        with open(self.home + "/data/postmaster.pid") as f:
            os.kill(int(f.readline()), signal.SIGKILL)

    def down(self):
        subprocess.run([POSTGRES + "/down.sh", self.home], stderr=subprocess.DEVNULL)


class Held:
    """Who holds what, as the nodes know it: more is held than is here, never less."""

    def __init__(self):
        self.lock, self.holders, self.pairs = threading.Lock(), {}, 0

    def take(self, lease):
        with self.lock:
            for key in ("name", "mac", "address"):
                other = self.holders.setdefault(lease[key], lease["id"])
                if other != lease["id"]:
                    raise AssertionError(f"{lease[key]} is held by {other} and by {lease['id']}")

    def drop(self, lease):
        with self.lock:
            self.pairs += 1
            for key in ("name", "mac", "address"):
                if self.holders.pop(lease[key], None) != lease["id"]:
                    raise AssertionError(f"{lease[key]} was not held by {lease['id']}")


class Node:
    def __init__(self, name, site):
        self.name, self.site, self.leases, self.retries, self.connection = name, site, {}, 0, None
        self.target, self.longest = random.randrange(2), 0
        self.random = random.Random(name + str(site.seed))
        self.join()

    def join(self):
        base = self.site.work + "/" + self.name
        subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                        "-nodes", "-subj", "/CN=" + self.name, "-keyout", base + ".key", "-out", base + ".csr"],
                       check=True, stderr=subprocess.DEVNULL)
        status, token = self.site.root("PUT", f"/v1/tokens/{uuid.uuid4()}", {
            "kind": "join", "name": self.name, "lifetime_s": 3600})
        assert status == 201, token
        with open(base + ".csr") as f:
            csr = f.read()
        status, answer = self.site.root("POST", "/v1/join", {"token": token["token"], "node": self.name, "csr": csr})
        assert status in (200, 201), answer
        with open(base + ".pem", "w") as f:
            f.write(answer["certificate"])
        self.tls = ssl.create_default_context(cadata=answer["ca"])
        self.tls.load_cert_chain(base + ".pem", base + ".key")

    def once(self, method, path, body):
        if not self.connection:
            port = self.site.controllers[self.target].port
            self.connection = http.client.HTTPSConnection("localhost", port, timeout=10, context=self.tls)
        return answer_of(self.connection, method, path, body)

    def ask(self, method, path, body):
        """The same, at one controller after the other, until there is an answer."""
        begin = time.monotonic()
        while True:
            try:
                status, answer = self.once(method, path, body)
                if status < 500:
                    self.longest = max(self.longest, time.monotonic() - begin)
                    return status, answer
                reason = answer
            except (OSError, http.client.HTTPException) as error:
                reason = error
            if time.monotonic() - begin > PATIENCE_S:
                raise TimeoutError(f"{self.name}: no answer to {method} {path}: {reason}")
            if self.connection:
                self.connection.close()
            self.connection, self.target, self.retries = None, 1 - self.target, self.retries + 1
            time.sleep(0.05 * self.random.random())

    def step(self, give_max):
        """Gives back some of what it has, and takes some."""
        back = [i for i in self.leases if give_max == 0 or self.random.random() < 0.6]
        new = [str(uuid.uuid4()) for _ in range(self.random.randint(0, give_max - len(self.leases) + len(back)))] \
            if give_max else []
        for i in back:
            self.site.held.drop(self.leases.pop(i))
        status, answer = self.ask("POST", "/v1/leases/batch",
                                  {"take": back, "give": [{"id": i, "pool": "load"} for i in new]})
        assert status == 200, answer
        for lease in answer["given"]:
            assert lease["id"] in new and lease["node"] == self.name, lease
            self.site.held.take(lease)
            self.leases[lease["id"]] = lease
        for refused in answer["refused"]:
            assert refused["status"] == 409 and "exhausted" in refused["error"], refused
        assert len(answer["given"]) + len(answer["refused"]) == len(new), answer

    def run(self):
        try:
            while not self.site.over.is_set() and not self.site.failures:
                self.step(BLOCK_MAX)
            self.step(0)
        except BaseException as error:
            self.site.failures.append(f"{self.name}: {error!r}")
        finally:
            if self.connection:
                self.connection.close()


class Site:
    def __init__(self, work):
        self.work, self.held, self.failures = work, Held(), []
        self.database, self.controllers, self.nodes = Database(work + "/postgres"), [], []
        self.seed = int(os.environ.get("SITE_LEASES_SEED", time.time()))
        self.random, self.over = random.Random(self.seed), threading.Event()
        self.kills = {"controller": 0, "database": 0}

    def open(self, seconds, count):
        os.makedirs(self.work, exist_ok=True)
        os.chmod(self.work, 0o711)
        url = self.database.up()
        for name in ("one", "two"):
            self.controllers.append(Controller(f"{self.work}/{name}", url))
            wait_for(30, f"controller {name}", self.controllers[-1].is_up)
        status, answer = self.root("PUT", "/v1/pools/load", {
            "vlan": 7, "host_pattern": "wn-%04d", "first_address": "10.1.0.1", "prefix": 16,
            "mac_prefix": "52:54:01", "size": count * BLOCK_MAX // 2})
        assert status == 201, answer
        self.nodes = [Node(f"node{i}", self) for i in range(count)]
        self.end = time.monotonic() + seconds

    def root(self, method, path, body=None):
        return self.controllers[0].ask(method, path, body)

    def kill_database(self):
        self.kills["database"] += 1
        self.database.kill()
        time.sleep(self.random.random())
        self.database.up()

    def kill_controller(self, controller):
        self.kills["controller"] += 1
        controller.kill()
        time.sleep(self.random.random())
        controller.start()

    def kill_all_in_turn(self):
        """Each at least once, however short the test is and slow the machine."""
        for controller in self.controllers:
            time.sleep(1)
            self.kill_controller(controller)
        time.sleep(1)
        self.kill_database()

    def kill_at_random(self):
        if self.random.random() < 0.2:
            self.kill_database()
        else:
            self.kill_controller(self.random.choice(self.controllers))
        time.sleep(1.5 * self.random.random())

    def run(self):
        threads = [threading.Thread(target=node.run, daemon=True) for node in self.nodes]
        for thread in threads:
            thread.start()
        self.kill_all_in_turn()
        while time.monotonic() < self.end and not self.failures:
            self.kill_at_random()
        for controller in self.controllers:
            wait_for(60, "a controller again", controller.is_up)
        self.over.set()
        for thread in threads:
            thread.join()
        self.check_end()

    def check_end(self):
        if self.failures:
            raise AssertionError(f"seed {self.seed}: " + "; ".join(self.failures[:5]))
        assert not self.held.holders, self.held.holders
        for controller in self.controllers:
            assert controller.read("/v1/leases")["items"] == []
            assert controller.read("/v1/pools/load")["used"] == 0
        # Every place can be lent again.
        size = self.controllers[0].read("/v1/pools/load")["size"]
        for i in range(size):
            status, answer = self.root("PUT", f"/v1/leases/{uuid.uuid4()}", {"pool": "load"})
            assert status == 201, answer
        assert self.root("PUT", f"/v1/leases/{uuid.uuid4()}", {"pool": "load"})[0] == 409

    def report(self):
        print(json.dumps({"pairs": self.held.pairs, "kills": self.kills, "seed": self.seed,
                          "retries": sum(node.retries for node in self.nodes),
                          "longest_s": round(max(node.longest for node in self.nodes), 2)}))

    def stop(self):
        for controller in self.controllers:
            if controller.process.poll() is None:
                controller.kill(signal.SIGTERM)
        self.database.down()


def main():
    work, seconds, count = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    # Also when it is told to end, what it has started is ended.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    site = Site(work)
    try:
        site.open(seconds, count)
        site.run()
        site.report()
    finally:
        site.stop()


if __name__ == "__main__":
    main()
