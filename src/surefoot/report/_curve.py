"""The learning rate over a run, as a picture: what a plan will do, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from surefoot._checks import refuse
from surefoot.report._axis import linear_ticks, number_text
from surefoot.report._plot import INK, SOFT, new_figure, quiet_frame, save_picture
from surefoot.report._view import is_number

LINE, MARK = "#0072B2", "#D55E00"


def plot_rates(rates: Sequence[float], path: str | Path, *, title: str = "", marks: Sequence[int] = ()) -> Path:
    """Draw a learning rate over the steps of a run and write it as PNG or SVG, by the suffix of `path`.

    Args:
        rates: the learning rate of each update; what is no finite number is left out of the line.
        path: where to write; must end in ".png" or ".svg".
        title: what stands above.
        marks: steps to draw a ring around, such as those of the findings of `surefoot.check`.

    Returns:
        The path.

    Raises:
        ArgumentError: if the suffix is another one, or there are no rates.
        MissingExtraError: if matplotlib is not installed.
        RunDirectoryError: if the file cannot be written.
    """
    if not rates:
        raise refuse("plot_rates", "rates", rates, "at least one rate")
    return save_picture(path, lambda: _figure(list(rates), title, marks))


def _figure(rates: list[float], title: str, marks: Sequence[int]) -> Any:
    figure = new_figure(3.6)
    axes = figure.add_subplot()
    quiet_frame(axes)
    nan = float("nan")
    shown = [rate if is_number(rate) else nan for rate in rates]
    axes.plot(range(len(shown)), shown, color=LINE, linewidth=1.8, marker="o" if len(shown) == 1 else "")
    ringed = [step for step in marks if 0 <= step < len(shown)]
    if ringed:
        look = {"marker": "o", "markersize": 9, "markerfacecolor": "none", "markeredgewidth": 1.6, "linestyle": "none"}
        axes.plot(ringed, [shown[step] for step in ringed], color=MARK, **look)
    finite = [rate for rate in shown if is_number(rate)] or [0.0]
    low, high = min(0.0, *finite), max(finite)
    high = high if high > low else low + 1.0
    axes.set_ylim(low, low + 1.05 * (high - low))
    ticks = linear_ticks(low, high)
    axes.set_yticks([tick.value for tick in ticks], [tick.text for tick in ticks])
    axes.set_xlim(0, max(len(rates) - 1, 1))
    axes.set_xlabel("step", color=INK)
    axes.set_ylabel("learning rate", color=INK)
    axes.set_title(title, loc="left", color=INK, fontsize=11, pad=18, parse_math=False, wrap=True)
    axes.annotate(
        f"highest {number_text(max(finite), 3)}, last {number_text(shown[-1], 3)}",
        (1, 1),
        xycoords="axes fraction",
        xytext=(0, 4),
        textcoords="offset points",
        ha="right",
        color=SOFT,
    )
    return figure
