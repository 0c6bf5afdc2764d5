"""What a VM costs that boots: its start, its streams, its memory."""

import subprocess
import tempfile
from statistics import median

import machine
import program

MIB = 1048576


def bench_start(results, rounds):
    hand, whole, boot, busybox = [], [], [], []
    with tempfile.TemporaryDirectory() as directory:
        by_hand = machine.ByHand(directory)
        bare = machine.busybox_initrd(directory, by_hand.initrd)
        for _ in range(rounds):
            machine.make_overlay(by_hand.disk, by_hand.base, by_hand.size)
            hand.append(machine.boot_to_first_byte(machine.arguments(
                by_hand.kernel, by_hand.initrd, by_hand.command_line, by_hand.disk)))
            run = program.run("true", how="boot")
            whole.append(run.took)
            boot.append(run.phase("boot"))
            busybox.append(machine.boot_to_first_byte(
                machine.arguments(by_hand.kernel, bare, by_hand.command_line)))
    results.add("cold start: wnodes run -- true (s)", median(whole))
    results.add("cold start: QEMU by hand to the agent's first byte (s)", median(hand))
    results.add("cold start, ratio", median(a / b for a, b in zip(whole, hand)), "<= 1.15")
    results.add("boot to agent ready (s)", median(boot))
    results.add("boot of a bare busybox guest (s)", median(busybox))
    results.add("boot, ratio to the bare guest",
                median(a / b for a, b in zip(boot, busybox)), "<= 2")


def bench_streams(results, rounds):
    size = 512 * MIB
    out, into = [], []
    zeros = ["dd", "if=/dev/zero", "bs=1M", f"count={size // MIB}", "status=none"]
    for _ in range(rounds):
        with open("/dev/null", "wb") as null:
            out.append(size / 1e6 / program.run(*zeros, how="boot", stdout=null).phase("run"))
        source = subprocess.Popen(zeros, stdout=subprocess.PIPE)
        run = program.run("dd", "of=/dev/null", "bs=1M", "iflag=fullblock", "status=none",
                          how="boot", stdin=source.stdout)
        source.stdout.close()
        source.wait()
        into.append(size / 1e6 / run.phase("run"))
    results.add("stdout (MB/s)", median(out), ">= 100")
    results.add("stdin (MB/s)", median(into), ">= 100")


def bench_memory(results, _rounds):
    ours, agents = [], []
    for _ in range(5):
        process = subprocess.Popen(
            [program.WNODES, "run", "--start", "boot", *program.BARE, "--",
             "sh", "-c", "grep -i ^pss: /proc/1/smaps_rollup; read x"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = process.stdout.readline()
        ours.append(program.pss_mib(process.pid))
        if line.startswith("Pss:"):
            agents.append(int(line.split()[1]) / 1024)
        process.communicate("\n", timeout=program.TIMEOUT)
    results.add("wnodes, memory while a command runs (MiB PSS)", median(ours), "<= 8")
    if agents:
        results.add("wnodes-guest, memory (MiB PSS)", median(agents), "<= 2")
