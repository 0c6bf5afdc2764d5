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
        return {"digest": self.digest, "parts": self.parts}


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
        self.process = subprocess.Popen([*command, self.program], stdin=theirs, stderr=self.log)
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


def rejoice(directory):
    """One origin, three nodes: all of them have the image, of several parts."""
    site = Site(directory / "site")
    controller = Controller(site)
    image = Image(directory / "image", random.randbytes(8 << 20), random.randbytes(3 << 20), bytes(2 << 20))
    seed = Node(site, controller, "seed", directory, whole=[image]).start()
    nodes = [Node(site, controller, f"n{i}", directory).start() for i in range(3)]
    for node in nodes:
        node.want(image)
    for node in nodes:
        print(node.name, node.wait(image, 30), node.progress)
        node.verify(image)
    for node in (*nodes, seed):
        node.stop()


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
