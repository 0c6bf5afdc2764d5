"""How the times of many starts are spread, in numbers and as a drawing."""

import math
from html import escape
from statistics import median

import program

WIDTH, HEIGHT = 760, 360
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 56, 52
MARKS = (50, 95, 99)

STYLE = """
text { font: 13px sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: bold }
.axis { stroke: #57606a; fill: none }
.grid { stroke: #d0d7de }
.bar { fill: #2f6fb3 }
.mark { stroke: #b3402f; stroke-dasharray: 5 3 }
.label { fill: #b3402f }
.ground { fill: #ffffff }
@media (prefers-color-scheme: dark) {
	text { fill: #e6edf3 }
	.axis { stroke: #9198a1 }
	.grid { stroke: #3d444d }
	.bar { fill: #6cb0f2 }
	.mark { stroke: #ff9a85 }
	.label { fill: #ff9a85 }
	.ground { fill: #0d1117 }
}
"""


def percentile(times, percent):
    """The smallest time that so many of them do not exceed."""
    return sorted(times)[max(0, math.ceil(len(times) * percent / 100) - 1)]


def nice_step(span, parts):
    """A round number of which about `parts` make the span."""
    rough = span / parts
    power = 10 ** math.floor(math.log10(rough))
    return next(power * f for f in (1, 2, 5, 10) if power * f >= rough)


class Drawing:
    """A histogram, in milliseconds."""

    def __init__(self, times_ms):
        self.times = times_ms
        longest, usual = max(times_ms), percentile(times_ms, 99)
        self.tick = nice_step(min(longest, 1.5 * usual), 8)
        self.end = math.ceil(min(longest, 1.5 * usual) / self.tick + 1e-9) * self.tick
        self.bin = max(1, self.tick / 10)
        self.late = [t for t in times_ms if t >= self.end]
        self.counts = [0] * math.ceil(self.end / self.bin)
        for t in times_ms:
            if t < self.end:
                self.counts[int(t / self.bin)] += 1
        room = max(self.counts) * 1.3  # the labels lie above the bars
        self.step = max(1, int(nice_step(room, 5)))
        self.top = math.ceil(room / self.step) * self.step
        self.parts = []

    def x(self, value):
        return LEFT + (WIDTH - LEFT - RIGHT) * value / self.end

    def y(self, count):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * count / self.top

    def line(self, x1, y1, x2, y2, kind):
        self.parts.append(f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" '
                          f'y2="{y2:.1f}"/>')

    def text(self, x, y, words, anchor="middle", kind="", more=""):
        self.parts.append(f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" '
                          f'text-anchor="{anchor}"{more}>{escape(words)}</text>')

    def add_axes(self):
        for count in range(0, self.top + 1, self.step):
            self.line(LEFT, self.y(count), WIDTH - RIGHT, self.y(count),
                      "grid" if count else "axis")
            self.text(LEFT - 8, self.y(count) + 4, str(count), "end")
        for i in range(round(self.end / self.tick) + 1):
            self.line(self.x(i * self.tick), self.y(0), self.x(i * self.tick), self.y(0) + 5,
                      "axis")
            self.text(self.x(i * self.tick), self.y(0) + 20, f"{i * self.tick:g}")
        middle = (TOP + HEIGHT - BOTTOM) / 2
        self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "milliseconds from exec to exit")
        self.text(18, middle, f"starts (of {len(self.times)}) in each {self.bin:g} ms",
                  more=f' transform="rotate(-90 18 {middle:.1f})"')

    def add_bars(self):
        width = self.x(self.bin) - self.x(0)
        for i, count in enumerate(self.counts):
            if count:
                self.parts.append(
                    f'<rect class="bar" x="{self.x(i * self.bin) + 0.5:.1f}" '
                    f'y="{self.y(count):.1f}" width="{max(width - 1, 1):.1f}" '
                    f'height="{self.y(0) - self.y(count):.1f}"/>')

    def add_marks(self):
        """One label below the other: they may be close."""
        for row, percent in enumerate(MARKS):
            value = percentile(self.times, percent)
            x, y = self.x(min(value, self.end)), TOP + 8 + 18 * row
            self.line(x, y, x, self.y(0), "mark")
            left = x > WIDTH - 120
            self.text(x - 5 if left else x + 5, y + 6, f"p{percent} {value:.0f} ms",
                      "end" if left else "start", "label")
        if self.late:
            self.text(WIDTH - RIGHT, self.y(0) - 8,
                      f"{len(self.late)} more, up to {max(self.late):.0f} ms", "end")

    def svg(self):
        self.text(WIDTH / 2, 28, f"{len(self.times)} starts of a clone: wnodes run -- true",
                  kind="title")
        self.add_axes()
        self.add_bars()
        self.add_marks()
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
                f'width="{WIDTH}" height="{HEIGHT}" role="img">\n<style>{STYLE}</style>\n'
                f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}"/>\n' +
                "\n".join(self.parts) + "\n</svg>\n")


def bench_starts(count, plot):
    """`count` clones one after the other; `plot` is the file to draw, or None."""
    program.warm()
    program.run("true")
    times = [program.run("true").took * 1000 for _ in range(count)]
    print(f"{count} starts of a clone, one after the other (ms): fastest {min(times):.0f}, " +
          ", ".join(f"p{p} {percentile(times, p):.0f}" for p in MARKS) +
          f", slowest {max(times):.0f}, median {median(times):.0f}")
    if plot:
        plot.write_text(Drawing(times).svg())
        print(f"drawn: {plot}")
