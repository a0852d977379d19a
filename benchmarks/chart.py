"""Chart of the results as SVG: one line per workload, one mark per contestant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from math import log2
from typing import Any

from benchmarks.contestants import BASELINE, COPY, OURS
from benchmarks.pgbench import NAME as PGBENCH

WIDTH, LINE, TOP, BOTTOM = 900, 26, 84, 44
LEFT, RIGHT = 290, 24
MIN_RATIO, MAX_RATIO = 1 / 4, 8
TICKS = (0.25, 0.5, 1, 2, 4, 8)
OURS_COLOUR = "#0b6e4f"
PEER_COLOURS = {
    BASELINE: "#222222",
    COPY: "#222222",
    "core": "#c1121f",
    "orm": "#e76f51",
    "advanced_alchemy": "#b5179e",
    "tortoise": "#4361ee",
    "piccolo": "#e9b000",
    "django": "#6c757d",
}


def draw(results: Mapping[str, Any]) -> str:
    """Return a chart of the time ratios to the baseline, on a logarithmic scale.

    Args:
        results: JSON of a run.
    """
    workloads = results["workloads"].values()
    bottom = TOP + LINE * len(workloads)
    parts = [
        _text(LEFT, 22, "Time of one operation, hand-written asyncpg = 1", bold=True),
        *_legend(results["titles"]),
        *_grid(bottom),
        *(
            part
            for number, workload in enumerate(workloads)
            for part in _line(workload, TOP + LINE * number + LINE / 2)
        ),
        _text(WIDTH - RIGHT, bottom + 36, "less is better, logarithmic scale", anchor="end"),
    ]
    height = bottom + BOTTOM
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="system-ui, sans-serif" font-size="13">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _legend(titles: Mapping[str, str]) -> Iterator[str]:
    x, y = float(LEFT), 44
    for name in (OURS, *PEER_COLOURS):
        if name not in titles or name == COPY:  # COPY is the baseline of its workloads
            continue
        title = titles[name] if name != BASELINE else f"{titles[name]}, COPY"
        length = 30 + 7.5 * len(title)
        if x + length > WIDTH - RIGHT:
            x, y = float(LEFT), y + 18
        yield _mark(name, x + 5, y - 4)
        yield _text(x + 15, y, title, bold=name == OURS)
        x += length


def _grid(bottom: float) -> Iterator[str]:
    for ratio in TICKS:
        x, width = _x(ratio), 2 if ratio == 1 else 1
        yield (
            f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" '
            f'stroke="#d0d0d0" stroke-width="{width}"/>'
        )
        yield _text(x, bottom + 16, f"{ratio:g}", anchor="middle")


def _line(workload: Mapping[str, Any], y: float) -> Iterator[str]:
    tasks = f", {workload['tasks']} tasks" if workload["tasks"] > 1 else ""
    yield _text(LEFT - 12, y + 4, workload["title"] + tasks, anchor="end")
    # Ours last, so that no other mark covers it.
    for name, result in sorted(workload["results"].items(), key=lambda item: item[0] == OURS):
        if name != PGBENCH and result["ratio"] is not None:
            yield _mark(name, _x(result["ratio"]), y)


def _mark(name: str, x: float, y: float) -> str:
    if name == OURS:
        return (
            f'<rect x="{x - 6:.1f}" y="{y - 6:.1f}" width="12" height="12" rx="2" '
            f'fill="{OURS_COLOUR}"/>'
        )
    colour = PEER_COLOURS.get(name, "#999999")
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}" fill-opacity="0.85"/>'


def _x(ratio: float) -> float:
    """Return the position of a ratio. One outside the scale is drawn at its end."""
    clipped = min(max(ratio, MIN_RATIO), MAX_RATIO)
    share = (log2(clipped) - log2(MIN_RATIO)) / (log2(MAX_RATIO) - log2(MIN_RATIO))
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _text(x: float, y: float, text: str, *, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight} fill="#222222">'
        f"{escape(text)}</text>"
    )
