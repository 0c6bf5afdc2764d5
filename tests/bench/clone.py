"""What a VM costs that starts from a template: bare, with all that a job needs, many at once."""

import contextlib
import os
import pathlib
import socket
import tempfile
import threading
import time
from statistics import median

import machine
import program
from table import Table

TOGETHER = 32
ALIVE = 4           # idle VMs whose memory is measured
IDLE_SECONDS = 3
PHASE_RUNS_MIN = 15


@contextlib.contextmanager
def equipment():
    """Options for a VM with network, scratch disk and two shares, a command that uses them all,
    and a function that checks and removes the command's traces."""
    with tempfile.TemporaryDirectory() as directory:
        shares = [pathlib.Path(directory) / name for name in ("one", "two")]
        for share in shares:
            share.mkdir()
        options = ["--network", "user", "--scratch", "1G"]
        for share in shares:
            options += ["--mount", f"{share}:/{share.name}"]
        # The shell itself looks for a default route: the image has no small program for it.
        command = ("sh", "-c", "touch /one/file /two/file /scratch/file && "
                   "while read -r card to rest; do [ $to = 00000000 ] && exit 0; done "
                   "</proc/net/route")

        def check():
            for share in shares:
                (share / "file").unlink()

        yield options + ["--mount", "none"], command, check


def prove_network(options):
    """That the network which is measured carries something; once, as this takes a larger shell."""
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(program.TIMEOUT)

        def listen():
            with server.accept()[0] as connection:
                heard.append(connection.recv(16))

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        port = server.getsockname()[1]
        program.run("bash", "-c", f"echo hello >/dev/tcp/10.0.2.2/{port}", options=options)
        listener.join(program.TIMEOUT)
    if heard != [b"hello\n"]:
        raise RuntimeError("the guest's network carries nothing")


def bench_clone(results, rounds):
    took, bare, full, used, boot, cold, loaded = [], [], [], [], [], [], []
    program.warm()
    program.warm(devices=program.FULL_DEVICES)
    with tempfile.TemporaryDirectory() as directory, equipment() as (options, command, check):
        by_hand = machine.ByHand(directory)
        by_hand.save()
        prove_network(options)
        for _ in range(rounds):
            boot.append(program.seconds("true", how="boot"))
            took.append(program.seconds("true"))
            cold.append(by_hand.boot())
            loaded.append(by_hand.load())
            full.append(program.seconds("true", options=options))
            used.append(program.seconds(*command, options=options))
            check()
            bare.append(program.run("true"))
    results.add("clone: wnodes run -- true (s)", median(took), "<= 0.20")
    results.add("clone, ratio to the boot of the same image",
                median(a / b for a, b in zip(took, boot)), "<= 0.08")
    results.add("clone with network, scratch, two shares: true (s)",
                median(full), "<= 0.35")
    results.add("the same, a shell that uses each of them (s)", median(used))
    results.add("own share: processor time of wnodes (s)",
                median(r.own_cpu() for r in bare), "<= 0.025")
    results.add("own share: exec to QEMU's start, QEMU's end to exit (s)",
                median(r.own_wall() for r in bare), "<= 0.025")
    results.add("own share: the same and the stop, flush and QEMU's end (s)",
                median(r.own_wall_with_stop() for r in bare))
    results.add("boot: wnodes run -- true (s)", median(boot))
    results.add("by hand: QEMU boots, hello, true (s)", median(cold))
    results.add("by hand: copy of a disk with snapshot, -loadvm, hello, true (s)", median(loaded))
    results.add("clone, ratio to the boot by hand", median(a / b for a, b in zip(took, cold)))
    results.add("clone, ratio to -loadvm by hand", median(a / b for a, b in zip(took, loaded)))


def idle_memory(how):
    """Bytes (PSS) that one of several idle VMs takes."""
    living, _, silent = program.start_living(ALIVE, how)
    try:
        time.sleep(IDLE_SECONDS)
        used = [vm["used_memory_bytes"] for vm in program.ask("vm", "list")]
    finally:
        failed = [why for why in [vm.end() for vm in living] if why]
    if silent or failed or len(used) != ALIVE:
        raise RuntimeError(f"idle VMs ({how}): {silent} silent, {len(used)} seen; {failed}")
    return median(used)


def bench_density(results, rounds):
    program.warm()
    pairs = [(idle_memory("clone"), idle_memory("boot")) for _ in range(min(rounds, 3))]
    results.add(f"memory of an idle clone, {ALIVE} alive (MiB PSS)",
                median(a for a, _ in pairs) / 2**20)
    results.add(f"memory of an idle VM that has booted, {ALIVE} alive (MiB PSS)",
                median(b for _, b in pairs) / 2**20)
    results.add("memory, ratio", median(a / b for a, b in pairs), "<= 0.25")


def bench_together(results, rounds):
    """Prints each round: a failure in many must be seen where it happens."""
    program.allow_descriptors()
    times, failures = [], 0
    for number in range(1, rounds + 1):
        program.warm()  # a clone that failed has taken its template with it
        living, took, silent = program.start_living(TOGETHER, "clone")
        failed = [why for why in [vm.end() for vm in living] if why]
        print(f"{TOGETHER} clones together, round {number}: {took:.2f} s, {silent} silent, "
              f"{len(failed)} failed", *failed[:3], sep="\n  " if failed else "", flush=True)
        times.append(took)
        failures += max(silent, len(failed))
    results.add(f"{TOGETHER} clones together, all answered (s)", median(times), "<= 6")
    results.add(f"{TOGETHER} clones together, slowest of {rounds} rounds (s)", max(times))
    results.add(f"{TOGETHER} clones together, failures in {rounds} rounds", float(failures), "<= 0")


PHASES = [
    ("wnodes: exec to QEMU's start, QEMU's end to exit", lambda r: r.own_wall()),
    ("of that, image, template, overlay and scratch (fetch)", lambda r: r.phase("fetch")),
    ("QEMU: exec to QMP ready", lambda r: r.start_part("qemu_s")),
    ("QEMU: restore", lambda r: r.start_part("restore_s")),
    ("guest: hello", lambda r: r.start_part("guest_s")),
    ("guest: prepare", lambda r: r.phase("prepare")),
    ("guest: the command", lambda r: r.phase("run")),
    ("guest flushes, QEMU ends (stop)", lambda r: r.phase("stop")),
    ("all", lambda r: r.took),
    ("processor time of QEMU", lambda r: r.all_cpu - r.own_cpu()),
    ("processor time of wnodes and its tools", lambda r: r.own_cpu()),
]


def print_phases(rounds):
    """What dominates after the clone."""
    count = max(rounds, PHASE_RUNS_MIN)
    bare, full = [], []
    program.warm()
    program.warm(devices=program.FULL_DEVICES)
    with equipment() as (options, command, check):
        for _ in range(count):
            bare.append(program.run("true"))
            full.append(program.run(*command, options=options))
            check()
    table = Table(f"ms, medians of {count}", "no network, no share", "network, scratch, two shares")
    for name, value in PHASES:
        table.add(name, *(f"{median(map(value, runs)) * 1000:.1f}" for runs in (bare, full)))
    table.print()
