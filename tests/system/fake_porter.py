#!/usr/bin/python3
"""Stands in for wnodes-porter: it "fetches" from $WORK/origin, and errs as $WORK/porter-mode says:

ok, slow (a quarter of a second each 256 KiB), wait (until the mode is another), die (in the middle), fail REASON,
keep (says that it has closed what it has not), bad (writes other bytes), lie (asks for what is not its own)"""

import array
import json
import os
import select
import socket
import sys
import time

WORK = os.environ["WORK"]
STEP = 262144
sock = socket.socket(fileno=0)
changed = True
kept = []


def mode():
    try:
        with open(WORK + "/porter-mode", encoding="utf-8") as f:
            return f.read().strip()
    except FileNotFoundError:
        return "ok"


def receive():
    """A packet, with its descriptors by name."""
    data, control, _, _ = sock.recvmsg(200000, socket.CMSG_LEN(32))
    if not data:
        sys.exit(0)
    answer = json.loads(data)
    fds = array.array("i")
    for _, _, part in control:
        fds.frombytes(part[:len(part) // 4 * 4])
    answer["fds"] = dict(zip(answer.get("descriptors", []), fds))
    return answer


def ask(**question):
    global changed
    sock.send(json.dumps(question).encode())
    while True:
        answer = receive()
        if "changed" not in answer:
            return answer
        changed = True


def read(name):
    with open(WORK + "/origin/" + name, "rb") as f:
        return f.read()


def note(text):
    with open(WORK + "/porter-log", "a", encoding="utf-8") as f:
        f.write(text + "\n")


def copy_part(digest, part, so_far, total):
    blob = part["digest"]
    fds = ask(op="part", digest=digest, blob=blob)["fds"]
    data, index = read(blob), read(blob + ".caibx")
    os.pwrite(fds["index"], index, 0)
    done = int(os.pread(fds["have"], 20, 0) or b"0")
    if done:
        note(f"resumed {blob} {done}")
    while done < len(data):
        now = mode()
        if now == "slow":
            time.sleep(0.25)
        while mode() == "wait":
            time.sleep(0.05)
        if now == "die" and done >= len(data) // 2:
            os._exit(3)
        piece = data[done:done + STEP]
        os.pwrite(fds["partial"], bytes(len(piece)) if now == "bad" else piece, done)
        done += len(piece)
        os.pwrite(fds["have"], b"%020d" % done, 0)
        ask(op="progress", digest=digest, bytes=so_far + done, total=total, reused=0, from_peers=0, from_origin=so_far + done,
            rate=STEP * 4)
    for fd in fds.values():
        if mode() == "keep":
            kept.append(fd)
        else:
            os.close(fd)
    answer = ask(op="done", digest=digest, blob=blob)
    note(f"done {blob} {answer.get('error', 'ok')}")
    while kept:
        os.close(kept.pop())
    return "error" not in answer


def lie(digest):
    """What is not to be had, or is nonsense, is refused, and harms nothing."""
    for question in ({"op": "part", "digest": "0" * 64, "blob": "1" * 64}, {"op": "local", "blob": "2" * 64},
                     {"op": "done", "digest": digest, "blob": "0" * 64}, {"op": "nothing"}, {}, {"op": 7},
                     {"op": "part", "digest": "../..", "blob": "x"}, {"op": "manifest", "digest": digest, "text": "{}"},
                     {"op": "progress", "digest": digest, "bytes": -1}, {"op": "hold"}):
        answer = ask(**question)
        note("refused" if "error" in answer else f"taken {question}")


def fetch(image):
    digest, parts = image["digest"], image["parts"]
    total, so_far = sum(p["size"] for p in parts), 0
    note(f"fetch {digest}")
    now = mode()
    if now.startswith("fail"):
        ask(op="failed", digest=digest, reason=now[5:])
        return
    if now == "lie":
        lie(digest)
    if image.get("manifest"):
        ask(op="manifest", digest=digest, text=read(digest + ".manifest").decode())
    try:
        for part in parts:
            if not copy_part(digest, part, so_far, total):
                return
            so_far += part["size"]
    except OSError as e:
        ask(op="failed", digest=digest, reason=os.strerror(e.errno))


hello = ask(op="hello")
note("hello " + json.dumps({k: v for k, v in hello.items() if k != "fds"}))
while True:
    changed = False
    work = ask(op="work")
    note("serve " + " ".join(s["digest"] for s in work["serve"]))
    if work["fetch"]:
        fetch(work["fetch"][0])
        time.sleep(0.05)
        continue
    while not changed:
        select.select([sock], [], [])
        changed = "changed" in receive()
