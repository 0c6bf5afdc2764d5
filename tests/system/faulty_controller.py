"""A controller that errs as it is told to: faulty_controller.py DIRECTORY

It serves a node what the real one does, over TLS with an authority of its own, at the port that it
writes to DIRECTORY/port, and keeps what it hears in DIRECTORY: heartbeats, a line each, records, a
file each, leases. What it does next stands in DIRECTORY/mode: ok, or a fault. DIRECTORY/wish,
configuration, catalogue, pool (names, one a line), unknown (ids of leases), interval, full and since (when
certificates begin) are read each time.
"""

import http.server
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time

DIRECTORY = sys.argv[1]
LOCK = threading.Lock()


def path(name):
    return os.path.join(DIRECTORY, name)


def read(name, otherwise=""):
    try:
        with open(path(name), encoding="utf-8") as f:
            return f.read()
    except FileNotFoundError:
        return otherwise


def write(name, text):
    fresh = path(name + ".new")
    with open(fresh, "w", encoding="utf-8") as f:
        f.write(text)
    os.rename(fresh, path(name))


def append(name, value):
    with open(path(name), "a", encoding="utf-8") as f:
        f.write(json.dumps(value) + "\n")


def openssl(*arguments, text=None):
    return subprocess.run(["openssl", *arguments], input=text, check=True, capture_output=True, text=True).stdout


def make_authority():
    if os.path.exists(path("ca.pem")):
        return
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path("ca.key"),
            "-out", path("ca.pem.new"), "-days", "30", "-subj", "/CN=site of a test")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path("server.key"), "-out",
            path("server.csr"), "-subj", "/CN=localhost")
    write("server.ext", "subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", path("server.csr"), "-CA", path("ca.pem.new"), "-CAkey", path("ca.key"), "-days", "30",
            "-extfile", path("server.ext"), "-out", path("server.pem"))
    os.rename(path("ca.pem.new"), path("ca.pem"))


def sign(csr, node):
    write("node.csr", csr)
    command = ["openssl", "x509", "-req", "-in", path("node.csr"), "-CA", path("ca.pem"), "-CAkey", path("ca.key"), "-days",
               "30", "-set_serial", str(time.time_ns())]
    since = read("since").strip()
    if since:  # it began then, as faketime has it
        command = ["faketime", "-f", since] + command
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def log_message(self, format, *args):
        pass

    def answer(self, status, value, raw=None, etag=None):
        body = raw if raw is not None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        self.wfile.write(body)

    def node(self):
        certificate = self.connection.getpeercert()
        if not certificate:
            return None
        return dict(part[0] for part in certificate["subject"]).get("commonName")

    def fault(self):
        """Does what the mode says. Returns true if that was all."""
        mode = read("mode", "ok").strip()
        if mode == "500":
            self.answer(500, {"error": "told to", "status": 500})
        elif mode == "slow":
            time.sleep(20)
            return False
        elif mode == "garbage":
            self.answer(200, None, b"\x00\xff{]" * 100)
        elif mode == "array":
            self.answer(200, [1, 2, 3])
        elif mode == "huge":
            self.answer(200, None, b"[" * (1 << 22))
        elif mode == "close":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif mode == "half":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"full":')
            self.close_connection = True
        elif mode == "revoked":
            self.answer(403, {"error": "this certificate was revoked", "status": 403})
        elif mode == "lies":
            self.answer(200, {"stored": 7, "known": -1, "refused": [{"index": 99, "error": "x"}], "given": [
                {"id": "../../x", "name": "a"}, 5], "taken": "all", "configuration": 17, "drained": True, "reason": "y" * 9000,
                "leases_unknown": [1, None, "x" * 5000], "leases_unlisted": [2, None, "../" * 3000], "full": "yes", "certificate": "no", "text": 5, "revision": []})
        else:
            return False
        return True

    def do_GET(self):
        self.serve({})

    def do_POST(self):
        length = int(self.headers.get("Content-Length", "0"))
        self.serve(json.loads(self.rfile.read(length) or b"{}"))

    def serve(self, body):
        if self.path == "/v1/ca":
            self.answer(200, {"certificate": read("ca.pem")})
            return
        if self.path == "/v1/join":
            self.join(body)
            return
        if self.fault():
            return
        if self.path == "/v1/catalogue":
            self.catalogue()
            return
        if not self.node():
            self.answer(401, {"error": "who are you?", "status": 401})
            return
        with LOCK:
            name = self.path.rsplit("/", 1)[1]
            handler = {"heartbeat": self.heartbeat, "records": self.records, "batch": self.leases,
                       "configuration": self.configuration, "certificate": self.certificate}.get(name)
            handler(body) if handler else self.answer(404, {"error": "there is nothing", "status": 404})

    def catalogue(self):
        text = read("catalogue")
        etag = '"%s"' % json.loads(text)["revision"] if text else ""
        if not text:
            self.answer(404, {"error": "there is nothing", "status": 404})
        elif self.headers.get("If-None-Match") == etag:
            self.send_response(304)
            self.send_header("ETag", etag)
            self.end_headers()
        else:
            self.answer(200, None, text.encode(), etag)

    def join(self, body):
        used = read("used")
        if body.get("token") != "the-token":
            self.answer(403, {"error": "this is no token", "status": 403})
        elif used and used != body["csr"]:
            self.answer(403, {"error": "this token has served already", "status": 403})
        else:
            if not used:
                write("used", body["csr"])
                write("joined.pem", sign(body["csr"].replace("\r", ""), body["node"]))
            if read("mode").strip() == "lose the answer":
                write("mode", "ok")
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.answer(200, {"certificate": read("joined.pem"), "ca": read("ca.pem"), "node": body["node"]})

    def heartbeat(self, body):
        append("heartbeats", {"node": self.node(), **body})
        wish = json.loads(read("wish", "null"))
        self.answer(200, {"configuration": revision(), "drained": wish, "reason": "as the test wishes",
                          "full": read("full").strip() == "yes", "interval_s": int(read("interval", "30")), "refused": [],
                          "leases_unknown": read("unknown").split(),
                          "leases_unlisted": [i for i in json.loads(read("leases", "{}")) if i not in body["leases"]]
                          if "leases" in body else []})

    def records(self, body):
        stored, known, refused = 0, 0, []
        os.makedirs(path("records"), exist_ok=True)
        if read("mode").strip() == "bad batch" and len(body["records"]) > 1:
            self.answer(400, {"error": "a record of them is wrong", "status": 400})
            return
        for i, record in enumerate(body["records"]):
            file = os.path.join("records", record["id"])
            if record.get("vm") == "vm-bad":
                refused.append({"index": i, "id": record["id"], "error": "this record is bad"})
            elif os.path.exists(path(file)):
                known += 1
            else:
                write(file, json.dumps(record))
                stored += 1
        append("deliveries", {"stored": stored, "known": known, "refused": len(refused)})
        self.answer(200, {"stored": stored, "known": known, "refused": refused})

    def leases(self, body):
        given = json.loads(read("leases", "{}"))
        for lease in body["take"]:
            given.pop(lease, None)
        refused = []
        for wanted in body["give"]:
            names = [n for n in read("pool").split() if n not in given.values()]
            if wanted["id"] in given:
                continue
            if not names:
                refused.append({"id": wanted["id"], "error": "pool is exhausted", "status": 409})
                continue
            given[wanted["id"]] = names[0]
        write("leases", json.dumps(given))
        leases = [{"id": w["id"], "pool": w["pool"], "name": given[w["id"]],
                   "mac": "52:54:01:00:00:" + given[w["id"]][-2:], "address": "10.0.0.1", "prefix": 24,
                   "gateway": "10.0.0.254", "nameservers": ["10.0.0.253"], "vlan": 7, "vm": w.get("vm") or None}
                  for w in body["give"] if w["id"] in given]
        self.answer(200, {"given": leases, "taken": len(body["take"]), "refused": refused})

    def configuration(self, body):
        self.answer(200, {"revision": revision(), "text": read("configuration")})

    def certificate(self, body):
        append("renewals", {"node": self.node()})
        self.answer(200, {"certificate": sign(body["csr"], self.node()), "ca": read("ca.pem"), "node": self.node()})


def revision():
    return openssl("dgst", "-sha256", "-r", text=read("configuration")).split()[0]


def main():
    make_authority()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(read("port", "0"))), Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path("server.pem"), path("server.key"))
    context.load_verify_locations(path("ca.pem"))
    context.verify_mode = ssl.CERT_OPTIONAL
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    write("port", str(server.server_address[1]))
    server.serve_forever()


main()
