"""Networks of a node, as the programs of VMs and their guests see them: network_node.py WORK WHAT

To be run as root on a machine of its own. It starts the node's daemon, asks for taps, and sends frames through them. The
uplink `up0` is one end of a cable, and `far` the VLAN 7 at its other. Each WHAT prints "ok - ..." and "not ok - ..."
lines; the exit status is 1 if one is "not ok"."""

import array
import fcntl
import http.client
import json
import os
import random
import re
import select
import shutil
import socket
import struct
import subprocess
import sys
import time
import uuid

WORK, WHAT = sys.argv[1:3]
DAEMON = os.environ["WNODES"] + "-hypervisor"
SOCKET = f"{WORK}/socket"
HEADER = 10  # virtio's, before each frame
ALL = b"\xff" * 6
FAR_MAC = bytes.fromhex("020000000009")
TUNSETPERSIST, SIOCSIFHWADDR = 0x400454cb, 0x8924
bad = 0

CONFIG = """
[run]
network = none
[node]
lrms = none
connections = 1000
vlans = 5-9
[network lab]
uplink = up0
vlan = 7
addresses = 10.7.0.10-10.7.0.250/24
node_address = 10.7.0.1/24
gateway = 10.7.0.254
nameservers = 10.7.0.53
[network closed]
class = closed
site_networks = 10.0.0.0/8
nameservers = 10.8.0.53
addresses = 10.8.0.10-10.8.0.11/24
node_address = 10.8.0.1/24
[network apart]
isolated = yes
addresses = 10.9.0.10-10.9.0.20/24
[network own]
bridge = br0
vlan = 5
addresses = 10.5.0.10-10.5.0.20/24
[network other]
uplink = up0
vlan = 12
[network mine]
users = nobody
addresses = 10.4.0.10-10.4.0.20/24
[network slow]
addresses = 10.3.0.10-10.3.0.20/24
rate_up = 200000
rate_down = 500000
[network shares]
uplink = up0
vlan = 8
addresses = 10.2.0.10-10.2.0.250/24
guaranteed = 100000
capacity = 10000000
rate_up = 1000000
rate_down = 1000000
[network fast]
addresses = 10.9.0.10-10.9.0.20/24
vhost = yes
[network lease]
prefix6 = 2001:db8:5::/64
gateway6 = fe80::1
[network tight]
uplink = up0
vlan = 9
addresses = 10.1.0.10-10.1.0.20/24
guaranteed = 100000
capacity = 400000
rate_up = 1000000
"""


def report(good, what):
    global bad
    bad += not good
    print("ok" if good else "not ok", "-", what, flush=True)


def run(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout


def until(what, seconds=20.0):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


class Daemon:
    def start(self):
        self.log = open(f"{WORK}/daemon.err", "a+")
        self.log.truncate(0)
        self.process = subprocess.Popen([DAEMON, "--socket", SOCKET, "--state", f"{WORK}/state", "--config",
                                         f"{WORK}/wnodes.conf"], stderr=self.log)
        end = time.monotonic() + 30
        while "listens on" not in open(f"{WORK}/daemon.err").read():
            if time.monotonic() > end or self.process.poll() is not None:
                sys.exit("the daemon does not start: " + open(f"{WORK}/daemon.err").read())
            time.sleep(0.05)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


def set_up():
    shutil.rmtree(WORK, ignore_errors=True)
    os.makedirs(f"{WORK}/state")
    with open(f"{WORK}/wnodes.conf", "w") as f:
        f.write(CONFIG)
    os.chmod(WORK, 0o755)
    for line in ("link add up0 type veth peer name up1", "link set up0 up", "link set up1 up",
                 "link add link up1 name far type vlan id 7", "link set far address 02:00:00:00:00:09 up",
                 "link add br0 type bridge vlan_filtering 1", "link set br0 up"):
        run("ip", *line.split())
    # Nothing but what is sent here.
    for name in ("up0", "up1", "far", "br0"):
        run("sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1")


def tear_down():
    for name in ("up0", "br0", "wn-lab", "wn-closed", "wn-apart", "wn-fast", "wn-slow", "wn-mine", "wn-shares", "wn-tight", "wn-lease"):
        run("ip", "link", "del", name)
    run("nft", "delete", "table", "netdev", "wnodes")


class Site:
    """A controller, with a pool of addresses, and a token for a node."""

    def __init__(self):
        self.directory = f"{WORK}/site"
        self.url = "https://localhost:7443"
        os.makedirs(self.directory)
        with open(f"{self.directory}/conf", "w") as f:
            f.write(f"[controller]\nlisten = 127.0.0.1:7443\nsocket = {self.directory}/socket\nuser = root\n"
                    f"state = {self.directory}/state\ndatabase = sqlite:{self.directory}/state/site.db\n")
        self.log = open(f"{self.directory}/err", "w")
        self.process = subprocess.Popen([os.environ["WNODES"] + "-controller", "--config", f"{self.directory}/conf"],
                                        stderr=self.log)
        if not until(self.answers, 60):
            sys.exit("the controller does not answer: " + open(f"{self.directory}/err").read())

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("controller", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(f"{self.directory}/socket")
        connection.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())

    def answers(self):
        try:
            return self.ask("GET", "/healthz")["status"] == "ok"
        except (OSError, ValueError):
            return False

    def join(self):
        token = self.ask("PUT", f"/v1/tokens/{uuid.uuid4()}", {"kind": "join", "lifetime_s": 600})["token"]
        with open(f"{WORK}/token", "w") as f:
            f.write(token)
        text = run("openssl", "x509", "-in", f"{self.directory}/state/ca.pem", "-noout", "-fingerprint", "-sha256")
        print(run(os.environ["WNODES"], "node", "join", "--token-file", f"{WORK}/token", "--ca-fingerprint",
                  text.strip().split("=")[1], "--state", f"{WORK}/state", "--name", "n1", self.url))

    def end(self):
        self.process.kill()
        self.process.wait()


class VM:
    """A connection to the daemon, with its tap."""

    def __init__(self, network, **more):
        self.fds = {}
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(60)
        self.socket.connect(SOCKET)
        self.answer = self.ask(**{"op": "open", "image": "x", "own": True, "digest": "0" * 64, "cpus": 1, "memory_mib": 16,
                                  "network": network, **more})
        self.error = self.answer.get("error", "")
        if self.error:
            return
        self.tap = self.fds["tap"]
        self.card = self.answer["network"]
        self.mac = bytes.fromhex(self.card["mac"].replace(":", ""))
        self.address = socket.inet_aton(self.card["address"])

    def ask(self, **question):
        self.socket.send(json.dumps(question).encode())
        data, control, _, _ = self.socket.recvmsg(200000, socket.CMSG_LEN(24 * 4))
        fds = array.array("i")
        for _, _, part in control:
            fds.frombytes(part[:len(part) // 4 * 4])
        answer = json.loads(data)
        if fds:
            self.fds = {}
            for name, fd in zip(answer["descriptors"], fds):
                self.fds[name if name not in self.fds else f"{name}{len(self.fds)}"] = fd
        return answer

    def send(self, frame):
        os.write(self.tap, b"\0" * HEADER + frame.ljust(60, b"\0"))

    def receive(self, seconds):
        if not select.select([self.tap], [], [], seconds)[0]:
            return None
        return os.read(self.tap, 4096)[HEADER:]

    def sees(self, frame, seconds=1.0):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            got = self.receive(max(0.0, end - time.monotonic()))
            if got is not None and got.startswith(frame):
                return True
        return False

    def name(self):
        return "wnt" + self.answer["record_id"].replace("-", "")[:12]

    def end(self, keep=False):
        self.socket.close()
        if not keep:
            for fd in self.fds.values():
                os.close(fd)


def ip(source, target, protocol=17, ports=(1000, 2000), size=20):
    body = struct.pack("!HHHH", *ports, 8 + size, 0) + bytes(range(20)).ljust(size, b"x")
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0, source, target)
    total = sum(struct.unpack("!10H", head))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return head[:10] + struct.pack("!H", 0xffff - total) + head[12:] + body


def packet(vm, to, target, mac=None, source=None, **more):
    return to + (mac or vm.mac) + b"\x08\0" + ip(source or vm.address, socket.inet_aton(target), **more)


def arp(vm, target, mac=None, source=None):
    mac = mac or vm.mac
    return ALL + vm.mac + b"\x08\x06" + bytes.fromhex("0001080006040001") + mac + (source or vm.address) + b"\0" * 6 \
        + socket.inet_aton(target)


class Watch:
    """All frames that come in by a device."""

    def __init__(self, device):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.bind((device, 0))

    def sees(self, frame, seconds=1.0):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.socket], [], [], max(0.0, end - time.monotonic()))[0]:
                got, origin = self.socket.recvfrom(4096)
                if origin[2] != socket.PACKET_OUTGOING and got.startswith(frame):
                    return True
        return False


def left():
    """Devices and chains of taps."""
    return [line for line in (run("ip", "-o", "link") + run("nft", "list", "chains", "netdev")).splitlines()
            if "wnt" in line]


def nothing_left(seconds=5.0):
    end = time.monotonic() + seconds
    while left() and time.monotonic() < end:
        time.sleep(0.1)
    return not left()


def connected(daemon):
    vm, far = VM("lab"), Watch("far")
    report(vm.card["address"] == "10.7.0.10" and vm.card["gateway"] == "10.7.0.254" and
           vm.card["nameservers"] == ["10.7.0.53"] and vm.card["prefix"] == 24, "the VM is told its addresses")
    frame = packet(vm, ALL, "10.7.0.99")
    vm.send(frame)
    report(far.sees(frame), "what it sends leaves the node in its VLAN")
    answer = vm.mac + FAR_MAC + b"\x08\0" + ip(socket.inet_aton("10.7.0.99"), vm.address)
    far.socket.send(answer)
    report(vm.sees(answer), "and is answered")
    vm6 = bytes.fromhex("fe80000000000000") + bytes([vm.mac[0] ^ 2]) + vm.mac[1:3] + b"\xff\xfe" + vm.mac[3:]
    other6 = vm6[:-1] + bytes([vm6[-1] ^ 1])
    ip6 = b"\x86\xdd" + bytes.fromhex("60000000001411ff") + vm6 + bytes.fromhex("ff02" + "0" * 27 + "1") + \
        struct.pack("!HHHH", 1000, 2000, 20, 0) + bytes(12)
    report((vm.send(ALL + vm.mac + ip6), far.sees(ALL + vm.mac + ip6))[1], "IPv6 of its own passes")
    spoofed = {
        "another's MAC": packet(vm, ALL, "10.7.0.99", mac=FAR_MAC),
        "another's IPv4": packet(vm, ALL, "10.7.0.99", source=socket.inet_aton("10.7.0.99")),
        "another's IPv6": ALL + vm.mac + ip6.replace(vm6, other6),
        "another's ARP": arp(vm, "10.7.0.99", source=socket.inet_aton("10.7.0.254")),
        "ARP with another's MAC": arp(vm, "10.7.0.99", mac=FAR_MAC),
        "a DHCP server": packet(vm, ALL, "255.255.255.255", ports=(67, 68)),
        "a VLAN tag": ALL + vm.mac + b"\x81\0\0\x07\x08\0" + ip(vm.address, vm.address),
        "a priority tag": ALL + vm.mac + b"\x81\0\xe0\0\x08\0" + ip(vm.address, vm.address),
        "two tags": ALL + vm.mac + b"\x88\xa8\0\x07\x81\0\0\x07\x08\0" + ip(vm.address, vm.address),
        "something else": ALL + vm.mac + b"\x88\xb5" + bytes(60),
        "spanning tree": bytes.fromhex("0180c2000000") + vm.mac + b"\0\x26BB\x03" + bytes(40),
    }
    cable = Watch("up1")
    for what, frame in spoofed.items():
        vm.send(frame)
        report(not cable.sees(frame[:12], 0.3), f"{what} does not pass")
    vm.send(arp(vm, "10.7.0.99"))
    report(far.sees(arp(vm, "10.7.0.99")), "its own ARP does")
    vm.end()
    report(nothing_left(), "nothing is left at the end")
    queues()


def queues():
    run("modprobe", "vhost_net")
    fast = VM("fast", cpus=4, queues=8)
    has_vhost = os.path.exists("/dev/vhost-net")
    report("/dev/vhost-net" in fast.error if not has_vhost else "vhost" in fast.fds,
           f"vhost-net is lent, or who needs it refused: {fast.error or list(fast.fds)}")
    fast.end()
    far, vm = Watch("far"), VM("lab", cpus=4, queues=8)
    kinds = [re.sub(r"\d+$", "", name) for name in vm.fds]
    report(kinds.count("tap") == 4 and kinds.count("vhost") == 4 * has_vhost, "a VM of four CPUs has four queues")
    frame = packet(vm, ALL, "10.7.0.99")
    for name, fd in vm.fds.items():
        if name.startswith("tap"):
            os.write(fd, b"\0" * HEADER + frame)
            report(far.sees(frame), f"what it sends by {name} arrives")
    for name in [name for name in vm.fds if name != "tap"]:
        os.close(vm.fds.pop(name))
    answers = [vm.mac + FAR_MAC + b"\x08\0" + ip(socket.inet_aton("10.7.0.99"), vm.address, ports=(port, 7)) for port in range(1, 20)]
    for answer in answers:
        far.socket.send(answer)
    report(all(vm.sees(answer) for answer in answers), "with one queue left, all comes by it: the daemon has kept none")
    vm.end()
    report(nothing_left(), "nothing is left of many queues")


def local(daemon):
    one, two, cable = VM("lab"), VM("lab"), Watch("up1")
    two.send(arp(two, "10.7.0.10"))
    report(one.sees(arp(two, "10.7.0.10")), "VMs of a node reach one another")
    cable.sees(b"nothing", 0.3)
    frame = packet(one, two.mac, two.card["address"])
    one.send(frame)
    report(two.sees(frame), "by their addresses")
    report(not cable.sees(frame, 0.3), "and that does not leave the node")
    one.send(arp(one, "10.7.0.1"))
    answer = None
    for _ in range(20):
        answer = one.receive(0.5)
        if answer and answer[12:14] == b"\x08\x06" and answer[20:22] == b"\0\x02":
            break
    report(bool(answer) and answer[28:32] == socket.inet_aton("10.7.0.1"), "the node answers as 10.7.0.1")
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("10.7.0.1", 2000))
    server.settimeout(5)
    cable.sees(b"nothing", 0.3)
    frame = packet(one, answer[6:12], "10.7.0.1")
    one.send(frame)
    report(server.recv(100)[:4] == b"\0\1\2\3" and not cable.sees(frame, 0.3), "what it is sent stays on the node")
    one.end()
    two.end()
    one, two = VM("apart"), VM("apart")
    two.send(arp(two, "10.9.0.10"))
    report(not one.sees(arp(two, "10.9.0.10"), 0.5), "VMs of an isolated network do not reach one another")
    one.end()
    two.end()


def closed(daemon):
    vm, bridge = VM("closed"), Watch("wn-closed")
    for what, target, ports, passes in (("outside", "9.9.9.9", (1000, 443), True),
                                        ("the site", "10.9.9.9", (1000, 443), False),
                                        ("the node", "10.8.0.1", (1000, 22), False),
                                        ("the name server", "10.8.0.53", (1000, 53), True),
                                        ("its other ports", "10.8.0.53", (1000, 22), False)):
        frame = packet(vm, ALL, target, ports=ports)
        vm.send(frame)
        report(bridge.sees(frame, 1.0 if passes else 0.3) == passes, f"closed: {what}: {passes}")
    vm.end()


def bridge(daemon):
    run(*"ip link add far5 type veth peer name port5".split())
    for line in ("link set port5 master br0 up", "link set far5 up"):
        run("ip", *line.split())
    run(*"bridge vlan add dev port5 vid 5 pvid untagged".split())
    vm, far, other = VM("own"), Watch("far5"), Watch("br0")
    frame = packet(vm, ALL, "10.5.0.99")
    vm.send(frame)
    report(far.sees(frame), "a VLAN of the administrator's bridge is reached")
    report(not other.sees(frame, 0.3), "and no other")
    vm.end()
    run("ip", "link", "del", "far5")


def refusals(daemon):
    for network, why in (("nowhere", "[network nowhere]"), ("other", "[node] vlans"), ("lease", "lease")):
        vm = VM(network)
        report(why in vm.error, f"{network}: {vm.error}")
    vms = [VM("closed"), VM("closed"), VM("closed")]
    report("no address left" in vms[2].error, f"a full range: {vms[2].error}")
    vms[0].end()
    again = VM("closed")
    report(not again.error and again.card["address"] == "10.8.0.10", "an address is given again")
    pid = os.fork()
    if pid == 0:
        os.setgid(1234)
        os.setuid(1234)
        vm = VM("mine")
        os._exit("not for you" not in vm.error)
    report(os.waitpid(pid, 0)[1] == 0, "a network of others is refused")
    pid = os.fork()
    if pid == 0:
        os.setgid(65534)
        os.setuid(65534)
        vm = VM("mine")
        os._exit(bool(vm.error))
    report(os.waitpid(pid, 0)[1] == 0, "its users have it")
    for vm in (vms[1], again):
        vm.end()
    report(nothing_left(), "nothing is left")


def ends(daemon):
    vm = VM("lab")
    fcntl.ioctl(vm.tap, TUNSETPERSIST, 1)
    vm.end(keep=True)
    report(nothing_left(), "a tap that is made to stay does not")
    try:
        vm.send(packet(vm, ALL, "10.7.0.99"))
        report(False, "who still has it has nothing")
    except OSError:
        report(True, "who still has it has nothing")
    vm = VM("lab")
    record = vm.answer["record_id"]
    child = subprocess.Popen(["sleep", "100"])
    vm.socket.send(json.dumps({"op": "vm", "pid": child.pid, "name": "x"}).encode())
    for _ in range(10):
        vm.send(packet(vm, ALL, "10.7.0.99", size=958))
    time.sleep(0.5)
    daemon.kill()
    daemon.start()
    frame, far = packet(vm, ALL, "10.7.0.98"), Watch("far")
    vm.send(frame)
    report(far.sees(frame), "a VM goes on while there is no daemon")
    other = VM("lab")
    report(other.card["address"] != vm.card["address"], "its address is not given to another")
    other.end()
    back = VM.__new__(VM)
    back.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    back.socket.connect(SOCKET)
    answer = back.ask(op="hold", image="x", own=True, digest="0" * 64, cpus=1, memory_mib=16, pid=child.pid,
                      record_id=record, name="x")
    report(answer.get("record_id") == record, "and comes back")
    back.socket.close()
    child.kill()
    child.wait()
    report(nothing_left(), "its end is heard by the new daemon")
    time.sleep(1.5)
    records = [json.loads(line) for line in open(f"{WORK}/state/records.jsonl")]
    used = [r["usage"] for r in records if r["id"] == record]
    report(used and used[0]["network_sent_bytes"] >= 10000, f"its bytes are in its record: {used}")


def forged(daemon):
    """Who has a tap's descriptor gives the tap itself the MAC address of somebody else on the network."""
    vm, other, far = VM("lab"), VM("lab"), Watch("far")
    own = (b"\xfe" + vm.mac[1:]).hex(":")
    forge = struct.pack("16sH6s8x", b"", 1, FAR_MAC)

    def is_own():
        return own in run("ip", "-o", "link", "show", vm.name())

    def is_cut():
        shown = run("ip", "-o", "link", "show", vm.name())
        return "master" not in shown and "DOWN" in shown

    frame = packet(other, FAR_MAC, "10.7.0.99")
    fcntl.ioctl(vm.tap, SIOCSIFHWADDR, forge)
    report(until(is_own), "a tap's own MAC that its holder has changed is set back")
    other.send(frame)
    report(far.sees(frame), "what is for the one who was to be robbed leaves the node")
    mine = packet(vm, ALL, "10.7.0.98")
    vm.send(mine)
    report(far.sees(mine), "its VM goes on")
    daemon.kill()
    fcntl.ioctl(vm.tap, SIOCSIFHWADDR, forge)
    report(not is_own(), "while there is no daemon nobody sets it back")
    daemon.start()
    report(until(is_own), "but the next daemon does")
    fcntl.ioctl(vm.tap, SIOCSIFHWADDR, forge)
    report(until(is_cut), "who does it again has no network any more")
    frame = packet(other, FAR_MAC, "10.7.0.97")
    other.send(frame)
    report(far.sees(frame), "others have")
    vm.end()
    other.end()


def kills(daemon):
    """Killed at any moment of a tap's life, nothing is left but what the next daemon removes."""
    VM("lab").end()
    for i in range(40):
        vms = []
        pid = os.fork()
        if pid == 0:
            try:
                while True:
                    vms.append(VM("lab"))
                    if len(vms) > 2:
                        vms.pop(0).end()
            except (OSError, ValueError):
                os._exit(0)
        time.sleep(random.random() * 0.2)
        daemon.kill()
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        gone = [line for line in run("ip", "-o", "link").splitlines() if ": wnt" in line]
        end = time.monotonic() + 5
        while gone and time.monotonic() < end:
            time.sleep(0.1)
            gone = [line for line in run("ip", "-o", "link").splitlines() if ": wnt" in line]
        if gone:
            report(False, f"no device is left: {gone}")
            break
        daemon.start()
    else:
        report(True, "no device is left of a daemon that is killed")
    vm = VM("lab")
    report(not vm.error, "the next daemon lends taps")
    vm.end()
    report(nothing_left(70), f"nothing is left {left()}")


def throughput(send, receive, seconds=3.0):
    count, end = 0, 0.0
    begin = time.monotonic()
    while time.monotonic() < begin + seconds + 1.5:
        if end == 0.0 and time.monotonic() > begin + 1.5:
            count, end = 0, time.monotonic()
        send()
        count += receive()
    return count / (time.monotonic() - end)


def rates(daemon):
    vm, watch = VM("slow"), Watch("wn-slow")
    watch.socket.setblocking(False)
    frame = packet(vm, ALL, "10.3.0.99", size=1372)

    def drain_watch():
        count = 0
        try:
            while True:
                got, origin = watch.socket.recvfrom(4096)
                count += len(got) if origin[2] != socket.PACKET_OUTGOING else 0
        except BlockingIOError:
            return count

    def drain_tap():
        count = 0
        while select.select([vm.tap], [], [], 0.0)[0]:
            count += len(os.read(vm.tap, 4096)) - HEADER
        return count

    up = throughput(lambda: [vm.send(frame) for _ in range(8)], drain_watch)
    report(180000 < up < 220000, f"up: {up:.0f} of 200000 bytes a second")
    sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sender.bind(("wn-slow", 0))
    sender.setblocking(False)
    frame = ALL + FAR_MAC + frame[12:]

    def flood():
        try:
            for _ in range(8):
                sender.send(frame)
        except OSError:
            pass

    down = throughput(flood, drain_tap)
    report(450000 < down < 550000, f"down: {down:.0f} of 500000 bytes a second")
    vm.end()


def shares(daemon):
    """What is guaranteed on a way out that is too narrow, and what others leave."""
    far = Watch("up1")
    one, two = VM("tight"), VM("tight")
    far.socket.setblocking(False)
    big, small = (packet(vm, ALL, "10.1.0.99", size=1372) for vm in (one, two))
    sent = {one.mac: 0, two.mac: 0}

    def drain():
        try:
            while True:
                got = far.socket.recv(4096)
                if got[6:12] in sent:
                    sent[got[6:12]] += len(got)
        except BlockingIOError:
            pass

    def flood(seconds, *pairs):
        begin = time.monotonic()
        for vm in (one, two):
            sent[vm.mac] = 0
        while time.monotonic() < begin + seconds:
            for vm, frame in pairs:
                for _ in range(4):
                    vm.send(frame)
            drain()
        return [sent[vm.mac] / (time.monotonic() - begin) for vm in (one, two)]

    flood(1.5, (one, big))
    alone = flood(4, (one, big))[0]
    report(330000 < alone < 450000, f"alone a VM has all of the 400000 bytes a second: {alone:.0f}")
    flood(1.5, (one, big), (two, small))
    both = flood(6, (one, big), (two, small))
    report(sum(both) < 460000 and min(both) > 90000, f"two have their guaranteed 100000, and 400000 together: {both}")
    one.end()
    two.end()
    report(nothing_left(), "nothing is left")


def leases(daemon):
    """From a pool of the site to what a VM sends."""
    site = Site()
    try:
        leases_of(site, daemon)
    finally:
        site.end()


def is_told(line):
    try:
        return line in open(f"{WORK}/told/names")
    except OSError:
        return False


def leases_of(site, daemon):
    site.ask("PUT", "/v1/pools/public", {
        "vlan": 0, "domain": "grid.example.org", "host_pattern": "vm-%04d", "first_address": "192.0.2.10", "size": 3,
        "prefix": 24, "gateway": "192.0.2.254", "nameservers": ["192.0.2.253"], "mac_prefix": "52:54:07"})
    daemon.kill()
    site.join()
    with open(f"{WORK}/hook", "w") as f:
        f.write(f'#!/bin/sh\necho "$(id -u) $*" >>{WORK}/told/names\n')
    os.chmod(f"{WORK}/hook", 0o755)
    os.makedirs(f"{WORK}/told")
    os.chmod(f"{WORK}/told", 0o777)
    with open(f"{WORK}/wnodes.conf", "a") as f:
        f.write(f"[node]\nuser = 64200\nname_hook = {WORK}/hook\n[site]\ncontrollers = {site.url}\nuser = 64201\nheartbeat = 1s\npool = public\nlease_block = 2\n")
    daemon.start()

    def ready():
        return site.ask("GET", "/v1/pools/public")["used"] >= 2

    report(until(ready, 60), "the node keeps leases ready")
    opened = []

    def is_lent():
        opened.append(VM("lease"))
        return not opened[-1].error

    report(until(is_lent, 30), f"a VM is lent one {opened[-1].error}")
    vm = opened[-1]
    card = vm.card
    report(card["address"].startswith("192.0.2.1") and card["prefix"] == 24 and card["gateway"] == "192.0.2.254" and
           card["nameservers"] == ["192.0.2.253"] and card["mac"].startswith("52:54:07"), f"with all that is its: {card}")
    name = vm.answer["lease"]["name"]
    told = f"{name} {card['address']} {card['mac']} {card['address6']}\n"
    report(name.endswith(".grid.example.org"), f"and its name: {name}")
    report(until(lambda: is_told(f"64200 add {told}")), f"which the site's DNS is told: {told}")
    own6 = vm.mac[:1].hex() and bytes([vm.mac[0] ^ 2]) + vm.mac[1:3] + b"\xff\xfe" + vm.mac[3:]
    address6 = bytes.fromhex("20010db800050000") + own6
    report(socket.inet_pton(socket.AF_INET6, card["address6"]) == address6 and card["prefix6"] == 64 and
           card["gateway6"] == "fe80::1", "and an IPv6 address of its MAC's")
    bridge = Watch("wn-lease")
    frame = packet(vm, ALL, "9.9.9.9")
    vm.send(frame)
    report(bridge.sees(frame), "it sends with the address of its lease")
    frame = packet(vm, ALL, "9.9.9.9", source=socket.inet_aton("192.0.2.77"))
    vm.send(frame)
    report(not bridge.sees(frame, 0.3), "and with no other of the pool")
    ip6 = ALL + vm.mac + b"\x86\xdd" + bytes.fromhex("60000000001411ff") + address6 + \
        bytes.fromhex("20010db8" + "0" * 23 + "1") + struct.pack("!HHHH", 1000, 2000, 20, 0) + bytes(12)
    vm.send(ip6)
    report(bridge.sees(ip6), "with its IPv6 address, too")
    other = VM("lease")
    report(not other.error and other.card["address"] != card["address"], f"another VM has another one {other.error}")
    for each in (vm, other):
        each.end()
    report(nothing_left(), "nothing is left")
    report(until(lambda: is_told(f"64200 remove {told}")), "the DNS is told of its end")
    again = []

    def is_lent_again():
        again.append(VM("lease"))
        return not again[-1].error

    report(until(is_lent_again, 30), "what has come back is lent again")
    again[-1].end()


def bench(daemon, count=200):
    VM("shares").end()
    began = time.monotonic()
    vms = [VM("shares") for _ in range(count)]
    made = time.monotonic()
    for vm in vms:
        vm.end()
    gone = nothing_left(60)
    ended = time.monotonic()
    print(f"{count / (ended - began):.0f} a second made and removed; {1000 * (made - began) / count:.1f} ms to make, "
          f"{1000 * (ended - made) / count:.1f} ms to remove")
    report(gone, "nothing is left")
    report("class htb 1:2 " not in run("tc", "class", "show", "dev", "wnv-shares"), "no share is left")


set_up()
node = Daemon()
node.start()
try:
    {"connected": connected, "local": local, "closed": closed, "bridge": bridge, "refusals": refusals, "ends": ends,
     "forged": forged, "leases": leases, "shares": shares, "kills": kills, "rates": rates, "bench": bench}[WHAT](node)
finally:
    node.kill()
    sys.stdout.flush()
    tear_down()
if bad:
    print(open(f"{WORK}/daemon.err").read())
sys.exit(bad > 0)
