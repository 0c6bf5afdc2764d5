"""Host directories by sshfs: through the VM's port, against through its network as people have it, with
ssh, and without encryption; and what one costs a clone."""

import os
import pathlib
import pwd
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time

import program
from table import Table

IMAGE = "sshfs"
SIZE_MIB = 32
SERVER = "/usr/lib/openssh/sftp-server"

# BENCH_SSHD is for one that is not installed; with its libraries in LD_LIBRARY_PATH.
SSHD = os.environ.get("BENCH_SSHD", "/usr/sbin/sshd")

# An account that every Debian has, and that nobody uses.
ACCOUNT = "games"

# Writes and reads in all places in turn, as the machine may slow down meanwhile.
GUEST = """
places=/s
mkdir /net /ssh
sshfs -o directport=$1,allow_other,default_permissions 10.0.2.2:$2 /net || exit
places="$places /net"
if [ -n "$5" ]; then
	(umask 077; echo "$6" >/key)
	sshfs -p $5 -o IdentityFile=/key,StrictHostKeyChecking=no,UserKnownHostsFile=/dev/null,LogLevel=ERROR \\
		-o allow_other,default_permissions $7@10.0.2.2:$2 /ssh || exit
	places="$places /ssh"
fi
for round in $(seq $3); do
	for place in $places; do
		echo 3 >/proc/sys/vm/drop_caches
		w=$(dd if=/dev/zero of=$place/file bs=1M count=$4 conv=fsync 2>&1 | tail -1)
		echo 3 >/proc/sys/vm/drop_caches
		r=$(dd if=$place/file of=/dev/null bs=1M 2>&1 | tail -1)
		rm $place/file
		echo "$place write $w"
		echo "$place read $r"
	done
done
umount $places 2>/dev/null
true
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


class Sshd:
    """The real one, without privileges, with keys of its own, on a port of the loopback; `port` is None
    where there is none."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.port = self.process = None
        self.key = ""

    def _configure(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.directory / name],
                           check=True)
        self.key = (self.directory / "user").read_text()
        (self.directory / "conf").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.directory}/host\n"
            f"AuthorizedKeysFile {self.directory}/user.pub\nPidFile none\nUsePAM no\n"
            "StrictModes no\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n")

    def __enter__(self):
        if not os.path.exists(SSHD) or not shutil.which("ssh-keygen"):
            return self
        self._configure()
        account = pwd.getpwnam(ACCOUNT)
        for path in (self.directory, *self.directory.iterdir()):
            os.chown(path, account.pw_uid, account.pw_gid)
        self.process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", self.directory / "conf"], user=account.pw_uid,
            group=account.pw_gid, extra_groups=[], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.1)
        raise RuntimeError(f"{SSHD} does not listen")

    def __exit__(self, *_):
        if self.process:
            self.process.kill()
            self.process.wait()

    def arguments(self):
        return [str(self.port), self.key, ACCOUNT] if self.port else ["", "", ""]


def seconds(line):
    """Of dd's last line: "33554432 bytes (34 MB, 32 MiB) copied, 0.5 s, 67 MB/s"."""
    return float(line.split("copied, ")[1].split()[0])


def share_options(count, directory):
    options = ["--image", IMAGE, "--network", "user", "--mount", "none"]
    for i in range(count):
        options += ["--mount", f"{directory}:/s{i or ''}:gateway=sshfs"]
    return options


def measure(directory, rounds):
    with tempfile.TemporaryDirectory() as keys, Sshd(keys) as sshd:
        command = ["sh", "-c", GUEST, "sh", str(Server().port), directory, str(rounds),
                   str(SIZE_MIB), *sshd.arguments()]
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


def compare(results, found, place, name, goals):
    """Adds the rounds' own ratios between the port and another place."""
    if (place, "write") not in found:
        print(f"sshfs: not against {name}: there is no {SSHD} (BENCH_SSHD)")
        return
    table = Table("sshfs, MiB/s", "by a port", name, "ratio")
    for what, goal in goals:
        pairs = list(zip(found[("/s", what)], found[(place, what)]))
        ratio = statistics.median(a / b for a, b in pairs)
        table.add(what, *(statistics.median(p[i] for p in pairs) for i in (0, 1)), ratio)
        results.add(f"sshfs by a port against {name}, {what}", ratio, goal)
    table.print()


def bench_sshfs(results, rounds):
    if not image():
        print("sshfs: only root measures this, with OpenSSH's sftp-server\n")
        return
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o1777)
        found = measure(directory, rounds)
        compare(results, found, "/ssh", "by the network with ssh",
                (("write", ">= 5"), ("read", ">= 4")))
        compare(results, found, "/net", "by the network without ssh",
                (("write", None), ("read", None)))
        results.add("sshfs in a clone, ms a share", set_up(directory, rounds), "<= 40")
    print(flush=True)
