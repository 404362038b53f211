"""The three charts of the page: loss over learning rate, the training curves, the schedule."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

from surefoot.report._axis import number_text, padded, wants_log
from surefoot.report._schedule import factors_of
from surefoot.report._svg import chart, lines, marker, percent, polyline, swatch, text_of, upright
from surefoot.report._view import Picture, Point, Series, is_number, is_rate, picture_of, rung_words, start_loss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from surefoot.search._found import Found, Trial

Points = tuple[tuple[float, float], ...]
LANE = {"diverged": "cross", "failed": "plus", "above": "arrow"}
RUNG_CLASSES = {"bracket": "bracket", "fork": "fork", "race": "race", "ladder": "ladder", "grid": "grid"}
MOST_POINTS = 120  # of one training curve


def rung_class(rung: str) -> str:
    """Return the CSS class of a rung; a name that we do not know never gets into the style."""
    return RUNG_CLASSES.get(rung, "other")


def rung_mark(rung: str, series: Sequence[Series]) -> str:
    """Return the marker of a rung, for tables and headings."""
    return next((swatch(s.marker, rung_class(rung)) for s in series if s.rung == rung), "")


def trial_words(trial: Trial) -> str:
    """Name a trial in a few words."""
    return f"{trial.rung}, learning rate {number_text(trial.learning_rate, 3)}"


def loss_chart(found: Found) -> str:
    """Return loss over learning rate, with a legend whose boxes show and hide the rungs."""
    picture = picture_of(found)
    x, y = picture.x, picture.y
    parts: list[str] = []
    if picture.interval:
        low, high = (min(1.0, max(0.0, x.place(rate))) for rate in picture.interval)
        parts.append(f'<rect class="band" x="{percent(low)}" width="{percent(high - low)}" y="-30" height="100%"/>')
        parts.append(
            f'<rect class="band" x="{percent(low)}" width="{percent(high - low)}" y="100%" height="30" transform="translate(0,-30)"/>'
        )
    if picture.has_lane:
        parts.append(
            f'<line class="lane" x1="0" x2="100%" y1="0" y2="0"/><text class="end" x="-8" y="-11">{picture.lane_words}</text>'
        )
    if picture.default:
        parts.append(upright(x.place(picture.default), "default", f"default {number_text(picture.default)}", 1))
    if picture.pick:
        parts.append(upright(x.place(picture.pick), "pick", f"pick {number_text(picture.pick)}", 0))
    fitted = (
        polyline(s.curve, x, y, css=f"fit {rung_class(s.rung)}", title=f"fitted to: {s.words}")
        for s in picture.series
        if s.curve
    )
    parts.append(lines(fitted))
    for series in picture.series:
        marks = "".join(_mark(found.trials[point.trial], point, series, picture) for point in series.points)
        parts.append(f'<g class="rung {rung_class(series.rung)}">{marks}</g>')
    if not picture.has_losses:
        parts.append('<text class="mid empty" x="50%" y="50%">No trial ended with a loss that can be drawn.</text>')
    label = f"{picture.title}. {picture.y_words} of {len(found.trials)} trials over learning rate; the table below has every number."
    drawn = chart(
        parts,
        x,
        y,
        label=label,
        x_words="learning rate, at the peak of the schedule",
        y_words=picture.y_words,
        shape="tall",
    )
    return _legend(picture) + drawn


def _mark(trial: Trial, point: Point, series: Series, picture: Picture) -> str:
    loss = trial.val_loss if picture.y_words == "validation loss" else trial.train_loss
    fate = {"diverged": "diverged", "failed": "failed", "abandoned": "stopped early at", "above": "off the scale:"}.get(
        point.kind, ""
    )
    words = f"{trial_words(trial)}: {fate} {'' if loss is None else picture.y_words + ' ' + number_text(loss, 3)}"
    return marker(
        series.marker if point.loss is not None else LANE[point.kind],
        picture.x.place(point.learning_rate),
        "-15" if point.loss is None else percent(1 - picture.y.place(point.loss)),
        css=f"{rung_class(series.rung)} {point.kind}",
        title=words.rstrip(),
        trial=point.trial,
    )


def _legend(picture: Picture) -> str:
    items = [
        f'<label class="key"><input type="checkbox" checked data-rung="{rung_class(s.rung)}">{swatch(s.marker, rung_class(s.rung))}'
        f"<span>{text_of(s.words)}</span></label>"
        for s in picture.series
    ]
    if picture.interval:
        low, high = picture.interval
        items.append(
            f'<span class="key"><i class="band-key"></i>interval, {number_text(low)} to {number_text(high)}</span>'
        )
    if any(s.curve for s in picture.series):
        items.append('<span class="key"><i class="fit-key"></i>fitted curve of a rung</span>')
    extra = {"abandoned": ("circle", "hollow: stopped early"), "above": ("arrow", "off the scale")}
    extra |= {"diverged": ("cross", "diverged"), "failed": ("plus", "failed: the job broke")}
    for kind, (shape, words) in extra.items():
        if kind in picture.kinds:
            items.append(f'<span class="key">{swatch(shape, "plain " + kind)}{words}</span>')
    return f'<div class="legend">{"".join(items)}</div>'


def trace_charts(found: Found, series: Sequence[Series]) -> str:
    """Return one small chart per rung with the training loss of every trial, colored by its distance from the pick."""
    traces = {i: trace for i, trial in enumerate(found.trials) if len(trace := thinned(trial.losses)) > 1}
    words = "training loss"
    if not traces:
        traces = {i: trace for i, trial in enumerate(found.trials) if len(trace := thinned(trial.val_losses)) > 1}
        words = "validation loss"
    if not traces:
        return '<p class="quiet">This job reports no losses on the way, so there are no curves to draw.</p>'
    ends = [loss for trace in traces.values() for _, loss in trace]
    start = start_loss(found.trials)
    ceiling = math.inf if start is None else max(start + 0.5 * abs(start), min(ends))
    shown = [loss for loss in ends if loss <= ceiling]
    y = padded(shown, is_log=wants_log(shown))
    panels: list[str] = []
    for one in series:
        members = [i for i in traces if found.trials[i].rung == one.rung]
        if not members:
            continue
        steps = [step for i in members for step, _ in traces[i]]
        x = padded([min(steps) if min(steps) > max(steps) / 3 else 0, max(steps)], is_log=False, share=0.0)
        drawn = [
            polyline(
                traces[i],
                x,
                y,
                css=f"trace k{nearness(found, found.trials[i])}",
                title=trial_words(found.trials[i]),
                trial=i,
            )
            for i in sorted(members, key=lambda i: abs(nearness(found, found.trials[i]) - 4), reverse=True)
        ]
        heading = rung_words(one.rung, (found.trials[i].horizon for i in members))
        label = f"{words} over steps of {len(members)} trials: {heading}"
        panel = chart([lines(drawn)], x, y, label=label, x_words="step", y_words=words, shape="small")
        panels.append(
            f'<section class="panel"><h3>{rung_mark(one.rung, series)} {text_of(heading)}</h3>{panel}</section>'
        )
    keys = "".join(f'<i class="k{k}"></i>' for k in range(9))
    lead = '<p class="lead">The strongest lines are nearest to the pick.</p>'
    ramp = f'{lead}<div class="ramp"><span>16 &times; below</span><span class="steps">{keys}</span><span>16 &times; above the pick</span></div>'
    return f'{ramp}<div class="panels">{"".join(panels)}</div>'


def nearness(found: Found, trial: Trial) -> int:
    """Return the color of a trial: 4 at the pick, one less or more for each octave below or above, 0 to 8.

    >>> from types import SimpleNamespace as Some
    >>> [nearness(Some(learning_rate=0.01), Some(learning_rate=rate)) for rate in (1e-6, 0.005, 0.01, 0.04)]
    [0, 3, 4, 6]
    """
    if not (is_rate(found.learning_rate) and is_rate(trial.learning_rate)):
        return 4
    return min(8, max(0, 4 + round(math.log2(trial.learning_rate / found.learning_rate))))


def schedule_chart(found: Found) -> str:
    """Return the learning rate at every step of the real run, or "" if the record has no values of it."""
    factors = thinned(factors_of(found))
    if not factors or not is_rate(found.learning_rate):
        return ""
    rates = tuple((step, found.learning_rate * factor) for step, factor in factors)
    x = padded([0, found.total_steps, *(step for step, _ in rates)], is_log=False, share=0.0)
    y = padded([0, max(rate for _, rate in rates)], is_log=False, share=0.06)
    y = type(y)(low=min(0.0, *(rate for _, rate in rates)), high=y.high, is_log=False)
    drawn = lines([polyline(rates, x, y, css="plan", title="the real run")])
    label = f"learning rate over the {found.total_steps} steps of the real run"
    return chart([drawn], x, y, label=label, x_words="step", y_words="learning rate", shape="small")


def thinned(values: Any) -> Points:
    """Return the (step, value) pairs that can be drawn, at most 120 or so; anything else in `values` is left out."""
    if not isinstance(values, list | tuple):
        return ()
    pairs = [pair for value in cast("Sequence[object]", values) if (pair := _pair(value))]
    stride = max(1, math.ceil(len(pairs) / MOST_POINTS))
    return tuple(pairs[::stride] + (pairs[-1:] if stride > 1 and (len(pairs) - 1) % stride else []))


def _pair(value: object) -> tuple[float, float] | None:
    match value:
        case [int() | float() as a, int() | float() as b] if is_number(a) and is_number(b):
            return float(a), float(b)
        case _:
            return None
