"""From the rungs to one belief about the best rate of the real run: drift with the horizon, over-fitting, the edge.

Short runs have another best rate than long ones. Between the bracket and the forks the vertex drifts by `b` octaves per
doubling of the length, with a prior. From the forks to the real run there are two classes (measured on fourteen jobs,
half of the runs of each used only to check): where the run is limited by speed or stability the best rate of a fork
lies 0.20 +- 0.36 octaves too high; where it over-fits, 1.75 +- 0.35, because there the product of rate and length is
what counts. The search itself says which: how far the best rate moved from bracket to forks, and how fast the gap between
validation and training loss grows with the rate. Numbers were measured for a warm-up of 5 % and a cosine to zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from surefoot.search._fit import Array, Rung, fit_rung, normal, quantile
from surefoot.search._steps import LossScale, Point

GRID = 0.05  # octaves between the points of all grids
NEAR = 1.5  # a vertex lies within this (one sd, octaves) of its rung's best point
DRIFT = (0.15, 0.50)  # prior of b, octaves per doubling, mean and sd, from bracket to forks
LADDER_DRIFT = (0.30, 0.50)  # the same between annealed whole runs
FORK_LENGTH = -1.25  # an F4 fork drifts like a whole short run of 2**-1.25 of the horizon
PLAIN = (0.20, 0.36)  # fork vertex minus best real rate, octaves: limited by speed or stability
OVERFIT = (1.75, 0.35)  # the same where the run over-fits
FLAG = (-4.7, 10.0, 20.0)  # logit of over-fitting: constant, per drift, per growth of the gap
EDGE_MARGIN = 0.4  # octaves that the answer keeps below the divergence edge
WIDEN = 1.25  # the interval's half-widths are stretched by this; measured: nominal 90 % covered 83 %


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """Where the best rate of the real run lies: a density over x = log2(rate), and what it was made of."""

    grid: Array
    density: Array
    pick: float
    low: float
    high: float
    sd: float
    overfit: float
    drift: float
    z_last: float
    rungs: tuple[tuple[str, Rung, float], ...]  # name, fit, vertex: for the pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One rung as the belief sees it: its points, and z = log2(length / horizon)."""

    name: str
    points: Sequence[Point]
    z: float
    censored: float  # log loss above the rung's best that a diverged point counts as, or inf to leave it out


def vertex_of(points: Sequence[Point], initial_loss: float) -> float:
    """Return the expected vertex of one rung alone."""
    grid = _grid([points])
    rung, weight = _rung(
        Evidence(name="", points=points, z=0.0, censored=_above_initial(points, initial_loss)), grid, initial_loss
    )
    del rung
    return float((grid * weight).sum() / weight.sum())


def believe(
    rungs: Sequence[Evidence],
    *,
    initial_loss: float,
    edge: float,
    epochs: float | None,
    drift: tuple[float, float],
    plain: tuple[float, float] = PLAIN,
    overfit: tuple[float, float] | None = OVERFIT,
    widen: float = WIDEN,
    target: float | None = None,
) -> Belief:
    """Combine rungs (the last one rules the over-fitting flag and the curvatures) into a belief about the real run.

    Args:
        rungs: from short to long; the vertex of each is a - b * (z - target).
        initial_loss: the loss before training.
        edge: no mass is left above `edge - EDGE_MARGIN`.
        epochs: passes over the data in the real run, if known; below 1.2 in the first quarter nothing over-fits yet.
        drift: prior of b, mean and sd.
        plain: offset of a to the real run's best rate, mean and sd.
        overfit: the same for a job that over-fits, or None if that cannot be told.
        widen: factor on the interval's half-widths.
        target: the z that a speaks for; default that of the last rung. 0 lets the drift run on to the full length.
    """
    grid = _grid([r.points for r in rungs])
    last = rungs[-1]
    z = last.z if target is None else target
    fits = [_rung(r, grid, initial_loss) for r in rungs]
    mean, sd = drift
    bs = np.linspace(mean - 4 * sd, mean + 4 * sd, 65)
    joint = normal(bs, mean, sd)[:, None] * np.ones((1, len(grid)))  # [b, a]
    for r, (_, weight) in zip(rungs, fits, strict=True):
        shift = -bs[:, None] * (r.z - z)
        at = grid[None, :] + shift
        joint = joint * cast("Array", np.interp(at, grid, weight, left=weight[0], right=weight[-1]))
    a, b = cast("Array", joint.sum(0) / joint.sum()), cast("Array", joint.sum(1) / joint.sum())
    b_mean = float((bs * b).sum())
    fit = fits[-1][0]
    left, right = float((fit.curvature_left * a).sum()), float((fit.curvature_right * a).sum())
    p = 0.0 if overfit is None else _overfit_probability(last.points, initial_loss, b_mean, epochs)
    density = (1 - p) * _shifted(a, *plain)
    if overfit is not None:
        density = density + p * _shifted(a, *overfit)
    top = edge - EDGE_MARGIN
    density = np.where(grid > top, 0.0, density)
    if density.sum() <= 0.0:
        density = np.where(grid > top, 0.0, normal(grid, top - 0.3, 0.3))
    density /= density.sum()
    xs = [q.x for r in rungs for q in r.points]
    candidates = grid[(grid > min(xs) - 3) & (grid < min(max(xs) + 3, top + GRID / 2))]
    if not len(candidates):
        candidates = grid[grid <= max(top, grid[0])][-1:]
    risk = [
        float((density * np.minimum(np.where(x < grid, left, right) * (grid - x) ** 2, 1.0)).sum()) for x in candidates
    ]
    mean_x = float((grid * density).sum())
    median = quantile(grid, density, 0.5)
    a_mean = float((grid * a).sum())
    return Belief(
        grid=grid,
        density=density,
        pick=float(candidates[int(np.argmin(risk))]),
        low=median + widen * (quantile(grid, density, 0.05) - median),
        high=min(median + widen * (quantile(grid, density, 0.95) - median), max(top, median)),
        sd=math.sqrt(float((density * (grid - mean_x) ** 2).sum())),
        overfit=p,
        drift=b_mean,
        z_last=last.z,
        rungs=tuple((r.name, f, a_mean - b_mean * (r.z - z)) for r, (f, _) in zip(rungs, fits, strict=True)),
    )


def _overfit_probability(points: Sequence[Point], initial_loss: float, drift: float, epochs: float | None) -> float:
    """Return how likely the real run's best rate is the over-fitting kind, from validation and training losses."""
    if epochs is not None and epochs / 4 < 1.2:
        return 0.03
    scale = LossScale.of([p.loss for p in points], initial_loss)
    known = [p for p in points if not p.is_diverged and p.train_loss + scale.shift > 0]
    if not known:
        return 0.1
    best = min(known, key=lambda p: p.loss)
    near = [p for p in known if abs(p.x - best.x) <= 2.6 and scale(p.loss) < scale(best.loss) + 0.5]
    gaps = [scale(p.loss) - scale(p.train_loss) for p in near]
    growth = float(np.polyfit([p.x for p in near], gaps, 1)[0]) if len(near) > 1 else 0.0
    z = FLAG[0] + FLAG[1] * float(np.clip(drift, -0.3, 1.0)) + FLAG[2] * float(np.clip(growth, -0.1, 0.1))
    return 1.0 / (1.0 + math.exp(-z))


def _rung(rung: Evidence, grid: Array, initial_loss: float) -> tuple[Rung, Array]:
    """Return the fit of a rung and its weight for every vertex."""
    scale = LossScale.of([p.loss for p in rung.points], initial_loss)
    top = min((scale(p.loss) for p in rung.points), default=0.0)
    ceiling = top + rung.censored
    kept = [(p.x, min(scale(p.loss), ceiling)) for p in rung.points]
    kept = [(x, y) for x, y in kept if math.isfinite(y)]
    fit = fit_rung([x for x, _ in kept], [y for _, y in kept], grid)
    weight = np.exp(fit.log_likelihood - fit.log_likelihood.max())
    if kept:
        weight = weight * normal(grid, min(kept, key=lambda k: k[1])[0], NEAR)
    return fit, weight


def _above_initial(points: Sequence[Point], initial_loss: float) -> float:
    """Return how far above the rung's best a diverged point counts: half a nat above the initial loss."""
    scale = LossScale.of([p.loss for p in points], initial_loss)
    top = min((scale(p.loss) for p in points), default=0.0)
    start = scale(initial_loss) if math.isfinite(initial_loss) else top
    return max(start - top, 0.0) + 0.5 if math.isfinite(top) else math.inf


def bracket_evidence(points: Sequence[Point], steps: int, total_steps: int, initial_loss: float) -> Evidence:
    """Return a rung of whole short runs as evidence."""
    return Evidence(
        name="bracket", points=points, z=math.log2(steps / total_steps), censored=_above_initial(points, initial_loss)
    )


def _shifted(density: Array, offset: float, sd: float) -> Array:
    """Return the density of a - N(offset, sd)."""
    steps = np.arange(-6.0, 6.0 + GRID / 2, GRID)
    kernel = normal(steps, -offset, sd)
    wide = cast("Array", np.convolve(density, kernel / kernel.sum(), mode="full"))
    return wide[len(kernel) // 2 :][: len(density)]  # mode="same" would follow the kernel where it is the longer one


def _grid(rungs: Sequence[Sequence[Point]]) -> Array:
    xs = [p.x for points in rungs for p in points]
    return np.arange(min(xs) - 5.0, max(xs) + 5.0 + GRID / 2, GRID)
