"""The answer that the trials of a study give, whoever has sampled them: whole runs at several rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.schedules import Schedule
from surefoot.search import Curve, Found, Trial
from surefoot.search._find import versions as our_versions
from surefoot.search._steps import LossScale, Point, divergence_edge
from surefoot.search._whole_runs import belief_of, best_guess

SHARP = 0.7  # octaves: sd of a belief that bounds the rate well
FEW = 4  # trials with a loss, below which the confidence is low


def answer_of(
    points: Sequence[Point],
    trials: Sequence[Trial],
    *,
    job: str,
    total_steps: int,
    schedule: Schedule,
    versions: Mapping[str, str],
) -> Found:
    """Return what whole runs say about the best rate."""
    belief = belief_of(points)
    finite = sorted((p for p in points if not p.is_diverged), key=lambda p: p.loss)
    x = best_guess(points, belief)
    rate, low, high = (float(f"{2.0**v:.3g}") for v in (x, min(belief.low, x), max(belief.high, x)))
    ran = [p.x for p in points]
    cautions: list[str] = []
    if len(finite) < FEW:
        cautions.append(f"Only {len(finite)} trials have a loss: run more of them.")
    if finite[0].x in (min(ran), max(ran)) and len(ran) > 1:
        cautions.append("The best trial lies at an end of the rates that were tried: try further ones.")
    edge = divergence_edge(points, math.nan)
    if edge - x < 1.0:
        cautions.append(f"Training breaks down at {2.0**edge:.2g}, less than twice the answer: do not go higher.")
    if belief.sd > SHARP:
        cautions.append("The trials bound the rate loosely.")
    is_low = len(finite) < FEW or len(cautions) > 1
    why = (
        f"{len(finite)} trials of a study, whole runs at rates between {2.0 ** min(ran):.2g} and {2.0 ** max(ran):.2g}; "
        f"the best, at {2.0 ** finite[0].x:.3g}, had a loss of {finite[0].loss:.4g}."
    )
    spent = sum(t.steps for t in trials) / total_steps
    scale = LossScale.of([p.loss for p in points], math.nan)
    _, fit, vertex = belief.rungs[-1]
    xs = [p.x for p in finite]
    grid = np.linspace(min(xs) - 0.7, max(xs) + 0.7, 80)
    losses = np.exp(fit.curve(vertex, grid)) - scale.shift
    curve = Curve(rung="study", learning_rates=tuple(map(float, 2.0**grid)), losses=tuple(map(float, losses)))
    return Found(
        job=job,
        learning_rate=rate,
        interval=(low, high),
        confidence="low" if is_low else "medium" if cautions else "high",
        why=(why,),
        cautions=tuple(cautions),
        cost=max(0.0, spent - 1.0),  # one of them is the real run
        spent=spent,
        budget=spent,
        method="study",
        trials=tuple(trials),
        schedule=schedule.to_dict(),
        total_steps=total_steps,
        seed=0,
        versions={**our_versions(), **versions},
        default_learning_rate=trials[0].learning_rate,
        curves=(curve,),
        details={"sd_octaves": belief.sd, "schedule_repr": repr(schedule)},
    )
