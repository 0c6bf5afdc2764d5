"""Plays the site around wnodes-porter: an authority, a controller that names peers, and the daemons of
nodes, each at the other end of a porter's socket. Tests and benchmarks drive real porters by it;
`porter.py SCENARIO DIRECTORY BUILD` runs a test of porter.bats, which says what they are."""

import ctypes
import hashlib
import http.server
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

import dead_mount

CHUNK = 80 * 1024
PEERS_MAX = 20
CLONE_NEWNET = 0x40000000


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def make_index(data, chunk=CHUNK):
    """A casync index with chunks of one size, but for the last."""
    rows = b""
    for offset in range(0, len(data), chunk):
        piece = data[offset:offset + chunk]
        rows += struct.pack("<Q", offset + len(piece)) + hashlib.sha256(piece).digest()
    table = 16 + len(rows) + 40
    return (struct.pack("<QQQQQQ", 48, 0x96824d9c7b129ff9, 0, 4096, chunk, 2 * chunk) +
            struct.pack("<QQ", 2**64 - 1, 0xe75b9e112f17417d) + rows +
            struct.pack("<QQQQQ", 0, 0, 48, table, 0x4b4f050e5549ecd1))


class Image:
    """What is fetched: some files with their indexes, and a manifest that names them."""

    def __init__(self, directory, *parts):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.parts, self.blobs = [], {}
        for kind, data in zip(("disk", "kernel", "initrd"), parts):
            blob, index = sha256(data), make_index(data)
            (self.directory / blob).write_bytes(data)
            (self.directory / f"{blob}.caibx").write_bytes(index)
            self.parts.append({"kind": kind, "digest": blob, "size": len(data),
                               "index": sha256(index)})
        self.manifest = json.dumps({"parts": self.parts})
        self.digest = sha256(self.manifest.encode())
        (self.directory / f"{self.digest}.json").write_text(self.manifest)

    def size(self):
        return sum(p["size"] for p in self.parts)

    def wish(self):
        return {"digest": self.digest, "manifest": True, "parts": self.parts}


class Site:
    """A certificate authority, and who it knows."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test site",
                      "-addext", "basicConstraints=critical,CA:TRUE",
                      "-addext", "keyUsage=critical,keyCertSign")

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.directory, check=True, capture_output=True,
                       timeout=30)

    def certify(self, name, usage="clientAuth", names=None):
        """Makes NAME.key and NAME.pem."""
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (self.directory / f"{name}.ext").write_text(
            f"extendedKeyUsage={usage}\nbasicConstraints=critical,CA:FALSE\n"
            "keyUsage=critical,digitalSignature\n" +
            (f"subjectAltName={names}\n" if names else ""))
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                      "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem")

    def file(self, name):
        return self.directory / name


def enter(netns):
    """This thread's sockets are that machine's from now on."""
    if netns:
        with open(f"/run/netns/{netns}") as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")


class Controller:
    """Knows who has what, as nodes tell it."""

    def __init__(self, site, address="127.0.0.1", netns=None):
        self.images, self.reports, self.lock = {}, [], threading.Lock()
        self.ready = threading.Event()
        site.certify("controller", "serverAuth", f"IP:{address}")
        self.site, self.address, self.netns = site, address, netns
        threading.Thread(target=self._run, daemon=True).start()
        if not self.ready.wait(10):
            raise RuntimeError("the controller does not start")

    def _run(self):
        enter(self.netns)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.site.file("controller.pem"), self.site.file("controller.key"))
        context.load_verify_locations(self.site.file("ca.pem"))
        context.verify_mode = ssl.CERT_REQUIRED
        handler = type("Handler", (ControllerHandler,), {"controller": self})
        server = http.server.ThreadingHTTPServer((self.address, 0), handler)
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # strangers, whom it does not speak with
        server.socket = context.wrap_socket(server.socket, server_side=True,
                                            do_handshake_on_connect=False)
        self.url = f"https://{self.address}:{server.server_address[1]}"
        self.ready.set()
        server.serve_forever(poll_interval=0.1)

    def put(self, node, body):
        with self.lock:
            for nodes in self.images.values():
                nodes.pop(node, None)
            for image in body["images"]:
                self.images.setdefault(image["digest"], {})[node] = {
                    "node": node, "address": body["address"], "rack": body["rack"]}

    def peers(self, digest, asker):
        with self.lock:
            others = [p for n, p in self.images.get(digest, {}).items() if n != asker]
        return random.sample(others, min(len(others), PEERS_MAX))


class ControllerHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_message(self, *_):
        pass

    def _answer(self, value):
        text = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _body(self):
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _asker(self):
        subject = dict(x[0] for x in self.connection.getpeercert()["subject"])
        return subject["commonName"]

    def do_GET(self):
        self._answer({"peers": self.controller.peers(self.path.split("/")[3], self._asker())})

    def do_PUT(self):
        self.controller.put(self._asker(), self._body())
        self._answer({})

    def do_POST(self):
        self.controller.reports.append((self._asker(), self._body()))
        self._answer({})


class Node:
    """A node's daemon, and its porter."""

    def __init__(self, site, controller, name, directory, *, address="127.0.0.1", netns=None,
                 origins=(), slots=8, rate=0, whole=(), program=None, certificate=None):
        self.site, self.controller, self.name = site, controller, name
        self.directory = pathlib.Path(directory) / name
        self.directory.mkdir(parents=True, exist_ok=True)
        self.address, self.netns, self.origins = address, netns, list(origins)
        self.slots, self.rate, self.program = slots, rate, program or PROGRAM
        self.certificate = certificate or name
        self.wanted, self.whole = [], {}
        self.progress, self.failures, self.done, self.questions = {}, [], {}, []
        self.begun = self.process = None
        self.event = threading.Event()
        if not site.file(f"{self.certificate}.pem").exists():
            site.certify(self.certificate)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.url = f"https://{self.address}:{self.port}"
        for image in whole:
            for part in image.parts:
                os.link(image.directory / part["digest"], self.directory / part["digest"])
                shutil.copy(image.directory / f"{part['digest']}.caibx", self.directory)
            self.whole[image.digest] = image

    def start(self):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket = ours
        command = ([] if not self.netns else ["nsenter", f"--net=/run/netns/{self.netns}"])
        self.log = open(self.directory / "log", "a")
        # Nobody may look into it, not even for leaks.
        self.process = subprocess.Popen([*command, self.program], stdin=theirs, stderr=self.log, env={
            **os.environ, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"})
        theirs.close()
        NODES.append(self)
        threading.Thread(target=self._serve, args=(ours,), daemon=True).start()
        return self

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.socket.close()

    def stop(self):
        """As when the daemon ends."""
        if self.process and self.process.poll() is None:
            try:
                self.socket.shutdown(socket.SHUT_RDWR)
                self.process.wait(15)
            except (OSError, subprocess.TimeoutExpired):
                self.process.kill()
                self.process.wait()

    def want(self, *images):
        self.wanted = list(images)
        self.begun = time.monotonic()
        self.socket.send(json.dumps({"changed": True}).encode())

    def wait(self, image, timeout):
        """Until the image is there. Returns the seconds since it was wanted."""
        deadline = time.monotonic() + timeout
        while image.digest not in self.whole:
            self.event.wait(0.02)
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"{self.name}: not there ({self.process.poll()}): {self.progress} {self.failures}\n" +
                                   (self.directory / "log").read_text()[-2000:])
        return self.done[image.digest] - self.begun

    def verify(self, image):
        for part in image.parts:
            data = (self.directory / part["digest"]).read_bytes()
            if sha256(data) != part["digest"]:
                raise RuntimeError(f"{self.name}: {part['kind']} is not what it should be")

    def _serve(self, connection):
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(connection, 1 << 20, 8)
            except OSError:
                return
            if not data:
                return
            for fd in fds:
                os.close(fd)
            question = json.loads(data)
            self.questions.append(question)
            try:
                answer, files = getattr(self, "_on_" + question["op"])(question)
            except Exception as failure:  # pylint: disable=broad-except
                answer, files = {"error": repr(failure)}, {}
            if files:
                answer["descriptors"] = list(files)
            opened = [os.open(path, flags, 0o600) for path, flags in files.values()]
            try:
                socket.send_fds(connection, [json.dumps(answer).encode()], opened)
            except OSError:
                return
            finally:
                for fd in opened:
                    os.close(fd)

    def _on_hello(self, _):
        files = {"key": (self.site.file(f"{self.certificate}.key"), os.O_RDONLY),
                 "certificate": (self.site.file(f"{self.certificate}.pem"), os.O_RDONLY),
                 "ca": (self.site.file("ca.pem"), os.O_RDONLY)}
        return {"node": self.name, "controllers": [self.controller.url], "rack": "r1",
                "listen": f"{self.address}:{self.port}", "address": self.url,
                "slots": self.slots, "rate_bytes": self.rate, "origins": self.origins}, files

    def _on_origin(self, question):
        if question["path"].startswith("/never"):
            return {}, {}
        os.close(os.open(question["path"], os.O_PATH))
        return {}, {"directory": (question["path"], os.O_PATH | os.O_DIRECTORY)}

    def _on_work(self, _):
        return {"fetch": [i.wish() for i in self.wanted if i.digest not in self.whole],
                "serve": [{"digest": i.digest, "blobs": [p["digest"] for p in i.parts]}
                          for i in self.whole.values()]}, {}

    def _on_local(self, question):
        blob = self.directory / question["blob"]
        manifest = self.whole[question["digest"]].directory / f"{question['digest']}.json"
        return {}, {"blob": (blob, os.O_RDONLY), "index": (f"{blob}.caibx", os.O_RDONLY),
                    "manifest": (manifest, os.O_RDONLY)}

    def _on_part(self, question):
        blob = self.directory / question["blob"]
        flags = os.O_RDWR | os.O_CREAT
        return {}, {"partial": (f"{blob}.partial", flags), "have": (f"{blob}.have", flags),
                    "index": (f"{blob}.caibx", flags)}

    def _on_manifest(self, question):
        if sha256(question["text"].encode()) != question["digest"]:
            return {"error": "this is another manifest"}, {}
        return {}, {}

    def _on_progress(self, question):
        self.progress = question
        return {}, {}

    def _on_failed(self, question):
        self.failures.append(question["reason"])
        return {}, {}

    def _on_done(self, question):
        blob = self.directory / question["blob"]
        arrived = time.monotonic()
        image = next(i for i in self.wanted if i.digest == question["digest"])
        os.rename(f"{blob}.partial", blob)
        if all((self.directory / p["digest"]).exists() for p in image.parts):
            self.whole[image.digest] = image
            self.done[image.digest] = arrived
            self.event.set()
        return {}, {}


class Stage:
    """What a test needs: a site, and nodes by name."""

    def __init__(self, directory):
        self.directory = directory
        self.site = Site(directory / "site")
        self.controller = Controller(self.site)

    def image(self, name, *parts):
        return Image(self.directory / name, *parts)

    def node(self, name, **options):
        return Node(self.site, self.controller, name, self.directory, **options).start()

    def wait_known(self, image, *nodes):
        """Until the controller has heard that these have it."""
        wait_for(lambda: all(n.name in self.controller.images.get(image.digest, {}) for n in nodes))

    def curl(self, node, path, *options, who=None):
        """The status that a porter answers with, 0 for none; `who` shows a certificate."""
        shown = ["--cert", self.site.file(f"{who}.pem"), "--key", self.site.file(f"{who}.key")] if who else []
        run = subprocess.run(["curl", "-sk", "--max-time", "10", "-o", self.directory / "out", "-w", "%{http_code}",
                              *shown, *options, f"{node.url}{path}"], capture_output=True, text=True, timeout=20,
                             check=False)
        return int(run.stdout or 0)


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("it does not come to that")
        time.sleep(0.02)


def check(condition, what):
    if not condition:
        raise RuntimeError(what)


def status_of(pid, name):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith(name + ":"):
            return line.split()[1]
    return None


def share(directory):
    """One has the image, of several parts; three get it, from it and from each other."""
    stage = Stage(directory)
    image = stage.image("image", os.urandom(24 << 20), os.urandom(3 << 20), bytes(2 << 20) + os.urandom(5))
    stage.node("seed", whole=[image], rate=8 << 20)
    nodes = [stage.node(f"n{i}") for i in range(3)]
    for node in nodes:
        node.want(image)
    took = max(node.wait(image, 40) for node in nodes)
    for node in nodes:
        node.verify(image)
        check(status_of(node.process.pid, "NoNewPrivs") == "1" and status_of(node.process.pid, "Seccomp") == "2",
              "the porter could do more than it has to")
        check(any(q["op"] == "manifest" for q in node.questions), "the manifest did not come")
    for node in NODES:
        node.stop()
        check(node.process.returncode == 0, f"{node.name} does not end well: {node.process.returncode}")
    # 8 MiB a second for all three would be nine seconds.
    check(took < 7, f"the nodes do not help each other: {took} s")


def reuse(directory):
    """Most of an image is in another one that the node has."""
    stage = Stage(directory)
    data = os.urandom(16 << 20)
    old = stage.image("old", data)
    new = stage.image("new", data[:4 << 20] + os.urandom(1 << 20) + data[5 << 20:])
    stage.node("seed", whole=[new])
    node = stage.node("n1", whole=[old])
    wait_for(lambda: any(q["op"] == "local" for q in node.questions))
    node.want(new)
    node.wait(new, 20)
    node.verify(new)
    check(node.progress["reused"] >= 14 << 20 and node.progress["from_peers"] < 2 << 20, node.progress)


def spoil(image, directory):
    """The same image, of which each chunk has a wrong byte."""
    bad = object.__new__(Image)
    bad.directory, bad.parts, bad.digest = directory, image.parts, image.digest
    shutil.copytree(image.directory, directory)
    for part in image.parts:
        data = bytearray((image.directory / part["digest"]).read_bytes())
        for i in range(100, len(data), CHUNK):
            data[i] ^= 1
        (directory / part["digest"]).unlink()
        (directory / part["digest"]).write_bytes(data)
    return bad


def bad(directory):
    """A peer sends what is wrong: it is dropped and reported, and the image is right."""
    stage = Stage(directory)
    image = stage.image("image", os.urandom(8 << 20))
    good = stage.node("good", whole=[image], rate=4 << 20)
    liar = stage.node("liar", whole=[spoil(image, directory / "spoilt")])
    stage.wait_known(image, good, liar)
    node = stage.node("n1")
    node.want(image)
    node.wait(image, 30)
    node.verify(image)
    wait_for(lambda: stage.controller.reports)
    asker, report = stage.controller.reports[0]
    check(asker == "n1" and report["peer"] == "liar" and len(report["chunk"]) == 64, report)
    check(len(stage.controller.reports) == 1, "it was asked again")
    check("'liar' has sent" in (node.directory / "log").read_text(), "the log does not say so")


def killed(directory):
    """Of three that give it one is killed and one is silent: that costs some seconds, and no more."""
    stage = Stage(directory)
    image = stage.image("image", os.urandom(24 << 20))
    seeds = [stage.node(f"seed{i}", whole=[image], rate=4 << 20) for i in range(3)]
    stage.wait_known(image, *seeds)
    node = stage.node("n1")
    node.want(image)
    time.sleep(0.7)
    seeds[0].kill()
    seeds[1].process.send_signal(signal.SIGSTOP)
    took = node.wait(image, 30)
    node.verify(image)
    check(took < 0.7 + 24 / 4 + 3, f"{took} s")


def resume(directory):
    """The porter is killed in the middle, more than once: what was on the disk is not fetched again."""
    stage = Stage(directory)
    image = stage.image("image", os.urandom(20 << 20), os.urandom(1 << 20))
    seed = stage.node("seed", whole=[image], rate=4 << 20)
    stage.wait_known(image, seed)
    node = stage.node("n1")
    for _ in range(2):
        node.want(image)
        time.sleep(2.6)
        node.kill()
        node.start()
    node.want(image)
    node.wait(image, 30)
    node.verify(image)
    check(node.progress["from_peers"] < 15 << 20, node.progress)


def strangers(directory):
    """Only nodes of the site are answered, and only nodes of the site are believed."""
    stage = Stage(directory)
    image = stage.image("image", os.urandom(2 << 20))
    seed = stage.node("seed", whole=[image])
    stage.wait_known(image, seed)
    index = f"/index/{image.parts[0]['digest']}.caibx"
    stage.site.certify("n1")
    other = Site(directory / "other")
    other.certify("n9")
    for end in ("pem", "key"):
        shutil.copy(other.file(f"n9.{end}"), stage.site.file(f"n9.{end}"))
    check(stage.curl(seed, index, who="n1") == 200, "a node is not answered")
    check((directory / "out").read_bytes() == (image.directory / index.split("/")[2]).read_bytes(), "another index")
    for who in (None, "controller", "n9"):
        for path in (index, "/pick"):
            check(stage.curl(seed, path, who=who) in (0, 403), f"{who} is answered")
    # One who is a node, but another one than the controller has named; and one who is a controller.
    seed.stop()
    liars = [stage.node(name, whole=[image], certificate=certificate)
             for name, certificate in (("n2", "n1"), ("n3", "controller"))]
    stage.controller.put = lambda *_: None
    stage.controller.images[image.digest] = {n.name: {"node": n.name, "address": n.url, "rack": ""} for n in liars}
    node = stage.node("n5")
    node.want(image)
    time.sleep(2)
    check(not node.whole and node.progress.get("bytes", 0) == 0, "it has believed another one")
    stage.controller.images[image.digest]["n1"] = {"node": "n1", "address": liars[0].url, "rack": ""}
    node.wait(image, 20)


def hostile(directory):
    """What is no question is refused, and others are still served."""
    stage = Stage(directory)
    image = stage.image("image", os.urandom(2 << 20))
    seed = stage.node("seed", whole=[image], slots=1)
    stage.site.certify("n1")
    stage.wait_known(image, seed)
    (directory / "junk").write_bytes(os.urandom(40))
    (directory / "long").write_bytes(bytes(1 << 20))
    good = b"WNP1" + bytes.fromhex(image.parts[0]["index"]) + struct.pack("<III", 1 << 30, 0, 26) + b"\xff" * 4
    (directory / "good").write_bytes(good)
    (directory / "far").write_bytes(good[:40] + struct.pack("<II", 2**32 - 40, 26) + b"\xff" * 4)
    (directory / "unknown").write_bytes(b"WNP1" + bytes(32) + struct.pack("<III", 1, 0, 26) + b"\xff" * 4)

    def pick(name):
        return stage.curl(seed, "/pick", "-H", "Expect:", "--data-binary", f"@{directory / name}", who="n1")

    for _ in range(3):
        check(pick("junk") == 400, "junk is taken")
        check(pick("long") in (0, 400), "a long question is taken")
        check(pick("far") == 204, "there is nothing so far away")
        check(pick("unknown") == 404, "this index is not here")
        for path, status in (("/chunks/0000/" + "0" * 64 + ".cacnk", 404), ("/chunks/../key", 404),
                             ("/index/" + "g" * 64 + ".caibx", 404), ("/", 404)):
            check(stage.curl(seed, path, "--path-as-is", who="n1") == status, path)
        check(stage.curl(seed, "/index/x", "-X", "DELETE", who="n1") == 405, "it can be changed")
        check(pick("good") == 200, "a good question is not answered")
        check((1 << 20) <= (directory / "out").stat().st_size < (1 << 20) + 2 * CHUNK, "an answer has a measure")


def make_depot(stage, image, store):
    """A depot with the image, as a porter gives it. Afterwards nobody else has it."""
    seed = stage.node("seed", whole=[image])
    stage.site.certify("curl")
    stage.wait_known(image, seed)
    paths = [f"manifest/{image.digest}.json"]
    for part in image.parts:
        data = (image.directory / part["digest"]).read_bytes()
        paths.append(f"index/{part['digest']}.caibx")
        for i in range(0, len(data), CHUNK):
            chunk = sha256(data[i:i + CHUNK])
            paths.append(f"chunks/{chunk[:4]}/{chunk}.cacnk")
    for path in paths:
        check(stage.curl(seed, f"/{path}", who="curl") == 200, path)
        (store / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(stage.directory / "out", store / path)
    seed.stop()
    with stage.controller.lock:
        stage.controller.images.clear()


class Page(http.server.SimpleHTTPRequestHandler):
    """A web server, and what it says to what it does not understand."""
    protocol_version = "HTTP/1.1"
    status, picks = 501, 0

    def log_message(self, *_):
        pass

    def do_POST(self):
        type(self).picks += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        text = b"Welcome to our server, where there is much to see. " * 40 if self.status < 400 else b""
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def start_page(www, answer):
    """A web server with these files, which says so to picks. Returns its class, and its address."""
    page = type("Page", (Page,), {"status": answer, "__init__": lambda self, *a: Page.__init__(self, *a, directory=www)})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), page)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return page, f"http://127.0.0.1:{server.server_address[1]}/depot/"


def web(directory):
    """Web servers are origins, chunk by chunk, without any peer, whatever they say to a pick."""
    stage = Stage(directory)
    image = stage.image("image", os.urandom(4 << 20), os.urandom(100))
    make_depot(stage, image, directory / "www/depot")
    for answer in (405, 200, 302, 500, 401):
        page, url = start_page(directory / "www", answer)
        node = stage.node(f"n{answer}", origins=[url])
        node.want(image)
        node.wait(image, 20)
        node.verify(image)
        check(node.progress["from_origin"] > 4 << 20, node.progress)
        check(1 <= page.picks <= 8, f"it is asked for picks again and again: {page.picks}")
        node.stop()
        with stage.controller.lock:
            stage.controller.images.clear()


def folder(directory):
    """Directories are origins: what is wrong in one, or leads out of it, is taken from the other."""
    stage = Stage(directory)
    image = stage.image("image", os.urandom(8 << 20), os.urandom(100))
    make_depot(stage, image, directory / "good")
    shutil.copytree(directory / "good", directory / "bad")
    chunks = sorted((directory / "bad/chunks").glob("*/*.cacnk"))
    (directory / "outside").mkdir()
    for number, chunk in enumerate(chunks):
        if number % 4 == 0:  # the right bytes, but elsewhere
            shutil.move(chunk, directory / "outside")
            chunk.symlink_to(directory / "outside" / chunk.name)
        elif number % 4 == 1:
            chunk.unlink()
        elif number == 2:
            chunk.unlink()
            os.mkfifo(chunk)
        elif number == 6:
            chunk.unlink()
            os.truncate(os.open(chunk, os.O_CREAT | os.O_WRONLY), 1 << 40)
    node = stage.node("n1", origins=[str(directory / "bad"), str(directory / "missing")])
    node.want(image)
    time.sleep(3)
    check(not node.whole and 0 < node.progress["from_origin"] < 7 << 20, node.progress)
    node.kill()
    node.origins = [str(directory / "bad"), str(directory / "good")]
    node.start().want(image)
    node.wait(image, 20)
    node.verify(image)
    check("missing" in (node.directory / "log").read_text(), "the log does not say what is missing")
    others = [n for n in os.listdir(f"/proc/{node.process.pid}/fd")
              if os.readlink(f"/proc/{node.process.pid}/fd/{n}").startswith(str(directory / "good"))]
    check(not others, "a directory is left open")


def poisoned(directory):
    """A depot with bombs, with chunks of other sizes and of others, and without some: the good one helps."""
    stage = Stage(directory)
    image = stage.image("image", os.urandom(8 << 20))
    make_depot(stage, image, directory / "good")
    shutil.copytree(directory / "good", directory / "bad")
    bomb = subprocess.run(["zstd", "-q", "-19"], input=bytes(1 << 30), capture_output=True, check=True, timeout=60).stdout
    short = subprocess.run(["zstd", "-q"], input=b"short", capture_output=True, check=True, timeout=60).stdout
    chunks = sorted((directory / "bad/chunks").glob("*/*.cacnk"))
    other = chunks[0].read_bytes()
    for number, chunk in enumerate(chunks):
        content = (bomb, short, other, other[:-1], b"", None)[number % 6]
        chunk.unlink()
        if content is not None:
            chunk.write_bytes(content)
    node = stage.node("n1", origins=[str(directory / "bad")])
    node.want(image)
    time.sleep(2)
    check(not node.whole and node.progress.get("from_origin", 0) < 1 << 20, node.progress)
    node.kill()
    # Whose index is another file than the catalogue says.
    shutil.copytree(directory / "good", directory / "liar")
    index = directory / f"liar/index/{image.parts[0]['digest']}.caibx"
    index.write_bytes(make_index(os.urandom(8 << 20)))
    (node.directory / f"{image.parts[0]['digest']}.caibx").unlink()
    node.origins = [str(directory / name) for name in ("liar", "bad", "good")]
    node.start().want(image)
    node.wait(image, 30)
    node.verify(image)
    check(int(status_of(node.process.pid, "VmHWM")) < 200 << 10, "a bomb went off")


def murdered(directory):
    """The porter is killed at many moments: it always goes on, and what it hands over is right."""
    stage = Stage(directory)
    image = stage.image("image", os.urandom(12 << 20), os.urandom(1 << 20))
    seed = stage.node("seed", whole=[image], rate=6 << 20)
    stage.wait_known(image, seed)
    node = stage.node("n1")
    kills = 0
    while image.digest not in node.whole and kills < 40:
        node.want(image)
        time.sleep(random.choice((0.02, 0.1, 0.3, 0.6, 1)) * random.random())
        if image.digest not in node.whole:
            node.kill()
            kills += 1
            node.start()
    check(kills >= 5, "it was too fast to be killed")
    if image.digest not in node.whole:
        node.want(image)
        node.wait(image, 20)
    node.verify(image)


def hanging(directory):
    """One directory that does not answer, and one that cannot even be opened, cost a bounded time."""
    stage = Stage(directory)
    image = stage.image("image", os.urandom(8 << 20), os.urandom(100))
    make_depot(stage, image, directory / "good")
    (directory / "dead").mkdir()
    release = dead_mount.hang(directory / "dead")
    try:
        node = stage.node("n1", origins=[str(directory / "dead"), str(directory / "good"), "/never/opened"])
        node.want(image)
        took = node.wait(image, 30)
        node.verify(image)
        check(took < 8, f"{took} s")
        check(sum(q["op"] == "origin" for q in node.questions) == 3, node.questions)
        # It does not hang with its readers.
        node.kill()
    finally:
        release()


PROGRAM = None

NODES = []


def end(*_):
    """Nothing of ours is left, however this ends."""
    for node in NODES:
        node.process.kill()
    os._exit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end)
    PROGRAM = f"{sys.argv[3]}/wnodes-porter"
    try:
        globals()[sys.argv[1]](pathlib.Path(sys.argv[2]))
    finally:
        for each in NODES:
            each.process.kill()
