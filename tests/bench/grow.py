"""Growing a clone of a small template, by hand in QEMU, against a template for each shape."""

import pathlib
import subprocess
import tempfile
import time
from statistics import median

import machine
import program
from table import Table

SMALL_MIB = 512
GIB = 1024
CPUS_MAX = 4
MEMORY = ["-m", f"{SMALL_MIB}M,slots=4,maxmem=8G",
          "-object", f"memory-backend-file,id=memory,size={SMALL_MIB}M,mem-path={{path}},"
          "share={share}"]
# An empty one is there from the beginning, as virtio-mem is plugged in only once.
VIRTIO_MEM = ["-object", "memory-backend-ram,id=more,size=4G,reserve=off",
              "-device", "virtio-mem-pci,id=grower,memdev=more,requested-size=0"]

# What an agent would do, in a shell that has gone through all of it once before the time begins: it
# looks every 2 ms, puts CPUs on line, which the kernel does not by itself, and tells when all is
# there.
SCRIPT = """
while :; do
	for cpu in /sys/devices/system/cpu/cpu[1-9]/online; do
		[ -e $cpu ] || continue
		read -r state <$cpu
		[ $state = 1 ] || echo 1 >$cpu
	done
	read -r cpus </sys/devices/system/cpu/online
	read -r name total unit </proc/meminfo
	[ $cpus = {cpus} ] && [ $total -ge {kib} ] && break
	[ "$ready" ] || echo ready
	ready=1
	read -r -t 0.002 nothing
done
echo $cpus $total
"""
AUTO_ONLINE = "echo online >/sys/devices/system/memory/auto_online_blocks"


class Grower:
    """A template without wnodes, and clones of it that can grow."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.hand = machine.ByHand(directory)
        self.memory, self.state = self.directory / "memory", self.directory / "state"
        self.template = self.directory / "template.qcow2"
        self.overlay = self.directory / "clone.qcow2"
        self.base_kib = 0  # MemTotal of the template

    def arguments(self, disk, share, boots):
        hand = self.hand
        memory = [a.format(path=self.memory, share=share) for a in MEMORY]
        kernel = hand.kernel if boots else None
        return machine.arguments(kernel, hand.initrd, hand.command_line, disk, memory,
                                 f"1,sockets={CPUS_MAX},maxcpus={CPUS_MAX}") + VIRTIO_MEM

    def migrate(self, qmp, command, uri):
        qmp.execute("migrate-set-capabilities",
                    capabilities=[{"capability": "x-ignore-shared", "state": True},
                                  {"capability": "events", "state": True}])
        qmp.execute(command, uri=uri)
        qmp.wait_for_migration()

    def make(self):
        machine.make_overlay(self.template, self.hand.base, self.hand.size)
        with machine.Machine(self.arguments(self.template, "on", True)) as vm:
            vm.agent.greet()
            vm.agent.execute("modprobe", "virtio_mem")
            vm.agent.execute("sh", "-c", AUTO_ONLINE)
            vm.agent.start("bash", "-c", SCRIPT.format(cpus=0, kib=1))  # into the page cache
            self.base_kib = int(vm.agent.read_line().split()[1])
            vm.agent.wait()
            vm.agent.execute("sync")
            vm.qmp.execute("stop")
            self.migrate(vm.qmp, "migrate", f"exec:cat >{self.state}")

    def clone(self):
        machine.make_overlay(self.overlay, self.template, form="qcow2")
        return machine.Machine(self.arguments(self.overlay, "off", False) +
                               ["-incoming", "defer"])

    def grow(self, add, cpus="0", mib=0):
        """Seconds from a clone's exec to its hello, then from add() until the guest has it all."""
        with self.clone() as vm:
            self.migrate(vm.qmp, "migrate-incoming", f"exec:cat {self.state}")
            vm.qmp.execute("cont")
            vm.agent.greet_again()
            hello = vm.age()
            # A little of what is plugged in goes into the kernel's own tables.
            kib = self.base_kib + mib * 1024 * 95 // 100
            vm.agent.start("bash", "-c", SCRIPT.format(cpus=cpus, kib=kib))
            if vm.agent.read_line() != "ready":
                raise RuntimeError("the guest's shell does not answer")
            began = time.monotonic()
            add(vm.qmp)
            vm.agent.read_line()
            return hello, time.monotonic() - began


def add_cpus(count):
    def add(qmp):
        free = [c for c in qmp.execute("query-hotpluggable-cpus") if "qom-path" not in c]
        free.sort(key=lambda cpu: cpu["props"]["socket-id"])
        for cpu in free[:count]:
            qmp.execute("device_add", driver=cpu["type"], **cpu["props"])
    return add


def add_dimm(mib):
    def add(qmp):
        qmp.execute("object-add", **{"qom-type": "memory-backend-ram", "id": "dimm-memory",
                                     "size": mib << 20})
        qmp.execute("device_add", driver="pc-dimm", id="dimm", memdev="dimm-memory")
    return add


def add_virtio_mem(mib):
    def add(qmp):
        qmp.execute("qom-set", path="/machine/peripheral/grower", property="requested-size",
                    value=mib << 20)
    return add


GROWTHS = [
    ("1 CPU more", add_cpus(1), {"cpus": "0-1"}),
    ("3 CPUs more", add_cpus(3), {"cpus": "0-3"}),
    ("1 GiB more, DIMM", add_dimm(GIB), {"mib": GIB}),
    ("3 GiB more, DIMM", add_dimm(3 * GIB), {"mib": 3 * GIB}),
    ("1 GiB more, virtio-mem", add_virtio_mem(GIB), {"mib": GIB}),
    ("3 GiB more, virtio-mem", add_virtio_mem(3 * GIB), {"mib": 3 * GIB}),
]

SHAPES = [(1, SMALL_MIB), (2, SMALL_MIB), (4, SMALL_MIB), (1, SMALL_MIB + GIB),
          (1, SMALL_MIB + 3 * GIB), (4, SMALL_MIB + 3 * GIB)]


def print_growing(rounds):
    hellos = []
    took = {name: [] for name, _, _ in GROWTHS}
    with tempfile.TemporaryDirectory() as directory:
        grower = Grower(directory)
        grower.make()
        for _ in range(rounds):
            for name, add, wanted in GROWTHS:
                hello, seconds = grower.grow(add, **wanted)
                hellos.append(hello)
                took[name].append(seconds)
    table = Table("growing a clone with 1 CPU and 512 MiB", "seconds until the guest has it")
    for name, seconds in took.items():
        table.add(name, median(seconds))
    table.add("for comparison: the clone, exec to hello", median(hellos))
    table.print()


def print_shapes(rounds):
    options = {s: ("--cpus", str(s[0]), "--memory", f"{s[1]}M") for s in SHAPES}
    made, took = {}, {shape: [] for shape in SHAPES}
    for shape, shape_options in options.items():
        forget(*shape)
        made[shape] = program.warm(*shape_options)
    for _ in range(rounds):
        for shape, shape_options in options.items():
            took[shape].append(program.run("true", options=[*program.BARE, *shape_options]).took)
    table = Table("a template of its own", "clone: wnodes run -- true (s)",
                  "more than the smallest (s)", "making it (s)", "on disk (MiB)")
    smallest = took[SHAPES[0]]
    for shape in SHAPES:
        table.add(f"CPUs {shape[0]}, {shape[1]} MiB", median(took[shape]),
                  median(a - b for a, b in zip(took[shape], smallest)), made[shape],
                  f"{program.template(*shape)['size'] >> 20}")
    table.print()


def forget(cpus, memory_mib):
    """So that making it can be timed."""
    for template in program.ask("template", "list"):
        if (template["cpus"], template["memory_bytes"]) == (cpus, memory_mib << 20):
            subprocess.run([program.WNODES, "template", "remove", template["key"]], check=True,
                           stdout=subprocess.DEVNULL, timeout=program.TIMEOUT)


def bench_grow(rounds):
    print()
    print_growing(rounds)
    print()
    print_shapes(rounds)
