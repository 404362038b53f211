"""Fluid SVG charts in plain strings.

A chart has no view box: its marks stand at percentages of a plot area that is as wide as the page allows, so texts and
markers keep their size on any screen, without a script. Only lines live in an inner view box of 1000 x 1000 that is
stretched, with strokes that are not.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from surefoot.report._axis import Axis

EDGE = 0.15  # texts this near to a side are set away from it
MARKERS = {
    "circle": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z",
    "square": "M-4.6-4.6h9.2v9.2h-9.2z",
    "triangle": "M0-5.6 5.6 4.4-5.6 4.4z",
    "diamond": "M0-6 6 0 0 6-6 0z",
    "cross": "M-4.5-4.5 4.5 4.5M-4.5 4.5 4.5-4.5",
    "plus": "M-5.5 0h11M0-5.5v11",
    "arrow": "M0 6V-5M-4.5-.5 0-5 4.5-.5",
}


def text_of(value: object) -> str:
    """Return `value` as text that is safe anywhere in the page, attributes included."""
    clean = str(value).encode("utf-8", "replace").decode()
    return html.escape("".join(c if c.isprintable() or c in "\n\t" else " " for c in clean))


def percent(share: float) -> str:
    """Return a share as a percentage, kept near the plot area."""
    return f"{100 * min(2.0, max(-1.0, share)):.2f}%"


def chart(parts: Iterable[str], x: Axis, y: Axis, *, label: str, x_words: str, y_words: str, shape: str = "") -> str:
    """Return a chart with its axes drawn; `parts` go on top of them."""
    scales = " ".join(
        f'data-{name}="{"log" if axis.is_log else "linear"} {axis.low!r} {axis.high!r}" data-{name}-words="{text_of(words)}"'
        for name, axis, words in (("x", x, x_words), ("y", y, y_words))
    )
    return (
        f'<div class="y-words">{text_of(y_words)}{", log scale" if y.is_log else ""}</div>'
        f'<div class="plot {shape}"><svg class="chart" role="img" tabindex="0" aria-label="{text_of(label)}" {scales}>'
        f"{_grid(x, y)}{''.join(parts)}</svg></div>"
        f'<div class="x-words">{text_of(x_words)}</div>'
    )


def _grid(x: Axis, y: Axis) -> str:
    marks: list[str] = []
    for tick in y.ticks():
        at, text = percent(1 - y.place(tick.value)), text_of(tick.text)
        marks.append(
            f'<line class="grid" x1="0" x2="100%" y1="{at}" y2="{at}"/><text x="-8" y="{at}" dy=".33em" class="end">{text}</text>'
        )
    for tick in x.ticks():
        at, text, fine = percent(x.place(tick.value)), text_of(tick.text), " fine" if tick.is_fine else ""
        marks.append(
            f'<line class="grid" x1="{at}" x2="{at}" y1="0" y2="100%"/><text x="{at}" y="100%" dy="20" class="mid{fine}">{text}</text>'
        )
    return "".join(marks)


def marker(shape: str, x: float, y: str, *, css: str, title: str, trial: int | None = None) -> str:
    """Return a marker at share `x` of the width and at `y`, a percentage or pixels."""
    which = "" if trial is None else f' data-trial="{trial}"'
    return f'<svg class="mark {css}"{which} x="{percent(x)}" y="{y}"><path d="{MARKERS[shape]}"/><title>{text_of(title)}</title></svg>'


def swatch(shape: str, css: str) -> str:
    """Return a small picture of a marker, for legends and tables."""
    return f'<svg class="swatch" aria-hidden="true" width="16" height="16" viewBox="-8 -8 16 16"><g class="mark {css}"><path d="{MARKERS[shape]}"/></g></svg>'


def lines(polylines: Iterable[str]) -> str:
    """Return the stretched layer that holds the lines."""
    inner = "".join(polylines)
    return f'<svg class="lines" viewBox="0 0 1000 1000" preserveAspectRatio="none" width="100%" height="100%">{inner}</svg>'


def polyline(
    points: Sequence[tuple[float, float]], x: Axis, y: Axis, *, css: str, title: str, trial: int | None = None
) -> str:
    """Return a line through points in data units; far outside they are held at the edge, which the layer cuts off."""
    which = "" if trial is None else f' data-trial="{trial}"'

    def on(share: float) -> str:
        return f"{1000 * min(3.0, max(-2.0, share)):.1f}".removesuffix(".0")

    path = " ".join(f"{on(x.place(a))},{on(1 - y.place(b))}" for a, b in points)
    return f'<polyline class="{css}"{which} data-title="{text_of(title)}" points="{path}"><title>{text_of(title)}</title></polyline>'


def upright(x: float, css: str, text: str, row: int) -> str:
    """Return an upright line at share `x`, with its text above the plot area, in row 0 or 1."""
    side = "start" if x < EDGE else "end" if x > 1 - EDGE else "mid"
    at = percent(x)
    return (
        f'<line class="{css}" x1="{at}" x2="{at}" y1="-30" y2="100%"/>'
        f'<text class="{css} {side}" x="{at}" y="{-36 - 17 * row}">{text_of(text)}</text>'
    )
