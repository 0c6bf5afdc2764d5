"""Host directories by sshfs: through the VM's port against through its network, and what one costs a
clone. Through the network there is neither encryption nor ssh, so it is faster than people have it."""

import os
import socket
import statistics
import subprocess
import tempfile
import threading

import program
from table import Table

IMAGE = "sshfs"
SIZE_MIB = 32
SERVER = "/usr/lib/openssh/sftp-server"

# Writes and reads in both places in turn, as the machine may slow down meanwhile.
GUEST = """
mkdir /net
sshfs -o directport=$1,allow_other,default_permissions 10.0.2.2:$2 /net || exit
for round in $(seq $3); do
	for place in /s /net; do
		echo 3 >/proc/sys/vm/drop_caches
		w=$(dd if=/dev/zero of=$place/file bs=1M count=$4 conv=fsync 2>&1 | tail -1)
		echo 3 >/proc/sys/vm/drop_caches
		r=$(dd if=$place/file of=/dev/null bs=1M 2>&1 | tail -1)
		rm $place/file
		echo "$place write $w"
		echo "$place read $r"
	done
done
umount /net
"""


def image():
    """Builds it, if need be; False where the guest could not mount through the network."""
    if os.geteuid() != 0 or not os.path.exists(SERVER):
        return False
    listed = subprocess.check_output([program.WNODES, "image", "list", "--quiet"], text=True)
    if f"{IMAGE}:latest" not in listed.split():
        subprocess.run([program.WNODES, "image", "build", "debian", "--packages", "sshfs", "--name",
                        IMAGE], check=True, stdout=subprocess.DEVNULL)
    return True


class Server:
    """OpenSSH's, on a port of the loopback, for each connection."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            connection, _ = self.socket.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            subprocess.Popen([SERVER], stdin=connection, stdout=connection)
            connection.close()


def seconds(line):
    """Of dd's last line: "33554432 bytes (34 MB, 32 MiB) copied, 0.5 s, 67 MB/s"."""
    return float(line.split("copied, ")[1].split()[0])


def share_options(count, directory):
    options = ["--image", IMAGE, "--network", "user", "--mount", "none"]
    for i in range(count):
        options += ["--mount", f"{directory}:/s{i or ''}:gateway=sshfs"]
    return options


def measure(directory, rounds):
    command = ["sh", "-c", GUEST, "sh", str(Server().port), directory, str(rounds), str(SIZE_MIB)]
    output = subprocess.check_output(
        [program.WNODES, "run", *share_options(1, directory), "--", *command], text=True,
        timeout=program.TIMEOUT * 3)
    found = {}
    for line in output.splitlines():
        place, what, rest = line.split(" ", 2)
        found.setdefault((place, what), []).append(SIZE_MIB / seconds(rest))
    return found


def set_up(directory, rounds):
    """Milliseconds of a clone's preparation for each share: with two, less with one."""
    subprocess.run([program.WNODES, "image", "warm", "--quiet", "--network", "user", "--shares", "2",
                    IMAGE], check=True, timeout=program.TIMEOUT)
    costs = []
    for _ in range(rounds):
        one, two = (program.run("true", options=share_options(n, directory)).phase("prepare")
                    for n in (1, 2))
        costs.append((two - one) * 1000)
    return statistics.median(costs)


def bench_sshfs(results, rounds):
    if not image():
        print("sshfs: only root measures this, with OpenSSH's sftp-server\n")
        return
    with tempfile.TemporaryDirectory() as directory:
        found = measure(directory, rounds)
        table = Table("sshfs, MiB/s", "by a port", "by the network", "ratio")
        for what, goal in ("write", ">= 5"), ("read", ">= 4"):
            pairs = list(zip(found[("/s", what)], found[("/net", what)]))
            ratio = statistics.median(a / b for a, b in pairs)
            table.add(what, *(statistics.median(p[i] for p in pairs) for i in (0, 1)), ratio)
            results.add(f"sshfs by a port against by the network, {what}", ratio, goal)
        table.print()
        results.add("sshfs in a clone, ms a share", set_up(directory, rounds), "<= 40")
    print(flush=True)
