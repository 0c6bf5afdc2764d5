"""Results as a table that a page of the documentation can take as it is."""

import datetime
import json
import operator

COMPARE = {"<=": operator.le, ">=": operator.ge}


class Table:
    def __init__(self, *heads):
        self.heads = heads
        self.rows = []

    def add(self, *cells):
        self.rows.append([cell if isinstance(cell, str) else f"{cell:.3f}" for cell in cells])

    def print(self):
        lines = [list(self.heads), *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.heads))]
        lines.insert(1, ["-" * width for width in widths])
        for line in lines:
            print("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths)) + " |", flush=True)


def met(value, goal):
    sign, limit = goal.split()
    return COMPARE[sign](value, float(limit))


class Results:
    """Medians and their goals, in the order in which they were found, with the part of the bench that finds each again."""

    def __init__(self, rounds):
        self.all = {}
        self.rounds = rounds
        self.part = None

    def begin(self, part):
        self.part = part

    def add(self, name, value, goal=None):
        self.all[name] = {"median": value, "goal": goal, "part": self.part, "rounds": self.rounds,
                          "day": datetime.date.today().isoformat()}

    def print(self):
        table = Table("what", "median", "goal", "met")
        for name, found in self.all.items():
            goal = found["goal"]
            verdict = "" if not goal else "yes" if met(found["median"], goal) else "NO"
            table.add(name, found["median"], goal or "", verdict)
        if table.rows:
            table.print()

    def write(self, path):
        """What was measured takes the place of what these parts had found before; the other parts' figures stay."""
        before = json.loads(path.read_text()) if path.exists() else {}
        parts = {found["part"] for found in self.all.values()}
        kept = {name: found for name, found in before.items() if found["part"] not in parts}
        path.write_text(json.dumps(kept | self.all, indent=2) + "\n")
