"""From what a search has learned to what it says: the rate, the interval, how sure, why, and when not to trust it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from surefoot._errors import JobError
from surefoot.search._belief import Belief
from surefoot.search._found import Confidence, Curve
from surefoot.search._methods import (
    CONSTANT,
    LEAST_STEPS,
    TOLERANCE,
    ForkMethod,
    GridMethod,
    LadderMethod,
    Method,
    decay_left,
)
from surefoot.search._steps import LossScale, Point

RACE_INTERVAL = {2: (-1.1, 1.5), 3: (-0.9, 1.1)}  # octaves around a race's winner; measured, nominal 90 %


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a search says."""

    learning_rate: float
    interval: tuple[float, float]
    confidence: Confidence
    why: tuple[str, ...]
    cautions: tuple[str, ...]
    curves: tuple[Curve, ...]
    credit: int
    details: dict[str, Any] = field(default_factory=dict[str, Any])


def write_answer(search: Method, *, is_complete: bool) -> Answer:
    """Return the answer on what is known so far.

    Raises:
        JobError: no trial has a loss, or no rate moved the loss at all.
    """
    _refuse_hopeless(search, is_complete=is_complete)
    belief = search.belief()
    low, high = belief.low, belief.high
    if isinstance(search, ForkMethod) and search.winner is not None:
        down, up = RACE_INTERVAL[min(search.racers, 3)]
        x, low, high = search.winner, search.winner + down, search.winner + up
    elif isinstance(search, ForkMethod):
        x = search.snapped(belief.pick)
        total = search.lab.total_steps
        if search.lab.steps - search.lab.trunk_steps(x) > TOLERANCE * search.budget * total:
            x = search.snapped(belief.pick, 0.9)  # what was overspent is a piece of the real run only at a trunk's rate
    else:
        x = belief.pick
    x = min(max(x, search.low), search.high)
    rate = float(f"{2.0**x:.3g}")
    interval = (_three(max(min(low, x), search.low)), _three(min(max(high, x), search.high)))
    serious, mild = _doubts(search, belief, x)
    if not is_complete:
        serious.insert(0, "The search was interrupted: this is the best answer on what it had seen.")
    confidence: Confidence = "low" if serious or len(mild) > 1 else "medium" if mild else "high"
    return Answer(
        learning_rate=rate,
        interval=(min(interval[0], rate), max(interval[1], rate)),
        confidence=confidence,
        why=_why(search, belief, rate),
        cautions=(*serious, *mild, *_remarks(search)),
        curves=_curves(search, belief),
        credit=search.lab.trunk_steps(x) if isinstance(search, ForkMethod) else 0,
        details={
            "pick": belief.pick,
            "sd_octaves": belief.sd,
            "overfit_probability": belief.overfit,
            "drift_octaves_per_doubling": belief.drift,
            "divergence_edge": 2.0**search.edge if math.isfinite(search.edge) else None,
            "density": _density(belief),
            "initial_loss": search.lab.initial_loss if math.isfinite(search.lab.initial_loss) else None,
        },
    )


def _refuse_hopeless(search: Method, *, is_complete: bool) -> None:
    points = search.points
    lab = search.lab
    rates = [2.0**p.x for p in points]
    span = f"between {min(rates):.2g} and {max(rates):.2g}" if rates else ""
    if not search.knows_something:
        notes = {t.note for t in lab.trials() if t.note}
        told = f" The first said: {min(notes)}" if notes else ""
        raise JobError(
            f"every trial of {lab.job.name!r} at rates {span} diverged or failed, so there is nothing to choose from.{told} "
            "Check one training run by itself at a very small rate: is its loss finite?"
        )
    finite = [p.loss for p in points if not p.is_diverged]
    if is_complete and len(finite) > 1 and not search.has_moved:
        loss = finite[0]
        raise JobError(
            f"the validation loss of {lab.job.name!r} is {loss:.6g} at every rate {span}: training changes nothing. Check that "
            "the optimizer gets the parameters of the model that the loss uses, and that the metric can move."
        )


def _doubts(search: Method, belief: Belief, x: float) -> tuple[list[str], list[str]]:
    """Return serious doubts (each makes the confidence low) and mild ones (one makes it medium)."""
    serious: list[str] = []
    mild: list[str] = []
    total, lab = search.lab.total_steps, search.lab
    if isinstance(search, GridMethod):
        serious.append(
            f"A run of {total} steps is too short for bracket and forks within this budget, so a plain grid of runs of "
            f"{search.length} steps was used. A larger budget makes them longer."
        )
    if isinstance(search, LadderMethod):
        mild.append(
            "The job cannot be forked, so short runs stood in for pieces of the real one: they see less of late over-fitting."
        )
    edge = search.edge
    if isinstance(search, ForkMethod) and search.forks and search.forks.broken:
        edge = min(search.forks.broken)
    if math.isfinite(edge) and edge - x < 1.0:
        mild.append(f"Training breaks down at {2.0**edge:.2g}, less than twice the answer: do not go higher.")
    if belief.overfit > 0.5:
        mild.append(
            "The job over-fits, so the best rate depends on how long you train. Keep the checkpoint with the best validation loss."
        )
    scale = LossScale.of([p.loss for p in search.points], lab.initial_loss)
    best = min(scale(p.loss) for p in search.points)
    if math.isfinite(lab.initial_loss) and scale(lab.initial_loss) - best < 0.15:
        mild.append("Runs of the first rung moved the loss by less than 15 %: they say little about where to look.")
    last = [p for p in search.final_points() if not p.is_diverged]
    near = sorted(last, key=lambda p: abs(p.x - x))[:2]
    if len(near) == 2 and abs(scale(near[0].loss) - scale(near[1].loss)) > 0.2 and search.winner is None:
        mild.append(
            "The loss changes by more than 20 % between the two rates next to the answer: the valley is narrow or the seed matters."
        )
    if (
        len(last) > 1
        and search.winner is None
        and (x > max(p.x for p in last) + 0.8 or x < min(p.x for p in last) - 0.8)
    ):
        mild.append("The answer lies outside the rates that were tried on the real run.")
    if isinstance(search, ForkMethod) and not (search.forks and search.forks.finished):
        serious.append(
            "No piece of the real run could be trained within the budget: the answer rests on very short runs."
        )
    return serious, mild


def _remarks(search: Method) -> list[str]:
    """Return what should be known but says nothing about this answer's quality."""
    remarks: list[str] = []
    left = decay_left(search.plan, search.lab.total_steps)
    form = repr(search.lab.job.schedule)
    is_measured = "cosine_decay" in form and "linear_warmup" in form and left < 0.2
    if isinstance(search, ForkMethod) and not is_measured:
        moved = f" (for a schedule that does not decay, {CONSTANT[0]} octaves lower)" if left > 0.5 else ""
        remarks.append(
            f"How far forks lie from the full run was measured for a warm-up and a cosine to zero; your schedule is another{moved}."
        )
    if search.lab.total_steps < 16 * LEAST_STEPS and isinstance(search, ForkMethod):
        remarks.append(
            f"Runs of {search.length} steps are a large share of a run of {search.lab.total_steps}: most of the budget went there."
        )
    return remarks


def _why(search: Method, belief: Belief, rate: float) -> tuple[str, ...]:
    points = search.final_points()
    finite = sorted((p for p in points if not p.is_diverged), key=lambda p: p.loss)
    low, high = (2.0 ** f(p.x for p in search.points) for f in (min, max))
    first = f"{len(search.points)} runs of {search.length} steps between {low:.2g} and {high:.2g} bracketed the rate"
    if search.winner is not None:
        return (f"{first}; the winner, {rate:.2g}, then beat its rivals as a real run.", _drift_sentence(belief))
    if isinstance(search, ForkMethod) and search.forks and search.forks.finished:
        best = finite[0]
        return (
            (
                f"{first}; of {len(search.forks.points)} pieces of the real run, annealed after a quarter of it, the one at "
                f"{2.0**best.x:.2g} had the lowest validation loss, {best.loss:.4g}."
            ),
            _drift_sentence(belief),
        )
    if isinstance(search, LadderMethod) and search.rungs:
        steps = search.rungs[-1][0]
        return (
            f"{first}; longer runs, up to {steps} steps, showed how the best rate moves with the length of training.",
        )
    return (f"{first}.",)


def _drift_sentence(belief: Belief) -> str:
    if belief.overfit > 0.5:
        return (
            "Validation and training loss drift apart with the rate, so a full run wants a lower rate than a short one."
        )
    return (
        "There is little sign of over-fitting, so the full run wants about the rate that was best for the short ones."
    )


def _curves(search: Method, belief: Belief) -> tuple[Curve, ...]:
    """Return each rung's fitted curve, between its points and a little beyond."""
    curves: list[Curve] = []
    shown: list[tuple[str, list[Point]]] = [(belief.rungs[0][0], search.points)]
    if len(belief.rungs) > 1:
        shown.append((belief.rungs[-1][0], search.final_points()))
    for name, points in shown:
        fit, vertex = next((f, v) for n, f, v in belief.rungs if n == name)
        xs = [p.x for p in points if not p.is_diverged]
        if len(xs) < 2:
            continue
        scale = LossScale.of([p.loss for p in points], search.lab.initial_loss)
        grid = np.linspace(min(xs) - 0.7, max(xs) + 0.7, 80)
        losses = np.exp(fit.curve(vertex, grid)) - scale.shift
        curves.append(
            Curve(rung=name, learning_rates=tuple(float(2.0**x) for x in grid), losses=tuple(float(v) for v in losses))
        )
    return tuple(curves)


def _density(belief: Belief) -> list[list[float]]:
    """Return (rate, density) where there is any, thinned."""
    some = belief.density > 1e-4 * belief.density.max()
    return [[float(2.0**x), float(d)] for x, d in zip(belief.grid[some][::2], belief.density[some][::2], strict=True)]


def _three(x: float) -> float:
    return float(f"{2.0**x:.3g}")
