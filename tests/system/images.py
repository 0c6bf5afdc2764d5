"""Images that are made up, the catalogue that has them, and one who asks the node's daemon for them:

images.py publish NAME[:TAG] SIZE [MEMBER=VALUE...]   prints the digest
images.py set DIGEST MEMBER=VALUE...                  null is no value
images.py tag NAME:TAG DIGEST      images.py stage DIGEST...
images.py add STORE NAME[:TAG]                        an image of a store, as it is
images.py store STORE NAME[:TAG] SIZE                 one in a store of its own; half of it is in all of them
images.py open SOCKET IMAGE [hold]                    each answer is a line; with hold, the VM stays until stdin ends"""

import array
import hashlib
import json
import os
import socket
import sys

CATALOGUE, ORIGIN = "site/catalogue", "origin"


def load():
    if not os.path.exists(CATALOGUE):
        return {"revision": 0, "images": [], "tags": [], "staged": []}
    with open(CATALOGUE, encoding="utf-8") as f:
        return json.load(f)


def save(catalogue):
    catalogue["revision"] += 1
    with open(CATALOGUE + ".new", "w", encoding="utf-8") as f:
        json.dump(catalogue, f)
    os.rename(CATALOGUE + ".new", CATALOGUE)


def put(name, data):
    os.makedirs(ORIGIN, exist_ok=True)
    with open(os.path.join(ORIGIN, name), "wb") as f:
        f.write(data)


def sha(data):
    return hashlib.sha256(data).hexdigest()


def assign(image, members):
    for member in members:
        key, value = member.split("=", 1)
        image[key] = None if value == "null" else value == "true" if key == "private" else value


def tag(catalogue, reference, digest):
    name, _, word = reference.partition(":")
    word = word or "latest"
    catalogue["tags"] = [t for t in catalogue["tags"] if (t["name"], t["tag"]) != (name, word)]
    catalogue["tags"].append({"name": name, "tag": word, "digest": digest})


def add_image(reference, manifest, digest, members):
    catalogue = load()
    parts = [{**p, "index": sha(b"index of " + p["digest"].encode())} for p in manifest["parts"]]
    for part in parts:
        put(part["digest"] + ".caibx", b"index of " + part["digest"].encode())
    image = {"digest": digest, "name": reference.partition(":")[0], "state": "approved", "private": False, "parts": parts}
    assign(image, members)
    catalogue["images"] = [i for i in catalogue["images"] if i["digest"] != digest] + [image]
    if not image["private"]:
        tag(catalogue, reference, digest)
    save(catalogue)
    print(digest)


def publish(reference, size, *members):
    disk = os.urandom(int(size))
    manifest = make_manifest(disk)
    text = json.dumps(manifest).encode()
    put(sha(disk), disk)
    put(sha(text) + ".manifest", text)
    add_image(reference, manifest, sha(text), members)


def store_image(store, reference, size):
    write_store(store, reference, (b"%08d" % int(size)) * (int(size) // 16) + os.urandom(int(size) // 2))


def write_store(store, reference, disk):
    name, _, word = reference.partition(":")
    text = json.dumps(make_manifest(disk)).encode()
    for data in (disk, text):
        os.makedirs(os.path.join(store, "blobs"), exist_ok=True)
        with open(os.path.join(store, "blobs", sha(data)), "wb") as f:
            f.write(data)
    os.makedirs(os.path.join(store, "names", name), exist_ok=True)
    with open(os.path.join(store, "names", name, word or "latest"), "w", encoding="utf-8") as f:
        f.write(sha(text) + "\n")


def make_manifest(disk):
    return {"version": 1, "format": "raw", "architecture": "x86_64", "boot": "disk", "agent": "builtin", "agent_version": "1",
            "os": "none", "gateways": ["9p"], "created": 1, "min_memory_mib": 1, "min_cpus": 1, "disk_size": len(disk),
            "parts": [{"kind": "disk", "digest": sha(disk), "size": len(disk)}]}


def add(store, reference):
    name, _, word = reference.partition(":")
    with open(os.path.join(store, "names", name, word or "latest"), encoding="utf-8") as f:
        digest = f.read().strip()
    with open(os.path.join(store, "blobs", digest), "rb") as f:
        text = f.read()
    put(digest + ".manifest", text)
    for part in json.loads(text)["parts"]:
        link = os.path.join(ORIGIN, part["digest"])
        if not os.path.exists(link):
            os.symlink(os.path.join(store, "blobs", part["digest"]), link)
    add_image(reference, json.loads(text), digest, [])


def change(digest, *members):
    catalogue = load()
    for image in catalogue["images"]:
        if image["digest"] == digest:
            assign(image, members)
    save(catalogue)


def set_tag(reference, digest):
    catalogue = load()
    tag(catalogue, reference, digest)
    save(catalogue)


def stage(*digests):
    catalogue = load()
    catalogue["staged"] = list(digests)
    save(catalogue)


def receive(s):
    data, control, _, _ = s.recvmsg(200000, socket.CMSG_LEN(32))
    fds = array.array("i")
    for _, _, part in control:
        fds.frombytes(part[:len(part) // 4 * 4])
    return (json.loads(data) if data else {"error": "the daemon has ended"}), fds


def open_image(path, image, *more):
    question = {"op": "open", "image": image, "cpus": 1, "memory_mib": 64}
    for word in more:
        if word != "hold":
            key, value = word.split("=", 1)
            question[key] = value == "true" if value in ("true", "false") else value
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(float(os.environ.get("ASK_TIMEOUT", "50")))
    s.connect(path)
    s.send(json.dumps(question).encode())
    while True:
        answer, fds = receive(s)
        if "descriptors" in answer:
            fds = dict(zip(answer["descriptors"], fds))
            if "disk" in fds:
                answer["disk"] = sha(os.pread(fds["disk"], 1 << 28, 0))
                answer["right"] = answer["disk"] == [p["digest"] for p in answer["manifest"]["parts"] if p["kind"] == "disk"][0]
            answer.pop("manifest", None)
        print(json.dumps(answer), flush=True)
        if "waiting" not in answer:
            break
    if "hold" in more:
        sys.stdin.read()
    sys.exit("error" in answer)


VERBS = {"publish": publish, "set": change, "tag": set_tag, "stage": stage, "add": add, "store": store_image,
         "open": open_image}

if __name__ == "__main__":
    VERBS[sys.argv[1]](*sys.argv[2:])
