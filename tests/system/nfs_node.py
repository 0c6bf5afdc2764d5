"""Directories that VMs have by the node's NFS server, on the test node: nfs_node.py CASE

Starts a daemon of its own from $WNODES_BUILD, and talks to it as the program of a user's VM does. In the place of the guest is
a network namespace: frames go between its card and the tap that was lent, and the kernel mounts there what a guest's would.
Each case prints "ok - ..." and "not ok - ..." lines; the exit status is 1 if one is "not ok"."""

import array
import ctypes
import json
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import time

BUILD = os.environ["WNODES_BUILD"]
TOP = "/var/nfs-test"
SOCKET = TOP + "/socket"
DATA = TOP + "/data"
MOUNTED = "/run/wnodes/nfs"
UID, OTHER = 1234, 1235
# As src/vm/nfs.c has them, but for how long a server that is dead is waited for.
OPTIONS = "vers=4.2,proto=tcp,sec=sys,soft,timeo=%s,retrans=2"
CONFIG = """
[node]
lrms = none
nfs = %s
[network lab]
addresses = 10.7.0.10-10.7.0.19/24
node_address = 10.7.0.1/24
[network closed]
class = closed
site_networks = 10.0.0.0/8
addresses = 10.8.0.10-10.8.0.19/24
node_address = 10.8.0.1/24
[network away]
addresses = 10.9.0.10-10.9.0.19/24
"""
# Between the tap, with virtio's header before each frame, and the card of the namespace.
PUMP = """
import fcntl, os, select, struct, sys
tap, card = int(sys.argv[1]), os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(card, 0x400454ca, struct.pack("16sH22x", b"eth0", 0x1002))
print("up", flush=True)
while True:
    for fd in select.select([tap, card], [], [])[0]:
        frame = os.read(fd, 70000)
        try:
            os.write(card, frame[10:]) if fd == tap else os.write(tap, bytes(10) + frame)
        except OSError:
            pass
"""
libc = ctypes.CDLL(None, use_errno=True)
VMS = []
bad = 0


def report(good, what):
    global bad
    bad += not good
    print("ok" if good else "not ok", "-", what, flush=True)


def run(*command, **more):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                          **more).stdout


def wait_for(seconds, condition):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


class Daemon:
    def start(self, nfs="yes"):
        with open(TOP + "/wnodes.conf", "w") as f:
            f.write(CONFIG % nfs)
        self.log = open(TOP + "/log", "w+")
        self.process = subprocess.Popen([BUILD + "/wnodes-hypervisor", "--socket", SOCKET, "--state", TOP + "/state",
                                         "--config", TOP + "/wnodes.conf"], stderr=self.log)
        if not wait_for(60, lambda: "listens on" in open(TOP + "/log").read()):
            sys.exit("the daemon does not start: " + open(TOP + "/log").read())
        return self

    def keeper(self):
        return int((run("pgrep", "-P", str(self.process.pid), "wnodes-exports").split() or ["0"])[0])

    def kill(self):
        self.process.kill()
        self.process.wait()


class VM:
    """A connection to the daemon, of a user, and in the guest's place a network namespace."""

    def __init__(self, network="lab", uid=UID):
        self.uid, self.name, self.pump, self.mounts = uid, "g%d" % random.randrange(10 ** 6), None, []
        self.connect()
        answer = self.ask(op="open", image="x", own=True, digest="0" * 64, cpus=1, memory_mib=16, network=network)
        if "error" in answer:
            raise OSError(answer["error"])
        self.record, self.card, self.tap = answer["record_id"], answer["network"], self.fds["tap"]
        self.qemu = None
        VMS.append(self)

    def connect(self):
        os.setegid(self.uid)
        os.seteuid(self.uid)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(60)
        self.socket.connect(SOCKET)
        os.seteuid(0)
        os.setegid(0)

    def ask(self, fd=-1, **question):
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))] if fd >= 0 else []
        self.socket.sendmsg([json.dumps(question).encode()], control)
        data, control, _, _ = self.socket.recvmsg(200000, socket.CMSG_LEN(8 * 4))
        fds = array.array("i")
        for _, _, part in control:
            fds.frombytes(part[:len(part) // 4 * 4])
        answer = json.loads(data)
        if fds:
            self.fds = dict(zip(answer["descriptors"], fds))
        return answer

    def export(self, directory=DATA + "/share", read_only=False):
        """The source of the mount, or why there is none."""
        fd = directory if isinstance(directory, int) else os.open(directory, os.O_PATH)
        answer = self.ask(fd, op="export", read_only=read_only)
        os.close(fd)
        if "error" in answer:
            return answer["error"]
        return answer["export"]["address"] + ":" + answer["export"]["path"]

    def start_guest(self):
        run("ip", "netns", "add", self.name)
        self.pump = subprocess.Popen(["nsenter", "--net=/run/netns/" + self.name, "python3", "-c", PUMP, str(self.tap)],
                                     pass_fds=[self.tap], stdout=subprocess.PIPE)
        self.pump.stdout.readline()
        for line in ("link set lo up", "link set eth0 address %s up" % self.card["mac"],
                     "addr add %s/24 dev eth0" % self.card["address"]):
            run("ip", "-n", self.name, *line.split())

    def guest(self, *command, **more):
        return run("nsenter", "--net=/run/netns/" + self.name, *command, **more)

    def mount(self, source, timeo=200, options="rw"):
        """Where it is mounted, or why it is not."""
        if not self.pump:
            self.start_guest()
        self.count = getattr(self, "count", 0) + 1
        target = TOP + "/%s-%d" % (self.name, self.count)
        os.makedirs(target)
        said = self.guest("mount", "-i", "-t", "nfs4", "-o",
                          "%s,nosuid,nodev,addr=%s,%s" % (options, source.split(":")[0], OPTIONS % timeo), source, target)
        if said:
            return said
        self.mounts.append(target)
        return target

    def start_qemu(self):
        self.qemu = subprocess.Popen(["sleep", "1000"], user=self.uid, group=self.uid)
        self.socket.send(json.dumps({"op": "vm", "pid": self.qemu.pid, "name": "x"}).encode())

    def hold(self):
        self.connect()
        return self.ask(op="hold", image="x", own=True, digest="0" * 64, cpus=1, memory_mib=16, pid=self.qemu.pid,
                        record_id=self.record, name="x").get("record_id")

    def reaches(self, address, port):
        return self.guest("bash", "-c", "timeout 3 bash -c 'echo >/dev/tcp/%s/%d' 2>&1; echo $?" %
                          (address, port)).split()[-1:] == ["0"]

    def end(self, connection=True):
        """As a VM ends: its files first. Without `connection` there is none any more."""
        for target in self.mounts if self.pump and self.pump.poll() is None else []:
            run("umount", target)
        self.vanish()
        if connection:
            self.socket.close()

    def vanish(self):
        """As a VM that is killed."""
        if self in VMS:
            VMS.remove(self)
        if self.pump:
            self.pump.kill()
            self.pump.wait()
        if self.qemu:
            self.qemu.kill()
            self.qemu.wait()
        os.close(self.tap)
        for target in self.mounts:  # which may wait for a server that it does not reach
            subprocess.Popen(["umount", "-l", target], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
        run("ip", "netns", "del", self.name)


def left():
    """All that there is of directories that are served."""
    lines = [line for line in open("/proc/self/mounts") if MOUNTED in line] + run("exportfs", "-s").splitlines()
    lines += os.listdir(MOUNTED) if os.path.isdir(MOUNTED) else []
    for name in ("inet wnodes-nfs served", "netdev wnodes nfs"):
        lines += [line for line in run("nft", "list", "set", *name.split()).splitlines() if "elements" in line]
    return lines


def nothing_left(seconds=20):
    return wait_for(seconds, lambda: not left())


def server(threads):
    run("rpc.nfsd", "-N", "3", str(threads))


def set_up():
    shutil.rmtree(TOP, ignore_errors=True)
    os.makedirs(DATA + "/share/own")
    os.makedirs(DATA + "/secret")
    os.makedirs(TOP + "/state")
    for name, text in (("share/file", "hello\n"), ("share/root", "root's\n"), ("secret/file", "secret\n"),
                       ("beside", "beside\n")):
        with open(DATA + "/" + name, "w") as f:
            f.write(text)
    for path in ("share", "share/own", "share/file"):
        os.chown(DATA + "/" + path, UID, UID)
    os.chmod(DATA + "/share/root", 0o600)
    if not os.path.exists("/proc/fs/nfsd/threads"):
        run("mount", "-t", "nfsd", "nfsd", "/proc/fs/nfsd")
    if not run("pgrep", "-x", "rpc.mountd"):
        # It stays, and is not to hold what this test's output goes to.
        subprocess.run("rpc.mountd -N 3 </dev/null >/dev/null 2>&1", shell=True, check=False)
    server(8)
    # A server that was started anew waits for its clients of before; here there are none.
    open("/proc/fs/nfsd/v4_end_grace", "w").write("Y")


def files(node):
    vm = VM()
    source = vm.export()
    report(source.startswith("10.7.0.1:" + MOUNTED), "a directory is served: " + source)
    share = vm.mount(source)
    report(os.path.isdir(share), "it is mounted: " + share)
    report(open(share + "/file").read() == "hello\n", "what is in it is read")
    with open(share + "/new", "w") as f:
        f.write("x" * 3000000)
        os.fsync(f.fileno())
    st = os.stat(DATA + "/share/new")
    report((st.st_uid, st.st_gid, st.st_size) == (UID, UID, 3000000), "what root of the guest writes is the user's")
    run("setpriv", "--reuid", "4321", "--regid", "4321", "--clear-groups", "touch", share + "/another")
    report(os.stat(DATA + "/share/another").st_uid == UID, "whoever it is there")
    os.rename(share + "/new", share + "/own/renamed")
    os.link(share + "/own/renamed", share + "/link")
    os.symlink("link", share + "/symbolic")
    os.unlink(share + "/own/renamed")
    report(os.stat(DATA + "/share/symbolic").st_size == 3000000, "links and renames reach the host")
    for what, command in {
            "another's file is read": "cat root", "another's file is changed": "chmod 666 root",
            "a file is given away": "chown 0:0 file", "a group is taken": "chgrp 0 file",
            "a device is made": "mknod device c 1 3", "another's file is written": "sh -c 'echo x >root'",
            "another's file is linked to and read": "sh -c 'ln root copy && cat copy'"}.items():
        said = subprocess.run(command, shell=True, cwd=share, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
        report(said.returncode != 0, "by root of the guest: not: " + what + ": " + said.stdout.strip()[-40:])
    report(open(DATA + "/share/root").read() == "root's\n", "what is root's is as it was")
    os.chmod(share + "/file", 0o4755)
    report("nosuid,nodev" in run("grep", MOUNTED, "/proc/mounts"), "no program of it counts as set-uid on the host")
    vm.end()
    report(nothing_left(), "nothing is left at the end: %s" % left())


def read_only(node):
    run("mount", "--bind", DATA + "/secret", DATA + "/share/own")
    vm = VM()
    first, second = vm.mount(vm.export(read_only=True)), vm.mount(vm.export())
    said = run("touch", first + "/file")
    report("Read-only" in said, "what is to be read only is not written: " + said.strip())
    report(open(second + "/file").read() == "hello\n" and not run("touch", second + "/file"), "another share is")
    report(os.listdir(second + "/own") == [], "what is mounted in it is not served")
    run("umount", DATA + "/share/own")
    vm.end()
    report(nothing_left(), "nothing is left: %s" % left())


def handle_of(path):
    """type and bytes of the kernel's handle."""
    room, mount = ctypes.create_string_buffer(struct.pack("Ii", 128, 0), 136), ctypes.c_int()
    if libc.name_to_handle_at(-100, path.encode(), room, ctypes.byref(mount), 0) < 0:
        raise OSError(ctypes.get_errno(), "name_to_handle_at " + path)
    length, kind = struct.unpack_from("Ii", room)
    return kind, room.raw[8:8 + length]


def open_handle(share, kind, data, flags):
    room = ctypes.create_string_buffer(struct.pack("Ii", len(data), kind) + data)
    root = os.open(share, os.O_RDONLY)
    fd = libc.open_by_handle_at(root, room, flags)
    error = ctypes.get_errno()
    os.close(root)
    return fd if fd >= 0 else -error


def forge(handle, fileid_type, fileid, is_directory):
    """Root of the guest's own handle of the server's: the client's begins with three numbers and a size."""
    kind, data = handle
    head, size = data[:12], struct.unpack_from("H", data, 12)[0]
    sent = bytearray(data[14:14 + size])
    sent[3] = fileid_type
    sent = bytes(sent[:4 + {6: 16, 7: 24}[sent[2]]]) + fileid  # what says which directory is served comes first
    body = struct.pack("H", len(sent)) + sent
    body += bytes(-len(body) % 4)
    head = struct.pack("III", 0, struct.unpack_from("I", fileid)[0], 0o040000 if is_directory else 0o100000)
    return len(head + body) // 4, head + body


def handles(node):
    vm = VM()
    share = vm.mount(vm.export())
    mine = handle_of(share + "/file")

    def inode(path):
        """Number and generation, as a handle of ext4 has them."""
        return handle_of(path)[1][:8]

    def tried(path, is_directory, parent=None):
        fileid = inode(path) + (inode(parent) if parent else b"")
        fd = open_handle(share, *forge(mine, 2 if parent else 1, fileid, is_directory),
                         os.O_RDONLY | (os.O_DIRECTORY if is_directory else 0))
        if fd < 0:
            return os.strerror(-fd)
        got = os.listdir(fd) if is_directory else os.read(fd, 100)
        os.close(fd)
        return got

    got = tried(DATA + "/share/file", False, DATA + "/share")
    report(got == b"hello\n", "a handle that was made is taken for a file of it: %s" % got)
    for what, path, is_directory, parent in (("the root of the file system", "/", True, None),
                                             ("the directory above", DATA, True, None),
                                             ("a directory beside", DATA + "/secret", True, None),
                                             ("a file beside", DATA + "/beside", False, DATA),
                                             ("a file beside, of no parent", DATA + "/beside", False, None),
                                             ("a file beside, of another parent", DATA + "/beside", False, DATA + "/share"),
                                             ("a file of another directory", DATA + "/secret/file", False,
                                              DATA + "/secret")):
        got = tried(path, is_directory, parent)
        report(isinstance(got, str), "by a handle that was made, not: %s: %s" % (what, got))
    root = vm.mount("10.7.0.1:/")
    found = run("find", root, "-maxdepth", "4", "-mindepth", "1").replace(root, "").split()
    report(sorted(found) == sorted(["/run", "/run/wnodes", MOUNTED, share and "%s/%s" % (MOUNTED, os.listdir(MOUNTED)[0])]),
           "from the server's root only the way to it is seen: %s" % found)
    report(os.stat(share + "/..").st_ino == os.stat(TOP).st_ino, "'..' of it is the guest's")
    said = run("setpriv", "--reuid", str(OTHER), "--clear-groups", "ls", "%s/%s" % (MOUNTED, os.listdir(MOUNTED)[0]))
    report("Permission denied" in said, "no user of the host comes to it by its mount: " + said.strip())
    vm.end()
    report(nothing_left(), "nothing is left: %s" % left())


def others(node):
    vm, other = VM(), VM(uid=OTHER)
    source = vm.export()
    said = other.mount(source)
    report(not os.path.isdir(said), "another VM does not mount it: " + said.strip())
    os.mkdir(DATA + "/other")
    other.mount(other.export(DATA + "/other"))
    said = other.mount(source)
    report(not os.path.isdir(said), "nor when it has one of its own: " + said.strip())
    share = vm.mount(source)
    report(os.path.isdir(share) and vm.reaches("10.7.0.1", 2049), "the VM whose it is does, and reaches the server")
    # Whoever is on the network with the VM's addresses, as a machine behind a card of the node could be.
    vm.pump.kill()
    vm.pump.wait()
    thief = VM.__new__(VM)
    thief.name, thief.mounts, thief.qemu, thief.tap, thief.pump = "thief", [], None, os.dup(0), None
    run("ip", "netns", "add", "thief")
    for line in ("link add up0 type veth peer name eth0 netns thief", "link set up0 master wn-lab up",
                 "-n thief link set eth0 address %s up" % vm.card["mac"],
                 "-n thief addr add %s/24 dev eth0" % vm.card["address"]):
        run("ip", *line.split())
    listener = socket.create_server(("10.7.0.1", 4000))
    report(wait_for(20, lambda: thief.reaches("10.7.0.1", 4000)), "who takes the VM's addresses reaches the node")
    report(not thief.reaches("10.7.0.1", 2049), "but not its NFS server")
    listener.close()
    thief.vanish()
    vm.end()
    other.end()
    report(nothing_left(), "nothing is left: %s" % left())


def closed(node):
    vm = VM("closed")
    vm.start_guest()
    listener = socket.create_server(("10.8.0.1", 4000))
    report(not vm.reaches("10.8.0.1", 2049), "a VM on a closed network does not reach the NFS server")
    share = vm.mount(vm.export())
    report(os.path.isdir(share) and open(share + "/file").read() == "hello\n", "but when it has something there")
    report(not vm.reaches("10.8.0.1", 4000), "and nothing else of the node")
    listener.close()
    vm.end()
    report(nothing_left(), "nothing is left: %s" % left())


def in_own_namespace():
    """A directory that only some process sees."""
    ours, theirs = socket.socketpair()
    script = ("import os, socket, sys; os.makedirs('/mnt/own', exist_ok=True); "
              "os.system('mount -t tmpfs none /mnt/own'); s = socket.socket(fileno=int(sys.argv[1])); "
              "socket.send_fds(s, [b'x'], [os.open('/mnt/own', os.O_PATH)])")
    run("unshare", "--mount", "python3", "-c", script, str(theirs.fileno()), pass_fds=[theirs.fileno()])
    return socket.recv_fds(ours, 1, 1)[1][0]


def refusals(node):
    for what, why, network, uid, directory in (
            ("a VM of root", "VMs of root", "lab", 0, DATA + "/share"),
            ("a network without the node", "node_address in [network away]", "away", UID, DATA + "/share"),
            ("a VM without a network", "--network NAME", "none", UID, DATA + "/share"),
            ("a file", "no directory", "lab", UID, DATA + "/beside"),
            ("files of the kernel's", "cannot be served by NFS", "lab", UID, "/proc/fs"),
            ("a mount namespace of one's own", "mount namespace", "lab", UID, in_own_namespace())):
        vm = VM.__new__(VM)
        vm.uid, vm.name, vm.pump, vm.mounts, vm.qemu = uid, "none", None, [], None
        vm.connect()
        question = {"network": network} if network != "none" else {}
        vm.ask(op="open", image="x", own=True, digest="0" * 64, cpus=1, memory_mib=16, **question)
        vm.tap = vm.fds.get("tap", vm.fds["overlay"])
        said = vm.export(directory)
        report(why in said, "%s: %s" % (what, said))
        vm.end()
    vm = VM()
    report("alone" in vm.ask(op="export")["error"], "no directory at all is refused")
    server(0)
    said = vm.export()
    report("does not run" in said, "a server that does not run: " + said)
    server(8)
    share = vm.mount(vm.export())
    report(os.path.isdir(share), "and when it does, the same VM has it")
    vm.end()
    report(nothing_left(), "nothing is left: %s" % left())
    node.kill()
    node.start("no")
    vm = VM()
    said = vm.export()
    report("[node] nfs" in said and node.keeper() == 0, "where the site does not want it: " + said)
    vm.end()


def ends(node):
    """Whoever ends, in whatever order."""
    vm = VM()
    share = vm.mount(vm.export())
    held = open(share + "/held", "w")
    vm.vanish()
    vm.socket.close()
    report(nothing_left(), "of a VM that is killed nothing is left: %s" % left())
    report(not [i for i in os.listdir("/proc/fs/nfsd/clients") if vm.card["address"] in
                open("/proc/fs/nfsd/clients/%s/info" % i).read()], "nor what it had open")
    del held
    vm = VM()
    share = vm.mount(vm.export())
    vm.start_qemu()
    time.sleep(1)
    keeper = node.keeper()
    node.kill()
    report(wait_for(10, lambda: not os.path.exists("/proc/%d" % keeper)), "the keeper ends with the daemon")
    report(open(share + "/file").read() == "hello\n", "a VM has its files while there is no daemon")
    node.start()
    report(vm.hold() == vm.record, "it comes back")
    report(wait_for(30, lambda: run("sh", "-c", "echo x >%s/after" % share) == ""), "and has its files: written")
    vm.end()
    report(nothing_left(), "the new daemon ends it: %s" % left())
    vm = VM()
    vm.mount(vm.export())
    node.kill()
    vm.vanish()
    report(len(os.listdir(MOUNTED)) == 1, "of a VM that ends without a daemon something is left")
    node.start()
    other = VM(uid=OTHER)
    report(other.card["address"] == vm.card["address"], "the next VM has its address")
    other.start_guest()
    report(not other.reaches("10.7.0.1", 2049), "and does not reach what is left")
    said = other.export(DATA)
    report(said.startswith("10.7.0.1:") and len(os.listdir(MOUNTED)) == 1, "until that is gone: " + said)
    other.end()
    report(nothing_left(), "nothing is left: %s" % left())
    node.process.terminate()
    report(node.process.wait(20) == 0, "the daemon ends in order")


def dead(node):
    """A server that does not answer."""
    vm = VM()
    share = vm.mount(vm.export(), timeo=int(os.environ.get("TIMEO", "20")))
    server(0)
    began = time.monotonic()
    said = run("cat", share + "/file")
    took = time.monotonic() - began
    report("error" in said.lower(), "uses of a share whose server is dead fail after %.0f s: %s" % (took, said.strip()))
    server(8)
    open("/proc/fs/nfsd/v4_end_grace", "w").write("Y")
    report(wait_for(60, lambda: "hello" in run("cat", share + "/file")), "and are served again when it is back")
    vm.end()
    report(nothing_left(), "nothing is left: %s" % left())


def kills(node):
    """Killed at any moment, with its keeper or without, nothing is left but what the next daemon removes."""
    for i in range(12):
        keeper = node.keeper()
        pid = os.fork()
        if pid == 0:
            try:
                while True:
                    vm = VM()
                    vm.export()
                    vm.export(read_only=True)
                    vm.socket.close()
                    for fd in vm.fds.values():
                        os.close(fd)
            except (OSError, ValueError):
                os._exit(0)
        time.sleep(random.random() * 3)
        if i % 2:
            os.kill(keeper, 9)
        node.kill()
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        node.start()
    vm = VM()
    said = vm.export()
    report(said.startswith("10.7.0.1:"), "the next daemon serves: " + said)
    vm.end()
    report(nothing_left(100), "nothing is left: %s" % left())


def posix(node):
    """What tests/posix expects of a directory: its own words."""
    vm = VM()
    share = vm.mount(vm.export())
    os.mkdir(share + "/here")
    print(run("setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups", BUILD + "/tests/posix/posix",
              share + "/here", "names", "contents", "locks", "attributes", "deep_paths"))
    vm.end()
    report(nothing_left(), "nothing is left: %s" % left())


CASES = {f.__name__: f for f in (files, read_only, handles, others, closed, refusals, ends, dead, kills, posix)}
set_up()
daemon = Daemon().start()
try:
    CASES[sys.argv[1]](daemon)
finally:
    for machine in VMS[:]:  # of a case that broke off
        machine.end()
        bad += not nothing_left()
    daemon.kill()
    for network in ("lab", "closed", "away"):
        run("ip", "link", "del", "wn-" + network)
if bad:
    print(open(TOP + "/log").read())
sys.exit(bad > 0)
