"""Talks to the node's daemon as no well-behaved client does: hypervisor.py SOCKET WHAT

Each WHAT prints "ok - ..." and "not ok - ..." lines; the exit status is 1 if one is "not ok"."""

import array
import fcntl
import json
import os
import socket
import sys
import time

PATH, WHAT = sys.argv[1:3]
FDS = 8
bad = 0


def report(good, what):
    global bad
    bad += not good
    print("ok" if good else "not ok", "-", what, flush=True)


def connect():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(20)
    s.connect(PATH)
    return s


def receive(s):
    """An answer, with its descriptors by name; None at the end."""
    data, control, _, _ = s.recvmsg(200000, socket.CMSG_LEN(FDS * 4))
    if not data:
        return None
    answer = json.loads(data)
    fds = array.array("i")
    for _, _, part in control:
        fds.frombytes(part[:len(part) // 4 * 4])
    answer["fds"] = dict(zip(answer.get("descriptors", []), fds))
    return answer


def ask(s, **question):
    s.send(json.dumps(question).encode())
    return receive(s)


def vm(**more):
    s = connect()
    question = {"op": "open", "image": "debian", "cpus": 1, "memory_mib": 512, **more}
    return s, ask(s, **question)


def refused(call, what):
    try:
        call()
    except OSError:
        report(True, what)
    else:
        report(False, what)


def try_to_change(name, fd):
    refused(lambda: os.pwrite(fd, b"x", 4096), f"{name}: a write is refused")
    refused(lambda: os.ftruncate(fd, 0), f"{name}: a truncation is refused")
    refused(lambda: os.close(os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_TRUNC))
            if name != "memory" else os.truncate(f"/proc/self/fd/{fd}", 0),
            f"{name}: it cannot be opened anew to be changed")


def what_is_lent(key):
    s, answer = vm(scratch_bytes=64 << 20)
    for name in ("disk", "kernel", "initrd"):
        try_to_change(name, answer["fds"][name])
    for name in ("overlay", "scratch"):
        report(os.fstat(answer["fds"][name]).st_uid == os.getuid(), f"{name}: it is ours")
        report(os.fstat(answer["fds"][name]).st_nlink == 0, f"{name}: it has no name")
    template = ask(s, op="template", key=key)
    report(set(template["fds"]) == {"memory", "state", "overlay"}, "a template is lent")
    for name, fd in template["fds"].items():
        try_to_change(name, fd)
    seals = fcntl.fcntl(template["fds"]["memory"], fcntl.F_GET_SEALS)
    report(seals & 0xf == 0xf, "the memory is sealed for good")
    again = ask(s, op="template", key=key)
    os.lseek(template["fds"]["state"], 100, os.SEEK_SET)
    report(os.lseek(again["fds"]["state"], 0, os.SEEK_CUR) == 0, "each state has its own offset")
    report("error" in ask(s, op="template-failed", key="0" * 64),
           "a template that was not lent cannot be thrown away")
    # What is written to its files is cut off, and gone when the connection is.
    os.ftruncate(answer["fds"]["scratch"], 1 << 30)
    end = time.monotonic() + 15
    while os.fstat(answer["fds"]["scratch"]).st_size > 64 << 20 and time.monotonic() < end:
        time.sleep(0.2)
    report(os.fstat(answer["fds"]["scratch"]).st_size == 64 << 20, "a file is kept in its limit")
    os.pwrite(answer["fds"]["overlay"], b"x" * 100000, 0)
    s.close()
    time.sleep(0.5)
    report(os.fstat(answer["fds"]["overlay"]).st_size == 0, "it is emptied at the end")


def claims():
    s, answer = vm(uid=0, job="1.0", user="root", pid=1)
    node = ask(s, op="node")["node"]
    mine = [v for v in node["vm_list"] if v["uid"] == os.getuid()]
    report(len(mine) == 1 and mine[0].get("job") is None, "a job that is claimed is not believed")
    report(len(mine) == len(node["vm_list"]), "other users' VMs are not shown")
    report("error" in ask(s, op="drain", reason="x"), "a user cannot drain the node")
    report("error" in ask(s, op="resume"), "nor resume it")
    other = connect()
    report("error" in ask(other, op="hold", image="debian", digest="0" * 64, cpus=1, memory_mib=1,
                          pid=1), "a process of another is not held for ours")
    report("error" in ask(other, op="template", key="0" * 64), "no template without a VM")
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    hold = {"op": "hold", "image": "debian", "digest": "0" * 64, "cpus": 1, "pid": child}
    report("error" in ask(other, memory_mib=1 << 20, **hold), "no VM is held beyond one's limits")
    report("error" not in ask(other, memory_mib=512, **hold), "but within them")
    os.kill(child, 9)
    report("error" in ask(connect(), op="map-groups", pid=child), "groups are mapped for VMs alone")
    report("error" in ask(s, op="map-groups", pid=1), "not those of another's process")
    report("error" in ask(s, op="map-groups", pid=child), "nor in the host's own namespace")


def nonsense():
    packets = [b"", b"{", b"null", b"[]", b"{}", b"\0" * 100, b'{"op":"open"}', b'"x"', b"1e999",
               b'{"op":"open","image":"../../etc/passwd","cpus":1,"memory_mib":1}',
               b"[" * 100000, b'{"op":"' + b"x" * 190000 + b'"}', os.urandom(5000),
               b'{"op":"open","image":"debian","cpus":1,"memory_mib":512}' * 2]
    for packet in packets:
        s = connect()
        try:
            s.send(packet)
            answer = receive(s)
        except OSError:
            answer = None
        if answer is not None and "error" not in answer:
            report(False, f"{packet[:30]} is refused")
        s.close()
    for number in (1, 8, 100):  # descriptors that nobody asked for
        s = connect()
        fds = array.array("i", [0] * number)
        s.sendmsg([b'{"op":"node"}'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        try:
            receive(s)
        except OSError:
            pass
        s.close()
    for _ in range(200):  # gone at any time
        s = connect()
        s.send(b'{"op":"open","image":"debian","cpus":1,"memory_mib":512}')
        s.close()
    report("node" in ask(connect(), op="node"), "the daemon answers after nonsense")


def flood(limit):
    held, turned_away = [], False
    for _ in range(limit + 10):
        s = connect()
        held.append(s)
    for s in held:
        try:
            answer = ask(s, op="node")
        except OSError:
            answer = {"error": "gone"}
        turned_away |= answer is None or "error" in answer
    report(turned_away, "connections have a limit")
    for s in held:
        s.close()
    time.sleep(0.5)
    s = connect()
    began = time.monotonic()
    for _ in range(150):
        report_only = ask(s, op="node")
        if "node" not in report_only:
            report(False, "a request is heard")
    took = time.monotonic() - began
    report(took > 0.8, f"requests are slowed down ({took:.2f} s)")
    deaf = connect()  # asks, and never reads
    deaf.settimeout(1)
    try:
        for _ in range(100000):
            deaf.send(b'{"op":"node"}')
    except OSError:
        pass
    report("node" in ask(connect(), op="node"), "one who never reads harms nobody")


def bench(seconds=3.0):
    """Slots lent and taken back a second, and what is left."""
    began, count = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        s, answer = vm(own=True, digest="0" * 64)
        for fd in answer["fds"].values():
            os.close(fd)
        s.close()
        count += 1
    print(f"{count / seconds:.0f}")


{"lent": lambda: what_is_lent(sys.argv[3]), "claims": claims, "nonsense": nonsense,
 "flood": lambda: flood(int(sys.argv[3])), "bench": bench}[WHAT]()
sys.exit(bad > 0)
