"""The volumes of a node's daemon, on the test node: volume_node.py CASE

Starts daemons of its own from $WNODES_BUILD, on the volume group vg, and talks to them as VMs do. Each case prints
"ok - ..." and "not ok - ..." lines; the exit status is 1 if one is "not ok"."""

import array
import contextlib
import fcntl
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

BUILD = os.environ["WNODES_BUILD"]
TOP = "/var/volumes-test"
SOCKET = TOP + "/run/socket"
MIB = 1 << 20
BLKGETSIZE64 = 0x80081272
bad = 0


def report(good, what):
    global bad
    bad += not good
    print("ok" if good else "not ok", "-", what, flush=True)


def command(*argv, check=True):
    return subprocess.run(argv, check=check, capture_output=True, text=True).stdout


def lvs(*more):
    """Names of our volumes."""
    return command("lvs", "--noheadings", "-o", "lv_name", "-S", "lv_name=~^wnodes_", "vg", *more).split()


def wait_for(seconds, condition):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


class Daemon:
    def __init__(self, *lines, group="vg"):
        os.makedirs(TOP + "/state", exist_ok=True)
        with open(TOP + "/wnodes.conf", "w") as f:
            f.write("\n".join(["[node]", "user = 64200", "lrms = none",
                               "volume_group = %s" % group, *lines, ""]))
        self.log = open(TOP + "/log", "w+")
        self.process = subprocess.Popen(
            [BUILD + "/wnodes-hypervisor", "--socket", SOCKET, "--state", TOP + "/state",
             "--config", TOP + "/wnodes.conf"], stdin=subprocess.DEVNULL, stderr=self.log, close_fds=True)
        if not wait_for(80, lambda: "listens on" in self.said()):
            print(self.said())
            sys.exit("the daemon does not start")

    def said(self):
        with open(TOP + "/log") as f:
            return f.read()

    def keeper(self):
        return int(command("pgrep", "-P", str(self.process.pid), "wnodes-volumes").split()[0])

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(80)

    def kill_all(self):
        """With the keeper, as by a crash of both."""
        keeper = self.keeper()
        self.process.kill()
        with contextlib.suppress(ProcessLookupError):  # it ends when it sees the daemon gone
            os.kill(keeper, signal.SIGKILL)
        self.process.wait(80)


def connect():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(120)
    s.connect(SOCKET)
    return s


def receive(s):
    data, control, _, _ = s.recvmsg(200000, socket.CMSG_LEN(8 * 4))
    answer = json.loads(data)
    fds = array.array("i")
    for _, _, part in control:
        fds.frombytes(part[:len(part) // 4 * 4])
    answer["fds"] = dict(zip(answer.get("descriptors", []), fds))
    return answer


def ask(s, **question):
    s.send(json.dumps(question).encode())
    return receive(s)


def vm(mib, **more):
    """A VM of an image of its own, with a scratch disk."""
    s = connect()
    return s, ask(s, op="open", image="mine", cpus=1, memory_mib=64, scratch_bytes=mib * MIB, own=True,
                  digest="0" * 64, **more)


def end_vm(s, answer):
    for fd in answer["fds"].values():
        os.close(fd)
    s.close()


def node():
    s = connect()
    answer = ask(s, op="node")
    s.close()
    return answer["node"]["volumes"]


def size_of(fd):
    return struct.unpack("Q", fcntl.ioctl(fd, BLKGETSIZE64, b" " * 8))[0]


def is_volume(answer):
    return "scratch" in answer["fds"] and (os.fstat(answer["fds"]["scratch"]).st_mode & 0o170000) == 0o060000


def settled(ready):
    return wait_for(120, lambda: node()["ready"] == ready and node()["leaving"] == 0)


def lend_and_return():
    d = Daemon("volumes_ready = 1")
    s, answer = vm(64)
    report(is_volume(answer), "the scratch disk is a volume")
    fd = answer["fds"]["scratch"]
    report(size_of(fd) == 64 * MIB, "of the size that was asked for")
    report(os.pread(fd, 2, 1024 + 56) == b"\x53\xef", "with a file system")
    os.pwrite(fd, b"secret" * 1000, 8 * MIB)
    os.fsync(fd)
    report(settled(1), "another one is made ready")
    name = [n for n in lvs() if "Vwi-a" in command("lvs", "--noheadings", "-o", "lv_attr", "vg/" + n)]
    report(len(name) == 2, "two are there")
    t, second = vm(64)
    report(is_volume(second), "the second VM gets it")
    report(b"secret" not in os.pread(second["fds"]["scratch"], 64 * MIB, 0), "with nothing of others in it")
    end_vm(s, answer)
    end_vm(t, second)
    report(settled(1) and wait_for(80, lambda: len(lvs()) == 1), "both are gone, and one is ready")
    d.end()
    report(wait_for(80, lambda: lvs() == []), "a daemon that ends leaves none")


def a_volume_in_use():
    """Who keeps the descriptor has nothing of it."""
    d = Daemon("volumes_ready = 0")
    s, answer = vm(64)
    fd = os.dup(answer["fds"]["scratch"])
    os.pwrite(fd, b"x" * 4096 * 1000, 8 * MIB)
    os.fsync(fd)
    end_vm(s, answer)

    def used():
        text = command("lvs", "--noheadings", "-o", "data_percent", "-S", "lv_name=~^wnodes_v", "vg", check=False)
        return float(text.split()[0]) if text.split() else 0.0

    report(wait_for(40, lambda: used() < 0.1), "its room is back at once")

    def broken():
        try:
            os.pwrite(fd, b"y" * 4096, 16 * MIB)
            os.fsync(fd)
        except OSError:
            return True
        return False

    report(wait_for(160, broken), "who still has it cannot write to it after a while")
    os.close(fd)
    report(wait_for(160, lambda: lvs() == []), "it is removed when nobody has it any more")
    d.end()


def a_daemon_that_is_killed():
    d = Daemon("volumes_ready = 1")
    s, answer = vm(64)
    fd = answer["fds"]["scratch"]
    os.pwrite(fd, b"mine" * 1024, 8 * MIB)
    report(settled(1), "two volumes are there")
    d.kill_all()
    s.close()
    d = Daemon("volumes_ready = 0")
    qemu = subprocess.Popen(["sleep", "600"])
    s = connect()
    packet = json.dumps({"op": "hold", "image": "mine", "digest": "0" * 64, "cpus": 1, "memory_mib": 64,
                         "own": True, "pid": qemu.pid}).encode()
    socket.send_fds(s, [packet], [fd])
    receive(s)
    report(node()["lent"] == 1, "the next daemon knows the volume of a VM that goes on")
    report(wait_for(160, lambda: len(lvs()) == 1), "and removes the one that nobody had")
    report(os.pread(fd, 4096, 8 * MIB) == b"mine" * 1024, "and not what the VM has written")
    os.close(fd)
    s.close()
    qemu.kill()
    qemu.wait()
    report(wait_for(160, lambda: lvs() == []), "it goes with the VM")
    d.end()


def a_stranger_claims():
    """Another's volume cannot be had by its name, nor by a descriptor of something else."""
    d = Daemon("volumes_ready = 0")
    s, answer = vm(64)
    d.kill_all()
    s.close()
    d = Daemon("volumes_ready = 0")
    qemu = subprocess.Popen(["sleep", "600"])
    t = connect()
    packet = json.dumps({"op": "hold", "image": "mine", "digest": "0" * 64, "cpus": 1, "memory_mib": 64,
                         "own": True, "pid": qemu.pid}).encode()
    disk = os.open("/dev/loop0", os.O_RDONLY)
    socket.send_fds(t, [packet], [disk])
    receive(t)
    os.close(disk)
    report(node()["lent"] == 0, "a descriptor of another device is no volume")
    t.close()
    qemu.kill()
    qemu.wait()
    time.sleep(7)
    report(len(lvs()) == 1, "a volume that is in use is not removed, whoever has it")
    end_vm(connect(), answer)
    d.kill_all()
    d = Daemon("volumes_ready = 0")
    report(wait_for(80, lambda: lvs() == []), "later it is")
    d.end()


def killed_at_each_step():
    """Whatever is killed when ever, nothing is left in the end."""
    steps = random.Random(7)
    for i in range(int(os.environ.get("WNODES_TEST_ROUNDS", "3"))):
        d = Daemon("volumes_ready = 2")
        clients = []
        for _ in range(2):
            s = connect()
            s.send(json.dumps({"op": "open", "image": "mine", "cpus": 1, "memory_mib": 64, "own": True,
                               "digest": "0" * 64, "scratch_bytes": 64 * MIB}).encode())
            clients.append(s)
        time.sleep(steps.uniform(0, 1.6))
        if i % 3 == 0:
            d.kill_all()
        elif i % 3 == 1:
            os.kill(d.keeper(), signal.SIGKILL)
            report(d.process.wait(20) != 0, "the daemon ends with its keeper")
        else:
            for s in clients:
                s.close()
            time.sleep(steps.uniform(0, 0.8))
            d.kill_all()
        for s in clients:
            s.close()
    d = Daemon("volumes_ready = 0")
    report(wait_for(360, lambda: lvs() == []), "nothing is left")
    report(node() and "active" in command("lvs", "--noheadings", "-o", "lv_active", "vg/wnodes"), "the pool is well")
    suspended = [line for line in command("dmsetup", "info", "-c", "--noheadings", "-o", "suspended,name").split("\n")
                 if line.startswith("Suspended")]
    report(suspended == [], "no device is left suspended")
    d.end()


def a_pool_that_is_full():
    command("lvcreate", "-q", "-T", "-V", "600m", "-n", "other", "vg/wnodes")
    command("dd", "if=/dev/urandom", "of=/dev/vg/other", "bs=1M", "count=480", "oflag=direct")
    d = Daemon("volumes_ready = 0", "scratch = lvm")
    s, answer = vm(64)
    report("is full" in answer.get("error", "") and "lvextend" in answer["error"] and answer.get("drained") is True,
           "a pool that is full is said to be: " + answer.get("error", ""))
    s.close()
    d.end()
    d = Daemon("volumes_ready = 0")
    s, answer = vm(64)
    report("scratch" in answer["fds"] and not is_volume(answer), "by default a file serves then")
    end_vm(s, answer)
    command("lvremove", "-qqf", "vg/other")
    s, answer = vm(4096)
    report(not is_volume(answer), "a disk larger than the pool is a file")
    end_vm(s, answer)
    d.end()


def without_a_group():
    d = Daemon("scratch = lvm", group="nosuch")
    report(wait_for(40, lambda: '"nosuch" not found' in d.said()), "the daemon says that the group is missing")
    s, answer = vm(64)
    report("nosuch" in answer.get("error", ""), "and so does its answer: " + answer.get("error", ""))
    s.close()
    d.end()
    d = Daemon("scratch = lvm", group="")
    s, answer = vm(64)
    report("volume_group" in answer.get("error", ""), "without one lvm is refused")
    s.close()
    d.end()
    d = Daemon("scratch = preallocated")
    s, answer = vm(64)
    report(os.fstat(answer["fds"]["scratch"]).st_blocks * 512 >= 64 * MIB, "a preallocated file has its room")
    end_vm(s, answer)
    s, answer = vm(1 << 16)
    report("cannot reserve" in answer.get("error", ""), "one too large is refused: " + answer.get("error", ""))
    s.close()
    d.end()


DISK = 24 * MIB


def add_blob(source):
    with open(source, "rb") as f:
        digest = hashlib.sha256(f.read()).hexdigest()
    os.makedirs(TOP + "/state/blobs", exist_ok=True)
    shutil.copyfile(source, TOP + "/state/blobs/" + digest)
    os.chmod(TOP + "/state/blobs/" + digest, 0o444)
    return digest


def make_image(name, kind="raw", seed=1):
    """An image of the machine's store, with data here and there; returns its disk and its digest."""
    os.makedirs(TOP + "/state", exist_ok=True)
    disk, source = TOP + "/disk.raw", TOP + "/disk." + kind
    data = random.Random(seed)
    with open(disk, "wb") as f:
        f.truncate(DISK)
        f.seek(510)
        f.write(b"\x55\xaa")
        f.seek(3 * MIB)
        f.write(data.randbytes(2 * MIB + 4096))
        f.seek(20 * MIB)
        f.write(data.randbytes(100))
    if kind != "raw":
        command("qemu-img", "convert", "-f", "raw", "-O", kind, disk, source)
    part = add_blob(source)
    with open(TOP + "/manifest", "w") as f:
        json.dump({"version": 1, "format": kind, "architecture": "x86_64", "boot": "disk", "agent": "builtin",
                   "created": 1, "min_cpus": 1, "min_memory_mib": 64, "disk_size": DISK,
                   "parts": [{"kind": "disk", "digest": part, "size": os.path.getsize(source)}]}, f)
    digest = add_blob(TOP + "/manifest")
    os.makedirs(TOP + "/state/names/" + name, exist_ok=True)
    with open(TOP + "/state/names/%s/latest" % name, "w") as f:
        f.write(digest + "\n")
    with open(disk, "rb") as f:
        return f.read(), digest


def root_vm(name, **more):
    """A VM of an image of the machine's, with its root disk on a volume; what it was told while it waited, too."""
    s = connect()
    s.send(json.dumps(dict({"op": "open", "image": name, "cpus": 1, "memory_mib": 64, "root_lvm": True},
                           **more)).encode())
    told = []
    while True:
        answer = receive(s)
        if "waiting" not in answer:
            return s, answer, told
        told.append(answer["waiting"])


def images_on_volumes():
    tags = command("lvs", "--noheadings", "-o", "lv_tags", "-S", "lv_name=~^wnodes_i_", "vg").split()
    return [tag[len("wnodes.image."):] for line in tags for tag in line.split(",") if tag.startswith("wnodes.image.")]


def root_disks():
    """The image is written once, each VM has a snapshot of its own, and nothing of that is left."""
    raw, digest = make_image("raw")
    d = Daemon("volumes_ready = 0")
    s, answer, told = root_vm("raw")
    report("root" in answer["fds"] and not {"disk", "overlay"} & set(answer["fds"]),
           "the root disk is lent instead of image and overlay: %s" % answer.get("error", sorted(answer["fds"])))
    report(told and "volume" in told[0]["reason"], "who waits for the image to be written is told")
    fd = answer["fds"]["root"]
    report(size_of(fd) >= DISK and os.pread(fd, DISK, 0) == raw, "it has what the image has")
    os.pwrite(fd, b"mine" * 1024, 3 * MIB)
    os.fsync(fd)
    t, second, told = root_vm("raw")
    report(told == [] and os.pread(second["fds"]["root"], DISK, 0) == raw,
           "the next VM does not wait for that, and sees nothing of the first")
    report(node()["images"] == 1 and images_on_volumes() == [digest], "the image is on one volume")
    keep = os.dup(fd)
    end_vm(s, answer)
    end_vm(t, second)
    report(wait_for(80, lambda: b"mine" not in os.pread(keep, 4096, 3 * MIB)), "what a VM wrote is gone at its end")
    os.close(keep)
    report(wait_for(80, lambda: len(lvs()) == 1), "and its volume")
    d.kill_all()
    d = Daemon("volumes_ready = 1")
    s, answer, told = root_vm("raw")
    report(told == [] and os.pread(answer["fds"]["root"], DISK, 0) == raw, "the next daemon has the image still")
    report(settled(1), "and keeps a snapshot ready")
    begin = time.monotonic()
    t, second, told = root_vm("raw")
    print("# a snapshot that is ready: %.0f ms" % ((time.monotonic() - begin) * 1000))
    report(os.pread(second["fds"]["root"], DISK, 0) == raw, "which is right as well")
    end_vm(t, second)
    shutil.rmtree(TOP + "/state/names/raw")
    time.sleep(1)
    report(images_on_volumes() == [digest], "an image that has gone stays while a VM has it")
    end_vm(s, answer)
    report(wait_for(160, lambda: lvs() == []), "then its volume goes, and what was ready")
    d.end()


def root_disk_of_qcow2():
    raw, _ = make_image("packed", "qcow2", seed=2)
    d = Daemon("volumes_ready = 0")
    s, answer, _ = root_vm("packed", scratch_bytes=64 * MIB)
    report("root" in answer["fds"] and os.pread(answer["fds"]["root"], DISK, 0) == raw,
           "a qcow2 image is unpacked: %s" % answer.get("error", ""))
    report(is_volume(answer), "beside a scratch disk on a volume")
    # The daemon ends, the VM goes on.
    fds = [answer["fds"]["scratch"], answer["fds"]["root"]]
    os.pwrite(fds[1], b"mine" * 1024, 3 * MIB)
    os.fsync(fds[1])
    d.kill_all()
    s.close()
    d = Daemon("volumes_ready = 0")
    qemu = subprocess.Popen(["sleep", "600"])
    s = connect()
    packet = json.dumps({"op": "hold", "image": "packed", "digest": answer["digest"], "cpus": 1, "memory_mib": 64,
                         "pid": qemu.pid}).encode()
    socket.send_fds(s, [packet], fds)
    receive(s)
    report(node()["lent"] == 2, "the next daemon knows both volumes of a VM that goes on")
    report(os.pread(fds[1], 4096, 3 * MIB) == b"mine" * 1024, "and touches neither")
    for fd in fds:
        os.close(fd)
    s.close()
    qemu.kill()
    qemu.wait()
    report(wait_for(160, lambda: len(lvs()) == 1), "they go with it")
    d.end()


def root_disk_refusals():
    make_image("raw")
    d = Daemon(group="")
    s, answer, _ = root_vm("raw")
    report("volume_group" in answer.get("error", "") and answer.get("drained") is True,
           "without a volume group: " + answer.get("error", ""))
    s.close()
    d.end()
    d = Daemon(group="nosuch")
    s, answer, _ = root_vm("raw")
    report("nosuch" in answer.get("error", "") and answer.get("drained") is True,
           "without the volume group: " + answer.get("error", ""))
    s.close()
    d.end()
    d = Daemon("volumes_ready = 0")
    s, answer, _ = root_vm("mine", own=True, digest="0" * 64)
    report("your own store" in answer.get("error", ""), "of an own image: " + answer.get("error", ""))
    s.close()
    # What is on the volume is what is right, or there is none.
    blob = max((os.path.join(TOP, "state/blobs", b) for b in os.listdir(TOP + "/state/blobs")), key=os.path.getsize)
    os.chmod(blob, 0o644)
    with open(blob, "r+b") as f:
        f.seek(4 * MIB)
        f.write(b"rotten")
    s, answer, _ = root_vm("raw")
    report("error" in answer, "a damaged image is on no volume: " + answer.get("error", ""))
    s.close()
    report(wait_for(80, lambda: lvs() == []), "nothing is left of that")
    d.end()


def root_disk_killed():
    """Killed while the image is written: what there is of it is nobody's, and it is made anew."""
    raw, digest = make_image("raw")
    steps = random.Random(11)
    for _ in range(int(os.environ.get("WNODES_TEST_ROUNDS", "3"))):
        d = Daemon("volumes_ready = 1")
        s = connect()
        s.send(json.dumps({"op": "open", "image": "raw", "cpus": 1, "memory_mib": 64, "root_lvm": True}).encode())
        time.sleep(steps.uniform(0, 4))
        d.kill_all()
        s.close()
    d = Daemon("volumes_ready = 0")
    s, answer, _ = root_vm("raw")
    report("root" in answer["fds"] and os.pread(answer["fds"]["root"], DISK, 0) == raw,
           "the image is right, whoever wrote it: %s" % answer.get("error", ""))
    report(wait_for(160, lambda: len(lvs()) == 2 and images_on_volumes() == [digest]), "and there once")
    end_vm(s, answer)
    shutil.rmtree(TOP + "/state/names/raw")
    report(wait_for(160, lambda: lvs() == []), "nothing is left when it has gone")
    d.end()


def how_long():
    """Medians in ms: a volume that is ready, one that is made, and LVM's commands alone."""
    def timed(call):
        begin = time.monotonic()
        call()
        return (time.monotonic() - begin) * 1000

    def bare():
        command("lvcreate", "-q", "-T", "-V", "64m", "-n", "bare", "vg/wnodes")
        made.append(timed(lambda: command("lvremove", "-qqf", "vg/bare")))

    rows, made = {"lend": [], "lvcreate and lvremove": []}, []
    d = Daemon("volumes_ready = 1")
    end_vm(*vm(64))
    for _ in range(9):
        settled(1)
        wait_for(80, lambda: len(lvs()) == 1)
        lent = []
        rows["lend"].append(timed(lambda: lent.extend(vm(64))))
        rows.setdefault("return", []).append(timed(lambda: end_vm(*lent)))
        settled(1)
        wait_for(80, lambda: len(lvs()) == 1)
        rows["lvcreate and lvremove"].append(timed(bare))
    d.end()
    d = Daemon("volumes_ready = 0")
    for _ in range(5):
        lent = []
        rows.setdefault("lend, none ready", []).append(timed(lambda: lent.extend(vm(64))))
        end_vm(*lent)
        rows.setdefault("until it is gone", []).append(timed(lambda: wait_for(80, lambda: lvs() == [])))
    d.end()
    d = Daemon("scratch = sparse")
    for _ in range(9):
        lent = []
        rows.setdefault("lend, file", []).append(timed(lambda: lent.extend(vm(64))))
        end_vm(*lent)
    d.end()
    for name, values in rows.items():
        print("# %s: %.1f ms" % (name, sorted(values)[len(values) // 2]))


shutil.rmtree(TOP, ignore_errors=True)
globals()[sys.argv[1]]()
sys.exit(bad > 0)
