"""The benchmark; see bench.sh, which prepares its surroundings, and bench.py --help."""

import argparse
import os
import pathlib

import boot
import catalogue
import clone
import controller
import distribution
import fetch
import gateway
import goals
import grow
import hypervisor
import jobs
import program
import publish
import slurm
import sshfs
import swarm
import virtiofs
import writer
from table import Results

# Each takes the results and the number of rounds.
SECTIONS = {
    "boot": boot.bench_start,
    "streams": boot.bench_streams,
    "memory": boot.bench_memory,
    "clone": clone.bench_clone,
    "density": clone.bench_density,
    "9p": gateway.bench_gateways,
    "virtiofs": virtiofs.bench_virtiofs,
    "sshfs": sshfs.bench_sshfs,
    "hypervisor": hypervisor.bench_hypervisor,
    "taps": hypervisor.bench_taps,
    "queue": jobs.bench_queue,
    "slurm": slurm.bench_slurm,
    "writer": writer.bench_writer,
    "leases": controller.bench_leases,
    "nodes": controller.bench_nodes,
    "failover": controller.bench_failover,
    "catalogue": catalogue.bench_catalogue,
    "fetch": fetch.bench_fetch,
    "swarm": swarm.bench_swarm,
    "publish": publish.bench_publish,
    "update": publish.bench_update,
}
GROUPS = {"gateways": ["9p", "virtiofs", "sshfs"]}
PARTS = [*SECTIONS, *GROUPS, "together", "phases", "starts", "grow"]
DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
FOUND = program.BUILD / "bench.json"


def parse():
    parser = argparse.ArgumentParser(description="Measures the goals of docs/performance.md.")
    parser.add_argument("rounds", nargs="?", type=int, default=7, help="at least 5; 7 by default")
    parser.add_argument("--only", type=lambda text: text.split(","), metavar="PART,...",
                        default=[], help=f"some of {', '.join(PARTS)}; the last two run only if "
                        "they are named")
    parser.add_argument("--together", type=int, default=3, metavar="ROUNDS",
                        help="rounds of many clones at once; 3 by default")
    parser.add_argument("--starts", type=int, default=200, metavar="N",
                        help="how many starts the distribution is made of; 200 by default")
    parser.add_argument("--plot", nargs="?", const=DOCS / "start-times.svg", type=pathlib.Path, metavar="FILE",
                        help="measures the distribution only and draws it, in docs/ by default")
    parser.add_argument("--goals", action="store_true",
                        help="measures nothing: writes what was found by all runs, and its drawing, into docs/")
    options = parser.parse_args()
    unknown = set(options.only) - set(PARTS)
    if unknown:
        parser.error(f"--only: there is no part {', '.join(unknown)}")
    options.only = [part for name in options.only for part in GROUPS.get(name, [name])]
    options.rounds = max(5, options.rounds)
    if options.plot:
        options.plot = options.plot.resolve()
        options.only = ["starts"]
    return options


def main():
    options = parse()
    if options.goals:
        goals.write(FOUND, PARTS, DOCS)
        return
    os.chdir("/")  # a directory that every guest has
    wanted = options.only or [*SECTIONS, "together", "phases"]
    results = Results(options.rounds)
    print(f"medians of {options.rounds} paired rounds, software emulation, "
          f"{os.cpu_count()} host CPUs\n", flush=True)
    for name, bench in SECTIONS.items():
        if name in wanted:
            results.begin(name)
            bench(results, options.rounds)
    if "together" in wanted:
        results.begin("together")
        clone.bench_together(results, options.together)
    results.print()
    if "phases" in wanted:
        print()
        clone.print_phases(options.rounds)
    if "starts" in wanted:
        distribution.bench_starts(options.starts, options.plot)
    if "grow" in wanted:
        grow.bench_grow(options.rounds)
    results.write(FOUND)


main()
