"""The site's controller as the origin of an image: a real one with its depot, on a machine of its own, and real
porters, whose daemons porter.py plays. Only who wants what is played; who has what, the controller knows from them."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
import images  # noqa: E402 pylint: disable=wrong-import-position
import porter  # noqa: E402 pylint: disable=wrong-import-position

PORT = 8443
PATIENCE = 30


class Image:
    """One that was published into a depot, as porter.py knows images."""

    def __init__(self, build, directory, size):
        store = directory / "store/wnodes"
        images.write_store(str(store), "el9:1", os.urandom(size))
        release = json.loads(subprocess.check_output(
            [f"{build}/wnodes", "image", "publish", "--depot", str(directory / "depot"), "--json", "el9:1"], timeout=300,
            env={**os.environ, "XDG_DATA_HOME": str(directory / "store")}))
        self.directory, self.digest, self.parts = directory / "depot/manifest", release["digest"], release["parts"]
        self.manifest = (self.directory / f"{self.digest}.json").read_text()

    def wish(self):
        return {"digest": self.digest, "manifest": True, "parts": self.parts}


class Site:
    """A controller and its authority: what porter.py has as a site and as a controller."""

    def __init__(self, build, directory, machine, address):
        self.build, self.directory, self.machine = build, directory, machine
        self.socket, self.url = directory / "socket", f"https://{address}:{PORT}"
        self.origin = f"{self.url}/depot"
        self.config = directory / "controller.conf"
        self.config.write_text(
            f"[controller]\nlisten = {address}:{PORT}\nnames = {address}\nsocket = {self.socket}\nuser = root\n"
            f"state = {directory}/state\ndatabase = sqlite:{directory}/site.db\ndepot = {directory}/depot\n"
            "log_level = warning\n")

    def __enter__(self):
        with open(self.directory / "log", "a") as log:
            self.process = subprocess.Popen(["nsenter", f"--net=/run/netns/{self.machine}",
                                             f"{self.build}/wnodes-controller", "--config", self.config], stderr=log)
        end = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(subprocess.CalledProcessError, ValueError):
                (self.directory / "ca.pem").write_text(self.ask("GET", "/v1/ca")["certificate"])
                return self
            if time.monotonic() > end or self.process.poll() is not None:
                raise RuntimeError((self.directory / "log").read_text())
            time.sleep(0.05)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(PATIENCE)

    def curl(self, method, path, body, *options):
        command = ["curl", "-sS", "--fail-with-body", "-m", "60", "-X", method, *map(str, options)]
        if body is not None:
            command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        return subprocess.check_output([*command, path], stderr=subprocess.DEVNULL, timeout=90)

    def ask(self, method, path, body=None, *options):
        """As root, on the controller's socket."""
        return json.loads(self.curl(method, f"http://controller{path}", body, "--unix-socket", self.socket, *options))

    def file(self, name):
        return self.directory / name

    def certify(self, name):
        """The node joins, and says that it is up."""
        subprocess.run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                        f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}"], cwd=self.directory, check=True,
                       capture_output=True, timeout=30)
        token = self.ask("PUT", f"/v1/tokens/{uuid.uuid4()}", {"kind": "join", "name": name, "lifetime_s": 600})["token"]
        joined = self.ask("POST", "/v1/join", {"token": token, "node": name, "csr": self.file(f"{name}.csr").read_text()})
        self.file(f"{name}.pem").write_text(joined["certificate"])
        self.beat(name)

    def beat(self, name):
        command = ["nsenter", f"--net=/run/netns/{self.machine}", "curl", "-sS", "--fail-with-body", "-m", "20",
                   "--cacert", "ca.pem", "--cert", f"{name}.pem", "--key", f"{name}.key", "-X", "POST", "-H",
                   "Content-Type: application/json", "-d",
                   json.dumps({"boot": str(uuid.uuid4()), "sequence": 1, "full": True, "state": "up", "vms": []}),
                   f"{self.url}/v1/nodes/{name}/heartbeat"]
        subprocess.run(command, cwd=self.directory, check=True, stdout=subprocess.DEVNULL, timeout=30)

    def publish(self, image):
        self.ask("POST", "/v1/images", {"digest": image.digest, "name": "el9", "tag": "1", "manifest": image.manifest,
                                        "parts": image.parts, "reason": "a measurement"})
        for change in ("endorse", "approve"):
            self.ask("POST", f"/v1/images/{image.digest}/{change}", {"reason": "a measurement"}, "-H", "If-Match: *")

    def sent(self):
        """Bytes of chunks that it has given: by picks, and how many files were asked for."""
        text = self.curl("GET", "http://controller/metrics", None, "--unix-socket", self.socket).decode()
        picked = files = 0
        for line in text.splitlines():
            if line.startswith("wnodes_controller_pick_bytes_total"):
                picked = int(float(line.split()[1]))
            if "http_requests_total" in line and "/depot/chunks/" in line and 'status="200"' in line:
                files = int(float(line.split()[-1]))
        return picked, files

    def cpu(self):
        """Seconds of processor time that it has had."""
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(build, machines, directory, size, count, patience):
    """The seconds until the last of so many nodes has an image, the copies that the controller has sent, and its
    processor time."""
    image = Image(build, directory, size)
    packed = sum(f.stat().st_size for f in (directory / "depot/chunks").rglob("*.cacnk"))
    nodes = []
    with contextlib.ExitStack() as stack:
        site = stack.enter_context(Site(build, directory, machines.names[0], machines.addresses[0]))
        site.publish(image)
        for i in range(1, count + 1):
            nodes.append(porter.Node(site, site, f"n{i}", directory, address=machines.addresses[i],
                                     netns=machines.names[i], origins=[site.origin]))
            stack.callback(nodes[-1].stop)
            nodes[-1].start()
        cpu, began = site.cpu(), time.monotonic()
        for node in nodes:
            node.want(image)
        last = max(node.wait(image, patience) + node.begun for node in nodes) - began
        for node in nodes:
            node.verify(image)
        picked, files = site.sent()
        if files:
            raise RuntimeError(f"{files} chunks were asked for alone")
        return last, picked / packed, site.cpu() - cpu
