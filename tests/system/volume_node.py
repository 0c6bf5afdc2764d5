"""The volumes of a node's daemon, on the test node: volume_node.py CASE

Starts daemons of its own from $WNODES_BUILD, on the volume group vg, and talks to them as VMs do. Each case prints
"ok - ..." and "not ok - ..." lines; the exit status is 1 if one is "not ok"."""

import array
import contextlib
import fcntl
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
