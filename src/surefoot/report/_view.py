"""What the pictures show: which trials, on which axes, in which words. Pure functions; the drawing is elsewhere."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from surefoot.report._axis import HUGE, Axis, number_text, padded, wants_log

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from surefoot.search._found import Found, Trial

Kind = Literal["loss", "abandoned", "above", "diverged", "failed"]

PALETTE = {  # Okabe and Ito (2008), safe for the colour-blind; the marker tells the rungs apart without any colour
    "bracket": ("#0072B2", "circle"),
    "fork": ("#D55E00", "square"),
    "race": ("#009E73", "triangle"),
    "ladder": ("#0072B2", "diamond"),
    "grid": ("#CC79A7", "circle"),
}
OTHER = ("#6b6b6b", "diamond")
LOST = ("diverged", "failed")  # outcomes whose loss, if there is one, says nothing
FIRST = 2  # a loss at a later step is no longer that of an untrained model
SAME = 0.02  # octaves: two rates that nobody can tell apart in a picture
NEAR = 2.0  # decades: an end of the interval that is farther from the pick does not stretch the axis


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One trial in the picture. `loss` is None where there is none to place: diverged, failed, above the range."""

    trial: int
    learning_rate: float
    kind: Kind
    loss: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """All trials of one rung, with its fitted curve."""

    rung: str
    words: str
    color: str
    marker: str
    points: tuple[Point, ...]
    curve: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Loss over learning rate."""

    title: str
    y_words: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    pick: float | None
    interval: tuple[float, float] | None
    default: float | None

    @property
    def kinds(self) -> set[Kind]:
        """What kinds of points there are."""
        return {point.kind for series in self.series for point in series.points}

    @property
    def has_losses(self) -> bool:
        """Whether any trial has a loss to place."""
        return bool(self.kinds & {"loss", "abandoned"})

    @property
    def lane_words(self) -> str:
        """What stands beside the lane at the top edge, for the trials without a loss to place; "" if there is none."""
        words: dict[Kind, str] = {"diverged": "diverged", "above": "off scale", "failed": "failed"}
        return next((word for kind, word in words.items() if kind in self.kinds), "")

    @property
    def has_lane(self) -> bool:
        """Whether there is such a lane."""
        return bool(self.lane_words)


def picture_of(found: Found) -> Picture:
    """Return what is to be drawn of a found learning rate; never fails, whatever the trials hold."""
    has_val = any(is_number(trial.val_loss) for trial in found.trials)
    losses = [trial.val_loss if has_val else trial.train_loss for trial in found.trials]
    shown = [
        loss
        for trial, loss in zip(found.trials, losses, strict=True)
        if loss is not None and is_number(loss) and trial.outcome not in LOST
    ]
    ceiling = _ceiling(shown, start_loss(found.trials))
    shown = [loss for loss in shown if loss <= ceiling]
    pick = found.learning_rate if is_rate(found.learning_rate) else None
    default = found.default_learning_rate if is_rate(found.default_learning_rate) else None
    if pick and default and abs(math.log2(default / pick)) < SAME:
        default = None
    rates = [trial.learning_rate for trial in found.trials if is_rate(trial.learning_rate)]
    interval = _interval(found.interval)
    rates += [rate for rate in (pick, default) if rate]
    rates += [rate for rate in interval or () if pick and abs(math.log10(rate / pick)) < NEAR]
    points: dict[str, list[Point]] = {}
    for index, (trial, loss) in enumerate(zip(found.trials, losses, strict=True)):
        point = _point(index, trial, loss, ceiling)
        points.setdefault(trial.rung, []).extend([point] if point else [])
    curves = {
        curve.rung: tuple(
            (rate, loss)
            for rate, loss in zip(curve.learning_rates, curve.losses, strict=False)
            if is_rate(rate) and is_number(loss)
        )
        for curve in found.curves
    }
    return Picture(
        title=title_of(found),
        y_words="validation loss" if has_val else "training loss",
        x=padded(rates, is_log=True, least=4.0),
        y=padded(shown, is_log=wants_log(shown)),
        series=tuple(
            Series(
                rung=rung,
                words=rung_words(rung, (trial.horizon for trial in found.trials if trial.rung == rung)),
                color=PALETTE.get(rung, OTHER)[0],
                marker=PALETTE.get(rung, OTHER)[1],
                points=tuple(members),
                curve=curves.get(rung, ()),
            )
            for rung, members in points.items()
        ),
        pick=pick,
        interval=interval,
        default=default,
    )


def title_of(found: Found) -> str:
    """Return the answer as a title: "digits: learning rate 0.0031 (good between 0.0018 and 0.0052)"."""
    title = f"{brief(found.job)}: learning rate {number_text(found.learning_rate)}"
    interval = _interval(found.interval)
    return title + (f" (good between {number_text(interval[0])} and {number_text(interval[1])})" if interval else "")


def rung_words(rung: str, horizons: Iterable[int]) -> str:
    """Say in words what the trials of a rung are.

    >>> rung_words("bracket", [20, 20])
    'short runs of 20 steps'
    >>> rung_words("race", [150, 300])
    'real runs, to steps 150 to 300'
    """
    lengths = sorted(set(horizons))
    span = f"{lengths[0]} to {lengths[-1]}" if len(lengths) > 1 else str(lengths[0])
    many = "s" if len(lengths) > 1 else ""
    of_steps = f"of {span} step{'' if span == '1' else 's'}"
    return {
        "bracket": f"short runs {of_steps}",
        "fork": f"forks of the real schedule, to step{many} {span}",
        "race": f"real runs, to step{many} {span}",
        "ladder": f"whole runs, shortened to {span} steps",
        "grid": f"full runs {of_steps}",
    }.get(rung, f"{brief(rung, 24)}, to step{many} {span}")


def brief(text: str, length: int = 48) -> str:
    """Return `text` on one line, its middle left out if it is long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    half = (length - 1) // 2
    return line if len(line) <= length else f"{line[:half].rstrip()}…{line[-half:].lstrip()}"


def start_loss(trials: Sequence[Trial]) -> float | None:
    """Return the typical loss before training: the median of the first training losses."""
    first = [trial.losses[0][1] for trial in trials if trial.losses and trial.losses[0][0] <= FIRST]
    first = [loss for loss in first if is_number(loss)]
    return statistics.median(first) if first else None


def is_number(value: float | None) -> bool:
    """Return whether there is a value and it can be drawn."""
    return value is not None and abs(value) < HUGE


def is_rate(value: float) -> bool:
    """Return whether `value` has a place on a logarithmic axis."""
    return 1 / HUGE < value < HUGE


def _point(index: int, trial: Trial, loss: float | None, ceiling: float) -> Point | None:
    """Return where a trial is drawn, or None if it has neither a loss nor a fate."""
    if not is_rate(trial.learning_rate):
        return None
    kind: Kind
    if trial.outcome in LOST:
        kind = "diverged" if trial.outcome == "diverged" else "failed"
    elif loss is None or math.isnan(loss) or loss <= -HUGE:
        return None
    elif loss > min(ceiling, HUGE):
        kind = "above"
    else:
        kind = "abandoned" if trial.outcome == "abandoned" else "loss"
    is_placed = kind in ("loss", "abandoned")
    return Point(trial=index, learning_rate=trial.learning_rate, kind=kind, loss=loss if is_placed else None)


def _ceiling(losses: Sequence[float], start: float | None) -> float:
    """Return the highest loss worth a place: a little above an untrained model's, or far above the median."""
    if not losses:
        return math.inf
    best, middle = min(losses), statistics.median(losses)
    by_median = math.exp(3 * math.log(middle) - 2 * math.log(best)) if best > 1 / HUGE else best + 4 * (middle - best)
    by_start = -math.inf if start is None else start + 0.5 * abs(start)
    ceiling = max(by_median if middle > best else -math.inf, by_start)
    return ceiling if ceiling >= best else math.inf


def _interval(interval: tuple[float, float]) -> tuple[float, float] | None:
    low, high = interval
    return (low, high) if is_rate(low) and is_rate(high) and low <= high else None
