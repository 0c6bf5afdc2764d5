"""Results as a table that a page of the documentation can take as it is."""

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
    """Medians and their goals, in the order in which they were found."""

    def __init__(self):
        self.all = {}

    def add(self, name, value, goal=None):
        self.all[name] = (value, goal)

    def print(self):
        table = Table("what", "median", "goal", "met")
        for name, (value, goal) in self.all.items():
            verdict = "" if not goal else "yes" if met(value, goal) else "NO"
            table.add(name, value, goal or "", verdict)
        if table.rows:
            table.print()

    def write(self, path, rounds):
        with open(path, "w") as file:
            json.dump({"rounds": rounds, "results": {n: {"median": v, "goal": g}
                                                     for n, (v, g) in self.all.items()}},
                      file, indent=2)
