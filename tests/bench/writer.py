"""How many small changes a second the controller's writer keeps, each of them on the disk."""

import json
import pathlib
import subprocess
import tempfile
from statistics import median

import program
from table import Table

CLIENTS = 64
SECONDS = 3
SCRIPTS = pathlib.Path(__file__).resolve().parents[1] / "postgres"


def load(url):
    return json.loads(subprocess.run(
        [program.BUILD / "tests/bench/writer-load", url, str(CLIENTS), str(SECONDS)], check=True,
        stdout=subprocess.PIPE, timeout=program.TIMEOUT).stdout)


def load_sqlite(directory):
    return load(f"sqlite:{directory}/site.db")


def load_postgres(directory):
    """With a server of its own, on the same disk. None where there is no server."""
    up = subprocess.run([SCRIPTS / "up.sh", f"{directory}/server"], stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE, text=True, timeout=program.TIMEOUT)
    if up.returncode == 77:
        return None
    if up.returncode != 0:
        raise RuntimeError(up.stderr)
    try:
        return load(up.stdout.strip())
    finally:
        subprocess.run([SCRIPTS / "down.sh", f"{directory}/server"], check=True,
                       timeout=program.TIMEOUT)


def bench_writer(results, rounds):
    found = {"SQLite": [], "PostgreSQL": []}
    for _ in range(rounds):
        for name, run in (("SQLite", load_sqlite), ("PostgreSQL", load_postgres)):
            with tempfile.TemporaryDirectory(dir=program.BUILD, prefix="writer-") as directory:
                pathlib.Path(directory).chmod(0o711)  # the server may be another user's
                found[name].append(run(directory))
    table = Table("writer, 64 clients", "changes a second", "transactions a second", "p50 ms", "p99 ms")
    for name, runs in found.items():
        runs = [run for run in runs if run]
        if not runs:
            continue
        changes = median(run["changes_s"] for run in runs)
        table.add(name, changes, median(run["transactions_s"] for run in runs),
                  median(run["latency"]["p50_ms"] for run in runs),
                  median(run["latency"]["p99_ms"] for run in runs))
        results.add(f"changes a second, {name}", changes)
    table.print()
