"""One picture: loss over learning rate, with the fit, the interval and the pick. matplotlib, its object API only."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surefoot._checks import refuse
from surefoot._errors import RunDirectoryError, missing_extra
from surefoot.report._axis import number_text
from surefoot.report._view import Picture, Series, picture_of
from surefoot.run import write_atomically

if TYPE_CHECKING:
    from surefoot.search._found import Found

INK, SOFT, BAND = "#1f2328", "#6e7781", "#F0E442"
MARKERS = {"circle": "o", "square": "s", "triangle": "^", "diamond": "D"}
WIDE = 84  # letters of a title that fit on one line
EDGE = 0.12  # texts this near to a side are set away from it
LANE = 0.09  # the share of the height, at the top, for trials that have no loss to place
STYLE: Any = {"font.family": "sans-serif", "font.size": 10.5, "text.usetex": False, "svg.hashsalt": "surefoot"}


def plot(found: Found, path: str | Path) -> Path:
    """Draw loss over learning rate and write it as PNG or SVG, by the suffix of `path`.

    Every trial is a marker, diverged ones are crosses at the top edge. The line through a rung is what was fitted, the
    band is the interval, the upright line the pick, and the dotted line the framework's default where it differs.

    Args:
        found: what `surefoot.find` returned.
        path: where to write; must end in ".png" or ".svg".

    Returns:
        The path.

    Raises:
        ArgumentError: if the suffix is another one.
        MissingExtraError: if matplotlib is not installed.
        RunDirectoryError: if the file cannot be written.
    """
    return save_picture(path, lambda: _figure(picture_of(found)))


def save_picture(path: str | Path, draw: Callable[[], Any]) -> Path:
    """Write the figure that `draw` returns as PNG or SVG, by the suffix of `path`; errors as in `plot`."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".png", ".svg"):
        raise refuse("plot", "path", str(path), 'a file name that ends in ".png" or ".svg"')
    try:
        mpl: Any = importlib.import_module("matplotlib")  # an extra, whose types are partly unknown
    except ImportError as error:
        raise missing_extra("matplotlib", "plot") from error
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)  # names in any script
        figure = draw()
        figure.savefig(buffer, format=suffix[1:], dpi=200, metadata={"Date": None} if suffix == ".svg" else None)
    if suffix == ".svg":
        write_atomically(path, buffer.getvalue().decode())
    else:
        _write_picture(path, buffer.getvalue())
    return path


def new_figure(height: float) -> Any:
    """Return an empty figure, 8 inches wide."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an extra
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure: Any = Figure(figsize=(8, height), layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.1)
    FigureCanvasAgg(figure)
    return figure


def _figure(picture: Picture) -> Any:
    """Return the figure."""
    figure = new_figure(5.6)
    axes = figure.add_subplot()
    _frame(axes, picture)
    _landmarks(axes, picture)
    for series in picture.series:
        _series(axes, series, has_lane=picture.has_lane)
    if not picture.has_losses:
        axes.text(
            0.5,
            0.45,
            "No trial ended with a loss that can be drawn.",
            transform=axes.transAxes,
            ha="center",
            color=SOFT,
        )
    _legend(figure, axes, picture)
    return figure


def _frame(axes: Any, picture: Picture) -> None:
    """Set scales, ticks, labels and the title; the top is kept free for trials without a loss to place."""
    for name, axis in (("x", picture.x), ("y", picture.y)):
        getattr(axes, f"set_{name}scale")("log" if axis.is_log else "linear")
        ticks = axis.ticks() if name == "x" or picture.has_losses else []
        getattr(axes, f"set_{name}ticks")([t.value for t in ticks], [t.text for t in ticks])
        getattr(axes, f"set_{name}ticks")([], minor=True)
    low, high = picture.y.low, picture.y.high
    if picture.has_lane:
        share = 1 / (1 - LANE)
        high = low * (high / low) ** share if picture.y.is_log else low + (high - low) * share
        axes.plot([0, 1], [1 - LANE] * 2, transform=axes.transAxes, color="#d0d7de", linewidth=0.8)
        axes.text(
            -0.012, 1 - LANE / 2, picture.lane_words, transform=axes.transAxes, ha="right", va="center", color=SOFT
        )
    axes.set_xlim(picture.x.low, picture.x.high)
    axes.set_ylim(low, high)
    quiet_frame(axes)
    axes.set_xlabel("learning rate (at the peak of the schedule)", color=INK)
    axes.set_ylabel(picture.y_words + (" (log scale)" if picture.y.is_log else ""), color=INK)
    title = (
        picture.title if len(picture.title) <= WIDE else picture.title.replace(": learning rate", ":\nlearning rate")
    )
    axes.set_title(title, loc="left", color=INK, fontsize=12, pad=36, parse_math=False)


def quiet_frame(axes: Any) -> None:
    """Draw the grid and the two axes so that the data stands out."""
    axes.grid(visible=True, color="#eaeef2", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(color="#d0d7de", labelcolor=SOFT)
    for spine in axes.spines.values():
        spine.set_color("#d0d7de")
    axes.spines[["top", "right"]].set_visible(False)


def _landmarks(axes: Any, picture: Picture) -> None:
    """Draw the interval, the default and the pick; their values stand in two rows above the frame, clear of the data."""
    if picture.interval:
        low, high = picture.interval
        axes.axvspan(
            low, high, color=BAND, alpha=0.3, linewidth=0, label=f"interval, {number_text(low)} to {number_text(high)}"
        )
    if picture.default:
        axes.axvline(picture.default, color=SOFT, linewidth=1.4, linestyle=":")
        _flag(axes, picture, picture.default, f"default {number_text(picture.default)}", row=1, color=SOFT)
    if picture.pick:
        axes.axvline(picture.pick, color=INK, linewidth=1.6)
        _flag(axes, picture, picture.pick, f"pick {number_text(picture.pick)}", row=0, color=INK)


def _flag(axes: Any, picture: Picture, rate: float, text: str, *, row: int, color: str) -> None:
    place = picture.x.place(rate)
    side = "left" if place < EDGE else "right" if place > 1 - EDGE else "center"
    axes.annotate(
        text,
        (rate, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 4 + 13 * row),
        textcoords="offset points",
        ha=side,
        color=color,
        fontweight="normal" if row else "bold",
        annotation_clip=False,
    )


def _series(axes: Any, series: Series, *, has_lane: bool) -> None:
    """Draw the markers and the fitted curve of one rung."""
    if series.curve:
        axes.plot(*zip(*series.curve, strict=True), color=series.color, linewidth=1.3, alpha=0.75)
    look = {"marker": MARKERS[series.marker], "linestyle": "none", "color": series.color, "markersize": 7}
    for kind, face in (("loss", series.color), ("abandoned", "white")):
        placed = [(p.learning_rate, p.loss) for p in series.points if p.kind == kind]
        if placed:
            axes.plot(
                *zip(*placed, strict=True), **look, markerfacecolor=face, markeredgewidth=1.4, alpha=0.9, zorder=3
            )
    for kind, marker in (("diverged", "x"), ("failed", "+"), ("above", "^")):
        rates = [p.learning_rate for p in series.points if p.kind == kind]
        if rates and has_lane:
            axes.plot(
                rates,
                [1 - LANE / 2] * len(rates),
                transform=axes.get_xaxis_transform(),
                marker=marker,
                linestyle="none",
                color=series.color,
                markersize=7,
                markeredgewidth=2,
                markerfacecolor="none",
            )
    axes.plot([], [], **look, label=series.words)


def _legend(figure: Any, axes: Any, picture: Picture) -> None:
    """Explain every mark below the frame, where it hides nothing."""
    plain = {"linestyle": "none", "color": SOFT, "markersize": 7}
    for kind, marker, words in (
        ("abandoned", "o", "hollow: stopped early, clearly worse"),
        ("above", "^", "off the scale"),
        ("diverged", "x", "diverged"),
        ("failed", "+", "failed: the job broke"),
    ):
        if kind in picture.kinds:
            axes.plot([], [], **plain, marker=marker, markerfacecolor="none", markeredgewidth=1.6, label=words)
    if any(series.curve for series in picture.series):
        axes.plot([], [], color=SOFT, linewidth=1.3, label="fitted curve of a rung")
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        legend = figure.legend(
            handles, labels, loc="outside lower left", ncols=2, frameon=False, fontsize=9.5, labelcolor=INK
        )
        for text in legend.get_texts():
            text.set_parse_math(False)


def _write_picture(path: Path, data: bytes) -> None:
    """Write bytes whole or not at all, as `write_atomically` does with text."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise RunDirectoryError(
            f"cannot write {str(path)!r}: {error.strerror or error}. Choose a folder that exists and is writable."
        ) from error
