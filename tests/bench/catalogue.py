"""What images cost the controller: thousands of nodes that follow a catalogue with many that have ended, and that
fetch an image at the same time."""

import json
import os
import select
import sqlite3
import subprocess
import time

import controller
import program

NODES = 2000
IMAGES = 10000
LIVE = 50
SECONDS = 30
DIGEST = f"{1:064x}"
PARTS = [{"kind": kind, "digest": f"{n:064x}", "size": 1 << 30, "index": f"{n + 9:064x}"}
         for n, kind in enumerate(("disk", "kernel", "initrd"))]
REASON = "superseded by the monthly update, see the security advisory of the distribution"


def fill(path):
    """Images of years: a new one each day, of which the last ones are good."""
    now = int(time.time() * 1e6)
    with sqlite3.connect(path, timeout=30) as db:
        db.executemany(
            "INSERT INTO image (digest, name, tag, state, private, owner, os, size, parts_json, published, endorsed_by,"
            " endorsed, approved_by, approved, expires, state_since, changed_by, reason, revision)"
            " VALUES (?, ?, '', ?, 0, 'builder', 'Debian 12', 1, ?, 1, 'eve', 1, 'root', 1, ?, ?, 'root', ?, 1)",
            [(f"{i + 1:064x}", f"el{i % 40}", "approved" if i < LIVE else "expired", json.dumps(PARTS),
              now + 10**14 if i < LIVE else 1, now - i * 86400 * 10**6, REASON) for i in range(IMAGES)])
        db.execute("INSERT INTO site (name, value) VALUES ('catalogue', '2') ON CONFLICT (name) DO UPDATE SET value = '2'")
    db.close()


def give(path):
    """All nodes that have joined have the image, or some of it."""
    now = int(time.time() * 1e6)
    with sqlite3.connect(path, timeout=30) as db:
        db.execute("UPDATE node SET state = 'up'")
        db.execute("INSERT OR REPLACE INTO porter SELECT name, 'https://' || name || ':8444', 'r' || (rowid / 40), '', ?"
                   " FROM node", (now + 60 * 10**6,))
        db.execute("INSERT OR REPLACE INTO node_image SELECT name, ?, 'fetching', 500, '', ? FROM node", (DIGEST, now))
    db.close()


def touch(path):
    with sqlite3.connect(path, timeout=30) as db:
        db.execute("UPDATE site SET value = value + 1 WHERE name = 'catalogue'")
    db.close()


def run(site, path):
    """What site-load has found, and the controller's processor time a second, while the catalogue stays, but once."""
    command = [controller.LOAD, "images", "--nodes", NODES, "--seconds", SECONDS, "--digest", DIGEST, "--ca",
               site.directory / "ca.pem", site.local, site.remote]
    with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE) as load:
        if not select.select([load.stdout], [], [], program.TIMEOUT)[0] or not json.loads(load.stdout.readline())["joined"]:
            load.kill()
            raise RuntimeError("the simulated nodes do not join")
        give(path)
        time.sleep(SECONDS / 3)
        cpu, began = site.cpu(), time.monotonic()
        time.sleep(SECONDS / 3)
        cpu, took = site.cpu() - cpu, time.monotonic() - began
        touch(path)
        found = json.loads(load.communicate(timeout=program.TIMEOUT)[0].splitlines()[-1])
    return found, cpu / took


def bench_catalogue(results, _):
    with controller.site(controller.sqlite) as controllers:
        site = controllers[0]
        site.options()  # the file of the authority
        path = os.path.join(os.path.dirname(site.directory), "site.db")
        fill(path)
        found, load = run(site, path)
    results.add(f"catalogue: MiB for a node, {IMAGES} images of which {LIVE} have not ended",
                found["catalogue_bytes"] / 2**20, "<= 1.00")
    results.add(f"catalogue: {NODES} nodes follow it, nothing has changed, p99 (ms)", found["catalogue"]["p99_ms"])
    results.add(f"catalogue: {NODES} nodes get it when it has changed, the last one (ms)",
                found["catalogues_sent"]["max_ms"], "<= 5000")
    results.add(f"catalogue: {NODES} nodes ask who has an image, p99 (ms)", found["peers"]["p99_ms"])
    results.add("catalogue: processor time of the controller a second (s)", load)
    results.add("catalogue: requests that failed", found["failed"], "<= 0")
