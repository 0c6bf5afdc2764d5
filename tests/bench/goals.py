"""The goals with what was found, as a table and a drawing of docs/performance.md."""

import json
import math
from html import escape

import distribution
from table import met

BEGIN, END = "<!-- made by tests/bench/bench.sh --goals -->\n", "<!-- end -->\n"
WIDTH, ROW, LEFT, RIGHT, TOP, BOTTOM = 900, 20, 500, 60, 64, 30
FARTHEST = 32  # times as good as the goal; what is better still stands at the edge


def load(path, parts):
    """What has a goal, but for those of no failure at all: name, what was found, in the order of the parts."""
    if not path.exists():
        raise SystemExit(f"{path} is not there: nothing was measured yet; run tests/bench/bench.sh first")
    found = json.loads(path.read_text())
    goals = [(name, f) for name, f in found.items() if f["goal"] and float(f["goal"].split()[1]) != 0]
    return sorted(goals, key=lambda goal: parts.index(goal[1]["part"]))


def in_words(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def goal_in_words(goal):
    sign, limit = goal.split()
    return f"{'at most' if sign == '<=' else 'at least'} {float(limit):,g}"


def table(goals):
    lines = ["| what | goal | found | met | again by `--only` | day |", "|---|---|---|---|---|---|"]
    for name, f in goals:
        verdict = "yes" if met(f["median"], f["goal"]) else "**no**"
        lines.append(f"| {name} | {goal_in_words(f['goal'])} | {in_words(f['median'])} | {verdict} | "
                     f"`{f['part']}` | {f['day']} |")
    return "\n".join(lines) + "\n"


def times_better(f):
    """How many times as good as the goal: 1 just meets it."""
    sign, limit = f["goal"].split()
    value = max(f["median"], 1e-9)
    return float(limit) / value if sign == "<=" else value / float(limit)


def x(times):
    """Logarithmic, with room for what misses its goal by half."""
    least, most = math.log2(0.5), math.log2(FARTHEST)
    place = (math.log2(min(max(times, 0.5), FARTHEST)) - least) / (most - least)
    return LEFT + (WIDTH - LEFT - RIGHT) * place


def text(at, y, words, kind="", anchor="start"):
    return f'<text class="{kind}" x="{at:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def drawing(goals):
    height = TOP + ROW * len(goals) + BOTTOM
    parts = [text(WIDTH / 2, 24, "How many times as good as its goal each figure is", "title", "middle")]
    for times in (0.5, 1, 2, 4, 8, 16, 32):
        kind = "mark" if times == 1 else "grid"
        parts.append(f'<line class="{kind}" x1="{x(times):.1f}" y1="{TOP - 8}" x2="{x(times):.1f}" y2="{height - BOTTOM}"/>')
        parts.append(text(x(times), TOP - 14, f"{times:g}", anchor="middle"))
    for row, (name, f) in enumerate(goals):
        y, times = TOP + ROW * row, times_better(f)
        left, right = sorted((x(1), x(times)))
        kind = "bar" if times >= 1 else "missed"
        parts.append(text(LEFT - 8, y + 13, name if len(name) < 70 else name[:67] + "...", anchor="end"))
        parts.append(f'<rect class="{kind}" x="{left:.1f}" y="{y + 3}" width="{max(right - left, 2):.1f}" height="{ROW - 6}"/>')
        parts.append(text(right + 6, y + 13, f"{times:.2g}" if times < 100 else f"{times:.0f}"))
    style = distribution.STYLE + ".missed { fill: #b3402f }\ntext { font-size: 11px }\n"
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            f'role="img">\n<style>{style}</style>\n<rect class="ground" width="{WIDTH}" height="{height}"/>\n' +
            "\n".join(parts) + "\n</svg>\n")


def write(found, parts, docs):
    goals = load(found, parts)
    page = docs / "performance.md"
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(before + BEGIN + table(goals) + END + after)
    (docs / "goals.svg").write_text(drawing(goals))
    print(f"{len(goals)} goals in {page.name}, drawn in goals.svg")
