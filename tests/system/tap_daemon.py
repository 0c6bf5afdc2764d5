"""Stands for the node's daemon where the kernel has no bridges: lends one VM of the user's own image a tap, whose other end
is this machine, 10.77.0.1, with a server at port 8000 that tells who asks: tap_daemon.py SOCKET"""

import array
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading

TUNSETIFF, TAP, MULTI, NO_PI, VNET_HDR = 0x400454ca, 2, 0x100, 0x1000, 0x4000


def serve():
    server = socket.create_server(("::", 8000), family=socket.AF_INET6, dualstack_ipv6=True)
    while True:
        client, address = server.accept()
        client.sendall(f"hello {address[0].removeprefix('::ffff:')}\n".encode() + b"x" * 200000 + b"\nend\n")
        client.close()


def lend(client, question):
    mac, address = question["network"] == "odd" and "52:57:0a:4d:00:63" or "52:57:0a:4d:00:02", "10.77.0.2"
    count = question["cpus"] if question["cpus"] >= 4 else 1
    taps = [os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK) for _ in range(count)]
    for tap in taps:
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", b"wnt0", TAP | NO_PI | VNET_HDR | (MULTI if count > 1 else 0)))
    for line in ("addr add 10.77.0.1/24 dev wnt0", "addr add 2001:db8:77::1/64 dev wnt0 nodad", "link set wnt0 mtu 1400 up"):
        subprocess.run(["ip", *line.split()], check=True)
    if not hasattr(lend, "server"):
        lend.server = threading.Thread(target=serve, daemon=True)
        lend.server.start()
    overlay, scratch = (tempfile.TemporaryFile() for _ in range(2))
    scratch.truncate(question.get("scratch_bytes", 0))
    answer = {"descriptors": ["overlay", "scratch", *["tap"] * count], "digest": question["digest"],
              "network": {"name": "lab", "mac": mac, "address": address, "prefix": 24, "gateway": "10.77.0.1",
                          "nameservers": ["10.77.0.53"], "mtu": 1400, "address6": "2001:db8:77::2", "prefix6": 64,
                          "gateway6": "2001:db8:77::1"}}
    fds = array.array("i", [overlay.fileno(), scratch.fileno(), *taps])
    client.sendmsg([json.dumps(answer).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
    for tap in taps:
        os.close(tap)


listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind(sys.argv[1])
listener.listen()
print("ready", flush=True)
while True:
    client, _ = listener.accept()
    while True:
        packet = client.recv(100000)
        if not packet:
            break
        question = json.loads(packet)
        print(question["op"], question.get("network", ""), flush=True)
        if question["op"] == "open" and "network" in question:
            lend(client, question)
        elif question["op"] != "vm":
            client.send(b'{"none":true}')
    client.close()
